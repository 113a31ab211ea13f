"""What holds between the members: versions, directions of import, declared dependencies, no registry addresses."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECTS = sorted(
    [ROOT / "pyproject.toml", *ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("apps/*/pyproject.toml")]
)
MEMBERS = [path.parent for path in PYPROJECTS if path.parent != ROOT]
STUBS = sorted(stub for member in MEMBERS for stub in member.glob("src/**/__init__.pyi"))
# Each pattern is written so that it does not match itself.
REGISTRY = re.compile(
    r"index[-_]url|tool\.uv\.index|find[-_]links\s*=|pypi\.org|python[h]osted\.org|npmjs\.(?:org|com)|pytorch\.org/whl"
    r"|https?://\S+/simple\b|/opt/py[p]i",
    re.IGNORECASE,
)


def project(path: Path) -> dict[str, Any]:
    return dict(tomllib.loads(path.read_text())["project"])


def kept_files() -> list[Path]:
    """Return the files that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("needs a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def import_isolated(*members: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(ROOT / "tests/isolated_import.py"), *map(str, members)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def registry_lines(path: Path) -> list[str]:
    lines = path.read_text(errors="ignore").splitlines()
    return [f"{path}:{number}: {line.strip()[:100]}" for number, line in enumerate(lines, 1) if REGISTRY.search(line)]


def test_all_members_share_one_version_and_python_range() -> None:
    seen = {(project(path)["version"], project(path)["requires-python"]) for path in PYPROJECTS}
    assert len(seen) == 1, f"versions and Python ranges differ: {sorted(seen)}"


def test_members_require_exactly_this_version_of_each_other() -> None:
    version = project(ROOT / "pyproject.toml")["version"]
    lines = [line for member in MEMBERS for line in project(member / "pyproject.toml")["dependencies"]]
    siblings = [line for line in lines if line.startswith("mnemic-")]
    assert siblings
    assert all(line.endswith(f"=={version}") for line in siblings), siblings


def test_imports_go_from_apps_to_domains_to_core() -> None:
    result = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


def test_no_kept_file_holds_a_registry_address() -> None:
    text_files = [path for path in kept_files() if b"\0" not in path.read_bytes()[:4096]]
    assert [line for path in text_files for line in registry_lines(path)] == []


@pytest.mark.parametrize(
    "seeded", ["--extra-index" + "-url x", "https://files.python" + "hosted.org/a", "https://h/" + "simple/"]
)
def test_a_registry_address_would_be_found(tmp_path: Path, seeded: str) -> None:
    (tmp_path / "constraints.txt").write_text(f"numpy==2.0\n{seeded}\n")
    assert len(registry_lines(tmp_path / "constraints.txt")) == 1


def test_no_lock_file_is_kept() -> None:
    assert [path for path in kept_files() if path.name == "uv.lock" or path.name.startswith("pylock")] == []


def test_members_import_with_only_their_declared_dependencies() -> None:
    result = import_isolated(*MEMBERS)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: ".".join(stub.parts[stub.parts.index("src") + 1 : -1]))
def test_a_package_offers_what_its_stub_declares(stub: Path) -> None:
    package = importlib.import_module(".".join(stub.parts[stub.parts.index("src") + 1 : -1]))
    imports = [line for line in ast.parse(stub.read_text()).body if isinstance(line, ast.ImportFrom)]
    declared = [alias.asname for line in imports for alias in line.names]  # `X as X` is what a stub re-exports
    assert sorted(map(str, declared)) == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


def test_mistakes_are_there_without_torch() -> None:
    light = "mnemic_core.errors, mnemic_kit.cli"
    command = [sys.executable, "-c", f"import sys, {light}; print('torch' in sys.modules)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize("forgotten", ["numpy", "mnemic_core"])
def test_an_undeclared_import_would_be_found(tmp_path: Path, forgotten: str) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "sample"\ndependencies = ["packaging"]\n')
    (tmp_path / "src/sample").mkdir(parents=True)
    (tmp_path / "src/sample/__init__.py").write_text(f"import packaging\nimport {forgotten}\n")
    result = import_isolated(tmp_path)
    assert f"No module named '{forgotten}'" in result.stderr
