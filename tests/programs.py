"""The programs of a workspace."""

from importlib import import_module
from pathlib import Path

from mnemic_kit.cli import Program


def find_programs(workspace: Path) -> dict[str, Program]:
    """Return the programs of a workspace by name: the ``PROGRAM`` in ``cli.py`` of each app below ``apps``."""
    packages = sorted(path.parent.name for path in workspace.glob("apps/*/src/*/cli.py"))
    modules = [import_module(f"{package}.cli") for package in packages]
    programs: list[Program] = [module.PROGRAM for module in modules if hasattr(module, "PROGRAM")]
    return {program.name: program for program in programs}
