"""WordNet facts, and a config of a network small enough to be trained within a test."""

import json
from pathlib import Path

import pytest

TINY = """
system: emat
trainer:
  accelerator: cpu
  devices: 1
  max_steps: 8
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
last_checkpoint: {{every_n_train_steps: 2}}
model:
  stage: pretrain
  config:
    t5: {{vocab_size: 300, dim: 16, num_heads: 2, head_dim: 8, ffn_dim: 16, encoder_layers: 3, decoder_layers: 1}}
    key_layer: 0
    insert_layer: 0
    value_layer: 1
    num_values: 2
  mining: {{local_size: 6, positive_top: 6, negative_top: 6, num_positives: 2, num_negatives: 3, every_n_steps: 3}}
  settings: {{max_tokens: 8}}
  lr: 1.0e-2
  warmup_steps: 2
data:
  train: [{{name: wordnet, path: {facts}, part: train}}]
  val: [{{name: wordnet, path: {facts}, part: val}}]
  known: [{{name: wordnet, path: {facts}}}]
  vocabulary: {{kind: pieces, size: 300}}
  max_tokens: 24
  batch_size: 4
"""

NAMES = [first + middle + last for first in ("ba", "ko", "mi", "ru") for middle in ("lo", "ri") for last in "nsx"]
KINDS = ["animal", "plant", "tool"]


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    """Return 24 made-up nouns in the form of WordNet's facts."""
    path = tmp_path / "facts.jsonl"
    lines = [
        {"words": [name, f"{name} fish"], "gloss": f"a {name[:2]} of size {place}", "hypernyms": [KINDS[place % 3]]}
        for place, name in enumerate(NAMES)
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


@pytest.fixture
def config(facts: Path) -> Path:
    """Return a config that trains in seconds."""
    path = facts.with_name("tiny.yaml")
    path.write_text(TINY.format(facts=facts))
    return path
