"""Initialization that several networks share."""

from torch import nn


def init_xavier(module: nn.Module) -> None:
    """Initialize all matrices of a module by Xavier's uniform distribution, as usual for transformers."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
