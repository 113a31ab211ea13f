"""Parallel text made into spoken utterances with translations, in pieces that are complete or not there."""

import gzip
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import atomic_path, atomic_write
from mnemic_speech.data.cached_features import write_features
from mnemic_speech.data.manifest import Utterance, manifest_lines, read_manifest
from mnemic_speech.features import FeatureConfig, Features
from mnemic_speech.resample import resample
from mnemic_translate.voicing import Voice

PIECE = 500  # sentences of a folder
_ROWS, _FEATURES = "rows.jsonl", "features.safetensors"


@dataclass(frozen=True)
class ParallelText:
    """The sentences of a split in several languages, aligned.

    Attributes:
        split: its name.
        spoken: language of the sentences that are voiced.
        texts: sentences by language.
    """

    split: str
    spoken: str
    texts: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        """Return the number of sentences."""
        return len(self.texts[self.spoken])


def read_parallel(folder: Path, split: str, spoken: str, written: Sequence[str]) -> ParallelText:
    """Return the sentences in ``folder/SPLIT.LANGUAGE``, one a line, plain or compressed as ``.gz``.

    Raises:
        FileNotFoundError: a file is missing.
        UserError: a file is not UTF-8, or the files differ in their number of lines.
    """
    texts = {language: _read_lines(folder, f"{split}.{language}") for language in dict.fromkeys((spoken, *written))}
    counts = {language: len(lines) for language, lines in texts.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} in {language}" for language, count in counts.items())
        raise UserError(f"{folder}: the files of {split} are not aligned, sentences: {found}")
    return ParallelText(split, spoken, texts)


def voice_pieces(
    text: ParallelText,
    voices: Sequence[Voice],
    out: Path,
    config: FeatureConfig,
    seed: int = 0,
    jobs: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> list[Utterance]:
    """Return the utterances of a text after voicing those that an earlier call did not.

    A sentence gets the voice that seed and number decide, whatever else is voiced.

    Args:
        text: the sentences.
        voices: to draw from, each as often as the others.
        out: folder of pieces of `PIECE` sentences, each with its audio, features and rows.
        config: of the features that are kept.
        seed: of the drawing.
        jobs: programs that run at once.
        advance: called after each sentence.
    """
    utterances: list[Utterance] = []
    for first in range(0, len(text), PIECE):
        last = min(first + PIECE, len(text))
        folder = out / f"{text.split}-{first // PIECE:04d}"
        done = _read_piece(folder, last - first)
        if done is None:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(folder) as made:
                _voice_piece(text, range(first, last), _draw(voices, first, seed), made, config, jobs, advance)
            done = _read_piece(folder, last - first)
            assert done is not None  # just written
        else:
            for _ in done:
                advance()
        utterances += done
    return utterances


def _draw(voices: Sequence[Voice], first: int, seed: int) -> list[Voice]:
    """Return the voice of each sentence of a piece."""
    order = np.random.default_rng((seed, first)).permutation(PIECE)
    return [voices[place % len(voices)] for place in order.tolist()]


def _voice_piece(
    text: ParallelText,
    numbers: range,
    voices: Sequence[Voice],
    folder: Path,
    config: FeatureConfig,
    jobs: int,
    advance: Callable[[], None],
) -> None:
    """Write audio, features and rows of some sentences."""
    (folder / "audio").mkdir(parents=True)
    features, spoken = Features(config), text.texts[text.spoken]
    kept: dict[str, Tensor] = {}
    rows: list[Utterance] = []
    with ThreadPoolExecutor(jobs) as pool:
        sounds = pool.map(lambda number: voices[number - numbers.start].speak(spoken[number]), numbers)
        for number, (samples, rate) in zip(numbers, sounds, strict=True):
            name, voice = f"{text.split}-{number:06d}", voices[number - numbers.start]
            waveform = resample(samples, rate, config.sample_rate).clamp(-1, 1)
            path = folder / "audio" / f"{name}.flac"
            soundfile.write(path, waveform.numpy(), config.sample_rate, subtype="PCM_16")
            kept[name] = features(_as_stored(waveform)[None])[0][0]
            others = {code: lines[number] for code, lines in text.texts.items() if code != text.spoken}
            seconds, features_path = len(waveform) / config.sample_rate, folder / _FEATURES
            rows.append(
                Utterance(path, seconds, spoken[number], 0.0, name, str(voice), text.spoken, others, features_path)
            )
            advance()
    write_features(folder / _FEATURES, kept, config)
    (folder / _ROWS).write_text("".join(manifest_lines(rows, folder)), "utf-8")


def _as_stored(waveform: Float[Tensor, " samples"]) -> Float[Tensor, " samples"]:
    """Return samples as a file with 16 bits gives them back."""
    return torch.round(waveform * 32768).clamp(-32768, 32767) / 32768


def _read_piece(folder: Path, number: int) -> list[Utterance] | None:
    """Return the utterances of a piece; None if it is not there, or of fewer sentences."""
    if not (folder / _ROWS).is_file():
        return None
    rows = read_manifest(folder / _ROWS)
    return rows[:number] if len(rows) >= number else None


def write_manifest_of(out: Path, split: str, utterances: Sequence[Utterance]) -> Path:
    """Write the manifest of a split and return its path."""
    path = out / f"{split}.jsonl"
    with atomic_write(path) as file:
        file.writelines(manifest_lines(utterances, out))
    return path


def _read_lines(folder: Path, name: str) -> list[str]:
    plain, packed = folder / name, folder / f"{name}.gz"
    path = plain if plain.is_file() else packed
    if not path.is_file():
        raise FileNotFoundError(f"no {plain}, nor {packed.name}: give the folder of aligned files, one sentence a line")
    try:
        content = (gzip.decompress(path.read_bytes()) if path is packed else path.read_bytes()).decode("utf-8-sig")
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise UserError(f"{path} is damaged or not UTF-8 text ({error})") from error
    return [" ".join(line.split()) for line in content.removesuffix("\n").split("\n")]
