from collections.abc import Callable
from pathlib import Path

import pytest

from mnemic_core.errors import UserError
from mnemic_speech.data import (
    Utterance,
    read_corpus,
    read_csv,
    read_index_tsv,
    read_kaldi,
    read_librispeech,
    read_tedlium,
    write_manifest,
)

MakeAudio = Callable[..., Path]
READ_SPEECH = Path(__file__).parents[5] / "shared/data/read_speech"


def write(path: Path, *lines: str, end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


@pytest.fixture
def librispeech(tmp_path: Path, make_audio: MakeAudio) -> Path:
    for name in ("dev/12/3/12-3-0001", "dev/12/3/12-3-0000", "test/7/5/7-5-0000"):
        make_audio(f"{name}.flac", seconds=0.5)
    write(tmp_path / "dev/12/3/12-3.trans.txt", "12-3-0001 ONE TWO", "12-3-0000 IT'S")
    write(tmp_path / "test/7/5/7-5.trans.txt", "7-5-0000 THREE")
    return tmp_path


def test_librispeech(librispeech: Path) -> None:
    utterances = read_librispeech(librispeech)
    assert [(each.id, each.speaker, each.text) for each in utterances] == [
        ("12-3-0000", "12", "IT'S"),
        ("12-3-0001", "12", "ONE TWO"),
        ("7-5-0000", "7", "THREE"),
    ]
    assert all(each.audio_filepath.stem == each.id and each.duration == 0.5 for each in utterances)


def test_librispeech_without_a_recording_names_the_line(librispeech: Path) -> None:
    (librispeech / "dev/12/3/12-3-0001.flac").unlink()
    with pytest.raises(ValueError, match=r"12-3\.trans\.txt:1: .*12-3-0001\.flac"):
        read_librispeech(librispeech)
    problems: list[str] = []
    assert len(read_librispeech(librispeech, problems)) == 2
    assert len(problems) == 1


def test_tedlium_drops_what_is_not_scored_and_cleans_the_rest(tmp_path: Path, make_audio: MakeAudio) -> None:
    audio = make_audio("sph/Talk_2010.sph", seconds=4.0, format="NIST")
    write(
        tmp_path / "stm/Talk_2010.stm",
        ";; comment",
        "Talk_2010 1 Talk 0.00 1.00 <o,f0,unknown> ignore_time_segment_in_scoring",
        "Talk_2010 1 Talk 1.00 2.50 <o,f0,male> i 'm sure <unk> it 's {breath} read(2) by the boys ' dog",
        "Talk_2010 1 Talk 2.5 4 tell 'em",
    )
    first, second = read_tedlium(tmp_path)
    text = "i'm sure it's read by the boys ' dog"
    assert first == Utterance(audio, 1.5, text, offset=1.0, id="Talk_2010-1.00-2.50", speaker="Talk")
    assert second.text == "tell 'em"
    assert len(second.read(1000)) == 1500


def test_a_malformed_line_of_tedlium_is_named(tmp_path: Path) -> None:
    write(tmp_path / "stm/a.stm", "Talk 1 Talk zero 2.50 <o> hello", "Talk 1")
    problems: list[str] = []
    assert read_tedlium(tmp_path, problems) == []
    assert "a.stm:1: 'zero' is not a time" in problems[0]
    assert "a.stm:2: expected 'file channel speaker start end <label> text'" in problems[1]


def test_kaldi_with_segments(tmp_path: Path, make_audio: MakeAudio) -> None:
    audio = make_audio("call.wav", seconds=4.0)
    write(tmp_path / "wav.scp", f"rec1 {audio}")
    write(tmp_path / "text", "u1 good day", "u2", "u3 bye")
    write(tmp_path / "segments", "u1 rec1 0.5 2.0", "u2 rec1 2.0 3.0", "u3 rec1 3.0 -1")
    write(tmp_path / "utt2spk", "u1 ann", "u3 bob")
    assert read_kaldi(tmp_path) == [
        Utterance(audio, 1.5, "good day", offset=0.5, id="u1", speaker="ann"),
        Utterance(audio, 1.0, "", offset=2.0, id="u2"),
        Utterance(audio, 1.0, "bye", offset=3.0, id="u3", speaker="bob"),
    ]


def test_kaldi_with_tabs(tmp_path: Path, make_audio: MakeAudio) -> None:
    audio = make_audio("call.wav", seconds=1.0)
    write(tmp_path / "wav.scp", f"u1\t{audio}")
    write(tmp_path / "text", "u1\tone  two")
    write(tmp_path / "utt2spk", "u1\tann")
    assert read_kaldi(tmp_path) == [Utterance(audio, 1.0, "one  two", id="u1", speaker="ann")]


def test_a_table_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "windows.csv"
    path.write_bytes("ID,duration,wav,wrd\nu1,1,a.wav,one\nu2,1,b.wav,één\n".encode("cp1252"))
    with pytest.raises(UserError, match=r"windows\.csv:3: not UTF-8"):
        read_corpus(path)


def test_a_field_that_is_too_long_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "long.csv", "ID,wav,wrd", f"u1,a.wav,{'a' * 200_000}")
    with pytest.raises(UserError, match=r"long\.csv:2: field larger"):
        read_corpus(path)


def test_json_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "deep.jsonl", "[" * 100_000)
    with pytest.raises(UserError, match=r"deep\.jsonl:1: not JSON"):
        read_corpus(path)


