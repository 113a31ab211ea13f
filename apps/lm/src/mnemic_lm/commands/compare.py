"""``mnemic-lm compare``: bits per byte of several memories at equal size and training budget."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mnemic_core.errors import UserError
from mnemic_core.listing import lists_memories, memory_names
from mnemic_kit.configs import find_config
from mnemic_kit.experiment import Comparison, Metric, Run, Scores, Variant
from mnemic_kit.output import dumps

MEMORIES = Path(__file__).parent.parent / "memories.yaml"
METRICS = {
    "bits_per_byte": Metric("bits per byte", "lower", digits=3),
    "off": Metric("memory off", "lower", digits=3),
    "shuffled": Metric("memory of another text", "lower", digits=3),
    "parameters": Metric("parameters", None, digits=0),
    "ffn_dim": Metric("FFN width", None, digits=0),
    "state_bytes": Metric("state bytes", None, digits=0),
}
LOOKS_AHEAD = "What it recalls depends on later tokens of the segment: too good by an unknown amount."
_KEYS = {"memory", "options", "memory_layers", "product_keys"}


@lists_memories(lambda entry: entry.fits_causal_model)
def compare(
    config: str = "shakespeare_bytes",
    memories: Sequence[str] = (),
    seeds: Sequence[int] = (0, 1),
    out: Path = Path("runs/compare"),
    variants: Path = MEMORIES,
    options: Sequence[str] = (),
    json: bool = False,
) -> None:
    """Train each memory with each seed, all else equal, and write a table.

    The feed-forward width of each network is computed so that all have as many parameters as the one without memory.
    Finished runs are kept, a killed one is resumed, and another call with other memories or seeds adds to the table.

    Args:
        config: config of the runs; its own memory does not matter.
        memories: memories to compare, those of the file of variants by default, or of {memories}.
            The baseline is none, or the first.
        seeds: seeds of each.
        out: folder for the runs, compare.json, compare.md and compare.png.
        variants: file that says how large each memory is; the packaged one is for networks of width 128.
        options: further options of fit, such as ["--trainer.max_steps=100"]; those for one memory alone begin with
            its name, such as window:--model.lr=0.001.
        json: print one JSON object as the last line.
    """
    from mnemic_lm.commands import train

    known = read_variants(variants)
    chosen = [make_variant(memory, known) for memory in memories or known]
    path = find_config(config, train.CONFIGS)
    Comparison("mnemic-lm", out, chosen, seeds, METRICS, path, options).run(score, as_json=json)


def make_variant(memory: str, known: Mapping[str, dict[str, Any]]) -> Variant:
    """Return a memory as a variant: that of the file, else the memory of the catalogue in a usual size.

    Raises:
        UserError: if neither knows the memory.
    """
    from mnemic_core import find_mechanism

    found = choose_variant(memory, known)
    is_causal = find_mechanism(found["memory"]).is_causal
    return Variant(memory, variant_arguments(found), "" if is_causal else LOOKS_AHEAD)


def choose_variant(memory: str, known: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the keys of a variant with all that choose a memory."""
    from mnemic_core import Sizes, find_mechanism

    if memory in known:
        return {"memory": memory, **known[memory]}
    fitting = memory_names(lambda entry: entry.fits_causal_model)
    if memory not in fitting:
        raise UserError(f"memories must be among {', '.join(sorted({*known, *fitting}))}, got {memory!r}")
    sizes = Sizes(dim=128, stored=64, segment_length=16, num_layers=4, num_heads=4)
    return {"memory": memory, "options": find_mechanism(memory).sized(sizes)}


def read_variants(path: Path) -> dict[str, dict[str, Any]]:
    """Return the variants of a file by their names.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if the file is malformed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file of variants at {path}")
    try:
        known = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML: {error}") from error
    if not isinstance(known, dict):
        raise UserError(f"{path} must map names of variants to what they are")
    for memory, variant in known.items():
        if unknown := (variant or {}).keys() - _KEYS:
            raise UserError(f"{path.name}: {memory} has unknown {', '.join(sorted(unknown))}, expected {sorted(_KEYS)}")
    return {memory: variant or {} for memory, variant in known.items()}


def variant_arguments(variant: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options of fit that choose a memory, whatever the config chooses."""
    memory = {"name": variant["memory"], "options": variant.get("options", {})}
    layers, keys = (dumps(variant.get(name)) for name in ("memory_layers", "product_keys"))
    return (
        f"--model.transformer.memory={dumps(memory)}",
        f"--model.transformer.memory_layers={layers}",
        f"--model.product_keys={keys}",
        "--model.match_size=true",
    )


def score(run: Run, conditions: Sequence[str]) -> Scores:
    """Train one network and score its last state on the validation text."""
    from mnemic_lm.checkpoints import LanguageCheckpoint
    from mnemic_lm.commands import train
    from mnemic_lm.evaluation import memory_worth
    from mnemic_lm.text import read_corpus

    fitted = run.fit(train.main)
    data, device = fitted.datamodule, fitted.trainer.strategy.root_device
    loaded = LanguageCheckpoint.load(run.folder / "checkpoints" / "last.ckpt").to(device)
    if not data.sources["val"]:
        raise UserError("to compare takes a validation text: give the config data.val")
    corpus = read_corpus(data.sources["val"], loaded.codec)
    found = memory_worth(loaded.model, corpus, data.segment_length, data.batch_size, shuffled=True)
    found["parameters"] = float(loaded.model.num_parameters)
    found["ffn_dim"] = float(loaded.model.config.transformer.ffn_dim)
    found["state_bytes"] = float(loaded.model.init_state(1).nbytes)
    return dict.fromkeys(conditions, found)
