from collections.abc import Callable
from typing import Any

import pytest
from trainings import absurd_settings

from mnemic_core.errors import UserError
from mnemic_lm.datamodule import TextData
from mnemic_lm.generation import Sampling
from mnemic_lm.task import LanguageTask


@pytest.mark.parametrize(("make", "name", "value"), absurd_settings(LanguageTask, TextData, Sampling))
def test_a_setting_that_makes_no_sense_is_refused_by_its_name(make: Callable[..., Any], name: str, value: Any) -> None:
    with pytest.raises(UserError, match=name):
        make(**{name: value})
