import subprocess
import sys
from pathlib import Path

import pytest

from mnemic_core.errors import UserError
from mnemic_kit.run_folder import fit_or_resume, lock_folder

HOLD = """
import sys, time
from pathlib import Path
from mnemic_kit.run_folder import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_that_another_process_trains_in_is_refused_until_that_process_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=r"another fit is training in .*run: wait"), lock_folder(tmp_path / "run"):
            pass
        process.kill()
        process.wait()
        with lock_folder(tmp_path / "run"):
            pass


@pytest.mark.parametrize("is_made", [False, True])
def test_a_folder_is_left_as_it_was_when_nothing_is_written_there(tmp_path: Path, is_made: bool) -> None:
    folder = tmp_path / "runs" / "first"
    if is_made:
        folder.mkdir(parents=True)
    with lock_folder(folder):
        pass
    assert (tmp_path / "runs").exists() is is_made
    with lock_folder(folder):
        (folder / "checkpoints").mkdir()
    assert folder.is_dir()


@pytest.mark.parametrize("is_link", [False, True])
def test_a_file_of_others_with_the_name_of_the_lock_is_kept(tmp_path: Path, is_link: bool) -> None:
    mine = tmp_path / ("notes" if is_link else "fit.lock")
    mine.write_text("mine")
    if is_link:
        (tmp_path / "fit.lock").symlink_to(mine)
    with pytest.raises(UserError, match=r"fit\.lock exists and was not made"), lock_folder(tmp_path):
        pass
    assert mine.read_text() == "mine"


def test_a_training_starts_in_an_empty_folder_and_resumes_where_a_checkpoint_is(tmp_path: Path) -> None:
    def train(program: str, arguments: list[str]) -> list[str]:
        return [program, *arguments]

    start = ["fit", "--a=1", f"--trainer.default_root_dir={tmp_path}"]
    assert fit_or_resume(train, ["--a=1"], tmp_path) == start
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    assert fit_or_resume(train, ["--a=1"], tmp_path) == [*start, "--resume"]
