"""The import contracts of the workspace for import-linter, made of the members that are on the disk."""

from pathlib import Path
from typing import Any

from grimp import ImportGraph, build_graph
from importlinter import Contract, ContractCheck, fields
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract

ROOT = Path(__file__).parents[1]


def packages(folder: str, root: Path = ROOT) -> list[str]:
    """Return the import names of the members in ``packages`` or ``apps``."""
    return sorted(path.parent.name for path in root.glob(f"{folder}/*/src/*/__init__.py"))


class MembersContract(Contract):
    """Apps use domains and their kit, these use core, siblings never meet; libraries import nothing of training.

    Options in ``pyproject.toml``: the import names ``core`` and ``kit``, and what libraries do without.
    """

    type_name = "members"

    core = fields.StringField()
    kit = fields.StringField()
    not_in_libraries = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Check both contracts; the given graph, of core alone, is not used."""
        libraries, apps = packages("packages"), packages("apps")
        graph = build_graph(*libraries, *apps, include_external_packages=True)
        domains = [name for name in [*libraries, self.kit] if name != self.core]
        levels = [[name for name in apps if name != self.kit], domains, [self.core]]
        self.parts = [
            self._part(LayersContract, layers=[" | ".join(level) for level in levels]),
            self._part(ForbiddenContract, source_modules=libraries, forbidden_modules=self.not_in_libraries),
        ]
        self.checks = [part.check(graph, verbose) for part in self.parts]
        return ContractCheck(kept=all(check.kept for check in self.checks))

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Show what breaks them, with file and line."""
        for part, found in zip(self.parts, self.checks, strict=True):
            if not found.kept:
                part.render_broken_contract(found)

    def _part(self, kind: type[Contract], **options: Any) -> Contract:
        return kind(self.name, self.session_options, options)
