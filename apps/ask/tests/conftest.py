"""A network small enough to be trained within a test, a config of it, and folders to ask about."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from mnemic_retrieval.murag import Murag, MuragCheckpoint, MuragSettings, murag_tiny
from mnemic_retrieval.tokenizers import ByteTokenizer

TINY = """
system: murag
trainer:
  accelerator: cpu
  devices: 1
  max_steps: 8
  log_every_n_steps: 1
  val_check_interval: 4
  check_val_every_n_epoch: null
  enable_progress_bar: false
  enable_model_summary: false
last_checkpoint: {every_n_train_steps: 2}
model:
  config:
    t5:
      vocab_size: 259
      dim: 16
      num_heads: 2
      head_dim: 8
      ffn_dim: 16
      encoder_layers: 1
      decoder_layers: 1
    pictures:
      name: vit_tiny_patch16_224
      options: {img_size: 32, patch_size: 16, embed_dim: 16, depth: 1, num_heads: 2}
    num_items: 2
  settings: {max_answer_tokens: 4}
  hidden_share: 0.3
  warmup_steps: 3
data:
  train: [{name: generated, root: ROOT, number: 10}]
  val: [{name: generated, root: ROOT, number: 10}]
  max_answer_tokens: 8
  image_size: 32
  batch_size: 4
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a config that trains in seconds."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY.replace("ROOT", str(tmp_path / "shapes")))
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a network with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    MuragCheckpoint(Murag(murag_tiny()), MuragSettings(max_answer_tokens=6), {}, ByteTokenizer()).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of two pictures, one with a caption, and a text of two paragraphs."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    Image.new("RGB", (20, 20), (255, 0, 0)).save(folder / "red.png")
    (folder / "red.txt").write_text("A red\nsquare.\n")
    Image.new("RGB", (20, 20), (0, 0, 255)).save(folder / "deep" / "blue.jpg")
    (folder / "notes.md").write_text("Frogs are amphibians.\n\nRome is in Italy.\n")
    return folder


@pytest.fixture
def stamps(tmp_path: Path) -> Path:
    """Return a folder of stamps: four with entities, of which one is for training."""
    folder = tmp_path / "stamps"
    (folder / "images").mkdir(parents=True)
    records, facts = [], []
    for number, (name, kind) in enumerate([("frog", "amphibian"), ("crow", "bird"), ("hat", "cap"), ("cup", "dish")]):
        Image.effect_noise((24, 24), 20 + 20 * number).save(folder / "images" / f"{name}.jpg")
        entity = {"lemma": name, "synset": str(number), "hypernym": kind, "lexname": "thing"}
        records.append(
            {
                "id": name,
                "split": "test" if number else "train",
                "category": "things",
                "image": f"images/{name}.jpg",
                "text": {"en": f"A {name}."},
                "entity": entity,
            }
        )
        facts.append({"synset": str(number), "words": [name], "lexname": "thing", "gloss": "a", "hypernyms": [kind]})
    for file, rows in {"index": records, "facts": facts}.items():
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
