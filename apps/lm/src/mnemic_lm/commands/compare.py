"""``mnemic-lm compare``: bits per byte of several memories at equal size and training budget."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mnemic_core.errors import UserError
from mnemic_core.listing import memory_names
from mnemic_kit.configs import find_config, read_section
from mnemic_kit.experiment import Comparison, Metric, Run, Scores, Variant
from mnemic_kit.output import dumps
from mnemic_kit.parse import OneOf

if TYPE_CHECKING:
    from mnemic_core import MemoryConfig

PRODUCT_KEYS = "product_key"  # a layer without state, which every language model has a place for
MEMORIES = (
    *("none", "window", "transformer_xl", "neighbours", "gated_fifo", "memory_tokens", "slot_attention"),
    *("hierarchical", "surprise", PRODUCT_KEYS),
)
METRICS = {
    "bits_per_byte": Metric("bits per byte", "lower", digits=3),
    "off": Metric("memory off", "lower", digits=3),
    "shuffled": Metric("memory of another text", "lower", digits=3),
    "parameters": Metric("parameters", None, digits=0),
    "ffn_dim": Metric("FFN width", None, digits=0),
    "state_bytes": Metric("state bytes", None, digits=0),
}
LOOKS_AHEAD = "What it recalls depends on later tokens of the segment: too good by an unknown amount."


def memory_choices() -> tuple[str, ...]:
    """Return the names of all memories that a language model can have."""
    return memory_names(lambda entry: entry.fits_causal_model or entry.name == PRODUCT_KEYS)


def compare(
    config: str = "shakespeare_bytes",
    memories: Sequence[Annotated[str, OneOf(memory_choices)]] = MEMORIES,
    seeds: Sequence[int] = (0, 1),
    out: Path = Path("runs/compare"),
    options: Sequence[str] = (),
    json: bool = False,
) -> None:
    """Train each memory with each seed, all else equal, and write a table.

    Each memory stores about as many vectors as a segment has tokens, where it has such a size. The feed-forward width
    of each network is computed so that all have as many parameters as the one without memory. Finished runs are kept,
    a killed one is resumed, and another call with other memories or seeds adds to the table.

    Args:
        config: config of the runs; its own memory does not matter.
        memories: memories to compare; the baseline is none, or the first.
        seeds: seeds of each.
        out: folder for the runs, compare.json, compare.md and compare.png.
        options: further options of fit as a JSON list, such as ["--trainer.max_steps=100"]; those for one memory alone
            begin with its name, such as window:--model.transformer.memory.options.capacity=64.
        json: print one JSON object as the last line.
    """
    from mnemic_lm.commands import train

    path = find_config(config, train.CONFIGS)
    variants = [make_variant(memory, path) for memory in memories]
    Comparison("mnemic-lm", out, variants, seeds, METRICS, path, options).run(score, as_json=json)


def make_variant(memory: str, config: Path) -> Variant:
    """Return the variant of a memory with the sizes of its catalogue entry for the network of a config."""
    from mnemic_core import MemoryConfig, Sizes, TransformerConfig, find_mechanism
    from mnemic_core.deserialize import deserialize
    from mnemic_lm.sizes import choose_memory_layers

    section = read_section(config, "model", "transformer")
    transformer: TransformerConfig = deserialize(TransformerConfig, section, config, "model.transformer")
    if memory == PRODUCT_KEYS:
        # The values have a quarter of the parameters of the feed-forward blocks.
        sub_keys = isqrt(transformer.num_layers * transformer.ffn_dim // 2)
        keys = {"sub_keys": sub_keys, "num_heads": 2, "k": min(16, sub_keys), "key_dim": 64}
        return Variant(memory, fit_arguments(MemoryConfig(), None, keys))
    length = read_section(config, "data").get("segment_length", 128)
    sizes = Sizes(transformer.dim, length, length, transformer.num_layers, transformer.num_heads)
    chosen = MemoryConfig(memory, find_mechanism(memory).sized(sizes))
    layers = choose_memory_layers(replace(transformer, memory=chosen))
    return Variant(memory, fit_arguments(chosen, layers, None), "" if chosen.mechanism.is_causal else LOOKS_AHEAD)


def fit_arguments(
    memory: "MemoryConfig", layers: Sequence[int] | None, product_keys: Mapping[str, Any] | None
) -> tuple[str, ...]:
    """Return the options of fit that choose a memory and override the config."""
    return (
        f"--model.transformer.memory={dumps(vars(memory))}",
        f"--model.transformer.memory_layers={dumps(layers)}",
        f"--model.product_keys={dumps(product_keys)}",
        "--model.match_size=true",
    )


def score(run: Run, conditions: Sequence[str]) -> Scores:
    """Train one network and score its last state on the validation text."""
    from mnemic_lm.checkpoints import LanguageCheckpoint
    from mnemic_lm.commands import train
    from mnemic_lm.evaluation import score_memory
    from mnemic_lm.text import read_corpus

    fitted = run.fit(train.main)
    data, device = fitted.datamodule, fitted.trainer.strategy.root_device
    loaded = LanguageCheckpoint.load(run.checkpoint).to(device)
    if not data.sources["val"]:
        raise UserError("to compare takes a validation text: give the config data.val")
    corpus = read_corpus(data.sources["val"], loaded.codec)
    found = score_memory(loaded.model, corpus, data.segment_length, data.batch_size, shuffled=True)
    found["parameters"] = float(loaded.model.num_parameters)
    found["ffn_dim"] = float(loaded.model.config.transformer.ffn_dim)
    found["state_bytes"] = float(loaded.model.init_state(1).nbytes)
    return dict.fromkeys(conditions, found)
