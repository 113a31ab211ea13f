"""Readers for the layouts of public data sets.

Every reader takes ``problems``: with a list, wrong rows are skipped and described there, so that they do not stop a
job; without, the first one raises a `UserError` with file and line. What is not there raises a `FileNotFoundError`.
"""

import csv
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_speech.data.manifest import Utterance, numbered_lines, parse_rows, read_manifest, utterance_of

Row = dict[str, str | None]
# A line of NIST's segment time marks: file, channel, speaker, start, end, optional label, text.
_STM = re.compile(r"(?P<file>\S+) \S+ (?P<speaker>\S+) (?P<start>\S+) (?P<end>\S+)(?: <[^>]*>)?(?P<text>.*)")
_NOT_SCORED = "ignore_time_segment_in_scoring"
# TED-LIUM separates contractions by a space: "it 's".
_SUFFIXES = re.compile(r" '(?=(?:s|d|t|m|ll|re|ve)\b)", re.IGNORECASE)
# Markup in TED-LIUM: <unk>, {breath}, [music], pronunciation variants (2).
_NO_WORDS = re.compile(r"<[^>]*>|\{[^}]*\}|\[[^]]*\]|\(\d+\)")


def read_corpus(source: str | Path, split: str | None = None, problems: list[str] | None = None) -> list[Utterance]:
    """Return the utterances of a data set; the layout is detected from its files.

    Args:
        source: a manifest (.jsonl or .json), a SpeechBrain list (.csv), or a folder: with ``index.tsv``, of Kaldi
            (``wav.scp`` and ``text``), of TED-LIUM (``stm`` and ``sph``) or of LibriSpeech.
        split: a value of the column ``split`` of ``index.tsv``, or a folder in ``source`` such as ``test-clean``.
        problems: see above.

    Raises:
        FileNotFoundError: if ``source`` or the folder of the split does not exist.
        UserError: if the layout or split is unknown, or a row is wrong.
    """
    source = Path(source)
    if (source / "index.tsv").is_file():
        return read_index_tsv(source, split, problems)
    if split is not None:
        source = source / split
    if not source.exists():
        raise FileNotFoundError(f"no data at {source}; give a manifest or the folder of a data set")
    return _reader(source)(source, problems)


def read_librispeech(folder: str | Path, problems: list[str] | None = None) -> list[Utterance]:
    """Return the utterances of LibriSpeech, or of any subtree, sorted by id.

    The folder holds ``SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt`` and FLAC files next to it, at any depth.
    """

    def parse(line: str, chapter: Path) -> Utterance:
        name, text = _first_word(line)
        return utterance_of(chapter / f"{name}.flac", text, name=name, speaker=name.partition("-")[0])

    utterances: list[Utterance] = []
    for path in _found(folder, "**/*.trans.txt", "the tree of LibriSpeech"):
        utterances += parse_rows(path, numbered_lines(path), partial(parse, chapter=path.parent), problems)
    return sorted(utterances, key=lambda utterance: utterance.id)


def read_tedlium(folder: str | Path, problems: list[str] | None = None) -> list[Utterance]:
    """Return the utterances of a part of TED-LIUM, without those excluded from scoring.

    The folder holds ``stm`` and ``sph``, as ``legacy/test`` does. Marks such as ``<unk>``, ``{breath}`` and ``(2)`` are
    removed from the texts, and ``it 's`` is joined.
    """
    utterances: list[Utterance] = []
    for path in _found(folder, "stm/*.stm", "a part of TED-LIUM"):
        lines = ((number, line) for number, line in numbered_lines(path) if not line.startswith(";;"))
        scored = ((number, line) for number, line in lines if not line.endswith(_NOT_SCORED))
        utterances += parse_rows(path, scored, partial(_stm_utterance, folder=Path(folder) / "sph"), problems)
    return utterances


def read_kaldi(folder: str | Path, problems: list[str] | None = None) -> list[Utterance]:
    """Return the utterances of a Kaldi data folder in the order of its ``text``.

    The folder holds ``wav.scp`` and ``text``; ``utt2spk`` and ``segments`` are used where present. As in Kaldi,
    relative paths in ``wav.scp`` are relative to the working directory; commands (ending in ``|``) are not run.
    """
    folder = Path(folder)
    recordings = _table(folder / "wav.scp")
    segments, speakers = (
        _table(folder / name) if (folder / name).is_file() else {} for name in ("segments", "utt2spk")
    )

    def parse(line: str) -> Utterance:
        name, text = _first_word(line)
        recording, start, end = _segment(name, segments)
        duration = None if end is None else end - start
        audio, speaker = _recording(recording, recordings), speakers.get(name, "")
        return utterance_of(audio, text, duration, offset=start, name=name, speaker=speaker)

    return parse_rows(folder / "text", numbered_lines(folder / "text"), parse, problems)


def read_csv(path: str | Path, problems: list[str] | None = None) -> list[Utterance]:
    """Return the utterances of a SpeechBrain list with the columns ID, wav and wrd, optionally duration and spk_id.

    Relative paths are relative to the file.
    """
    path = Path(path)

    def parse(row: Row) -> Utterance:
        audio, text, name = (column(row, name) for name in ("wav", "wrd", "ID"))
        if "$" in audio or "{" in audio:  # SpeechBrain recipes write $data_root
            raise UserError(f"wav {audio!r} has a variable of a recipe: replace it by the folder of the audio")
        duration = _seconds(row["duration"] or "") if "duration" in row else None
        return utterance_of(path.parent / audio, text, duration, name=name, speaker=row.get("spk_id") or "")

    return parse_rows(path, read_rows(path, ("ID", "wav", "wrd"), ","), parse, problems)


