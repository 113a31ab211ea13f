"""Writing while reading: hypotheses of running streams, and what of them is final."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_core.errors import check_at_least
from mnemic_core.state import MemoryState
from mnemic_speech.decoder import DecoderSource, DecoderState
from mnemic_speech.simultaneous.config import Shift
from mnemic_speech.simultaneous.encoder_stream import Frames
from mnemic_speech.simultaneous.model import AugmentedMemoryTransformer
from mnemic_speech.simultaneous.policies import Policy


@dataclass(frozen=True)
class DecodingState(MemoryState):
    """Hypotheses of streams; the first ``written`` tokens of each are final.

    Attributes:
        decoder: self-attention cache of the tokens that were inputs, and the final encoder frames as keys and values.
        tokens: of the hypothesis, without start and end.
        count: tokens of the hypothesis.
        written: final tokens.
        after_end: tokens written after the source had ended.
        skipped: decisions at which wait-k read on because the hypothesis ended before the source.
        finished: True where the translation is complete.
    """

    decoder: DecoderState
    tokens: Int[Tensor, "batch capacity"]
    count: Int[Tensor, " batch"]
    written: Int[Tensor, " batch"]
    after_end: Int[Tensor, " batch"]
    skipped: Int[Tensor, " batch"]
    finished: Bool[Tensor, " batch"]


class StreamDecoder:
    """Decodes greedily while encoder frames arrive; a policy says when tokens are written.

    Wait-k goes on from the cache of its earlier steps, as the released code does; policies that translate each prefix
    of the source anew begin with the final tokens. Where wait-k predicts the end of a translation before that of the
    source, it reads on instead: this token and all later ones are a decision later and see more.

    Args:
        model: trained network, in evaluation mode.
        policy: when to write.
        max_tokens: of a translation.
        max_after_end: tokens after the source has ended; a network without an end would go on for ever.
    """

    def __init__(
        self, model: AugmentedMemoryTransformer, policy: Policy, max_tokens: int = 200, max_after_end: int = 25
    ) -> None:
        check_at_least(1, max_tokens=max_tokens, max_after_end=max_after_end)
        self.model, self.policy = model, policy
        self.max_tokens, self.max_after_end = max_tokens, max_after_end

    def start(self, batch: int, device: torch.device | None = None) -> DecodingState:
        """Return the state before the first frame."""
        nothing = torch.zeros(batch, 0, self.model.config.encoder.dim, device=device)
        decoder = self.model.decoder.init_state(nothing, nothing.new_zeros(batch, 0).bool(), self.max_tokens + 1)
        zeros = torch.zeros(batch, dtype=torch.long, device=device)
        tokens = torch.zeros(batch, self.max_tokens, dtype=torch.long, device=device)
        return DecodingState(decoder, tokens, zeros, zeros, zeros, zeros, zeros.bool())

    @torch.no_grad()
    def advance(
        self,
        state: DecodingState,
        final: Frames,
        unfinished: Frames,
        ended: Bool[Tensor, " batch"],
        active: Bool[Tensor, " batch"] | None = None,
    ) -> tuple[list[list[int]], DecodingState]:
        """Return the tokens that became final with further encoder frames, of each stream, and the new state.

        Args:
            state: before them.
            final: frames that no longer change.
            unfinished: frames after them, as they are now; they are seen, but not kept.
            ended: True where the source is complete.
            active: True where frames came or the source ended; the others stay as they are. None: all.
        """
        active = torch.ones_like(ended) if active is None else active
        kept = self._extend(state.decoder.source, final)
        before = [row[:count] for row, count in zip(state.tokens.tolist(), state.count.tolist(), strict=True)]
        seen = replace(state, decoder=replace(state.decoder, source=self._extend(kept, unfinished)))
        if self.policy.translates_anew:
            seen = self._from_written(seen)
        seen = self._translate(seen, ended, active)
        new, after = self._commit(seen, before, ended)
        whole = replace(state, decoder=replace(state.decoder, source=kept))
        after = whole.replace_rows(active, replace(after, decoder=replace(after.decoder, source=kept)))
        return [tokens if is_active else [] for tokens, is_active in zip(new, active.tolist(), strict=True)], after

    def restart(self, state: DecodingState, rows: Bool[Tensor, " batch"]) -> DecodingState:
        """Return the state with some streams begun anew, and without encoder frames that no stream sees any more."""
        source = state.decoder.source
        allowed = source.allowed & ~rows[:, None]
        is_used = allowed.any(0)
        source = DecoderSource(source.keys[..., is_used, :], source.values[..., is_used, :], allowed[:, is_used])
        empty = self.start(len(rows), rows.device)
        fresh = replace(empty, decoder=replace(empty.decoder, source=source))
        return replace(state, decoder=replace(state.decoder, source=source)).replace_rows(rows, fresh)

    def _translate(
        self, state: DecodingState, ended: Bool[Tensor, " batch"], active: Bool[Tensor, " batch"]
    ) -> DecodingState:
        """Extend the active hypotheses as far as the policy and the end symbol allow."""
        source = state.decoder.source
        present = source.allowed.sum(1).tolist()
        limits = ended.new_tensor(
            [
                self._limit(frames, is_ended, state, row)
                for row, (frames, is_ended) in enumerate(zip(present, ended.tolist(), strict=True))
            ],
            dtype=torch.long,
        )
        blocked = state.finished | ~active
        rank = source.allowed.cumsum(1)  # batch frame: 1 for the first that is no padding
        while True:
            turn = state.decoder.length + state.skipped
            goes_on = (turn < limits) & ~blocked
            if not goes_on.any():
                return state
            sees = [self.policy.sees(token, frames) for token, frames in zip(turn.tolist(), present, strict=True)]
            visible = source.allowed & (rank <= torch.tensor(sees, device=turn.device)[:, None])
            state, is_end = self._step(state, visible, goes_on)
            reads_on = torch.zeros_like(is_end) if self.policy.translates_anew else is_end & ~ended
            blocked = blocked | (is_end & ~reads_on)
            finished = state.finished | (is_end & ended)
            state = replace(state, finished=finished, skipped=state.skipped + reads_on.long())

    def _limit(self, num_frames: int, is_ended: bool, state: DecodingState, row: int) -> int:
        """Return how many tokens a stream may have now, with the skipped ones; without any frame none."""
        if not num_frames:
            return 0
        skipped = int(state.skipped[row])
        limits = [self.policy.limit(num_frames, ended=is_ended), self.max_tokens + skipped]
        if is_ended:
            limits.append(int(state.written[row] - state.after_end[row]) + self.max_after_end + skipped)
        return min(limit for limit in limits if limit is not None)

    def _step(
        self, state: DecodingState, visible: Bool[Tensor, "batch frame"], active: Bool[Tensor, " batch"]
    ) -> tuple[DecodingState, Bool[Tensor, " batch"]]:
        """Add a token to the active hypotheses that do not end; also return which of them end."""
        config, place = self.model.config, state.decoder.length
        rows = torch.arange(len(place), device=place.device)
        last = state.tokens[rows, (place - 1).clamp(min=0)]
        inputs = torch.where(place == 0, config.sos_eos_id, last)
        # A stream without frames yet is inactive; it sees one all the same, since a softmax over none is NaN.
        visible = visible | ~visible.any(1, keepdim=True)
        source = replace(state.decoder.source, allowed=visible)
        log_probs, decoder = self.model.decoder.step(inputs[:, None], replace(state.decoder, source=source))
        found = log_probs[:, 0].argmax(-1)
        is_given = place < state.written  # final tokens, read again
        capped = place.clamp(max=self.max_tokens - 1)
        found = torch.where(is_given, state.tokens[rows, capped], found)
        is_end = active & ~is_given & (found == config.sos_eos_id)
        accepted = active & ~is_end
        tokens = state.tokens.clone()
        tokens[rows, capped] = torch.where(accepted, found, tokens[rows, capped])
        length = place + accepted  # what an inactive stream wrote into its cache is beyond its length
        count = torch.where(accepted, torch.maximum(state.count, length), state.count)
        decoder = replace(decoder, length=length, source=state.decoder.source)
        return replace(state, decoder=decoder, tokens=tokens, count=count), is_end

    def _from_written(self, state: DecodingState) -> DecodingState:
        """Return the hypotheses cut to their final tokens, with an empty cache."""
        decoder = replace(state.decoder, length=torch.zeros_like(state.decoder.length))
        return replace(state, decoder=decoder, count=state.written)

    def _commit(
        self, state: DecodingState, before: list[list[int]], ended: Bool[Tensor, " batch"]
    ) -> tuple[list[list[int]], DecodingState]:
        new, written = [], []
        for row, earlier in enumerate(before):
            count, done = int(state.count[row]), int(state.written[row])
            tokens = state.tokens[row, :count].tolist()
            number = self.policy.commit(done, earlier, tokens, ended=bool(ended[row]))
            new.append(tokens[done:number])
            written.append(number)
        after = torch.tensor(written, device=state.written.device)
        after_end = state.after_end + torch.where(ended, after - state.written, 0)
        finished = state.finished | (ended & (after_end >= self.max_after_end)) | (after >= self.max_tokens)
        return new, replace(state, written=after, after_end=after_end, finished=finished)

    def _extend(self, source: DecoderSource, frames: Frames) -> DecoderSource:
        if not frames.frames.shape[1]:
            return source
        place = torch.arange(frames.frames.shape[1], device=frames.lengths.device)
        return self.model.decoder.extend_source(source, frames.frames, place >= frames.lengths[:, None])


@torch.no_grad()
def decode_complete(
    model: AugmentedMemoryTransformer,
    features: Float[Tensor, "batch time mel"],
    lengths: Int[Tensor, " batch"],
    policy: Policy,
    max_tokens: int = 200,
    shift: Shift | None = None,
) -> list[list[int]]:
    """Return the translations of recordings that are encoded as a whole; tokens see what the policy had read by then.

    That is how networks are trained. In a stream the frames of the last segments have less context; see
    `TranslationStream`.

    Args:
        model: trained network, in evaluation mode.
        features: normalized features of complete recordings.
        lengths: feature frames of each.
        policy: what a token may see.
        max_tokens: of a translation.
        shift: of windows; None: that of training.
    """
    frames = Frames(*model.encoder(features, lengths, shift))
    decoder = StreamDecoder(model, policy, max_tokens, max_after_end=max_tokens)
    state = decoder.start(len(features), features.device)
    nothing = Frames(frames.frames[:, :0], torch.zeros_like(frames.lengths))
    ended = torch.ones_like(frames.lengths, dtype=torch.bool)
    return decoder.advance(state, frames, nothing, ended)[0]
