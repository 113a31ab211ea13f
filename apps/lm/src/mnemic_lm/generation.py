"""Continuing a text token by token, with a session that can be saved and taken up again."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mnemic_core import MemoryState
from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.seeding import seed_step
from mnemic_lm.model import LanguageModel, restore_state

FORMAT_VERSION = "1"


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    Args:
        temperature: below 1 prefers likely tokens, 0 always takes the likeliest.
        top_k: draw from the so many likeliest only; 0 from all.
        seed: of the draws; each follows from it and the place of the token alone.
    """

    temperature: float = 0.8
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"temperature must be at least 0, got {self.temperature}")
        if self.top_k < 0:
            raise UserError(f"top_k must be at least 0, where 0 is no limit, got {self.top_k}")

    def draw(self, logits: Float[Tensor, " token"], place: int) -> int:
        """Return the token at a place of the text."""
        if self.temperature == 0:
            return int(logits.argmax())
        logits = logits.float() / self.temperature
        if 0 < self.top_k < len(logits):
            logits = logits.masked_fill(logits < logits.topk(self.top_k).values[-1], -torch.inf)
        seed_step(self.seed, 0, place)
        return int(logits.softmax(-1).cpu().multinomial(1))


class Session:
    """A text that is written on, and what the memory holds of it.

    The model sees the text in the segments that it was trained with: the memory takes up a segment when it is full,
    and the segment that is being written is run again for every token. So each prediction is the one that scoring the
    finished text would give.

    Args:
        model: in evaluation mode.
        segment_length: tokens of a segment in training.
    """

    def __init__(self, model: LanguageModel, segment_length: int) -> None:
        self.model, self.segment_length = model, segment_length
        self._state: MemoryState = model.init_state(1)
        self._pending = [model.vocab_size - 1]  # inputs of the segment that is being written
        self.place = 0  # tokens so far

    def feed(self, tokens: Sequence[int]) -> None:
        """Append tokens that are given."""
        for token in tokens:
            if len(self._pending) == self.segment_length:
                self._state = self._run()[1]
                self._pending = []
            self._pending.append(token)
            self.place += 1

    def write(self, num_tokens: int, sampling: Sampling) -> Iterator[int]:
        """Append tokens that the model draws, and yield each."""
        for _ in range(num_tokens):
            token = sampling.draw(self.logits(), self.place)
            self.feed([token])
            yield token

    def logits(self) -> Float[Tensor, " token"]:
        """Return the logits of the next token, without the one that begins a document."""
        return self._run()[0][0, -1, :-1]

    def save(self, path: Path) -> None:
        """Write the session as safetensors; a file of that name is replaced only once all is written."""
        tensors = {f"state.{name}": tensor.cpu() for name, tensor in self._state.to_dict().items()}
        tensors["pending"] = torch.tensor(self._pending)
        facts = {"format_version": FORMAT_VERSION, "weights": fingerprint(self.model)}
        with atomic_write(path, "wb") as file:
            file.write(save(tensors, facts | {"place": json.dumps([self.place, self.segment_length])}))

    @classmethod
    def load(cls, path: Path, model: LanguageModel, segment_length: int) -> "Session":
        """Read a session that :meth:`save` wrote.

        Raises:
            UserError: if the file is damaged, of another version or of other weights.
        """
        try:
            with safe_open(path, framework="pt") as file:
                facts: dict[str, str] = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
        except SafetensorError as error:
            raise UserError(f"{path} is no complete session ({error}); begin a new one") from error
        if facts.get("format_version") != FORMAT_VERSION or "pending" not in tensors:
            raise UserError(f"{path} is no session of mnemic-lm in format {FORMAT_VERSION}; begin a new one")
        place, length = json.loads(facts["place"])
        if facts["weights"] != fingerprint(model) or length != segment_length:
            raise UserError(f"{path} is a session of another checkpoint: its memory means nothing to this one")
        session = cls(model, segment_length)
        session._pending, session.place = tensors.pop("pending").tolist(), place
        session._state = restore_state(
            model, {name.removeprefix("state."): tensor for name, tensor in tensors.items()}, batch=1
        )
        return session

    @torch.inference_mode()
    def _run(self) -> tuple[Tensor, MemoryState]:
        ids: Int[Tensor, "batch time"] = torch.tensor([self._pending], device=self.model.embedding.weight.device)
        logits, state = self.model(ids, self._state)
        return logits, state


def fingerprint(model: LanguageModel) -> str:
    """Return what tells weights from others."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
