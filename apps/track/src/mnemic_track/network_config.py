"""Network and tracker settings of a training config, for commands that do not train."""

from typing import Any

import yaml
from jsonargparse import ArgumentParser

from mnemic_kit.configs import find_config
from mnemic_track.options import CONFIGS
from mnemic_vision.memotr import MemotrConfig
from mnemic_vision.memotr.checkpoint import TrackerSettings


def read_network_config(name: str) -> tuple[MemotrConfig, TrackerSettings]:
    """Return the sizes of the network and the settings of the tracker in a packaged or own config.

    As in training, the classes are those of the data.

    Raises:
        FileNotFoundError: there is no such config.
        ArgumentError: of jsonargparse; a setting is unknown or of the wrong type.
    """
    content: dict[str, Any] = yaml.safe_load(find_config(name, CONFIGS).read_text())
    model, classes = content.get("model", {}), content.get("data", {}).get("classes", ["person"])
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(MemotrConfig, "config")
    parser.add_class_arguments(TrackerSettings, "settings")
    given = {
        "config": model.get("config", {}) | {"num_classes": len(classes)},
        "settings": model.get("settings", {}) | {"classes": classes},
    }
    # Names, types and ranges are checked as in training.
    chosen = parser.instantiate(parser.parse_object(given))
    return chosen.config, chosen.settings
