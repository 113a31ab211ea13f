from pathlib import Path

import numpy as np
import pytest
import soundfile

from mnemic_speech.conformer_ntm import Recognizer
from mnemic_transcribe.checkpoints import open_transcriber
from mnemic_transcribe.train_demo import train_demo

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SMALL = (
    "--model.config.encoder={dim: 16, num_heads: 2, ffn_dim: 16, num_layers: 1, kernel_size: 5}",
    "--model.config.decoder_ffn_dim=16",
    "--model.config.memory.options={slots: 4, width: 3}",
    "--trainer.max_steps=4",
    "--trainer.val_check_interval=2",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
)


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Return a folder of digit strings, a tone for each digit."""
    folder = tmp_path / "digits" / "isolated" / "ann"
    folder.mkdir(parents=True)
    for digit in range(10):
        soundfile.write(folder / f"{digit}_ann_0.flac", 0.1 * np.sin(np.arange(1600) * (digit + 1) / 10), 8000)
    rows = ["\t".join(("id", "split", "speaker", "n_digits", "seconds", "lead_ms", "parts", "text"))]
    parts, text = " ".join(f"{digit}_ann_0:50" for digit in range(10)), " ".join(NAMES)
    rows += [f"{split}_0\t{split}\tann\t10\t2.6\t100\t{parts}\t{text}" for split in ("train", "dev", "dev_long")]
    (tmp_path / "digits" / "strings.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path / "digits"


def test_a_run_ends_in_one_file_and_a_second_call_has_nothing_to_do(tmp_path: Path, digits: Path) -> None:
    file = tmp_path / "new" / "digits.safetensors"
    few = f"--data.train=[{{name: digits, root: {digits}, split: train, drawn: {{num_strings: 100}}}}]"
    figures = train_demo(tmp_path / "run", digits, file, (*SMALL, few))
    assert {"val/wer", "test/wer"} <= figures.keys()
    loaded = Recognizer.load(file)
    assert loaded.provenance["averaged_steps"] == [2, 4]
    assert loaded.provenance["metrics"] == figures
    assert sorted(loaded.tokenizer.state()["words"]) == sorted(NAMES)
    assert loaded.settings.decoding == "ctc"
    written = file.read_bytes()
    assert train_demo(tmp_path / "run", digits, file, (*SMALL, few)) == figures
    assert file.read_bytes() == written


def test_an_absent_shipped_checkpoint_says_how_to_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnemic_transcribe.checkpoints.SHIPPED", tmp_path / "absent.safetensors")
    with pytest.raises(FileNotFoundError, match="run make train-demo-transcribe, or give --checkpoint"):
        open_transcriber()
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        open_transcriber(tmp_path / "other.safetensors")
