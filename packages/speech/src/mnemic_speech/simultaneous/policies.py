"""When to write: policies that decide, after each chunk of the source, which tokens of a hypothesis are final."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from mnemic_core.errors import check_at_least, check_choice
from mnemic_speech.simultaneous.wait_k import decisions

PolicyName: TypeAlias = Literal["wait_k", "local_agreement", "hold_n"]


@runtime_checkable
class Policy(Protocol):
    """A function of what has been read and written; it holds no state, so a stream can be saved at any time.

    Attributes:
        translates_anew: whether each prefix of the source is translated from the final tokens on; otherwise decoding
            goes on from what earlier tokens saw.
    """

    translates_anew: ClassVar[bool]

    def limit(self, num_frames: int, *, ended: bool) -> int | None:
        """Return how many tokens may exist in all after so many encoder frames; None: any number."""

    def sees(self, token: int, num_frames: int) -> int:
        """Return how many of the encoder frames so far a token, counted from 0, may attend to."""

    def commit(self, written: int, earlier: Sequence[int], tokens: Sequence[int], *, ended: bool) -> int:
        """Return how many tokens of a hypothesis are final.

        Args:
            written: tokens that were final before; never fewer are returned.
            earlier: hypothesis after the chunk before.
            tokens: hypothesis now, beginning with the final tokens.
            ended: whether the source is complete.
        """


@dataclass(frozen=True)
class WaitK:
    """Waits for k decisions, then writes one token for each further one (arXiv 1810.08398).

    Attributes:
        k: decisions before the first token.
        ratio: encoder frames of a decision; 8 are 320 ms.
    """

    translates_anew: ClassVar[bool] = False

    k: int = 3
    ratio: int = 8

    def __post_init__(self) -> None:
        check_at_least(1, k=self.k, ratio=self.ratio)

    def limit(self, num_frames: int, *, ended: bool) -> int | None:
        """Return one token for each decision from the k-th on."""
        return None if ended else max(0, decisions(num_frames, self.ratio) - self.k + 1)

    def sees(self, token: int, num_frames: int) -> int:
        """Return what had been read when the token could be written first, as in training."""
        return min((self.k + token) * self.ratio, num_frames)

    def commit(self, written: int, earlier: Sequence[int], tokens: Sequence[int], *, ended: bool) -> int:
        """Return all tokens: the limit keeps others from being there."""
        del written, earlier, ended
        return len(tokens)


@dataclass(frozen=True)
class LocalAgreement:
    """Writes what the hypotheses after two consecutive chunks begin with (arXiv 2005.11185)."""

    translates_anew: ClassVar[bool] = True

    def limit(self, num_frames: int, *, ended: bool) -> None:
        """Return None: each chunk is translated as if it were complete."""

    def sees(self, token: int, num_frames: int) -> int:
        """Return all frames."""
        del token
        return num_frames

    def commit(self, written: int, earlier: Sequence[int], tokens: Sequence[int], *, ended: bool) -> int:
        """Return the length of the common beginning, at the end all."""
        if ended:
            return len(tokens)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(earlier, tokens, strict=False)))
        return max(written, common)


@dataclass(frozen=True)
class HoldN:
    """Writes a hypothesis but for its last n tokens (arXiv 2005.11185).

    Attributes:
        n: tokens that are held back.
    """

    translates_anew: ClassVar[bool] = True

    n: int = 6

    def __post_init__(self) -> None:
        check_at_least(0, n=self.n)

    def limit(self, num_frames: int, *, ended: bool) -> None:
        """Return None: each chunk is translated as if it were complete."""

    def sees(self, token: int, num_frames: int) -> int:
        """Return all frames."""
        del token
        return num_frames

    def commit(self, written: int, earlier: Sequence[int], tokens: Sequence[int], *, ended: bool) -> int:
        """Return all but the last tokens, at the end all."""
        del earlier
        return len(tokens) if ended else max(written, len(tokens) - self.n)


@dataclass(frozen=True)
class PolicyConfig:
    """A policy by name.

    Attributes:
        name: ``wait_k`` (paper), ``local_agreement`` or ``hold_n``.
        k: of ``wait_k``.
        n: of ``hold_n``.
    """

    name: PolicyName = "wait_k"
    k: int = 3
    n: int = 6

    def __post_init__(self) -> None:
        check_choice(PolicyName, policy=self.name)
        self.build(1)

    def build(self, ratio: int) -> Policy:
        """Return the policy for a network that decides every ``ratio`` encoder frames.

        Raises:
            UserError: a number is out of range.
        """
        if self.name == "wait_k":
            return WaitK(self.k, ratio)
        return LocalAgreement() if self.name == "local_agreement" else HoldN(self.n)
