from collections.abc import Callable
from pathlib import Path

import pytest

from mnemic_speech.data.translations import read_must_c, read_translations

MakeAudio = Callable[..., Path]
SHARED = Path(__file__).parents[5] / "shared" / "data" / "multi30k"
SEGMENTS = """\
- {duration: 1.5, offset: 9.0, rW: 3, speaker_id: spk.1, wav: ted_1.wav}
- {duration: 0.5, offset: 10.5, rW: 3, speaker_id: spk.1, wav: ted_1.wav}
- {duration: 2, offset: 0, rW: 3, speaker_id: spk.2, wav: ted_2.wav}
"""


@pytest.fixture
def must_c(tmp_path: Path) -> Path:
    """Return a language pair of MuST-C with one split, without its audio."""
    texts = tmp_path / "en-de" / "data" / "dev" / "txt"
    texts.mkdir(parents=True)
    (texts / "dev.yaml").write_text(SEGMENTS)
    (texts / "dev.en").write_text("Good.\nThank you.\n\n")
    (texts / "dev.de").write_text("Gut.\nDanke.\nJa.\n")
    return tmp_path / "en-de"


def test_must_c_has_segments_with_texts_in_the_order_of_its_files(must_c: Path) -> None:
    first, second, third = read_must_c(must_c, "dev")
    assert (first.id, first.offset, first.duration, first.speaker) == ("ted_1_0", 9.0, 1.5, "spk.1")
    assert (second.id, second.offset) == ("ted_1_1", 10.5)  # as text, 10.5 would come before 9.0
    assert third.audio_filepath == must_c / "data" / "dev" / "wav" / "ted_2.wav"
    assert (third.text, third.translations) == ("", {"de": "Ja."})


def test_the_text_is_that_of_the_written_language(must_c: Path) -> None:
    german = read_translations(must_c, "en", "de", "dev")
    assert [each.text for each in german] == ["Gut.", "Danke.", "Ja."]
    problems: list[str] = []
    english = read_translations(must_c, "en", "en", "dev", problems)
    assert [each.text for each in english] == ["Good.", "Thank you."]
    assert [problem.rpartition(": ")[2] for problem in problems] == ["no text in 'en', its text is empty"]


def test_must_c_that_is_not_aligned_is_refused(must_c: Path) -> None:
    (must_c / "data" / "dev" / "txt" / "dev.de").write_text("Gut.\n")
    with pytest.raises(ValueError, match="not aligned: 3 segments, 3 en, 1 de"):
        read_must_c(must_c, "dev")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- [1, 2]\n", "not a list of segments with wav"),
        ("- {offset: 1, wav: a.wav}\n", "duration is None"),
        ("- {duration: -1, offset: 1, wav: a.wav}\n", r"dev\.yaml:1: duration -1 s is not positive"),
        ("- {duration: 1, offset: x, wav: a.wav}\n", "offset is 'x'"),
        ("{", "not a list of segments in YAML"),
        ("!!python/name:os.system\n", "not a list of segments in YAML"),
    ],
)
def test_damaged_segments_are_refused(must_c: Path, content: str, message: str) -> None:
    texts = must_c / "data" / "dev" / "txt"
    (texts / "dev.yaml").write_text(content)
    for code in ("en", "de"):
        (texts / f"dev.{code}").write_text("one\n")
    with pytest.raises(ValueError, match=message):
        read_must_c(must_c, "dev")


def test_the_split_of_must_c_has_to_be_named(must_c: Path) -> None:
    with pytest.raises(ValueError, match="give a split, one of dev"):
        read_translations(must_c, "en", "de")


def test_covost_has_its_languages_in_the_name_of_the_table(tmp_path: Path, make_audio: MakeAudio) -> None:
    make_audio("clips/common_voice_es_1.wav", 2.0)
    table = tmp_path / "covost_v2.es_en.dev.tsv"
    table.write_text('path\tsentence\ttranslation\tclient_id\ncommon_voice_es_1.wav\t"Sí", dijo.\t"Yes", he said.\tx\n')
    [utterance] = read_translations(table, "es", "en")
    assert (utterance.text, utterance.duration, utterance.speaker) == ('"Yes", he said.', 2.0, "x")
    with pytest.raises(ValueError, match="spoken in 'es', not in 'en'"):
        read_translations(table, "en", "en")


def test_a_table_has_one_column_for_each_language(tmp_path: Path, make_audio: MakeAudio) -> None:
    make_audio("a.wav", 1.0)
    table = tmp_path / "voiced.tsv"
    table.write_text("path\tvoice\tseconds\ten\tde\tpt-BR\na.wav\tslt\t1.0\tHello\tHallo\t\n")
    [utterance] = read_translations(table, "en", "de")
    assert (utterance.id, utterance.text, utterance.speaker) == ("a", "Hallo", "slt")
    assert utterance.translations == {"de": "Hallo"}
    with pytest.raises(ValueError, match=r"voiced\.tsv is one file without parts: leave out the split 'dev'"):
        read_translations(table, "en", "de", "dev")
    with pytest.raises(ValueError, match=r"voiced\.tsv: a: no text in 'fr', it has de, en"):
        read_translations(table, "en", "fr")


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no data at"):
        read_translations(tmp_path / "absent", "en", "de")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match="is in no known layout"):
        read_translations(tmp_path / "a.txt", "en", "de")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data")
def test_the_voiced_captions_are_read() -> None:
    found = read_translations(SHARED / "voiced.tsv", "en", "de")
    assert len(found) == 60
    assert found[0].text == "Ein Mädchen in einem Karateanzug bricht ein Brett mit einem Tritt."
    assert len(found[0].read(16_000)) == pytest.approx(found[0].duration * 16_000, abs=2)
