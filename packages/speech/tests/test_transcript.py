import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic_speech.subtitles import columns
from mnemic_speech.transcript import Transcript, TranscriptSegment, Word, join_channels

HELLO = Transcript(
    (
        TranscriptSegment(0.5, 2.0, "hello there", (Word("hello", 0.52, 0.9, 0.75), Word("there", 1.0, 1.90009))),
        TranscriptSegment(2.0, 3.0, ""),
        TranscriptSegment(3661.0, 3663.0, "good <day>"),
    ),
    duration=3663.5,
    language="en",
)
TIMES = re.compile(r"(\d+):(\d\d):(\d\d)[.,](\d\d\d)")
SECONDS = st.floats(0.0, 4.0)
SEGMENTS = st.lists(
    st.tuples(st.lists(st.tuples(st.integers(1, 60), SECONDS, SECONDS), max_size=6), st.booleans()), max_size=3
)


def transcript_of(segments: list[tuple[list[tuple[int, float, float]], bool]]) -> Transcript:
    """Make segments of words given as (letters, pause before, seconds); with the times of the words or without."""
    clock, made = 0.0, []
    for lengths, is_timed in segments:
        start, words = clock, []
        for letters, pause, seconds in lengths:
            words.append(Word("x" * letters, clock + pause, clock + pause + seconds))
            clock += pause + seconds
        text = " ".join(word.text for word in words)
        made.append(TranscriptSegment(start, clock, text, tuple(words) if is_timed else ()))
    return Transcript(tuple(made), clock)


def spans(subtitles: str) -> list[tuple[float, float]]:
    seconds = [int(h) * 3600 + int(m) * 60 + int(s) + int(ms) / 1000 for h, m, s, ms in TIMES.findall(subtitles)]
    return list(zip(seconds[::2], seconds[1::2], strict=True))


def test_text_has_a_line_for_each_segment_with_words() -> None:
    assert HELLO.to_text() == "hello there\ngood <day>\n"
    assert HELLO.text == "hello there good <day>"


def test_json_holds_times_and_confidences() -> None:
    content = json.loads(json.dumps(HELLO.to_dict()))
    assert (content["text"], content["duration"], content["language"]) == (HELLO.text, 3663.5, "en")
    assert content["segments"][0]["words"] == [
        {"text": "hello", "start": 0.52, "end": 0.9, "confidence": 0.75},
        {"text": "there", "start": 1.0, "end": 1.9, "confidence": 1.0},
    ]
    assert content["segments"][1] == {"start": 2.0, "end": 3.0, "text": "", "words": []}


def test_subrip_is_numbered_with_commas() -> None:
    assert HELLO.to_srt() == (
        "1\n00:00:00,520 --> 00:00:01,900\nhello there\n\n2\n01:01:01,000 --> 01:01:03,000\ngood <day>\n\n"
    )


def test_webvtt_has_a_head_and_no_markup() -> None:
    assert HELLO.to_vtt() == (
        "WEBVTT\n\n00:00:00.520 --> 00:00:01.900\nhello there\n\n01:01:01.000 --> 01:01:03.000\ngood &lt;day&gt;\n\n"
    )


@settings(max_examples=50)
@given(SEGMENTS)
def test_subtitles_hold_every_word_once_in_order(segments: list[Any]) -> None:
    transcript = transcript_of(segments)
    lines = [line for line in transcript.to_vtt().splitlines()[1:] if "-->" not in line]
    assert "".join("".join(lines).split()) == "".join(transcript.text.split())


@settings(max_examples=50)
@given(SEGMENTS)
def test_subtitles_fit_the_screen_and_follow_each_other(segments: list[Any]) -> None:
    transcript = transcript_of(segments)
    cues = spans(transcript.to_srt())
    assert all(start < end <= start + 7.0015 for start, end in cues)
    assert all(cue[1] <= following[0] for cue, following in pairwise(cues))
    for cue in transcript.to_vtt().split("\n\n")[1:]:
        lines = cue.splitlines()[1:]
        assert len(lines) <= 2
        assert all(len(line) <= 42 for line in lines)


