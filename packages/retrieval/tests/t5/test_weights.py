"""Parity with the T5 of Hugging Face's transformers, through the folders that it writes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config as OfficialConfig
from transformers import T5ForConditionalGeneration

from mnemic_core.errors import UserError
from mnemic_core.testing.comparison import assert_close
from mnemic_retrieval.t5 import T5, load_t5
from mnemic_retrieval.t5.model import IGNORED, sequence_loss, shifted

SIZES = {
    "vocab_size": 40,
    "d_model": 16,
    "num_heads": 3,
    "d_kv": 6,
    "d_ff": 24,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "decoder_start_token_id": 0,
}
FORMS = {
    "1.0": {"feed_forward_proj": "relu", "tie_word_embeddings": True},
    "1.1": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
}
TOKENS = torch.tensor([[5, 9, 3, 17, 30, 8, 2, 11, 12, 13, 14, 15, 16, 39, 21, 22, 23, 1], [7, 33, 1, *[0] * 15]])
LABELS = torch.tensor([[8, 20, 31, 4, 1], [6, 2, 1, IGNORED, IGNORED]])


@pytest.fixture(params=FORMS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[T5ForConditionalGeneration, T5]:
    torch.manual_seed(0)
    official = T5ForConditionalGeneration(OfficialConfig(**SIZES, **FORMS[request.param])).eval()
    for weight in official.parameters():  # norms of 1 and small embeddings would hide mistakes
        torch.nn.init.normal_(weight, std=0.3)
    untied = torch.randn(40, 16)
    official.save_pretrained(tmp_path)
    if request.param == "1.1":
        _separate_output(tmp_path, untied)
        official = T5ForConditionalGeneration.from_pretrained(tmp_path)
    return official, load_t5(tmp_path)


def _separate_output(folder: Path, weight: torch.Tensor) -> None:
    """Make the folder one of T5 1.1 as it was released: transformers 5 ties the embeddings of new networks."""
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "lm_head.weight": weight}, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    del config["scale_decoder_outputs"]
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))


def test_logits_loss_and_gradients_are_those_of_transformers(pair: tuple[T5ForConditionalGeneration, T5]) -> None:
    official, ours = pair
    expected = official(input_ids=TOKENS, attention_mask=TOKENS != 0, labels=LABELS)
    logits = ours(TOKENS, shifted(LABELS, pad_id=0))
    keep = LABELS != IGNORED
    assert_close(logits[keep], expected.logits[keep], tolerance=1e-5)
    loss = sequence_loss(logits, LABELS)
    assert_close(loss, expected.loss, tolerance=1e-5)
    expected.loss.backward()
    loss.backward()
    assert_close(ours.tokens.embedding.weight.grad, official.shared.weight.grad, tolerance=1e-5)


@pytest.mark.parametrize("length", [1, 3, 12])
def test_outputs_are_those_of_transformers(pair: tuple[T5ForConditionalGeneration, T5], length: int) -> None:
    official, ours = pair
    expected = official.generate(TOKENS, attention_mask=TOKENS != 0, max_new_tokens=length, do_sample=False)
    assert ours.generate(TOKENS, length).tolist() == expected[:, 1:].tolist()


def test_a_folder_written_by_transformers_5_is_read_as_it_is_there(
    pair: tuple[T5ForConditionalGeneration, T5], tmp_path: Path
) -> None:
    """It says of every T5 that its embeddings are tied."""
    official, ours = pair
    official.save_pretrained(tmp_path / "again")
    again = load_t5(tmp_path / "again")
    assert again.config == ours.config
    assert_close(
        again(TOKENS, TOKENS),
        official(input_ids=TOKENS, attention_mask=TOKENS != 0, decoder_input_ids=TOKENS).logits,
        tolerance=1e-5,
    )


def test_a_new_network_of_transformers_5_is_read_as_it_is_there(tmp_path: Path) -> None:
    official = T5ForConditionalGeneration(OfficialConfig(**SIZES, **FORMS["1.1"])).eval()
    official.save_pretrained(tmp_path)
    ours = load_t5(tmp_path)
    assert ours.config.tie_embeddings
    assert not ours.config.scale_outputs
    expected = official(input_ids=TOKENS, attention_mask=TOKENS != 0, decoder_input_ids=TOKENS).logits
    assert_close(ours(TOKENS, TOKENS), expected, tolerance=1e-5)


def test_a_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load_t5(tmp_path)
    config = tmp_path / "config.json"
    for content, message in {
        "[]": "config",
        '{"model_type": "bert"}': "expected a T5",
        '{"model_type": "t5"}': "lacks vocab_size, d_model",
        '{"model_type": "t5", "feed_forward_proj": "gated-silu"}': "expected a T5",
        '{"model_type": "t5", "vocab_size": -1, "d_model": 8, "num_heads": 2, "d_kv": 4, "d_ff": 8, "num_layers": 1}': (
            "vocab_size must be"
        ),
        "{": "not JSON",
    }.items():
        config.write_text(content)
        with pytest.raises(UserError, match=message):
            load_t5(tmp_path)


def test_a_folder_without_weights_and_with_others_is_refused(tmp_path: Path) -> None:
    OfficialConfig(**SIZES, **FORMS["1.1"]).save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="no weights"):
        load_t5(tmp_path)
    torch.save({"shared.weight": torch.zeros(40, 16), "surprise": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="does not fit"):
        load_t5(tmp_path)
