from collections.abc import Callable
from typing import Any

import pytest
from trainings import absurd_settings

from mnemic_algorithms.datamodule import AlgorithmData
from mnemic_algorithms.task import AlgorithmTask
from mnemic_core.errors import UserError


@pytest.mark.parametrize(("make", "name", "value"), absurd_settings(AlgorithmTask, AlgorithmData))
def test_a_setting_that_makes_no_sense_is_refused_by_its_name(make: Callable[..., Any], name: str, value: Any) -> None:
    with pytest.raises(UserError, match=name):
        make(**{name: value})
