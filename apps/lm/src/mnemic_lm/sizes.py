"""Networks of equal size: the parameters of a memory are taken from the feed-forward blocks."""

from contextlib import suppress
from dataclasses import replace

import torch

from mnemic_core import MemoryConfig, TransformerConfig
from mnemic_core.errors import UserError
from mnemic_lm.model import LanguageModel, LanguageModelConfig, ProductKeyConfig

TOLERANCE = 0.01


def match_size(
    transformer: TransformerConfig, vocab_size: int, product_keys: ProductKeyConfig | None = None
) -> TransformerConfig:
    """Return the configuration with the ``ffn_dim`` that makes the network as large as one without memory.

    Args:
        transformer: sizes and memory; its ``ffn_dim`` is that of the network without memory.
        vocab_size: number of tokens.
        product_keys: sizes of the product-key memory, which counts as a memory.

    Raises:
        UserError: if no feed-forward width comes within 1 % of the parameters.

    Example:
        >>> config = TransformerConfig(dim=16, num_layers=2, num_heads=2, ffn_dim=64, memory=MemoryConfig("window"))
        >>> match_size(config, vocab_size=257).ffn_dim
        55
    """
    plain = replace(transformer, memory=MemoryConfig(), memory_layers=None)
    target = count_parameters(plain, vocab_size)
    # The number of parameters is linear in the width, so that two widths determine all others.
    narrowest, second = (
        count_parameters(with_ffn(transformer, ffn_dim), vocab_size, product_keys) for ffn_dim in (1, 2)
    )
    per_unit, name = second - narrowest, transformer.memory.name
    if not per_unit:
        raise UserError(f"the size of {name!r} does not depend on ffn_dim; train it without match_size")
    ffn_dim = 1 + round((target - narrowest) / per_unit)
    if ffn_dim < 1 or abs(narrowest + (ffn_dim - 1) * per_unit - target) > TOLERANCE * target:
        raise UserError(
            f"no ffn_dim gives {name!r} about {target} parameters, it has {narrowest} without feed-forward; "
            "give it fewer layers (memory_layers) or a smaller memory"
        )
    return with_ffn(transformer, ffn_dim)


def choose_memory_layers(transformer: TransformerConfig) -> tuple[int, ...] | None:
    """Return the blocks that get the memory: all (None), every second one, or the middle one alone.

    It is the first of these with which the feed-forward blocks keep half of their width at equal size.

    Example:
        >>> choose_memory_layers(TransformerConfig(ffn_dim=512, memory=MemoryConfig("slot_attention")))
        (2,)
    """
    middle = (transformer.num_layers // 2,)
    for layers in (None, tuple(range(1, transformer.num_layers, 2))):
        with suppress(UserError):
            # One token: the vocabulary is the same with and without memory.
            if 2 * match_size(replace(transformer, memory_layers=layers), 2).ffn_dim >= transformer.ffn_dim:
                return layers
    return middle


def with_ffn(transformer: TransformerConfig, ffn_dim: int) -> TransformerConfig:
    """Return the configuration with another feed-forward width; a memory that is a complete stack has its own."""
    memory = transformer.memory
    if "ffn_dim" in memory.mechanism.options:
        return replace(transformer, memory=MemoryConfig(memory.name, {**memory.options, "ffn_dim": ffn_dim}))
    return replace(transformer, ffn_dim=ffn_dim)


def count_parameters(
    transformer: TransformerConfig, vocab_size: int, product_keys: ProductKeyConfig | None = None
) -> int:
    """Return the number of parameters of a language model; the random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        return LanguageModel(LanguageModelConfig(transformer, vocab_size, product_keys)).num_parameters
