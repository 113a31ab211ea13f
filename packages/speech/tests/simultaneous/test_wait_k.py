"""Wait-k attention and actions against the released code, and policies by their definition."""

from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_core.layers import MultiHeadAttention
from mnemic_speech.simultaneous.policies import HoldN, LocalAgreement, PolicyConfig, WaitK
from mnemic_speech.simultaneous.wait_k import wait_k_visible

GOLDEN = golden_cases("speech", Path(__file__).parents[1] / "golden" / "speech", prefix="g_")


def actions(policy: WaitK, total: int, chunk: int, num_tokens: int) -> tuple[str, list[int]]:
    """Return reads and writes, and how many frames had been read at each write."""
    done, frames, written, delays = "", 0, 0, []
    while written < num_tokens:
        limit = policy.limit(frames, ended=frames >= total)
        if limit is None or written < limit:
            done, written = done + "W", written + 1
            delays.append(frames)
        else:
            done, frames = done + "R", min(total, frames + chunk)
    return done, delays


@pytest.mark.golden
@pytest.mark.parametrize("golden", GOLDEN, ids=lambda case: case.name)
def test_reads_and_writes_are_the_released_ones(golden: GoldenCase) -> None:
    for case in golden.info["cases"]:
        policy = WaitK(case["k"], case["pre_decision_ratio"])
        sizes = case["encoder_frames_total"], case["encoder_frames_per_read"], case["target_tokens"]
        assert actions(policy, *sizes) == (case["actions"], case["delays_in_encoder_frames"])


@pytest.mark.golden
@pytest.mark.parametrize("golden", GOLDEN, ids=lambda case: case.name)
def test_cross_attention_of_training_is_the_released_one(golden: GoldenCase) -> None:
    tolerance = golden.info["tolerance"]
    for index, case in enumerate(golden.info["cases"]):
        tensors = {
            name.removeprefix(f"case{index}."): tensor
            for name, tensor in golden.tensors.items()
            if name.startswith(f"case{index}.")
        }
        query, key = (tensors[f"in.{name}"].transpose(0, 1) for name in ("query", "key"))
        alpha, lengths = tensors["out.alpha"], (~tensors["in.key_padding_mask"]).sum(1)
        visible = wait_k_visible(query.shape[1], key.shape[1], lengths, case["k"], case["pre_decision_ratio"])
        assert torch.equal(visible.sum(-1) - 1, alpha[:, 0].argmax(-1))  # the last frame that a token sees
        attention = official_attention(tensors, num_heads=alpha.shape[1])
        found = attention(query, *attention.keys_and_values(key), visible)
        assert_close(found.transpose(0, 1), tensors["out.attn"], **tolerance)


def official_attention(tensors: dict[str, torch.Tensor], num_heads: int) -> MultiHeadAttention:
    names = {"query": "q", "key": "k", "value": "v", "output": "out"}
    weights = {
        f"{own}.{kind}": tensors[f"state.{theirs}_proj.{kind}"]
        for own, theirs in names.items()
        for kind in ("weight", "bias")
    }
    attention = MultiHeadAttention(len(weights["query.bias"]), num_heads).eval()
    attention.load_state_dict(weights)
    return attention


def test_every_token_sees_a_frame_and_never_beyond_its_recording() -> None:
    visible = wait_k_visible(4, 6, torch.tensor([6, 2, 0]), torch.tensor([1, 9, 1]), ratio=2)
    assert visible.sum(-1).tolist() == [[2, 4, 6, 6], [2, 2, 2, 2], [1, 1, 1, 1]]


def test_more_patience_than_source_waits_for_the_end() -> None:
    assert actions(WaitK(k=9, ratio=8), total=20, chunk=8, num_tokens=2) == ("RRRWW", [20, 20])


def test_agreement_writes_the_common_beginning() -> None:
    policy = LocalAgreement()
    assert policy.limit(10, ended=False) is None
    assert policy.commit(0, [1, 2, 3], [1, 2, 4], ended=False) == 2
    assert policy.commit(1, [1], [1, 2, 4], ended=False) == 1
    assert policy.commit(2, [], [1, 2, 4], ended=True) == 3


@given(st.integers(0, 8), st.integers(0, 5), st.integers(0, 20), st.booleans())
def test_holding_back_never_takes_back(n: int, written: int, more: int, ended: bool) -> None:
    tokens = list(range(written + more))
    found = HoldN(n).commit(written, [], tokens, ended=ended)
    assert written <= found <= len(tokens)
    assert found == (len(tokens) if ended else max(written, len(tokens) - n))


def test_impossible_policies_are_refused() -> None:
    with pytest.raises(UserError, match="k must be at least 1"):
        PolicyConfig(k=0)
    with pytest.raises(UserError, match="n must be at least 0"):
        PolicyConfig("hold_n", n=-1)
    assert PolicyConfig("local_agreement").build(8) == LocalAgreement()
