import json
from pathlib import Path

from mnemic_speech.simultaneous import Translator
from mnemic_translate.train_demo import train_demo


def test_the_shipped_checkpoint_is_made_of_two_trainings(manifest: Path, tmp_path: Path) -> None:
    """With a tiny network and three recordings; a second call changes nothing."""
    for split in ("train", "val"):
        (tmp_path / f"{split}.jsonl").write_text(manifest.read_text())
    sizes = {"dim": 16, "num_heads": 2, "ffn_dim": 16, "num_layers": 1, "conv_channels": 4}
    options = [f"--model.config.encoder.{name}={size}" for name, size in sizes.items()]
    options += ["--model.config.decoder_layers=1", "--model.config.decoder_ffn_dim=16", "--trainer.max_steps=2"]
    options += ["--data.vocabulary.size=24", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    shipped = tmp_path / "shipped" / "a.safetensors"
    for _ in range(2):
        train_demo(tmp_path / "runs", tmp_path, tmp_path, shipped, tuple(options))
        made = Translator.load(shipped)
        assert (made.source, made.target) == ("en", "de")
        assert made.provenance["command"] == "make train-demo-translate"
        assert json.dumps(made.tokenizer.state())
    assert Translator.load(tmp_path / "runs" / "recognizer" / "checkpoints" / "last.ckpt").target == "en"
