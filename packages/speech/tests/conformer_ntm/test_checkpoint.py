import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.testing import assert_close

from mnemic_speech.conformer_ntm import ConformerNtm, Recognizer, TranscriptionSettings
from mnemic_speech.features import FeatureConfig, Features, Normalizer
from mnemic_speech.text import CharTokenizer

Build = Callable[..., ConformerNtm]


@pytest.fixture
def recognizer(build: Build) -> Recognizer:
    normalizer = Normalizer("global", num_mels=9)
    nn.init.normal_(normalizer.mean)
    features = Features(FeatureConfig(sample_rate=8000, num_mels=9, n_fft=256, window=200, hop=80))
    provenance = {"command": "fit", "seed": 3}
    model = build("slot_attention").eval()
    with torch.no_grad():
        model.encoder.blocks[0].convolution.norm.running_var.fill_(1e5)  # more than float16 can hold
    settings = replace(TranscriptionSettings.of(model), text_style="lower")
    return Recognizer(model, settings, provenance, features, normalizer, CharTokenizer("abc"))


@pytest.fixture
def saved(recognizer: Recognizer, tmp_path: Path) -> Path:
    path = tmp_path / "digits.safetensors"
    recognizer.save(path)
    return path


def same_parts(loaded: Recognizer, recognizer: Recognizer) -> None:
    assert loaded.model.config == recognizer.model.config
    assert loaded.features.config == recognizer.features.config
    assert loaded.normalizer.kind == recognizer.normalizer.kind
    assert loaded.tokenizer.state() == recognizer.tokenizer.state()
    assert (loaded.settings, loaded.provenance) == (recognizer.settings, recognizer.provenance)
    assert not loaded.model.training


def test_a_saved_recognizer_comes_back_bit_for_bit(recognizer: Recognizer, saved: Path) -> None:
    loaded = Recognizer.load(saved)
    same_parts(loaded, recognizer)
    for module, expected in ((loaded.model, recognizer.model), (loaded.normalizer, recognizer.normalizer)):
        state = module.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in expected.state_dict().items())
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_half_precision_takes_less_space_and_keeps_statistics_exact(recognizer: Recognizer, saved: Path) -> None:
    path = saved.with_name("half.safetensors")
    recognizer.save(path, half=True)
    assert path.stat().st_size < 0.8 * saved.stat().st_size
    loaded = Recognizer.load(path)
    for name, tensor in recognizer.model.state_dict().items():
        assert loaded.model.state_dict()[name].dtype == tensor.dtype
        assert_close(loaded.model.state_dict()[name], tensor, atol=1e-3, rtol=1e-3)
    for name, buffer in recognizer.model.named_buffers():
        assert torch.equal(loaded.model.get_buffer(name), buffer)
    assert torch.equal(loaded.normalizer.mean, recognizer.normalizer.mean)


def test_a_checkpoint_of_training_is_read_too(recognizer: Recognizer, tmp_path: Path) -> None:
    header = recognizer.header()
    task = nn.ModuleDict(
        {"model": recognizer.model, "features": recognizer.features, "normalizer": recognizer.normalizer}
    )
    torch.save({"state_dict": task.state_dict(), "epoch": 1, "mnemic": header}, tmp_path / "last.ckpt")
    loaded = Recognizer.load(tmp_path / "last.ckpt")
    same_parts(loaded, recognizer)
    assert torch.equal(loaded.model.encoder.norm.weight, recognizer.model.encoder.norm.weight)
    assert torch.equal(loaded.normalizer.mean, recognizer.normalizer.mean)


def test_a_header_is_plain_data(recognizer: Recognizer) -> None:
    header = recognizer.header()
    assert json.loads(json.dumps(header)) == header


def test_all_modules_move_together(recognizer: Recognizer) -> None:
    moved = recognizer.to("meta")
    assert moved is recognizer
    assert {moved.model.encoder.norm.weight.device, moved.features.melmat.device, moved.normalizer.mean.device} == {
        torch.device("meta")
    }


def rewrite(path: Path, **changes: object) -> None:
    """Change the header of a saved recognizer."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["mnemic"])
    save_file(load_file(path), path, {"mnemic": json.dumps(header | changes)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "memotr"}, r"digits\.safetensors is a checkpoint of kind 'memotr', expected 'conformer_ntm'"),
        ({"format_version": 3}, r"digits\.safetensors has format 3, newer than 2: update mnemic-speech"),
        ({"features": {"depth": 3}}, r"settings that this version does not know \(depth\): update mnemic-speech"),
        ({"config": {"vocab_size": 6}}, r"digits\.safetensors does not fit this model \("),
        ({"tokenizer": {"kind": "char", "alphabet": "ab"}}, "5 tokens in the tokenizer, 6 in the network"),
    ],
)
def test_other_files_are_refused_in_one_line(saved: Path, changes: dict[str, object], message: str) -> None:
    rewrite(saved, **changes)
    with pytest.raises(ValueError, match=message) as error:
        Recognizer.load(saved)
    assert "\n" not in str(error.value)


def test_a_truncated_file_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"digits\.safetensors is truncated or not a checkpoint"):
        Recognizer.load(saved)


def test_a_file_without_header_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "a.ckpt")
    for name in ("a.safetensors", "a.ckpt"):
        with pytest.raises(ValueError, match=rf"{name} is a checkpoint of kind None, expected 'conformer_ntm'"):
            Recognizer.load(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*none\.safetensors"):
        Recognizer.load(tmp_path / "none.safetensors")


def test_a_failed_write_leaves_the_earlier_file(
    recognizer: Recognizer, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def disk_full(_: object, path: Path, *__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mnemic_core.tensor_file.save_file", disk_full)
    with pytest.raises(OSError, match="No space left"):
        recognizer.save(saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
