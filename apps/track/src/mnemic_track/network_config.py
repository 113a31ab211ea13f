"""Network and tracker settings of a training config, for commands that do not train."""

from mnemic_core.deserialize import deserialize
from mnemic_kit.configs import find_config, read_section
from mnemic_track.options import CONFIGS
from mnemic_vision.memotr import MemotrConfig
from mnemic_vision.memotr.checkpoint import TrackerSettings


def read_network_config(name: str) -> tuple[MemotrConfig, TrackerSettings]:
    """Return the sizes of the network and the settings of the tracker in a packaged or own config.

    As in training, the classes are those of the data.

    Raises:
        FileNotFoundError: there is no such config.
        UserError: a setting is unknown, of the wrong type or out of range.
    """
    path = find_config(name, CONFIGS)
    classes = read_section(path, "data").get("classes", ["person"])
    config = read_section(path, "model", "config") | {"num_classes": len(classes)}
    settings = read_section(path, "model", "settings") | {"classes": classes}
    return (
        deserialize(MemotrConfig, config, path, "model.config"),
        deserialize(TrackerSettings, settings, path, "model.settings"),
    )
