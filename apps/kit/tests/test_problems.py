import pytest

from mnemic_core.errors import UserError
from mnemic_kit.problems import Problems


def test_a_problem_ends_its_input_only(capsys: pytest.CaptureFixture[str]) -> None:
    problems, done = Problems(), []
    for number in range(3):
        with problems.collecting():
            if number == 1:
                raise UserError("one is\nwrong")
            done.append(number)
    with pytest.raises(SystemExit, match="2"):
        problems.end("failed")
    assert (done, problems.num_done, capsys.readouterr().err) == ([0, 2], 2, "failed: one is wrong\n")


def test_the_problem_of_a_single_input_is_the_error() -> None:
    problems = Problems([UserError("wrong")])
    with pytest.raises(UserError, match="wrong"):
        problems.end("failed")


def test_defects_are_not_collected() -> None:
    with pytest.raises(KeyError), Problems().collecting():
        raise KeyError("defect")


def test_without_problems_nothing_ends(capsys: pytest.CaptureFixture[str]) -> None:
    Problems().end("failed")
    assert capsys.readouterr().err == ""
