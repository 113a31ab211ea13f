"""Opening a checkpoint with the options of the commands."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mnemic_core.errors import UserError
from mnemic_kit.devices import Device, find_device
from mnemic_speech.simultaneous.checkpoint import Translator
from mnemic_speech.simultaneous.config import Shift
from mnemic_speech.simultaneous.policies import PolicyName

SHIPPED = Path(__file__).parent / "checkpoints" / "multi30k_en_de.safetensors"


@dataclass(frozen=True)
class InferenceOptions:
    """Options that several commands share; None: as the checkpoint says.

    Attributes:
        to: language to translate into, which must be that of the checkpoint.
        policy: when to write.
        k: decisions that wait-k waits for.
        n: tokens that hold-n holds back.
        shift: which missing context of windows is replaced.
    """

    to: str | None = None
    policy: PolicyName | None = None
    k: int | None = None
    n: int | None = None
    shift: Shift | None = None


def open_translator(
    checkpoint: Path | None = None, options: InferenceOptions = InferenceOptions(), device: Device = "auto"
) -> Translator:
    """Return a translator with its settings changed by options.

    Args:
        checkpoint: an exported file or a checkpoint of training; None: the shipped one.
        options: of the command.
        device: ``auto`` uses a GPU if available.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        UserError: the checkpoint cannot be used, or translates into another language.
    """
    if checkpoint is None and not SHIPPED.is_file():
        raise FileNotFoundError(f"the shipped checkpoint {SHIPPED} is absent: give --checkpoint, or train one with fit")
    translator = Translator.load(checkpoint or SHIPPED).to(find_device(device))
    if options.to not in {None, translator.target}:
        languages = f"{translator.source} to {translator.target}"
        raise UserError(f"{(checkpoint or SHIPPED).name} translates {languages}, not to {options.to!r}: leave out --to")
    return with_options(translator, options)


def with_options(translator: Translator, options: InferenceOptions) -> Translator:
    """Return a translator with other settings and the same network."""
    policy: dict[str, Any] = {"name": options.policy, "k": options.k, "n": options.n}
    given = {name: value for name, value in policy.items() if value is not None}
    settings = replace(translator.settings, policy=replace(translator.settings.policy, **given))
    if options.shift is not None:
        settings = replace(settings, shift=options.shift)
    return replace(translator, settings=settings)
