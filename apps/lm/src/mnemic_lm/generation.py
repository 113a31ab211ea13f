"""Generation of text token by token, in sessions that can be saved and resumed."""

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
    """Sampling of the next token.

    Args:
        temperature: of the softmax; 0: always the likeliest token.
        top_k: draw only from this many likeliest tokens; 0: from all.
        seed: of sampling; each draw is determined by the seed and the position of the token.
    """

    temperature: float = 0.8
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, 0, inf, "temperature", "top_k", "seed")

    def draw(self, logits: Float[Tensor, " token"], position: int) -> int:
        """Return the token at a position of the text."""
        if self.temperature == 0:
            return int(logits.argmax())
        logits = logits.float() / self.temperature
        if 0 < self.top_k < len(logits):
            logits = logits.masked_fill(logits < logits.topk(self.top_k).values[-1], -torch.inf)
        seed_step(self.seed, 0, position)
        # On the CPU, so that a seed gives the same draw on every device.
        return int(logits.softmax(-1).cpu().multinomial(1))


class TextSession(Session):
    """A text that is being generated, with the memory of its complete segments.

    The text is cut into segments of the training length. The memory is updated when a segment is full; the open segment
    is run again for every token, so that each prediction is that of scoring the finished text.

    Args:
        model: in evaluation mode.
        segment_length: tokens per segment in training.
        codec: text to tokens and back; None: bytes.
    """

    session_kind = "text session"

    def __init__(self, model: LanguageModel, segment_length: int, codec: Codec | None = None) -> None:
        self.model, self.segment_length, self.codec = model, segment_length, codec or ByteCodec()
        self._state: MemoryState = model.init_state(1)
        self._pending = [model.config.vocab_size - 1]  # inputs of the open segment
        self._decoder = self.codec.decoder()
        self.position = 0  # of the next token

    def prompt(self, text: str) -> str:
        """Append given text; return the incomplete characters before it, which no later token can complete."""
        if not text:
            return ""
        self.feed(self.codec.encode(text.encode()).tolist())
        rest, self._decoder = self._decoder(None), self.codec.decoder()
        return rest

    def text(self, num_tokens: int, sampling: Sampling) -> Iterator[str]:
        """Append sampled tokens, and yield the text that each of them completes."""
        for token in self.write(num_tokens, sampling):
            yield self._decoder(token)

    def finish(self) -> str:
        """Return the incomplete characters at the end of the text."""
        return self._decoder(None)

    def feed(self, tokens: Sequence[int]) -> None:
        """Append given tokens."""
        for token in tokens:
            if len(self._pending) == self.segment_length:
                self._state = self._run()[1]
                self._pending = []
            self._pending.append(token)
            self.position += 1

    def write(self, num_tokens: int, sampling: Sampling) -> Iterator[int]:
        """Append sampled tokens, and yield each."""
        for _ in range(num_tokens):
            token = sampling.draw(self.logits(), self.position)
            self.feed([token])
            yield token

    def logits(self) -> Float[Tensor, " token"]:
        """Return the logits of the next token, without the start token of documents."""
        return self._run()[0][0, -1, :-1]

    def report(self) -> MemoryReport:
        """Return the use of the memory after the last complete segment."""
        report: MemoryReport = self.model.transformer.report(self._state)
        return report

    def session_model(self) -> LanguageModel:
        """Return the network."""
        return self.model

    def session_settings(self) -> dict[str, Any]:
        """Return segment length and a digest of the tokenizer."""
        source = self.codec.source
        digest = None if source is None else hashlib.sha256(source.encode()).hexdigest()
        return {"segment_length": self.segment_length, "tokenizer": digest}

    def state_dict(self) -> dict[str, Any]:
        """Return memory, open segment and the incomplete characters of the text."""
        return {
            "memory": self._state.to_dict(),
            "pending": self._pending,
            "held_back": self._decoder.state(),
            "place": self.position,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of the same network and settings."""
        self._state = self.model.init_state(1).refill(state["memory"])
        self._pending, self.position = list(state["pending"]), state["place"]
        self._decoder = self.codec.decoder(state["held_back"])

    @torch.inference_mode()
    def _run(self) -> tuple[Float[Tensor, "1 time token"], MemoryState]:
        ids: Int[Tensor, "batch time"] = torch.tensor([self._pending], device=self.model.embedding.weight.device)
        logits, state = self.model(ids, self._state)
        return logits, state
