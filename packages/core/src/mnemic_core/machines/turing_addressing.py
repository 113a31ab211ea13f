"""Addressing of a Neural Turing Machine stage by stage, reading, writing, and the layout of its heads."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

COSINE_EPS = 1e-8

Order = Literal["reads_first", "pairs"]


class HeadParameters(NamedTuple):
    """Squashed parameters of all heads in one step, heads in the order of use."""

    key: Tensor  # batch head width
    strength: Tensor  # batch head 1, at least 0: beta in the paper
    gate: Tensor  # batch head 1, 0 to 1: share of content against the previous weights
    shift: Tensor  # batch head offset: distribution over the moves -max_shift ... max_shift
    sharpening: Tensor  # batch head 1, at least 1: gamma
    erase: Tensor  # batch write_head width, 0 to 1
    add: Tensor  # batch write_head width


class AddressingStages(NamedTuple):
    """The weights [batch head slot] of every head after each stage of addressing."""

    content: Tensor
    interpolated: Tensor
    shifted: Tensor
    weights: Tensor


def content_weights(
    key: Float[Tensor, "batch head width"],
    strength: Float[Tensor, "batch head 1"],
    memory: Float[Tensor, "batch slot width"],
    *,
    eps: float = COSINE_EPS,
) -> Float[Tensor, "batch head slot"]:
    """Weight slots by similarity to a key: ``softmax(strength * cos(key, slot))``, equations 5 and 6.

    ``eps`` is added to the product of the norms, so that the cosine of a slot of zeros is 0.
    """
    norms = torch.linalg.vector_norm(key, dim=-1, keepdim=True) * torch.linalg.vector_norm(memory, dim=-1)[:, None]
    return torch.softmax(strength * (key @ memory.transpose(1, 2)) / (norms + eps), dim=-1)


def interpolate(
    content: Float[Tensor, "batch head slot"],
    previous: Float[Tensor, "batch head slot"],
    gate: Float[Tensor, "batch head 1"],
) -> Float[Tensor, "batch head slot"]:
    """Mix content weights with those of the previous step: ``gate * content + (1 - gate) * previous``, equation 7."""
    return torch.lerp(previous, content, gate)


def shift_sources(slots: int, max_shift: int, device: torch.device) -> Int[Tensor, " source"]:
    """Return the slot that the weight of each slot comes from, for each move, on a circle of slots."""
    moves = torch.arange(-max_shift, max_shift + 1, device=device)
    return (torch.arange(slots, device=device) - moves[:, None]).remainder(slots).flatten()


def shift_weights(
    weights: Float[Tensor, "batch head slot"], shift: Float[Tensor, "batch head offset"]
) -> Float[Tensor, "batch head slot"]:
    """Shift weights around the circle of slots: ``sum_j weights[(i - j) mod slots] * shift[j]``, equation 8."""
    slots, offsets = weights.shape[-1], shift.shape[-1]
    sources = shift_sources(slots, offsets // 2, weights.device)
    moved: Tensor = weights[..., sources].unflatten(-1, (offsets, slots))  # batch head offset slot
    shifted: Tensor = shift[..., None, :] @ moved
    return shifted.squeeze(-2)


def sharpen(
    weights: Float[Tensor, "batch head slot"], sharpening: Float[Tensor, "batch head 1"]
) -> Float[Tensor, "batch head slot"]:
    """Raise weights to a power and normalize them: ``weights**sharpening / sum(weights**sharpening)``, equation 9."""
    # As a softmax of logarithms the powers cannot underflow, so no epsilon is needed (official code: 1e-16).
    return torch.softmax(sharpening * weights.clamp(min=torch.finfo(weights.dtype).tiny).log(), dim=-1)


def address(
    heads: HeadParameters,
    memory: Float[Tensor, "batch slot width"],
    previous: Float[Tensor, "batch head slot"],
    *,
    eps: float = COSINE_EPS,
) -> AddressingStages:
    """Return the weights of each head after content, interpolation, shift and sharpening.

    Example:
        >>> memory = torch.eye(3)[None]
        >>> one = torch.ones(1, 1, 1)
        >>> forward = torch.tensor([[[0.0, 0.0, 1.0]]])  # all weight moves by +1
        >>> heads = HeadParameters(memory[:, :1], 99 * one, one, forward, one, memory[:, :1], memory[:, :1])
        >>> address(heads, memory, torch.zeros(1, 1, 3)).weights.round()
        tensor([[[0., 1., 0.]]])
    """
    content = content_weights(heads.key, heads.strength, memory, eps=eps)
    interpolated = interpolate(content, previous, heads.gate)
    shifted = shift_weights(interpolated, heads.shift)
    return AddressingStages(content, interpolated, shifted, sharpen(shifted, heads.sharpening))


def read_slots(
    memory: Float[Tensor, "batch slot width"], weights: Float[Tensor, "batch head slot"]
) -> Float[Tensor, "batch head width"]:
    """Return the weighted sum of slots for each head, equation 2."""
    return weights @ memory


def write_slots(
    memory: Float[Tensor, "batch slot width"],
    weights: Float[Tensor, "batch slot"],
    erase: Float[Tensor, "batch width"],
    add: Float[Tensor, "batch width"],
) -> Float[Tensor, "batch slot width"]:
    """Return memory after one head erased and added: ``slot * (1 - weight * erase) + weight * add``, equations 3, 4."""
    return memory + weights[..., None] * (add[:, None] - memory * erase[:, None])


@dataclass(frozen=True)
class HeadLayout:
    """Number and order of the heads, and the layout of their parameters in the controller's output.

    A step is a sequence of groups. The heads of a group address the same memory: ``groups[i]`` heads that read, then
    the ``i``-th head that writes. Parameters with the same squashing function are adjacent, so that four calls squash
    all: ``key add | gate erase | strength sharpening | shift``, each for all heads in the order of use.

    Attributes:
        groups: number of reading heads before each write.
        width: columns of the memory.
        max_shift: largest move in one step.
    """

    groups: tuple[int, ...]
    width: int
    max_shift: int

    @classmethod
    def ordered(cls, order: Order, read_heads: int, write_heads: int, width: int, max_shift: int) -> "HeadLayout":
        """Return the layout of an order: all reads before the writes, or read 0, write 0, read 1, write 1 ..."""
        groups = (read_heads, *[0] * (write_heads - 1)) if order == "reads_first" else (1,) * write_heads
        return cls(groups, width, max_shift)

    @property
    def write_heads(self) -> int:
        """Number of heads that write."""
        return len(self.groups)

    @property
    def read_heads(self) -> int:
        """Number of heads that read."""
        return sum(self.groups)

    @property
    def heads(self) -> int:
        """Number of heads."""
        return self.read_heads + self.write_heads

    @property
    def offsets(self) -> int:
        """Number of moves."""
        return 2 * self.max_shift + 1

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Numbers of parameters that are squashed by tanh, sigmoid, softplus and softmax."""
        added = self.write_heads * self.width
        return self.heads * self.width + added, self.heads + added, 2 * self.heads, self.heads * self.offsets

    def squash(self, raw: Float[Tensor, "*axis parameter"]) -> HeadParameters:
        """Squash the output of a controller into the ranges of head parameters."""
        axes, width = raw.shape[:-1], self.width
        wide, gates, positive, shift = raw.split(self.sizes, -1)
        key, add = wide.tanh().view(*axes, -1, width).split([self.heads, self.write_heads], -2)
        gate, erase = gates.sigmoid().split([self.heads, self.write_heads * width], -1)
        strength, sharpening = F.softplus(positive).view(*axes, 2, self.heads, 1).unbind(-3)
        moves = torch.softmax(shift.view(*axes, self.heads, self.offsets), -1)
        return HeadParameters(key, strength, gate[..., None], moves, sharpening + 1, erase.view(*axes, -1, width), add)

    def cut(self, heads: Shaped[Tensor, "batch head *axis"]) -> tuple[Tensor, ...]:
        """Split a tensor of all heads into the groups."""
        if len(self.groups) == 1:
            return (heads,)
        parts: tuple[Tensor, ...] = heads.split([reads + 1 for reads in self.groups], 1)
        return parts

    def join(
        self, reading: Float[Tensor, "batch read_head slot"], writing: Float[Tensor, "batch write_head slot"]
    ) -> Float[Tensor, "batch head slot"]:
        """Merge weights of reading and writing heads in the order of use."""
        if self._is_grouped_by_kind:
            return torch.cat([reading, writing], 1)
        return torch.stack([reading, writing], 2).flatten(1, 2)

    def part(
        self, weights: Float[Tensor, "batch head slot"]
    ) -> tuple[Float[Tensor, "batch read_head slot"], Float[Tensor, "batch write_head slot"]]:
        """Undo :meth:`join`."""
        if self._is_grouped_by_kind:
            reading, writing = weights[:, : self.read_heads], weights[:, self.read_heads :]
        else:
            reading, writing = weights[:, 0::2], weights[:, 1::2]
        # Views would have other strides than an initial state, which would trigger a recompilation.
        return reading.contiguous(), writing.contiguous()

    @property
    def _is_grouped_by_kind(self) -> bool:
        return self.groups[0] == self.read_heads