def test_kaldi_paths_count_from_the_present_folder(
    tmp_path: Path, make_audio: MakeAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_audio("u1.wav", seconds=2.0)
    write(tmp_path / "data/wav.scp", "u1 u1.wav")
    write(tmp_path / "data/text", "u1 good day")
    monkeypatch.chdir(tmp_path)
    assert read_kaldi(tmp_path / "data") == [Utterance(Path("u1.wav"), 2.0, "good day", id="u1")]


def test_errors_name_the_defects_of_a_kaldi_folder(tmp_path: Path) -> None:
    write(tmp_path / "wav.scp", "r1 sph2pipe -f wav a.sph |")
    write(tmp_path / "text", "u1 a", "u2 b", "u3 c", "u4 d", "u5 e")
    write(tmp_path / "segments", "u1 r1 0 1", "u2 r2 0 1", "u4 r1 0", "u5 r1 1 x")
    problems: list[str] = []
    assert read_kaldi(tmp_path, problems) == []
    expected = [
        "made by a command",
        "r2 is not in wav.scp",
        "u3 is not in segments",
        "recording start end",
        "not a time",
    ]
    for number, (problem, words) in enumerate(zip(problems, expected, strict=True), 1):
        assert f"text:{number}: " in problem
        assert words in problem


def test_lists_of_speechbrain(tmp_path: Path, make_audio: MakeAudio) -> None:
    make_audio("b.wav", seconds=0.5)
    path = write(
        tmp_path / "train.csv", "ID,duration,wav,spk_id,wrd", 'a,1.5,/audio/a.wav,7,"GOOD, DAY"', "b,,b.wav,8,BYE"
    )
    with pytest.raises(ValueError, match=r"train\.csv:3: '' is not a time"):
        read_csv(path)
    write(path, "wav,wrd,ID", "b.wav,BYE,b")
    assert read_csv(path) == [Utterance(tmp_path / "b.wav", 0.5, "BYE", id="b")]
    write(path, "ID,duration,wav,spk_id,wrd", 'a,1.5,/audio/a.wav,7,"GOOD, DAY"')
    assert read_csv(path) == [Utterance(Path("/audio/a.wav"), 1.5, "GOOD, DAY", id="a", speaker="7")]


def test_variables_and_missing_columns_of_speechbrain_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", "ID,duration,wav,spk_id,wrd", "a,1.5,$data_root/a.wav,7,A", "b,1.0,b.wav")
    problems: list[str] = []
    assert read_csv(path, problems) == []
    assert "has a variable of a recipe" in problems[0]
    assert "no wrd: the line has too few columns" in problems[1]
    with pytest.raises(ValueError, match="no column ID, wrd"):
        read_csv(write(path, "id,wav", "a,a.wav"))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_index_tables(tmp_path: Path, make_audio: MakeAudio, end: str) -> None:
    make_audio("clips/a.wav", seconds=0.5)
    make_audio("clips/b.wav", seconds=0.25)
    index = "speaker\tpath\ttext\tsplit", 'ann\tclips/a.wav\t"Yes", I said\tdev', "bob\tclips/b.wav\t\ttest"
    write(tmp_path / "index.tsv", *index, end=end)
    first, second = read_index_tsv(tmp_path)
    assert first == Utterance(tmp_path / "clips/a.wav", 0.5, '"Yes", I said', id="clips/a", speaker="ann")
    assert read_index_tsv(tmp_path, "test") == [second] == read_corpus(tmp_path, "test")
    with pytest.raises(ValueError, match="no split 'train'; it has dev, test"):
        read_index_tsv(tmp_path, "train")


def test_rows_of_index_tables_that_cannot_be_read_are_named(tmp_path: Path, make_audio: MakeAudio) -> None:
    make_audio("a.wav")
    (tmp_path / "empty.wav").touch()
    write(tmp_path / "index.tsv", "path\ttext", "none.wav\tno", "a.wav", "empty.wav\tno", "a.wav\tyes")
    problems: list[str] = []
    assert [each.text for each in read_index_tsv(tmp_path, problems=problems)] == ["yes"]
    assert [problem.split(":")[1] for problem in problems] == ["2", "3", "4"]
    with pytest.raises(ValueError, match="no column split"):
        read_index_tsv(tmp_path, "dev")


def test_the_layout_is_detected_from_the_files(librispeech: Path, tmp_path: Path) -> None:
    utterances = read_librispeech(librispeech / "test")
    assert read_corpus(librispeech, "test") == utterances
    write_manifest(tmp_path / "list.jsonl", utterances)
    assert read_corpus(tmp_path / "list.jsonl") == utterances


def test_what_is_no_data_set_is_refused_with_the_choice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no known layout: give a \.jsonl manifest"):
        read_corpus(tmp_path)
    with pytest.raises(ValueError, match="no known layout"):
        read_corpus(write(tmp_path / "notes.txt", "hello"))
    with pytest.raises(FileNotFoundError, match=r"no data at .*dev"):
        read_corpus(tmp_path, "dev")
    for reader in (read_librispeech, read_tedlium):
        with pytest.raises(FileNotFoundError, match=r"no \S+ in .*; expected"):
            reader(tmp_path)
    for reader in (read_index_tsv, read_kaldi):
        with pytest.raises(FileNotFoundError, match="no file"):
            reader(tmp_path)


@pytest.mark.skipif(not READ_SPEECH.is_dir(), reason="needs the shared recordings")
def test_read_speech_is_listed_in_full() -> None:
    utterances = read_corpus(READ_SPEECH)
    assert len(utterances) == 41
    assert abs(sum(each.duration for each in utterances) - 226) < 1
    assert utterances[0].text.startswith("Printing, in the only sense")
