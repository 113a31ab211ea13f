import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mnemic_core.temporary_files import replacing, temporary_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_and_folders_appear_when_they_are_complete(tmp_path: Path) -> None:
    with replacing(tmp_path / "file.txt") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "file.txt").exists()
    with replacing(tmp_path / "folder") as temporary:
        (temporary / "inner").mkdir(parents=True)
        assert not (tmp_path / "folder").exists()
    assert names(tmp_path) == ["file.txt", "folder"]
    assert names(tmp_path / "folder") == ["inner"]


@pytest.mark.parametrize("is_folder", [True, False])
def test_nothing_is_left_of_a_failure(tmp_path: Path, is_folder: bool) -> None:
    def write_half() -> None:
        with replacing(tmp_path / "result") as temporary:
            place = temporary / "inner" if is_folder else temporary
            place.parent.mkdir(exist_ok=True)
            place.write_text("half")
            raise RuntimeError("half")

    with pytest.raises(RuntimeError, match="half"):
        write_half()
    assert names(tmp_path) == []


def test_the_longest_names_are_possible_and_endings_are_kept(tmp_path: Path) -> None:
    longest = tmp_path / ("x" * 251 + ".mp4")
    assert temporary_path(longest).suffix == ".mp4"
    with replacing(longest) as temporary:
        temporary.write_text("film")
    assert longest.read_text() == "film"


KILLED = """
import os, signal, sys
from pathlib import Path
from mnemic_core.temporary_files import replacing
with replacing(Path(sys.argv[1], "file")) as file, replacing(Path(sys.argv[1], "folder")) as folder:
    file.write_text("half")
    (folder / "inner").mkdir(parents=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="only POSIX tells which processes are alive without ending them")
def test_what_killed_processes_left_is_removed_and_what_others_write_is_not(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2
    own = temporary_path(tmp_path / "own")
    assert names(tmp_path) == []
    own.write_text("half")
    (tmp_path / ".tmp").write_text("of another program")
    other = "from pathlib import Path; import sys\nfrom mnemic_core.temporary_files import temporary_path\n"
    subprocess.run([sys.executable, "-c", f"{other}temporary_path(Path(sys.argv[1]))", str(tmp_path / "x")], check=True)
    assert names(tmp_path) == sorted([own.name, ".tmp"])
