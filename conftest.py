"""Settings that every test needs before torch is imported, and skipping of tests that need a GPU."""

import gc
import os
from importlib import import_module
from pathlib import Path

import jaxtyping
import pytest

# Two test processes with two threads each spin against each other; one thread each is faster.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

# Shapes and types of every member are checked in the tests, in calls that look new.
MEMBERS = sorted(path.parent.name for path in Path(__file__).parent.glob("*/*/src/*/__init__.py"))
jaxtyping.install_import_hook(MEMBERS, "beartype.beartype")
jaxtyping.jaxtyped = import_module("checked_calls").checked  # imports torch, which reads the settings above


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` on a machine without one."""
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu_items:
        return
    import torch  # imported here: most runs collect no such test

    if not torch.cuda.is_available():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_collection_finish() -> None:
    """Keep what the imports made out of garbage collection: it stays, and going over it again costs a tenth."""
    gc.collect()
    gc.freeze()
