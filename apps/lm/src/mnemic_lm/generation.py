"""Continuing a text token by token, with a session that can be saved and taken up again."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemic_core import MemoryReport, MemoryState
from mnemic_core.errors import check_range
from mnemic_core.session import Session
from mnemic_kit.seeding import seed_step
from mnemic_lm.model import LanguageModel
from mnemic_lm.tokens import ByteCodec, Codec


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
        check_range(self, 0, inf, "temperature", "top_k", "seed")

    def draw(self, logits: Float[Tensor, " token"], place: int) -> int:
        """Return the token at a place of the text."""
        if self.temperature == 0:
            return int(logits.argmax())
        logits = logits.float() / self.temperature
        if 0 < self.top_k < len(logits):
            logits = logits.masked_fill(logits < logits.topk(self.top_k).values[-1], -torch.inf)
        seed_step(self.seed, 0, place)
        return int(logits.softmax(-1).cpu().multinomial(1))


class TextSession(Session):
    """A text that is written on, and what the memory holds of it.

    The model sees the text in the segments that it was trained with: the memory takes up a segment when it is full,
    and the segment that is being written is run again for every token. So each prediction is the one that scoring the
    finished text would give.

    Args:
        model: in evaluation mode.
        segment_length: tokens of a segment in training.
        codec: text to tokens and back; None: bytes.
    """

    session_kind = "text session"

    def __init__(self, model: LanguageModel, segment_length: int, codec: Codec | None = None) -> None:
        self.model, self.segment_length, self.codec = model, segment_length, codec or ByteCodec()
        self._state: MemoryState = model.init_state(1)
        self._pending = [model.config.vocab_size - 1]  # inputs of the segment that is being written
        self._decoder = self.codec.decoder()
        self.place = 0  # tokens so far

    def prompt(self, text: str) -> str:
        """Append a text that is given; return what was held back before it and can no longer be completed."""
        if not text:
            return ""
        self.feed(self.codec.encode(text.encode()).tolist())
        rest, self._decoder = self._decoder(None), self.codec.decoder()
        return rest

    def text(self, num_tokens: int, sampling: Sampling) -> Iterator[str]:
        """Append tokens that the model draws, and yield the text that becomes certain by each."""
        for token in self.write(num_tokens, sampling):
            yield self._decoder(token)

    def finish(self) -> str:
        """Return what is held back at the end of a text that is not continued."""
        return self._decoder(None)

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

    def report(self) -> MemoryReport:
        """Return how the memory is used after the last complete segment."""
        report: MemoryReport = self.model.transformer.report(self._state)
        return report

    def session_model(self) -> LanguageModel:
        """Return the network."""
        return self.model

    def session_settings(self) -> dict[str, Any]:
        """Return the length of a segment and what tells the tokenizer from others."""
        source = self.codec.source
        digest = None if source is None else hashlib.sha256(source.encode()).hexdigest()
        return {"segment_length": self.segment_length, "tokenizer": digest}

    def state_dict(self) -> dict[str, Any]:
        """Return the memory, the segment that is being written and what is held back of the text."""
        return {
            "memory": self._state.to_dict(),
            "pending": self._pending,
            "held_back": self._decoder.state(),
            "place": self.place,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of the same network and settings."""
        self._state = self.model.init_state(1).refill(state["memory"])
        self._pending, self.place = list(state["pending"]), state["place"]
        self._decoder = self.codec.decoder(state["held_back"])

    @torch.inference_mode()
    def _run(self) -> tuple[Float[Tensor, "1 time token"], MemoryState]:
        ids: Int[Tensor, "batch time"] = torch.tensor([self._pending], device=self.model.embedding.weight.device)
        logits, state = self.model(ids, self._state)
        return logits, state
