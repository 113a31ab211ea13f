"""How much a trained network reads from its memory, and from how many slots."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_vision.memmc_mae.draws import Draws
from mnemic_vision.memmc_mae.model import MemMcMae


@dataclass(frozen=True)
class MemoryUse:
    """Reads of persistent slots, mean over the blocks of the encoder.

    Attributes:
        share: of the attention of all tokens that goes to slots, 0 to 1.
        slots: effective number of slots that are read, the exponential of the entropy of their shares: 1 if all reads
            are of one slot, the number of slots if all are read equally.
    """

    share: float
    slots: float


@torch.no_grad()
def measure_memory_use(
    model: MemMcMae, images: Iterable[Float[Tensor, "_ channel height width"]], draws: Draws
) -> MemoryUse | None:
    """Return how a network reads its memory while it reconstructs images; None without persistent slots.

    Args:
        model: the network.
        images: batches of `prepare`.
        draws: masks.
    """
    if model.config.memory.name != "persistent":
        return None
    device = model.positions.device
    totals = []  # of each batch: block slot
    tokens = 0
    for batch in images:
        visible = draws.visible.to(device).expand(batch.shape[0], -1, -1)
        weights = model.slot_weights(model.target(batch.to(device)), visible)  # batch draw block token slot
        totals.append(weights.double().sum((0, 1, 3)))
        tokens += weights[..., 0, :, 0].numel()
    if not tokens or not totals[0].shape[1]:
        return None
    mass = torch.stack(totals).sum(0) / tokens  # block slot
    of_slots = mass / mass.sum(1, keepdim=True)
    return MemoryUse(float(mass.sum(1).mean()), float(torch.special.entr(of_slots).sum(1).exp().mean()))
