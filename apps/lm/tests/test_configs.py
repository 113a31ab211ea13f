from pathlib import Path

import pytest
import yaml

from mnemic_lm.commands.train import CONFIGS, TRAINER_DEFAULTS, LanguageCLI
from mnemic_lm.datamodule import TextData
from mnemic_lm.task import LanguageTask


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_packaged_configs_are_valid(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["trainer"]["default_root_dir"] == f"runs/{path.stem}"
    built = LanguageCLI(
        LanguageTask,
        TextData,
        args=[f"--config={path}", "--trainer.accelerator=cpu"],
        run=False,
        trainer_defaults=TRAINER_DEFAULTS,
        seed_everything_default=0,
        auto_configure_optimizers=False,
    )
    assert built.model.model.config.transformer.memory.name == "transformer_xl"
    assert all(path.name.endswith(".txt.gz") for paths in built.datamodule.sources.values() for path in paths)
