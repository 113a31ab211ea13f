"""Which checkpoint to run, on which device and with which memory."""

from dataclasses import replace
from pathlib import Path

from mnemic_core import MemoryConfig
from mnemic_core.errors import UserError
from mnemic_kit.devices import Device, find_device
from mnemic_track.options import Switch
from mnemic_vision.memotr import AppearanceSettings, Memotr, Tracker, build_memotr
from mnemic_vision.memotr.checkpoint import TrackerCheckpoint, TrackerSettings

_MEMORY = "track_memory.memory."
SHIPPED = Path(__file__).parent / "checkpoints" / "memotr_small.safetensors"


def open_tracker(
    checkpoint: Path | None = None,
    *,
    memory: str | None = None,
    max_size: int | None = None,
    score: float | None = None,
    appearance: Switch | None = None,
    device: Device = "auto",
) -> tuple[Tracker, TrackerSettings]:
    """Return a tracker that runs a checkpoint, and its settings.

    Args:
        checkpoint: a file of `TrackerCheckpoint.save` or a Lightning checkpoint; None: the shipped one.
        memory: another long-term memory with the same weights; None: the one it was trained with.
        max_size: longer side of the network's input in pixels; None: that of the checkpoint.
        score: tracks are shown from this score on; None: that of the checkpoint.
        appearance: ``on`` or ``off``: give lost objects their identity back by how they look; None: as the checkpoint.
        device: where to run; ``auto`` takes a GPU where there is one.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        UserError: the checkpoint cannot be used, or an option has no meaning.
    """
    if checkpoint is None and not SHIPPED.is_file():
        raise FileNotFoundError(
            f"the shipped checkpoint {SHIPPED} is absent: run make train-demo, or give --checkpoint"
        )
    loaded = TrackerCheckpoint.load(checkpoint or SHIPPED)
    model, settings = loaded.model, loaded.settings
    if memory is not None and memory != model.config.memory.name:
        model = with_memory(model, memory)
    if max_size is not None:
        if max_size < 32:
            raise UserError(f"--max_size must be at least 32 pixels, got {max_size}")
        # Images keep their aspect ratio: the shorter side may not exceed the longer.
        settings = replace(settings, short_side=min(settings.short_side, max_size), long_side=max_size)
    if score is not None:
        if not 0 <= score <= 1:
            raise UserError(f"--score must be between 0 and 1, got {score}")
        settings = replace(settings, thresholds=replace(settings.thresholds, result=score))
    if appearance is not None:
        settings = replace(settings, appearance=AppearanceSettings() if appearance == "on" else None)
    return TrackerCheckpoint(model.to(find_device(device)), settings, loaded.provenance).tracker(), settings


def with_memory(model: Memotr, memory: str) -> Memotr:
    """Return a network with the same weights and another long-term memory.

    Raises:
        UserError: there is no such memory, or it has weights of its own, which only training gives it.
    """
    changed = build_memotr(replace(model.config, memory=MemoryConfig(memory)))
    if any(True for _ in changed.track_memory.memory.parameters()):
        raise UserError(f"memory {memory!r} has weights of its own: train a network with it")
    weights = model.state_dict()
    changed.load_state_dict({name: value for name, value in weights.items() if not name.startswith(_MEMORY)})
    return changed.eval()
