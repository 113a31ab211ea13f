"""Processor time until a program answers: help pages, and the first result of ``run``, against ``import torch``.

Each figure is the median over several new processes, user and system time together, on one thread. ``ready`` is the
first call of a command minus a second call in the same process: all that happens once, above all imports. Both calls
read the weights, so that these do not count. Tracking stops before it writes its first frame. Stored help pages are
created by an extra call.

    python benchmarks/startup.py --repeat 5 --before ../before/.venv/bin/python --write
"""

import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common.report import run

from mnemic_core.markdown import markdown_table

COMMANDS = """
import json, sys
from importlib.metadata import entry_points
found = [entry.load().__self__ for entry in entry_points(group="console_scripts") if entry.name.startswith("mnemic-")]
print(json.dumps({program.name: list(program.commands) for program in found}))
"""
# The second call repeats the work for each video or recording; the difference is the work done once.
TWICE = """
import contextlib, io, sys, time
from importlib import import_module
main = import_module(sys.argv[1].replace("-", "_") + ".cli").main
if sys.argv[1] == "mnemic-track":
    from mnemic_vision.video import VideoWriter
    VideoWriter.write = lambda *_: sys.exit(0)
spent = []
for call in range(2):
    before = time.process_time() if call else 0.0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main([word.replace("{call}", str(call)) for word in sys.argv[2:]])
        except SystemExit as request:
            assert request.code == 0, request.code
    spent.append(time.process_time() - before)
print(spent[0] - spent[1])
"""
SAMPLES = """
import sys
from pathlib import Path
import numpy as np, soundfile
from PIL import Image
folder = Path(sys.argv[1])
(folder / "images").mkdir()
Image.fromarray(np.zeros((96, 128, 3), np.uint8)).save(folder / "images" / "000001.png")
soundfile.write(folder / "silence.wav", np.zeros(8000), 8000)
(folder / "text.txt").write_text(50 * "the memory of a text ")
"""
PAGES = (" validate --help", " test --help", " predict --help")
TINY_FIT = [
    *("--data.train", "[text.txt]", "--data.batch_size", "2", "--data.segment_length", "8"),
    *("--trainer.max_steps", "1", "--trainer.accelerator", "cpu", "--trainer.default_root_dir", "run"),
]


def cpu_seconds(command: Sequence[str], folder: Path) -> tuple[float, str]:
    """Return processor time and output of a process."""
    # Of all children that ended; this one is the only one in between.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]} failed: {done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def plan(python: Path, folder: Path) -> dict[str, list[str]]:
    """Return the commands to measure of an installation, by name."""
    commands = json.loads(cpu_seconds([str(python), "-c", COMMANDS], folder)[1])
    cpu_seconds([str(python), "-c", SAMPLES, str(folder)], folder)
    cpu_seconds([str(python.with_name("mnemic-lm")), "fit", *TINY_FIT], folder)
    helps = {
        f"{program} {command} --help": [str(python.with_name(program)), command, "--help"]
        for program, names in commands.items()
        for command in names
    }
    twice = [str(python), "-c", TWICE]
    checkpoint = ["--checkpoint", "run/checkpoints/last.ckpt"]
    ready = {
        "mnemic-track run, ready": [*twice, "mnemic-track", "run", "images", "--out", "out{call}"],
        "mnemic-transcribe run, ready": [*twice, "mnemic-transcribe", "run", "silence.wav", "--out", "out{call}"],
        "mnemic-lm generate, ready": [*twice, "mnemic-lm", "generate", *checkpoint, "--tokens", "1", "--prompt", "a"],
    }
    return {"import torch": [str(python), "-c", "import torch"], **helps, **ready}


def measure(python: Path, repeat: int) -> dict[str, float]:
    """Return the median seconds of each command of an installation."""
    with TemporaryDirectory() as name:
        planned = plan(python, Path(name))
        spent: dict[str, list[float]] = {title: [] for title in planned}
        for title, command in planned.items():
            if title.endswith(" fit --help"):
                spent[f"{title}, first"] = [cpu_seconds(command, Path(name))[0]]
            elif title.endswith(PAGES):  # stores the page, if the installation stores pages
                cpu_seconds(command, Path(name))
        for _ in range(repeat):  # in turns, so that other load of the machine affects all
            for title, command in planned.items():
                seconds, printed = cpu_seconds(command, Path(name))
                spent[title].append(float(printed) if title.endswith("ready") else seconds)
    return {title: round(statistics.median(values), 3) for title, values in spent.items()}


def show(results: dict[str, dict[str, float]]) -> str:
    """Return a table of seconds, with multiples of ``import torch`` in brackets."""
    titles = sorted({title for seconds in results.values() for title in seconds}, key=lambda title: title.split()[::-1])
    shown = [
        {title: f"{value:.2f} ({value / seconds['import torch']:.2f}x)" for title, value in seconds.items()}
        for seconds in results.values()
    ]
    return markdown_table(["command", *results], [[title, *(of.get(title, "") for of in shown)] for title in titles])


def startup(repeat: int = 3, before: Path | None = None) -> dict[str, Any]:
    """Measure the processor time until programs answer.

    Args:
        repeat: processes for each figure.
        before: Python of another installation to compare with.
    """
    installations = {"before": before, "now": Path(sys.executable)}
    results = {name: measure(path, repeat) for name, path in installations.items() if path}
    print(show(results))
    return {"unit": "seconds of processor time", "results": results}


if __name__ == "__main__":
    run(startup, packages=["lightning"])
