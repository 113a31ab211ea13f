from functools import cache

import pytest
import torch
from command_lines import parse_config

from mnemic_core import MemoryConfig
from mnemic_speech.conformer_ntm import ConformerConfig, ConformerNtm, ConformerNtmConfig
from mnemic_transcribe.commands import train

CONFIGS = sorted(path.stem for path in train.CONFIGS.glob("*.yaml"))
PUBLISHED = ["conformer_librispeech100", "conformer_ntm_librispeech100", "conformer_ntm_librispeech960"]


@cache
def parse(name: str) -> train.TranscribeCLI:
    """Return the command line object with its config parsed and nothing built."""
    return parse_config(train.main, train.TranscribeCLI, name)


def network(given: dict[str, object], vocab_size: int) -> ConformerNtm:
    """Return the network of a config without its weights."""
    config = given["model"]["config"]
    encoder = ConformerConfig(**config["encoder"])
    with torch.device("meta"):
        memory = MemoryConfig(**config["memory"])
        return ConformerNtm(
            ConformerNtmConfig(**config | {"encoder": encoder, "memory": memory, "vocab_size": vocab_size})
        )


def test_every_setting_has_a_config() -> None:
    assert set(CONFIGS) == {*PUBLISHED, "conformer_ntm_digits", "conformer_ntm_generated"}


@pytest.mark.parametrize("name", CONFIGS)
def test_what_data_and_model_share_agrees(name: str) -> None:
    given = parse(name).config["fit"].as_dict()
    assert given["trainer"]["default_root_dir"] == f"runs/{name}"
    assert given["data"]["sample_rate"] == given["model"]["features"]["sample_rate"]
    assert given["model"]["config"]["encoder"]["num_mels"] == given["model"]["features"]["num_mels"]
    assert network(given, 13).config.vocab_size == 13


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_recipe(name: str) -> None:
    given = parse(name).config["fit"].as_dict()
    model, data, trainer = given["model"], given["data"], given["trainer"]
    assert (model["lr"], model["weight_decay"], model["config"]["ctc_weight"]) == (2e-3, 1e-6, 0.3)
    assert (trainer["accumulate_grad_batches"], trainer["gradient_clip_val"]) == (4, 5.0)
    assert (data["vocabulary"]["kind"], data["vocabulary"]["size"], data["max_seconds"]) == ("sentencepiece", 5000, 30)
    assert given["averaged_checkpoint"]["keep"] == 10
    size = sum(parameter.numel() for parameter in network(given, 5000).parameters())
    memory = 0 if name == "conformer_librispeech100" else 82_236
    assert size == 20_906_496 + 12_038_024 + 1_285_000 + memory  # as measured on the released network
