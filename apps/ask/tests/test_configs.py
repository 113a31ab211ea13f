from functools import cache
from typing import Any

import pytest
import torch
from command_lines import parse_config

from mnemic_ask.commands.train import main
from mnemic_ask.murag.training import MuragCLI
from mnemic_ask.options import CONFIGS
from mnemic_retrieval.encoders import PictureConfig, SentenceConfig
from mnemic_retrieval.murag import Murag, MuragConfig, murag_base
from mnemic_retrieval.t5 import T5Config

NAMES = sorted(path.stem for path in CONFIGS.glob("murag_*.yaml"))


@cache
def parse(name: str) -> dict[str, Any]:
    return parse_config(main, MuragCLI, name).config["fit"].as_dict()


def network(name: str) -> MuragConfig:
    given = parse(name)["model"]["config"]
    sentences = given["sentences"]
    return MuragConfig(
        **given
        | {
            "t5": T5Config(**given["t5"]),
            "pictures": PictureConfig(**given["pictures"]),
            "sentences": None if sentences is None else SentenceConfig(**sentences),
        }
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_config_names_itself_and_its_system(name: str) -> None:
    given = parse(name)
    assert given["system"] == "murag"
    assert given["trainer"]["default_root_dir"] == f"runs/{name}"


@pytest.mark.parametrize("name", ["murag_webqa_stage1", "murag_webqa_stage2", "murag_multimodalqa"])
def test_large_data_sets_have_the_sizes_and_rates_of_the_reference(name: str) -> None:
    given = parse(name)
    model, data = given["model"], given["data"]
    assert network(name) == murag_base()
    assert (model["lr"], model["lr_new"], model["weight_decay"], model["smoothing"]) == (1e-4, 5e-4, 0.01, 0.1)
    assert (model["warmup_steps"], data["batch_size"], data["choice"]["negatives"]) == (1000, 64, 3)
    assert given["trainer"]["max_steps"] == (10_000 if name.endswith("2") else 20_000)
    assert data["image_size"] == 224


def test_small_networks_stay_small() -> None:
    with torch.device("meta"):
        assert sum(each.numel() for each in Murag(network("murag_generated")).parameters()) < 1e6
