"""``mnemic-actions import-weights``: official MATR checkpoints in our format."""

from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.made_files import check_outputs, note_output


def import_weights(
    official: Path, /, out: Path, config: str = "matr_thumos14", annotations: Path | None = None, half: bool = False
) -> None:
    """Turn a released MATR checkpoint into a file that every command here runs.

    The network then does what the released code does: it attends to empty memory, samples its windows from the oldest
    frame and keeps every result. The names of released weights that no computation uses are printed.

    Args:
        official: the released file, a torch.save with the weights under the key state_dict.
        out: file to write, .safetensors.
        config: packaged or own config with the sizes of the network: that of the data set it was trained on.
        annotations: json whose labels name the classes, such as thumos14_v2.json; by default those of the config.
        half: store the weights in float16, half the size.
    """
    if out.suffix != ".safetensors":
        raise UserError(f"the converted checkpoint is a .safetensors file, got {out}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"cannot write {out}: the folder {out.parent} does not exist")
    from mnemic_actions.network_config import as_released, read_network_config
    from mnemic_kit.output import show
    from mnemic_kit.provenance import provenance
    from mnemic_vision.matr import LocalizerCheckpoint, Matr, load_official

    check_outputs(out)
    network, settings = as_released(*read_network_config(config, annotations))
    model = Matr(network)
    unused = load_official(model, official)
    made = provenance("mnemic-actions", converted_from=official.name, config=config)
    LocalizerCheckpoint(model, settings, made).save(out, half=half)
    note_output(out)
    show("\n".join([f"{len(unused)} released weights are not used:", *unused]) if unused else "all weights are used")
