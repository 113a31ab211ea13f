"""``mnemic-track import-weights``: official MeMOTR checkpoints in our format."""

from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.made_files import check_outputs, note_output


def import_weights(official: Path, /, out: Path, config: str = "memotr_dancetrack", half: bool = False) -> None:
    """Turn a released MeMOTR checkpoint into a file that every command here runs.

    Args:
        official: the released file, a ``torch.save`` with the weights under the key ``model``.
        out: file to write, ``.safetensors``.
        config: packaged or own config with the sizes of the network, thresholds, input size and classes: that of the
            data set it was trained on. For the Deformable-DETR variant it has
            ``model: {config: {detector: deformable, ffn_dim: 1024}}``.
        half: store the weights in float16, half the size.
    """
    if out.suffix != ".safetensors":
        raise UserError(f"the converted checkpoint is a .safetensors file, got {out}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"cannot write {out}: the folder {out.parent} does not exist")
    from mnemic_kit.provenance import provenance
    from mnemic_track.network_config import read_network_config
    from mnemic_vision.memotr import build_memotr, load_official
    from mnemic_vision.memotr.checkpoint import TrackerCheckpoint

    check_outputs(out)
    network, settings = read_network_config(config)
    model = build_memotr(network)
    load_official(model, official)
    made = provenance("mnemic-track", converted_from=official.name, config=config)
    TrackerCheckpoint(model, settings, made).save(out, half=half)
    note_output(out)
