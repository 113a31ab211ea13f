"""``mnemic-lm compare``: what is each memory worth? Several seeds, one budget, equal size."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml
from rich.console import Console

from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.training import fit_or_resume
from mnemic_lm.checkpoints import load_checkpoint
from mnemic_lm.commands import train
from mnemic_lm.evaluation import memory_worth
from mnemic_lm.model import looks_ahead
from mnemic_lm.plots import plot_comparison
from mnemic_lm.text import read_corpus

Scores = dict[str, float]

MEMORIES = Path(__file__).parent.parent / "memories.yaml"
LISTED = (
    *("none", "transformer_xl", "memory_tokens", "slot_attention", "hierarchical", "gated_fifo", "neighbours"),
    *("product_key", "surprise"),
)
SCORES = ("bits_per_byte", "off", "shuffled")
_KEYS = {"memory", "memory_options", "memory_layers", "product_keys"}


def compare(
    config: str = "shakespeare_bytes",
    memories: Sequence[str] = LISTED,
    seeds: Sequence[int] = (0, 1),
    out: Path = Path("runs/compare"),
    variants: Path = MEMORIES,
    options: Sequence[str] = (),
) -> None:
    """Train each memory with each seed, all else equal, and write a table.

    The feed-forward width of each network is computed so that all have as many parameters as the one without memory.
    Runs that are finished are not repeated, and one that was killed goes on where it was: call it again.

    Args:
        config: config of the runs; its own memory does not matter.
        memories: memories to compare, by their names in the file of variants.
        seeds: seeds of each.
        out: folder for the runs, comparison.json, comparison.md and comparison.png.
        variants: file that says how large each memory is; the packaged one is for networks of width 128.
        options: further options of fit, such as ["--trainer.max_steps=100"].
    """
    chosen = {memory: variant_arguments(read_variant(memory, variants)) for memory in memories}
    out.mkdir(parents=True, exist_ok=True)
    table: dict[str, list[Scores]] = {memory: [] for memory in memories}
    for seed in seeds:
        for memory, arguments in chosen.items():
            common = [f"--config={config}", f"--seed_everything={seed}", *options, *arguments]
            table[memory].append(run_once(common, out / f"{memory}-{seed}"))
            with atomic_write(out / "comparison.json") as file:
                facts = {"config": config, "seeds": list(seeds), "options": list(options), "scores": table}
                json.dump(facts, file, indent=1)
    with atomic_write(out / "comparison.md") as file:
        file.write(markdown(table))
    plot_comparison(table, out / "comparison.png")
    Console().print(markdown(table), markup=False, highlight=False, soft_wrap=True)


def read_variant(memory: str, path: Path) -> dict[str, Any]:
    """Return the sizes of a memory.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if the file is malformed or does not name the memory.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file of variants at {path}")
    try:
        known = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML: {error}") from error
    if not isinstance(known, dict) or memory not in known:
        raise UserError(f"memories must be among {', '.join(map(str, known or ()))} of {path.name}, got {memory!r}")
    found = {"memory": memory, **(known[memory] or {})}
    if unknown := found.keys() - _KEYS:
        raise UserError(f"{path.name}: {memory} has unknown {', '.join(sorted(unknown))}, expected {sorted(_KEYS)}")
    return found


def variant_arguments(variant: Mapping[str, Any]) -> list[str]:
    """Return the options of fit that choose a memory, whatever the config chooses."""
    options, layers, keys = (
        json.dumps(variant.get(name, nothing))
        for name, nothing in (("memory_options", {}), ("memory_layers", None), ("product_keys", None))
    )
    return [
        f"--model.transformer.memory={variant['memory']}",
        f"--model.transformer.memory_options={options}",
        f"--model.transformer.memory_layers={layers}",
        f"--model.product_keys={keys}",
        "--model.match_size=true",
    ]


def run_once(arguments: list[str], folder: Path) -> Scores:
    """Train one network, or take what an earlier call found; return the scores of its last state."""
    result, last = folder / "scores.json", folder / "checkpoints" / "last.ckpt"
    if not result.exists():
        run = fit_or_resume(train.main, arguments, folder)
        loaded = load_checkpoint(last, "cuda" if run.trainer.strategy.root_device.type == "cuda" else "cpu")
        data = run.datamodule
        if not data.paths["val"]:
            raise UserError("to compare takes a validation text: give the config data.val")
        corpus = read_corpus(data.paths["val"], loaded.codec)
        scores: Scores = memory_worth(loaded.model, corpus, data.segment_length, data.batch_size, shuffled=True)
        scores |= {
            "parameters": loaded.model.num_parameters,
            "ffn_dim": loaded.model.config.ffn_dim,
            "looks_ahead": looks_ahead(loaded.model.config.memory),
            "state_bytes": loaded.model.init_state(1).nbytes,
        }
        with atomic_write(result) as file:
            json.dump(scores, file)
    found: Scores = json.loads(result.read_text())
    return found


def markdown(table: Mapping[str, Sequence[Scores]]) -> str:
    """Return the bits per byte of each memory: mean and standard deviation, and of each seed."""
    lines = [
        "| memory | bits per byte | memory off | memory of another text | of each seed | parameters | state bytes |",
        "|---|---|---|---|---|---|---|",
    ]
    for memory, runs in table.items():
        name = f"{memory} (*)" if runs[0]["looks_ahead"] else memory
        cells = [_spread([run[score] for run in runs]) for score in SCORES]
        singles = ", ".join(f"{run['bits_per_byte']:.3f}" for run in runs)
        sizes = f"{runs[0]['parameters']:,} | {runs[0]['state_bytes']:,}"
        lines.append(f"| {name} | {' | '.join(cells)} | {singles} | {sizes} |")
    if any(run["looks_ahead"] for runs in table.values() for run in runs):
        lines += ["", "(*) What it recalls depends on later tokens of the segment: too good by an unknown amount."]
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"
