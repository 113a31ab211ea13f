"""Import every module of each member as if only its declared dependencies were installed.

Run as ``python -I tests/isolated_import.py packages/core packages/vision``. All members share one environment, so a
dependency that is used but not declared goes unnoticed there. Here undeclared distributions are hidden from the import
system and from `importlib.metadata`; optional imports of other people's packages therefore take the same path as on a
user's machine. A member is imported in a fork of the process that imported a member below it: torch is loaded once.
"""

import importlib
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def declared_closure(requirements: Sequence[str]) -> set[str]:
    """Return the distributions that the requirements bring in, directly and through one another."""
    found: set[tuple[str, str]] = set()
    pending = [(Requirement(line), "") for line in requirements]
    while pending:
        requirement, parent_extra = pending.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": parent_extra}):
            continue
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) not in found:
                found.add((name, extra))
                pending += [(Requirement(line), extra) for line in metadata.requires(name) or []]
    return {name for name, _ in found}


def providers() -> Mapping[str, set[str]]:
    """Return the distributions behind every importable top-level name, editable members included."""
    names = {top: {canonicalize_name(owner) for owner in owners} for top, owners in top_level_names().items()}
    members = [dist.name for dist in metadata.distributions() if dist.name.startswith("mnemic-")]
    return names | {name.replace("-", "_"): {name} for name in members}


def top_level_names() -> Mapping[str, list[str]]:
    """Return `importlib.metadata.packages_distributions`, typed."""
    return metadata.packages_distributions()


class DeclaredOnly(PathFinder):
    """The ordinary finder, blind to everything that was not declared."""

    declared: frozenset[str] = frozenset()
    owners: Mapping[str, set[str]] = {}

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module unless all distributions that hold it are undeclared."""
        owners = cls.owners.get(fullname.partition(".")[0])
        return None if owners and owners.isdisjoint(cls.declared) else super().find_spec(fullname, path, target)

    @classmethod
    def find_distributions(
        cls, context: metadata.DistributionFinder.Context | None = None
    ) -> Iterator[metadata.Distribution]:
        """List the declared distributions."""
        found = super().find_distributions(context or metadata.DistributionFinder.Context())
        return (dist for dist in found if canonicalize_name(dist.name) in cls.declared)


def hide_undeclared(declared: set[str]) -> None:
    """Replace the path finder and forget the undeclared modules that this script itself needed."""
    DeclaredOnly.declared = frozenset(declared)
    sys.meta_path = [DeclaredOnly if finder is PathFinder else finder for finder in sys.meta_path]
    for name in list(sys.modules):
        if not DeclaredOnly.owners.get(name.partition(".")[0], declared) & declared:
            del sys.modules[name]


def import_member(member: Path) -> None:
    """Import all modules of the member; an undeclared import ends in ModuleNotFoundError."""
    sys.path.insert(0, str(member / "src"))
    package = importlib.import_module(project(member)["name"].replace("-", "_"))
    for module in walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def import_above(base: Path | None, declared: Mapping[Path, set[str]]) -> bool:
    """Import the members that build on ``base`` and those above them, each in a fork; return whether any fails."""
    failures = []
    for member, names in declared.items():
        below = [other for other in declared if declared[other] < names]
        if base != max(below, key=lambda other: len(declared[other]), default=None):
            continue
        if process := os.fork():
            failures.append(os.waitpid(process, 0)[1])
            continue
        hide_undeclared(names)
        import_member(member)
        sys.exit(import_above(member, declared))
    return any(failures)


def project(member: Path) -> dict[str, Any]:
    """Return the member's name, dependencies and so on."""
    return dict(tomllib.loads((member / "pyproject.toml").read_text())["project"])


def main(members: Sequence[Path]) -> None:
    """Import the members; the exit code is 1 if any fails, after its traceback."""
    DeclaredOnly.owners = providers()
    projects = {member: project(member) for member in members}
    declared = {
        member: declared_closure(found["dependencies"]) | {canonicalize_name(found["name"])}
        for member, found in projects.items()
    }
    sys.exit(import_above(None, declared))


if __name__ == "__main__":
    main([Path(member) for member in sys.argv[1:]])
