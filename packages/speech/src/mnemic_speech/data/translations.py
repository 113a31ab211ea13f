"""Readers for spoken translations: MuST-C, CoVoST 2, tables with one column per language, and manifests.

Every reader returns utterances with the text of the language that is spoken and its translations. With a list
``problems`` wrong rows are skipped and described there; without, the first one raises a `UserError` with file and line.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from mnemic_core.errors import UserError
from mnemic_speech.data.corpora import Row, column, read_rows
from mnemic_speech.data.manifest import Utterance, numbered_lines, parse_rows, read_manifest, utterance_of

# The C parser is ten times as fast, but not part of every build of PyYAML.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]+)?")
_COVOST = re.compile(r"covost_v2\.(?P<spoken>[\w-]+?)_(?P<written>[\w-]+?)\.(?P<split>\w+)")


def read_translations(
    source: str | Path, spoken: str, written: str, split: str | None = None, problems: list[str] | None = None
) -> list[Utterance]:
    """Return the utterances of a data set with their texts in the written language.

    Args:
        source: a manifest (.jsonl or .json), a table (.tsv) of CoVoST 2 or with a column ``path`` and one for each
            language, or the folder of a language pair of MuST-C.
        spoken: code of the language of the speech.
        written: code of the language of the texts; that of the speech for transcripts.
        split: part of MuST-C, such as ``train`` or ``tst-COMMON``.
        problems: see above.

    Raises:
        FileNotFoundError: there is no such file or folder.
        UserError: the layout is unknown, a row is wrong, or has no text in the written language.
    """
    source = Path(source)
    chosen = []
    for utterance in _reader(source, spoken, split)(problems):
        try:
            if utterance.language not in {"", spoken}:
                raise UserError(f"{utterance.id}: spoken in {utterance.language!r}, not in {spoken!r}")
            chosen.append(replace(utterance, language=spoken).in_language(written))
        except UserError as error:
            if problems is None:
                raise UserError(f"{source}: {error}") from error
            problems.append(f"{source}: {error}")
    return chosen


def read_must_c(folder: str | Path, split: str, problems: list[str] | None = None) -> list[Utterance]:
    """Return the utterances of a split of MuST-C, named ``TALK_NUMBER``.

    Args:
        folder: a language pair such as ``en-de``, with ``data/SPLIT/txt/SPLIT.yaml``, one text file for each language
            and ``data/SPLIT/wav``.
        split: ``train``, ``dev``, ``tst-COMMON`` or ``tst-HE``.
        problems: see above.
    """
    part = Path(folder, "data", split)
    listing = part / "txt" / f"{split}.yaml"
    spoken, _, written = Path(folder).name.partition("-")
    texts = {code: _lines(part / "txt" / f"{split}.{code}") for code in (spoken, written)}
    segments = _read_yaml(listing)
    counts = {"segments": len(segments)} | {code: len(lines) for code, lines in texts.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise UserError(f"{listing}: segments and texts are not aligned: {shown}")
    seen: dict[str, int] = {}  # segments of each talk so far

    def parse(place: int) -> Utterance:
        segment = segments[place]
        wav = str(_field(segment, "wav", str))
        number = seen.get(wav, 0)
        seen[wav] = number + 1
        utterance = utterance_of(
            part / "wav" / wav,
            texts[spoken][place],
            float(_field(segment, "duration", float | int)),
            offset=float(_field(segment, "offset", float | int)),
            name=f"{Path(wav).stem}_{number}",
            speaker=str(segment.get("speaker_id", "")),
        )
        return replace(utterance, language=spoken, translations={written: texts[written][place]})

    return parse_rows(listing, ((place + 1, place) for place in range(len(segments))), parse, problems)


def read_covost(path: str | Path, problems: list[str] | None = None) -> list[Utterance]:
    """Return the utterances of a table of CoVoST 2, ``covost_v2.EN_DE.SPLIT.tsv``, next to Common Voice's ``clips``."""
    path = Path(path)
    match = _COVOST.match(path.name)
    if match is None:
        raise UserError(f"{path}: expected the name covost_v2.SPOKEN_WRITTEN.SPLIT.tsv")

    def parse(row: Row) -> Utterance:
        audio, text, translation = (column(row, name) for name in ("path", "sentence", "translation"))
        speaker = row.get("client_id") or ""
        utterance = utterance_of(path.parent / "clips" / audio, text, name=Path(audio).stem, speaker=speaker)
        return replace(utterance, language=match["spoken"], translations={match["written"]: translation})

    return parse_rows(path, read_rows(path, ("path", "sentence", "translation"), "\t"), parse, problems)


def read_language_columns(path: str | Path, spoken: str, problems: list[str] | None = None) -> list[Utterance]:
    """Return the utterances of a table with the column ``path``, from its folder, and one for each language, as ``de``.

    Args:
        path: the table, separated by tabs; its first line names the columns.
        spoken: language of the speech, whose column may be missing.
        problems: see above.
    """
    path = Path(path)

    def parse(row: Row) -> Utterance:
        audio = column(row, "path")
        texts = {code: text.strip() for code, text in row.items() if text and code and _LANGUAGE.fullmatch(code)}
        name = row.get("id") or str(Path(audio).with_suffix(""))
        speaker = row.get("voice") or row.get("speaker") or ""
        utterance = utterance_of(path.parent / audio, texts.pop(spoken, ""), name=name, speaker=speaker)
        return replace(utterance, language=spoken, translations=texts)

    return parse_rows(path, read_rows(path, ("path",), "\t"), parse, problems)


def _reader(source: Path, spoken: str, split: str | None) -> Callable[[list[str] | None], list[Utterance]]:
    if not source.exists():
        raise FileNotFoundError(f"no data at {source}; give a manifest, a table or the folder of a data set")
    if source.is_file() and split is not None:
        raise UserError(f"{source} is one file without parts: leave out the split {split!r}")
    if source.is_file() and source.suffix in {".jsonl", ".json"}:
        return partial(read_manifest, source)
    if source.is_file() and _COVOST.match(source.name):
        return partial(read_covost, source)
    if source.is_file() and source.suffix == ".tsv":
        return partial(read_language_columns, source, spoken)
    if (source / "data").is_dir():
        parts = sorted(path.name for path in (source / "data").iterdir() if (path / "txt").is_dir())
        if split not in parts:
            raise UserError(f"which part of {source}? give a split, one of {', '.join(parts)}")
        return partial(read_must_c, source, split)
    raise UserError(
        f"{source} is in no known layout: give a .jsonl manifest, a .tsv with the columns path and one for each "
        "language, a table of CoVoST 2, or the folder of a language pair of MuST-C"
    )


def _read_yaml(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; give the folder of a language pair of MuST-C, such as en-de")
    try:
        content = yaml.load(path.read_text("utf-8"), _Loader)  # a safe loader, written in C
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a list of segments in YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise UserError(f"{path} is not a list of segments with wav, offset and duration")
    return content


def _field(segment: dict[str, Any], name: str, kind: Any) -> Any:
    value = segment.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{name} is {value!r}: a segment has wav, and offset and duration in seconds")
    return value


def _lines(path: Path) -> list[str]:
    return [line for _, line in numbered_lines(path, keep_blank=True)]