def read_index_tsv(folder: str | Path, split: str | None = None, problems: list[str] | None = None) -> list[Utterance]:
    """Return the utterances of a folder with an ``index.tsv``.

    Args:
        folder: its ``index.tsv`` has a first line with the names of its columns, in any order: path (from the
            folder) and text, optionally split, speaker and id. Quotes are part of a text. Durations are read from
            the files, since such columns are rounded.
        split: only the rows with this value in the column split.
        problems: see above.

    Raises:
        UserError: if there is no such split, or as above.
    """
    path = Path(folder) / "index.tsv"

    def parse(row: Row) -> Utterance:
        audio, text = column(row, "path"), column(row, "text")
        name = row.get("id") or str(Path(audio).with_suffix(""))
        return utterance_of(path.parent / audio, text, name=name, speaker=row.get("speaker") or "")

    rows = list(read_rows(path, ("path", "text") if split is None else ("path", "text", "split"), "\t"))
    splits = {row.get("split") or "" for _, row in rows}
    if split is not None and split not in splits:
        raise UserError(f"{path} has no split {split!r}; it has {', '.join(sorted(splits))}")
    chosen = ((number, row) for number, row in rows if split in (None, row.get("split")))
    return parse_rows(path, chosen, parse, problems)


def _reader(source: Path) -> Callable[[Path, list[str] | None], list[Utterance]]:
    if source.is_file():
        by_suffix = {".jsonl": read_manifest, ".json": read_manifest, ".csv": read_csv}
        if source.suffix in by_suffix:
            return by_suffix[source.suffix]
    elif (source / "wav.scp").is_file():
        return read_kaldi
    elif (source / "stm").is_dir():
        return read_tedlium
    elif any(source.glob("**/*.trans.txt")):
        return read_librispeech
    raise UserError(
        f"{source} is in no known layout: give a .jsonl manifest, a SpeechBrain .csv, or a folder with index.tsv, "
        "wav.scp (Kaldi), stm (TED-LIUM) or *.trans.txt (LibriSpeech)"
    )


def _found(folder: str | Path, pattern: str, what: str) -> list[Path]:
    paths = sorted(Path(folder).glob(pattern))
    if not paths:
        raise FileNotFoundError(f"no {pattern} in {folder}; expected {what}")
    return paths


def _stm_utterance(line: str, folder: Path) -> Utterance:
    match = _STM.fullmatch(" ".join(line.split()))
    if match is None:
        raise UserError(f"expected 'file channel speaker start end <label> text', got {line[:60]!r}")
    start, end = _seconds(match["start"]), _seconds(match["end"])
    words = " ".join(_NO_WORDS.sub(" ", match["text"]).split())
    return utterance_of(
        folder / f"{match['file']}.sph",
        _SUFFIXES.sub("'", words),
        end - start,
        offset=start,
        name=f"{match['file']}-{start:.2f}-{end:.2f}",
        speaker=match["speaker"],
    )


def _table(path: Path) -> dict[str, str]:
    """Return the lines of a Kaldi file by their first word."""
    return dict(_first_word(line) for _, line in numbered_lines(path))


def _first_word(line: str) -> tuple[str, str]:
    """Return the first word of a line and the rest, which spaces or tabs separate."""
    name, *rest = line.split(maxsplit=1)
    return name, " ".join(rest).strip()


def _segment(name: str, segments: dict[str, str]) -> tuple[str, float, float | None]:
    """Return recording, start and end of an utterance; without segments, the complete recording."""
    if not segments:
        return name, 0.0, None
    if name not in segments:
        raise UserError(f"{name} is not in segments: add it there or remove it from text")
    fields = segments[name].split()
    if len(fields) != 3:
        raise UserError(f"segments has {segments[name]!r} for {name}, expected 'recording start end'")
    recording, start, end = fields[0], _seconds(fields[1]), _seconds(fields[2])
    return recording, start, None if end == -1 else end  # Kaldi writes -1 for the end of the recording


def _recording(name: str, recordings: dict[str, str]) -> Path:
    if name not in recordings:
        raise UserError(f"recording {name} is not in wav.scp: add it there")
    if recordings[name].endswith("|"):
        raise UserError(f"recording {name} is made by a command, which is not run: run it and write a path to wav.scp")
    return Path(recordings[name])


def read_rows(path: Path, columns: tuple[str, ...], delimiter: str) -> Iterator[tuple[int, Row]]:
    """Yield the rows of a table with their line numbers; quotes are part of a text where tabs separate columns.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: a column is missing, or the file is not a table in UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; give an existing one")
    reader = csv.DictReader(
        _utf8_lines(path), delimiter=delimiter, quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    )
    try:
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise UserError(f"{path} has no column {', '.join(missing)}: its first line names the columns")
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num + 1}: {error}; write the table again") from error


def _utf8_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file with their ends; another encoding is an error that names the line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                # Spreadsheets write a byte order mark.
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(f"{path}:{number}: not UTF-8 text ({error.reason}); convert the file") from error


def column(row: Row, name: str) -> str:
    """Return a value of a row.

    Raises:
        UserError: the row has too few columns.
    """
    value = row.get(name)
    if value is None:
        raise UserError(f"no {name}: the line has too few columns")
    return value.strip()


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UserError(f"{text!r} is not a time: give seconds, such as 2.5") from error
