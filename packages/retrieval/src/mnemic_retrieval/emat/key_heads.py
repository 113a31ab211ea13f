"""From the hidden states of a text to the slots of its key."""

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_retrieval.emat.config import EmatConfig


class ConvolutionHead(nn.Module):
    """A convolution of width 3, the mean of its positive part, and a linear layer to all slots.

    Args:
        config: sizes.
    """

    def __init__(self, config: EmatConfig) -> None:
        super().__init__()
        dim = config.t5.dim
        self.num_slots = config.prefix_length
        self.convolution = nn.Conv1d(dim, dim, 3, padding="same", bias=False)
        self.output = nn.Linear(dim, config.prefix_length * dim, bias=False)

    def forward(
        self, hidden: Float[Tensor, "batch token dim"], padding: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch slot dim"]:
        """Return the slots."""
        valid = ~padding[..., None]
        found = F.relu(self.convolution((hidden * valid).mT).mT) * valid
        mean = found.sum(1) / valid.sum(1)
        slots: Tensor = self.output(mean).unflatten(-1, (self.num_slots, -1))
        return slots


class PrefixHead(nn.Module):
    """The hidden states of the prefix, through a linear layer over all of them where wanted.

    Args:
        config: sizes.
        is_linear: whether there is a linear layer.
    """

    def __init__(self, config: EmatConfig, *, is_linear: bool) -> None:
        super().__init__()
        width = config.prefix_length * config.t5.dim
        self.num_slots = config.prefix_length
        self.output = nn.Linear(width, width, bias=False) if is_linear else None

    def forward(
        self, hidden: Float[Tensor, "batch token dim"], padding: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch slot dim"]:
        """Return the slots."""
        del padding  # never in the prefix
        prefix = hidden[:, : self.num_slots]
        if self.output is None:
            return prefix
        slots: Tensor = self.output(prefix.flatten(1)).view_as(prefix)
        return slots


def build_key_head(config: EmatConfig) -> nn.Module:
    """Return the head that the config names."""
    if config.key_head == "conv":
        return ConvolutionHead(config)
    return PrefixHead(config, is_linear=config.key_head == "linear")
