import errno
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import pytest

from mnemic_kit.atomic_files import atomic_path, atomic_write, writing_together
from mnemic_kit.made_files import protecting


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
from mnemic_kit.atomic_files import atomic_path, atomic_write, writing_together
from mnemic_kit.made_files import protecting
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


def test_files_written_together_appear_together(target: Path) -> None:
    second = target.with_name("second.txt")
    with writing_together():
        for path in (target, second, target):
            with atomic_write(path) as file:
                file.write(f"later {path.name}")
        assert target.read_text() == "earlier"
        assert not second.exists()
    assert target.read_text() == "later result.txt"
    assert names(target.parent) == ["result.txt", "second.txt"]


@pytest.mark.parametrize("is_nested", [True, False])
def test_none_of_them_appears_where_one_fails(target: Path, is_nested: bool) -> None:
    def write_one_and_a_half() -> None:
        with writing_together():
            with writing_together() if is_nested else nullcontext(), atomic_write(target) as file:
                file.write("later")
            with atomic_path(target.with_name("second")) as temporary:
                temporary.write_text("half")
                raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        write_one_and_a_half()
    assert target.read_text() == "earlier"
    assert names(target.parent) == ["result.txt"]


def test_a_folder_replaces_an_earlier_one_of_this_program(tmp_path: Path) -> None:
    with protecting(()):
        for name in ("first", "second"):
            with atomic_path(tmp_path / "set") as made:
                made.mkdir()
                (made / name).touch()
        (tmp_path / "set" / "of the user").touch()
        with pytest.raises(ValueError, match="was not made by this program"), atomic_path(tmp_path / "set"):
            pass
    assert names(tmp_path / "set") == ["of the user", "second"]
