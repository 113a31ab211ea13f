from functools import cache
from typing import Any

import pytest
import torch
from command_lines import parse_config

from mnemic_ask.emat.datamodule import EmatData
from mnemic_ask.emat.task import EmatTask
from mnemic_ask.emat.training import TRAINER_DEFAULTS, EmatCLI
from mnemic_ask.options import CONFIGS
from mnemic_kit.training import run_training
from mnemic_retrieval.emat import Emat, EmatConfig, emat_serial
from mnemic_retrieval.t5 import T5Config

NAMES = sorted(path.stem for path in CONFIGS.glob("emat_*.yaml"))


def main(program: str, arguments: list[str]) -> EmatCLI:
    return run_training(EmatCLI, EmatTask, EmatData, program, arguments, CONFIGS, TRAINER_DEFAULTS)


@cache
def parse(name: str) -> dict[str, Any]:
    return parse_config(main, EmatCLI, name).config["fit"].as_dict()


def network(given: dict[str, Any]) -> EmatConfig:
    config = given["model"]["config"]
    return EmatConfig(**config | {"t5": T5Config(**config["t5"])})


@pytest.mark.parametrize("name", NAMES)
def test_a_config_names_itself_and_its_system(name: str) -> None:
    given = parse(name)
    assert given["system"] == "emat"
    assert given["trainer"]["default_root_dir"] == f"runs/{name}"
    assert given["data"]["vocabulary"]["size"] <= network(given).t5.vocab_size


@pytest.mark.parametrize("name", ["emat_paq_pretrain", "emat_nq"])
def test_the_released_recipe(name: str) -> None:
    given = parse(name)
    model, data, trainer = given["model"], given["data"], given["trainer"]
    is_first = model["stage"] == "pretrain"
    assert network(given) == emat_serial()
    assert (model["lr"], model["warmup_steps"], model["schedule"]) == (5e-5, 5000 if is_first else 1000, "linear")
    assert data["batch_size"] * trainer["accumulate_grad_batches"] == 256
    assert (trainer["max_epochs"], given["seed_everything"]) == (5 if is_first else 30, 42)
    mining = model["mining"]
    assert (mining["local_size"], mining["positive_top"], mining["negative_top"]) == (384, 128, 200)
    assert (mining["num_positives"], mining["num_negatives"], model["self_prob"]) == (5, 32, 0.1)


def test_the_small_network_stays_small() -> None:
    with torch.device("meta"):
        model = Emat(network(parse("emat_wordnet")))
    assert sum(each.numel() for each in model.parameters()) < 1_500_000
