"""Features of many utterances in one file, so that training does not compute them in every epoch."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from jaxtyping import Float, Shaped
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.tensor_file import read_tensors, write_tensors
from mnemic_speech.features import FeatureConfig

_SETTINGS = "features"


def write_features(path: Path, features: Mapping[str, Float[Tensor, "_ _"]], config: FeatureConfig) -> None:
    """Write the features of utterances by their ids, in half precision: 0.005 of a natural logarithm at most.

    The file is complete or not there.
    """
    halves = {name: values.half() for name, values in features.items()}
    write_tensors(path, halves, {_SETTINGS: json.dumps(asdict(config))})


def read_features(path: Path, name: str, config: FeatureConfig) -> Float[Tensor, "frame mel"]:
    """Return the features of an utterance; the file stays mapped into memory for the next one.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, was made with other settings, or lacks the utterance.
    """
    facts = path.stat()
    tensors, metadata = _open(path, facts.st_mtime_ns, facts.st_size)
    given, wanted = metadata.get(_SETTINGS), json.dumps(asdict(config))
    if given != wanted:
        raise UserError(f"{path} holds features with {given}, not with {wanted}: prepare the data again")
    if name not in tensors:
        raise UserError(f"{path} has no features of {name}: prepare the data again")
    values = tensors[name]
    if values.ndim != 2 or values.shape[1] != config.num_mels or not values.is_floating_point():
        raise UserError(f"{path} is damaged: {name} is {tuple(values.shape)}, not frames of {config.num_mels} values")
    return values.float()


@lru_cache(maxsize=1024)
def _open(path: Path, changed: int, size: int) -> tuple[Mapping[str, Shaped[Tensor, "..."]], Mapping[str, str]]:
    del changed, size  # so that a file that was made again is read again
    return read_tensors(path, mapped=True)
