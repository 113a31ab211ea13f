import json

import pytest

from mnemic_core.errors import UserError
from mnemic_speech.simultaneous.instances import TranslationRecord, read_instances
from mnemic_speech.simultaneous.latency import score_latency

RECORD = TranslationRecord(
    3, "ein kleiner Hund", (640.0, 960.0, 1500.0), (700.0, 1010.0, 1600.0), "der kleine Hund", "a.wav", 1500.0
)


def test_a_log_has_the_fields_of_simuleval_and_is_read_back() -> None:
    fields = json.loads(RECORD.as_line())
    assert list(fields) == [
        "index", "prediction", "delays", "elapsed", "prediction_length", "reference", "source", "source_length",
    ]  # fmt: skip
    assert fields["prediction_length"] == 3
    assert read_instances([RECORD.as_line(), "", RECORD.as_line()], "x.log") == [RECORD, RECORD]


def test_records_have_a_latency() -> None:
    scores = score_latency([RECORD.emission]).scores
    assert scores["AL"] == pytest.approx((640 + 960 - 500 + 1500 - 1000) / 3)
    assert scores["RTF_CA"] == pytest.approx(1600 / 1500)


def test_a_translation_may_be_empty() -> None:
    empty = TranslationRecord(0, "", (), (), "ein Hund", "a.wav", 1500.0)
    assert read_instances([empty.as_line()], "x.log") == [empty]
    assert score_latency([empty.emission]).num_empty == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"x\.log:1: not JSON"),
        ("[1]", "line 1"),
        ('{"index": 0}', "prediction"),
        (RECORD.as_line().replace("640.0, ", ""), "must be as many"),
        (RECORD.as_line().replace("1500.0}", '"long"}'), "source_length"),
    ],
)
def test_lines_that_are_no_records_are_refused(line: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_instances([line], "x.log")
