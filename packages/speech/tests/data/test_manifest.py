import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mnemic_speech.data import Utterance, read_manifest, write_manifest

GOOD = {"audio_filepath": "a.flac", "duration": 1.5, "text": "HELLO"}


def manifest(folder: Path, *lines: dict[str, Any] | str) -> Path:
    path = folder / "list.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), "utf-8")
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    utterances = [
        Utterance(tmp_path / "audio/a.flac", 1.5, "é 'x'", offset=0.25, id="a", speaker="7"),
        Utterance(tmp_path / "b.wav", 2.0, "", id="b"),
        Utterance(tmp_path.parent / "elsewhere.wav", 2.0, "X", id="c"),
    ]
    write_manifest(tmp_path / "list.jsonl", utterances)
    assert read_manifest(tmp_path / "list.jsonl") == utterances


def test_a_folder_can_be_moved_with_its_manifest(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    write_manifest(before / "list.jsonl", [Utterance(before / "audio/a.flac", 1.0, "A", id="a")])
    before.rename(after)
    assert read_manifest(after / "list.jsonl")[0].audio_filepath == after / "audio/a.flac"


def test_a_manifest_that_fails_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = manifest(tmp_path, GOOD)
    before = path.read_bytes()

    def failing() -> Any:
        yield Utterance(tmp_path / "b.flac", 1.0, "B")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_manifest(path, failing())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_missing_durations_and_names_are_filled_in(tmp_path: Path, make_audio: Callable[..., Path]) -> None:
    audio = make_audio("a.flac", seconds=2.0)
    path = manifest(tmp_path, "", {"audio_filepath": "a.flac", "text": "A", "offset": 0.5, "lang": "en"}, GOOD)
    first, second = read_manifest(path)
    assert first == Utterance(audio, 1.5, "A", offset=0.5, id="a-2")
    assert second == Utterance(audio, 1.5, "HELLO", id="a-3")


def test_the_part_is_read_and_no_more(make_audio: Callable[..., Path]) -> None:
    utterance = Utterance(make_audio("a.wav", seconds=1.0), 0.25, "A", offset=0.5)
    assert (utterance.read(1000) * 32768).round().tolist() == torch.arange(500.0, 750.0).tolist()


def test_a_part_beyond_its_file_shows_when_it_is_read(make_audio: Callable[..., Path]) -> None:
    path = make_audio("a.wav", seconds=1.0)
    for offset in (0.8, 3.0):
        with pytest.raises(ValueError, match=r"a.wav ends .*before the"):
            Utterance(path, 0.5, "A", offset=offset).read(1000)


WRONG = [
    ("{'audio_filepath': 'a.flac'}", "not JSON"),
    ("[1, 2]", r"expected an object such as .*, got \[1, 2\]"),
    (GOOD | {"text": None}, r'no text: give it as a string \("" without speech\)'),
    ({"duration": 1.0, "text": "A"}, "no audio_filepath"),
    (GOOD | {"offset": -1}, "offset -1 s is not in the file: count seconds from its beginning"),
    (GOOD | {"offset": float("nan")}, "offset nan s"),
    (GOOD | {"duration": 0}, "duration 0 s is not positive"),
    (GOOD | {"duration": "1.5"}, "duration '1.5' is not a number: give seconds, without quotes"),
    (GOOD | {"duration": True}, "duration True is not a number"),
    ({"audio_filepath": "none.flac", "text": "A"}, r"none\.flac is no file"),
]


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_the_error_names_a_wrong_line(tmp_path: Path, line: dict[str, Any] | str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"list\.jsonl:2: .*{message}"):
        read_manifest(manifest(tmp_path, GOOD, line))


def test_wrong_lines_do_not_stop_a_job_that_collects_them(tmp_path: Path) -> None:
    problems: list[str] = []
    wrong = [line for line, _ in WRONG]
    utterances = read_manifest(manifest(tmp_path, GOOD, *wrong, GOOD), problems)
    assert [utterance.id for utterance in utterances] == ["a-1", f"a-{len(wrong) + 2}"]
    assert [problem.partition(": ")[0][-2:].strip(":") for problem in problems] == [
        str(number) for number in range(2, len(wrong) + 2)
    ]


def test_an_offset_after_the_end_shows_when_the_duration_is_asked_for(
    tmp_path: Path, make_audio: Callable[..., Path]
) -> None:
    make_audio("a.flac", seconds=1.0)
    with pytest.raises(ValueError, match=r":1: offset 2 s is at or after the end of .*a\.flac at 1 s"):
        read_manifest(manifest(tmp_path, {"audio_filepath": "a.flac", "text": "A", "offset": 2}))


def test_a_manifest_is_an_existing_text_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*list\.jsonl"):
        read_manifest(tmp_path / "list.jsonl")
    (tmp_path / "list.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not UTF-8 text"):
        read_manifest(tmp_path / "list.jsonl")


def test_translations_and_a_file_of_features_come_back(tmp_path: Path) -> None:
    given = Utterance(
        tmp_path / "a.flac", 1.0, "A DOG", id="a", language="en", translations={"de": "Ein Hund", "fr": ""},
        features=tmp_path / "features" / "a.safetensors",
    )  # fmt: skip
    write_manifest(tmp_path / "list.jsonl", [given])
    assert '"features_filepath": "features/a.safetensors"' in (tmp_path / "list.jsonl").read_text()
    [found] = read_manifest(tmp_path / "list.jsonl")
    assert found == given
    assert (found.in_language("de").text, found.in_language("en").text) == ("Ein Hund", "A DOG")
    with pytest.raises(ValueError, match="a: no text in 'fr', its text is empty"):
        found.in_language("fr")
    with pytest.raises(ValueError, match="a: no text in 'es', it has de, en, fr"):
        found.in_language("es")


def test_one_translation_may_stand_as_target_text(tmp_path: Path) -> None:
    line = {**GOOD, "source_lang": "en", "target_text": "Ja", "target_lang": "de"}
    [found] = read_manifest(manifest(tmp_path, line))
    assert found.translations == {"de": "Ja"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"translations": ["Ja"]}, "are not texts by language"),
        ({"translations": {"de": 3}}, "are not texts by language"),
        ({"target_text": "Ja"}, "no target_lang"),
        ({"target_text": 3, "target_lang": "de"}, "no target_text"),
        ({"features_filepath": 3}, "no features_filepath"),
    ],
)
def test_wrong_translations_are_refused(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_manifest(manifest(tmp_path, {**GOOD, **fields}))
