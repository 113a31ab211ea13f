"""Network and localizer settings of a training config, for commands that do not train."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from mnemic_actions.options import CONFIGS
from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError
from mnemic_kit.configs import find_config, read_section
from mnemic_vision.matr import EmissionRule, LocalizerSettings, MatrConfig
from mnemic_vision.matr.data.annotations import read_annotation_file


def read_network_config(name: str, annotations: Path | None = None) -> tuple[MatrConfig, LocalizerSettings]:
    """Return the sizes of the network and the settings of the localizer in a packaged or own config.

    Args:
        name: of the config.
        annotations: ActivityNet-style json whose labels are the classes, in alphabetic order; None: the classes are
            those of the config.

    Raises:
        FileNotFoundError: there is no such config or annotation file.
        UserError: a setting is unknown, of the wrong type or out of range, or no classes are named.
    """
    path = find_config(name, CONFIGS)
    settings = read_section(path, "model", "settings")
    data = read_section(path, "data")  # with which training shares classes and inputs
    classes = settings.get("classes") or data.get("classes")
    if annotations is not None:
        classes = list(read_annotation_file(annotations, ignored_labels=("Ambiguous",)).classes)
    if not classes:
        raise UserError(f"{path} names no classes: give --annotations, such as thumos14_v2.json")
    sizes: dict[Any, Any] = read_section(path, "model", "config") | {"num_classes": len(classes)}
    config = deserialize(MatrConfig, sizes, path, "model.config")
    inputs = settings.get("inputs") or data.get("inputs") or {"kind": "plain", "channels": config.num_features}
    settings |= {"classes": classes, "inputs": inputs}
    return config, deserialize(LocalizerSettings, settings, path, "model.settings")


def as_released(config: MatrConfig, settings: LocalizerSettings) -> tuple[MatrConfig, LocalizerSettings]:
    """Return the settings with which released weights give what the released code gives.

    Except for instances that end before they start, which the released code keeps: result files have none.
    """
    network = replace(config, masks_empty=False, keeps_newest=False, standardizes=False)
    rule: EmissionRule = replace(settings.rule, horizon=None)
    return network, replace(settings, rule=rule)
