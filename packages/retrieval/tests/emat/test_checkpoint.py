from pathlib import Path

import pytest
import torch

from mnemic_core.errors import UserError
from mnemic_retrieval.emat import Emat, EmatConfig, KnownAnswer
from mnemic_retrieval.emat.checkpoint import EmatCheckpoint, EmatSettings
from mnemic_retrieval.t5 import T5Config
from mnemic_retrieval.tokenizers import ByteTokenizer

T5 = T5Config(259, dim=8, num_heads=2, head_dim=4, ffn_dim=8, encoder_layers=3, decoder_layers=1)
KNOWN = [KnownAnswer("who sang?", ("Ada",)), KnownAnswer("who wrote?", ("Jane",))]


def checkpoint() -> EmatCheckpoint:
    torch.manual_seed(0)
    model = Emat(EmatConfig(T5, key_layer=0, insert_layer=0, value_layer=1, num_values=2)).eval()
    return EmatCheckpoint(model, EmatSettings(12, "int8", threshold=-5.0), {"seed": 3}, ByteTokenizer())


def test_a_file_answers_as_what_was_saved(tmp_path: Path) -> None:
    saved = checkpoint()
    saved.save(tmp_path / "a.safetensors")
    loaded = EmatCheckpoint.load(tmp_path / "a.safetensors")
    assert (loaded.settings, loaded.provenance) == (saved.settings, {"seed": 3})
    answers = []
    for each in (saved, loaded):
        memory = each.new_memory()
        memory.add(KNOWN)
        answers.append(memory.ask(["who sang?"]))
    assert answers[0] == answers[1]
    assert memory.table.precision == "int8"
    memory.save(tmp_path / "facts")
    assert saved.open_memory(tmp_path / "facts", mapped=True).ask(["who sang?"]) == answers[0]


def test_a_damaged_tokenizer_is_named(tmp_path: Path) -> None:
    header = checkpoint().header() | {"tokenizer": {"kind": "runes"}}
    with pytest.raises(UserError, match="unknown tokenizer 'runes'"):
        EmatCheckpoint.from_header(header, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=r"a\.safetensors.*tokenizer"):
        EmatCheckpoint.from_header(header | {"tokenizer": 3}, tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_tokens": 1}, "max_tokens must be at least 2"),
        ({"threshold": float("nan")}, "threshold must be finite"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EmatSettings(**settings)
