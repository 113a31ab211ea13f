import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mnemic_speech.attention import RelativeSelfAttention, relative_positions

DIM, HEADS = 8, 2


@pytest.fixture
def attention() -> RelativeSelfAttention:
    torch.manual_seed(0)
    return RelativeSelfAttention(DIM, HEADS, dropout=0.0)


def naive(attention: RelativeSelfAttention, x: Tensor, allowed: Tensor) -> Tensor:
    """Return what the attention finds, pair by pair, for one row."""
    time, width = len(x), DIM // HEADS
    found = torch.zeros(time, DIM)
    for head in range(HEADS):
        part = slice(head * width, (head + 1) * width)
        query, key, value = (each(x)[:, part] for each in (attention.query, attention.key, attention.value))
        for i in range(time):
            scores = torch.full((time,), -math.inf)
            for j in range(time):
                frequency = 10_000 ** (-torch.arange(0, DIM, 2) / DIM)
                angle = (i - j) * frequency
                place = attention.position(torch.cat([angle.sin(), angle.cos()]))[part]
                if allowed[i, j]:
                    content = (query[i] + attention.content_bias[head]) @ key[j]
                    scores[j] = (content + (query[i] + attention.position_bias[head]) @ place) / math.sqrt(width)
            found[i, part] = scores.softmax(0) @ value
    return attention.output(found)


def test_every_pair_is_scored_by_content_and_distance(attention: RelativeSelfAttention) -> None:
    x, allowed = torch.randn(2, 5, DIM), torch.rand(2, 5, 5) > 0.4
    allowed |= torch.eye(5, dtype=torch.bool)
    found, _ = attention(x, relative_positions(5, 5, DIM), allowed)
    assert_close(found, torch.stack([naive(attention, *row) for row in zip(x, allowed, strict=True)]))


@pytest.mark.parametrize("new", [1, 2, 5])
def test_the_last_frames_find_the_same_with_what_was_kept_of_those_before(
    attention: RelativeSelfAttention, new: int
) -> None:
    x, everything = torch.randn(2, 6, DIM), torch.ones(1, 6, 6, dtype=torch.bool)
    complete, _ = attention(x, relative_positions(6, 6, DIM), everything)
    old = 6 - new
    _, kept = attention(x[:, :old], relative_positions(old, old, DIM), everything[:, :old, :old])
    last, both = attention(x[:, old:], relative_positions(new, 6, DIM), everything[:, old:], kept)
    assert_close(last, complete[:, old:])
    assert both.keys.shape == both.values.shape == (2, HEADS, 6, DIM // HEADS)


def test_a_query_that_may_see_nothing_is_no_nan_and_changes_no_other(attention: RelativeSelfAttention) -> None:
    x, allowed = torch.randn(1, 3, DIM), torch.ones(1, 3, 3, dtype=torch.bool)
    expected, _ = attention(x, relative_positions(3, 3, DIM), allowed)
    allowed[:, 1] = False
    found, _ = attention(x, relative_positions(3, 3, DIM), allowed)
    assert found.isfinite().all()
    assert_close(found[:, ::2], expected[:, ::2])


def test_dim_must_suit_heads_and_sinusoids() -> None:
    for dim, heads in ((9, 3), (8, 3)):
        with pytest.raises(ValueError, match=f"multiple of num_heads, got dim={dim}, num_heads={heads}"):
            RelativeSelfAttention(dim, heads)
