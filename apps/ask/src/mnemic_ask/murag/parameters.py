"""Learning rates of the parts of the network."""

from collections.abc import Iterable
from typing import Any

from torch.nn import Parameter

from mnemic_kit.parameter_groups import decay_groups
from mnemic_retrieval.murag import Murag

_RELEASED = ("encoder.pictures.", "encoder.sentences.", "encoder.tokens.", "encoder.stack.", "decoder.")
_VECTORS = ("encoder.vectors.learned.", "log_temperature")


def parameter_groups(
    model: Murag, lr: float, lr_new: float, lr_vectors: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Return groups for the optimizer.

    Args:
        model: the network.
        lr: of parts into which released weights load.
        lr_new: of parts that always begin at random.
        lr_vectors: of what pictures add to retrieval vectors of summaries, and of the temperature.
        weight_decay: of matrices.
    """
    named = dict(model.named_parameters())
    vectors = [each for name, each in named.items() if name.startswith(_VECTORS)]
    released = [each for name, each in named.items() if name.startswith(_RELEASED)]
    new = [each for name, each in named.items() if not name.startswith((*_VECTORS, *_RELEASED))]
    parts: Iterable[tuple[list[Parameter], float]] = ((released, lr), (new, lr_new), (vectors, lr_vectors))
    return [
        group | {"lr": rate} for part, rate in parts for group in decay_groups(part, weight_decay) if group["params"]
    ]