def test_a_short_word_is_shown_for_a_second_if_there_is_time() -> None:
    def cue(duration: float, *starts: float) -> list[tuple[float, float]]:
        segments = tuple(TranscriptSegment(t, t + 0.04, "yes", (Word("yes", t, t + 0.04),)) for t in starts)
        return spans(Transcript(segments, duration).to_srt())

    assert cue(9.0, 2.0) == [(2.0, 3.0)]
    assert cue(9.0, 2.0, 2.5) == [(2.0, 2.5), (2.5, 3.5)]
    assert cue(2.25, 2.0) == [(2.0, 2.25)]


def test_a_pause_ends_a_subtitle() -> None:
    words = (Word("one", 0.0, 1.0), Word("two", 1.5, 2.0), Word("three", 3.5, 4.0))
    cues = spans(Transcript((TranscriptSegment(0.0, 4.0, "one two three", words),), 4.0).to_srt())
    assert cues == [(0, 2), (3.5, 4)]


def test_a_subtitle_lasts_seven_seconds_at_most() -> None:
    words = tuple(Word("on", float(second), second + 1.0) for second in range(10))
    segments = (TranscriptSegment(0.0, 10.0, "", words), TranscriptSegment(20.0, 40.0, "looong"))
    cues = spans(Transcript(segments, 40.0).to_srt())
    assert cues == [(0, 7), (7, 10), (20, 27)]


@pytest.mark.parametrize("is_timed", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "今天天气很好我们一起去公园散步然后在湖边吃午饭下午再去图书馆借几本书" * 2,
        "かがきぎくぐけげこご" * 9,
        "가나다라마바사" * 8,
    ],
)
def test_sentences_without_spaces_are_divided(text: str, is_timed: bool) -> None:
    words = (Word(text, 1.0, 21.0),) if is_timed else ()
    srt = Transcript((TranscriptSegment(1.0, 21.0, text, words),), 30.0).to_srt()
    lines = [line for line in srt.splitlines() if line and "-->" not in line and not line.isdigit()]
    assert "".join(lines) == text
    assert max(map(columns, lines)) <= 42
    cues = spans(srt)
    assert cues[0][0] == 1
    assert cues[-1][1] == 21
    assert all(cue[1] == following[0] for cue, following in pairwise(cues))
    assert all(end - start <= 7.001 for start, end in cues)


def test_marks_stay_with_their_letter() -> None:
    text = "e\u0301" * 50
    srt = Transcript((TranscriptSegment(0.0, 5.0, text),), 5.0).to_srt()
    lines = [line for line in srt.splitlines() if "e" in line]
    assert max(map(columns, lines)) <= 42
    assert not any(line.startswith("\u0301") for line in lines)


def test_an_empty_transcript_is_an_empty_file() -> None:
    empty = Transcript((), 2.0)
    assert (empty.to_text(), empty.to_srt(), empty.to_vtt()) == ("", "", "WEBVTT\n\n")


@pytest.mark.parametrize(("start", "end"), [(2.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0)])
def test_times_run_forward(start: float, end: float) -> None:
    with pytest.raises(ValueError, match=f"from {start} s to {end} s"):
        Word("no", start, end)
    with pytest.raises(ValueError, match=f"from {start} s to {end} s"):
        TranscriptSegment(start, end, "no")


def test_channels_are_joined_in_the_order_of_time_and_words_carry_theirs() -> None:
    def spoken(text: str, start: float) -> Transcript:
        words = (Word(text, start, start + 0.5),)
        return Transcript((TranscriptSegment(start, start + 0.5, text, words),), 4.0)

    joined = join_channels({1: spoken("yes", 1.2), 2: spoken("well", 1.0)})
    assert joined.text == "well yes"
    assert [segment["words"][0]["channel"] for segment in joined.to_dict()["segments"]] == [2, 1]
    assert "channel" not in json.dumps(spoken("yes", 1.2).to_dict())
    assert re.findall(r"(\d\d,\d{3}) --> ", joined.to_srt()) == ["01,000", "01,200"]  # both are shown at once
