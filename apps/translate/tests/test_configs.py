from functools import cache

import pytest
import torch
from command_lines import parse_config

from mnemic_core import MemoryConfig
from mnemic_speech.simultaneous import (
    AugmentedMemoryTransformer,
    SegmentConfig,
    SegmentEncoderConfig,
    SimultaneousConfig,
)
from mnemic_translate.commands import train
from mnemic_translate.options import CONFIGS

NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
PUBLISHED = [f"augmented_memory_mustc_{name}" for name in ("asr_pretrain", "de", "es", "fr")]


@cache
def parse(name: str) -> train.TranslateCLI:
    """Return the command line object with its config parsed and nothing built."""
    return parse_config(train.main, train.TranslateCLI, name)


def network(given: dict[str, object], vocab_size: int) -> AugmentedMemoryTransformer:
    """Return the network of a config without its weights."""
    config = given["model"]["config"]
    sizes = config["encoder"]
    nested = {"segments": SegmentConfig(**sizes["segments"]), "memory": MemoryConfig(**sizes["memory"])}
    encoder = SegmentEncoderConfig(**sizes | nested)
    with torch.device("meta"):
        return AugmentedMemoryTransformer(SimultaneousConfig(**config | {"encoder": encoder, "vocab_size": vocab_size}))


def test_every_setting_has_a_config() -> None:
    small = {f"augmented_memory_{name}" for name in ("generated", "multi30k", "multi30k_asr")}
    assert set(NAMES) == {*PUBLISHED, *small}


@pytest.mark.parametrize("name", NAMES)
def test_what_data_and_model_share_agrees(name: str) -> None:
    given = parse(name).config["fit"].as_dict()
    assert given["trainer"]["default_root_dir"] == f"runs/{name}"
    assert given["data"]["features"] == given["model"]["features"]
    assert (given["data"]["spoken"], given["data"]["written"]) == (given["model"]["spoken"], given["model"]["written"])
    assert network(given, 13).config.vocab_size == 13


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_released_recipe(name: str) -> None:
    given = parse(name).config["fit"].as_dict()
    model, data, trainer = given["model"], given["data"], given["trainer"]
    is_asr = name.endswith("pretrain")
    assert (model["lr"], model["warmup_steps"], model["warmup_lr"]) == ((7e-4, 4000) if is_asr else (3.5e-4, 7500)) + (
        1e-4,
    )
    assert (model["weight_decay"], model["smoothing"], tuple(model["wait_k"])) == (0.0 if is_asr else 1e-4, 0.0, (1,))
    assert (trainer["accumulate_grad_batches"], trainer["gradient_clip_val"]) == (4, 10.0)
    assert (data["vocabulary"]["size"], data["batch_seconds"]) == (10_000, 800)
    assert (given["averaged_checkpoint"]["keep"], given["seed_everything"]) == ((5, 3) if is_asr else (10, 4))
    released = network(given, 10_000)
    # As measured on the released network, but for its norm that is never applied and projections that wait-k ignores.
    assert sum(each.numel() for each in released.encoder.parameters()) == 17_735_680 - 2 * 256
    unused = 6 * 2 * (256 * 256 + 256)
    assert sum(each.numel() for each in released.decoder.parameters()) == 15_382_528 - unused


def test_the_small_networks_stay_small() -> None:
    for name, tokens in (("augmented_memory_multi30k", 4000), ("augmented_memory_multi30k_asr", 1000)):
        count = sum(each.numel() for each in network(parse(name).config["fit"].as_dict(), tokens).parameters())
        assert count < 12_000_000
