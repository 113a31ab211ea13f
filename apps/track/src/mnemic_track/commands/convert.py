"""``mnemic-track convert``: official MeMOTR checkpoints in our format."""

from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.parse import call
from mnemic_kit.provenance import provenance
from mnemic_vision.memotr import Memotr, MemotrConfig, load_official
from mnemic_vision.memotr.checkpoint import TrackerCheckpoint, TrackerSettings


def convert(
    official: Path,
    out: Path,
    config: MemotrConfig = MemotrConfig(),  # noqa: B008  # frozen, and jsonargparse shows its defaults in the help
    settings: TrackerSettings = TrackerSettings(classes=("person",)),  # noqa: B008  # likewise
    half: bool = False,
) -> None:
    """Turn a released MeMOTR checkpoint into a file that every command here runs.

    Args:
        official: the released file, a ``torch.save`` with the weights under the key ``model``.
        out: file to write, ``.safetensors``.
        config: sizes of the network; the defaults are the main DanceTrack model. For the Deformable-DETR variant:
            ``--config.detector deformable --config.ffn_dim 1024``; for BDD100K: ``--config.num_classes 8``.
        settings: thresholds and input size; MOT17: ``--settings.thresholds.miss_tolerance 15``, BDD100K: 10.
        half: store the weights in float16, half the size.
    """
    if out.suffix != ".safetensors":
        raise UserError(f"the converted checkpoint is a .safetensors file, got {out}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"cannot write {out}: the folder {out.parent} does not exist")
    model = Memotr(config)
    load_official(model, official)
    made = provenance("mnemic-track", Path(__file__).parent, converted_from=official.name)
    TrackerCheckpoint(model, settings, made).save(out, half=half)


def main(program: str, arguments: list[str]) -> None:
    """Run the command line."""
    call(convert, program, arguments, as_positional=True)
