from collections.abc import Callable
from typing import Any

import pytest
from trainings import absurd_settings

from mnemic_core.errors import UserError
from mnemic_track.datamodule import DataSource, TrackingData
from mnemic_track.task import TrackingTask

REQUIRED = {TrackingData: {"train": [DataSource("generated")]}, DataSource: {"name": "generated"}}


@pytest.mark.parametrize(("make", "name", "value"), absurd_settings(TrackingTask, TrackingData))
def test_a_setting_that_makes_no_sense_is_refused_by_its_name(make: Callable[..., Any], name: str, value: Any) -> None:
    with pytest.raises(UserError, match=name):
        make(**{**REQUIRED.get(make, {}), name: value})
