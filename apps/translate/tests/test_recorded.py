"""Recorded speech: a small network learns some Spanish and French descriptions by heart, and translates the streams."""

import json
from pathlib import Path

import pytest

from mnemic_kit.run_folder import checkpoint_path, fit_or_resume
from mnemic_speech.data.manifest import Utterance, write_manifest
from mnemic_translate.checkpoints import InferenceOptions, open_translator
from mnemic_translate.commands import train
from mnemic_translate.evaluation import evaluate_clips, open_clips

STAMPS = Path(__file__).parents[4] / "shared" / "data" / "stamps"
CONFIG = """
trainer:
  accelerator: cpu
  max_steps: 400
  log_every_n_steps: 50
  enable_progress_bar: false
  enable_model_summary: false
model:
  masks: null
  config:
    encoder: {dim: 96, num_heads: 4, ffn_dim: 192, num_layers: 3, conv_channels: 16, dropout: 0.0}
    decoder_layers: 2
    decoder_ffn_dim: 192
  wait_k: [3]
  lr: 1.5e-3
  warmup_steps: 40
  warmup_lr: 0
  has_end: true
data: {batch_seconds: 30}
"""


@pytest.mark.slow
@pytest.mark.skipif(not STAMPS.is_dir(), reason="needs the shared data")
@pytest.mark.parametrize("spoken", ["es", "fr"])
def test_recorded_descriptions_are_learned_by_heart_and_streamed(spoken: str, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (STAMPS / "index.jsonl").read_text().splitlines()]
    known = [row for row in rows if spoken in row["audio"] and 1.5 < row["audio"][spoken]["seconds"] < 4][:20]
    utterances = [
        Utterance(
            STAMPS / row["audio"][spoken]["path"],
            row["audio"][spoken]["seconds"],
            row["text"][spoken],
            id=row["id"],
            language=spoken,
            translations={"en": row["text"]["en"]},
        )
        for row in known
    ]
    write_manifest(tmp_path / "clips.jsonl", utterances)
    (tmp_path / "config.yaml").write_text(CONFIG)
    words = sorted({word for each in utterances for word in each.translations["en"].split()})
    source = f"[{{name: recordings, root: {tmp_path / 'clips.jsonl'}}}]"
    options = [f"--data.train={source}", f"--data.val={source}", f"--data.spoken={spoken}", "--data.written=en"]
    options += [f"--data.vocabulary={json.dumps({'kind': 'words', 'words': words})}"]
    run = fit_or_resume(train.main, ["--config", str(tmp_path / "config.yaml"), *options], tmp_path / "run")
    assert run.trainer.callback_metrics["val/bleu"] > 80
    translator = open_translator(checkpoint_path(tmp_path / "run"), InferenceOptions("en", k=3), "cpu")
    clips, problems = open_clips(tmp_path / "clips.jsonl", spoken, "en", None)
    scores = evaluate_clips(translator, clips).summary()
    assert not problems
    assert scores["num_utterances"] == 20
    assert scores["bleu"] > 40  # in a stream frames change after they have been used
    assert scores["early_share"] > 0.2
