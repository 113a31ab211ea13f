import errno
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from mnemic_kit.atomic_files import atomic_write


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "result.txt"
    path.write_text("earlier")
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_new_content_appears_only_after_the_block(target: Path) -> None:
    with atomic_write(target) as file:
        file.write("later\n")
        assert target.read_text() == "earlier"
    assert target.read_bytes() == b"later\n"
    assert names(target.parent) == ["result.txt"]


def test_bytes_are_written_as_they_are(target: Path) -> None:
    with atomic_write(target, "wb") as file:
        file.write(b"\r\n\x00")
    assert target.read_bytes() == b"\r\n\x00"


def test_a_failing_block_leaves_the_earlier_file(target: Path) -> None:
    with pytest.raises(TypeError, match="must be str"), atomic_write(target) as file:
        file.writelines(["half", 2])
    assert target.read_text() == "earlier"
    assert names(target.parent) == ["result.txt"]


def test_a_full_disk_is_one_line_that_names_the_file(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mnemic_kit.atomic_files.os.fsync", full)
    with pytest.raises(OSError, match=r"disk full.*result\.txt") as caught, atomic_write(target) as file:
        file.write("later")
    assert caught.value.errno == errno.ENOSPC
    assert "\n" not in str(caught.value)
    assert target.read_text() == "earlier"
    assert names(target.parent) == ["result.txt"]


def test_a_full_disk_inside_the_block_is_blamed_on_the_inner_file(target: Path) -> None:
    inner = OSError(errno.ENOSPC, "disk full", "inner.mp4")
    with pytest.raises(OSError, match=r"inner\.mp4"), atomic_write(target):
        raise inner


LIMITED = """
import resource, signal, sys
from mnemic_kit.atomic_files import atomic_write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
with atomic_write(sys.argv[1]) as file:
    for _ in range(10000):
        file.write("a line that fills the disk\\n")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX file size limit")
def test_a_real_limit_on_the_file_size_keeps_the_earlier_file(target: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, str(target)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "disk full" in done.stderr.splitlines()[-1]
    assert target.read_text() == "earlier"
    assert names(target.parent) == ["result.txt"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match=r"folder .*nowhere does not exist"),
        atomic_write(tmp_path / "nowhere" / "x"),
    ):
        pass
