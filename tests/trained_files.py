"""What training saves, as far as loading a checkpoint reads it."""

from typing import Any

from mnemic_core.checkpoint import KEY, Checkpoint


def training_content(checkpoint: Checkpoint[Any, Any]) -> dict[str, Any]:
    """Return the content of a Lightning checkpoint with the weights and the header of ours."""
    weights = {f"model.{name}": value for name, value in checkpoint.model.state_dict().items()}
    return {"state_dict": weights, "epoch": 1, KEY: checkpoint.header()}
