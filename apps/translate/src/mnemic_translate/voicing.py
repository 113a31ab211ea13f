"""Voices of two speech synthesizers that run as programs of their own: flite and espeak-ng."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Literal, cast, get_args

import soundfile
import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError

Program = Literal["flite", "espeak-ng"]
_WORDS_PER_MINUTE = "155"


@dataclass(frozen=True)
class Voice:
    """A voice of a program; the same text always sounds the same.

    Attributes:
        program: the synthesizer.
        name: of its voice, such as ``slt`` of flite or ``en-us`` of espeak-ng.
    """

    program: Program
    name: str

    @classmethod
    def parse(cls, text: str) -> "Voice":
        """Return the voice of a text such as ``flite:slt``, if it is installed.

        Raises:
            UserError: the program is unknown or not installed, or has no such voice.
        """
        voice = cls.read(text)
        voice.check()
        return voice

    @classmethod
    def read(cls, text: str) -> "Voice":
        """Return the voice of a text, installed or not.

        Raises:
            UserError: it names none.
        """
        program, _, name = text.partition(":")
        if program not in get_args(Program) or not name:
            raise UserError(f"a voice is flite:NAME or espeak-ng:NAME, such as flite:slt, got {text!r}")
        return cls(cast(Program, program), name)

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f"{self.program}:{self.name}"

    def check(self) -> None:
        """Raise a `UserError` if the program is not installed or lacks the voice."""
        if which(self.program) is None:
            raise UserError(
                f"{self.program} is not installed: get it from your system, such as apt install {self.program}"
            )
        if self.program == "flite":  # which speaks with another voice instead
            listed = _run(["flite", "-lv"], "flite -lv").split(":")[-1].split()
            if self.name not in listed:
                raise UserError(f"flite has no voice {self.name!r}; it has {', '.join(sorted(listed))}")
        self.speak("test")

    def speak(self, text: str) -> tuple[Float[Tensor, " samples"], int]:
        """Return the samples of a text in [-1, 1] and their rate in Hz.

        Raises:
            UserError: the program failed, or made no sound.
        """
        with TemporaryDirectory() as folder:
            path = Path(folder, "speech.wav")
            _run(self._command(text, path), f"{self} on {text!r}")
            samples, rate = soundfile.read(path, dtype="float32")
        if not samples.any():
            raise UserError(f"{self} made no sound of {text!r}")
        return torch.from_numpy(samples), rate

    def _command(self, text: str, path: Path) -> list[str]:
        if self.program == "flite":
            return ["flite", "-voice", self.name, "-t", text, "-o", str(path)]
        return ["espeak-ng", "-v", self.name, "-s", _WORDS_PER_MINUTE, "-w", str(path), "--", text]


def _run(command: list[str], label: str) -> str:
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise UserError(f"{label}: {' '.join(found.stderr.split()) or f'exit code {found.returncode}'}")
    return found.stdout
