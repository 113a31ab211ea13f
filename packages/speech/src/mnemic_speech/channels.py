"""From the channels of a recording to one, or to the speakers that have a channel each."""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
from jaxtyping import Float32

from mnemic_speech.container_source import Block

_OPPOSITE = -0.5  # correlation below which a channel is taken to be wired with opposite polarity
_SOUND = 1.0  # seconds with sound that are enough to decide
_FLOOR = 1e-4  # amplitude of sound
_FRAME_SECONDS = 0.02
_ACTIVE_DB = 40.0  # below its loudest frame a channel is active
_ALONE_DB = 15.0  # a channel is alone where all others are quieter by this
_ALONE_SHARE = 0.1  # of the active frames of each channel, at least, in which one of two speakers is alone
_RELATED = 0.3  # correlation from which two channels are of one sound


def mix_channels(
    blocks: Iterable[Block], sample_rate: int, max_seconds: float = 10.0
) -> Iterator[Float32[np.ndarray, " frame"]]:
    """Yield the mean of the channels, of which those of opposite polarity are inverted so that they do not cancel.

    Polarity is decided once, by the beginning of the recording: channels whose correlation with the loudest one is
    below -0.5 are inverted. Until a second with sound is there, blocks are held back.

    Args:
        blocks: of the recording.
        sample_rate: in Hz.
        max_seconds: for which blocks are held back at most; 0: the first block decides.

    Example:
        >>> left = np.sin(np.arange(100)).astype(np.float32)
        >>> (mixed,) = mix_channels([np.stack([left, -left], 1)], 16000)
        >>> bool(np.abs(mixed).max() > 0.9)
        True
    """
    rest = iter(blocks)
    held: list[Block] = []
    failure: ValueError | None = None
    listened = heard = 0
    try:
        for block in rest:
            held.append(block)
            listened += len(block)
            heard += int((np.abs(block).max(axis=1, initial=0) > _FLOOR).sum())
            if block.shape[1] == 1 or heard >= _SOUND * sample_rate or listened >= max_seconds * sample_rate:
                break
    except ValueError as error:  # the blocks before it come first
        failure = error
    if held:
        weights = polarities(np.concatenate(held)) / held[0].shape[1]
        yield from (block @ weights for block in chain(held, rest))
    if failure is not None:
        raise failure


def are_separate(blocks: Iterable[Block], sample_rate: int) -> bool:
    """Return whether two channels have a speaker each, as in recorded calls.

    In each there is sound while the other is quiet, and they do not correlate. With other numbers of channels, such as
    the six of a film, False.

    Args:
        blocks: of the complete recording.
        sample_rate: in Hz.

    Example:
        >>> tone, silence = np.sin(np.arange(8000.0)), np.zeros(8000)
        >>> call = np.stack([np.append(tone, silence), np.append(silence, tone)], 1).astype(np.float32)
        >>> are_separate([call], 8000), are_separate([call[:, :1].repeat(2, axis=1)], 8000)
        (True, False)
    """
    frame = max(round(_FRAME_SECONDS * sample_rate), 1)
    products, powers, rest = np.zeros((2, 2)), [], np.zeros((0, 2), np.float32)
    for block in blocks:
        if block.shape[1] != 2:
            return False
        rest = np.concatenate([rest, block])
        whole, rest = rest[: len(rest) // frame * frame].astype(np.float64), rest[len(rest) // frame * frame :]
        products += whole.T @ whole
        powers.append(np.square(whole).reshape(-1, frame, 2).mean(1))
    if not powers or not products.diagonal().all():
        return False
    levels = 10 * np.log10(np.concatenate(powers) + 1e-10)  # frame channel
    is_active = levels > levels.max(0) - _ACTIVE_DB
    is_alone = is_active & (levels > levels[:, ::-1] + _ALONE_DB)
    correlation = products[0, 1] / np.sqrt(products.diagonal().prod())
    return bool((is_alone.sum(0) >= _ALONE_SHARE * is_active.sum(0)).all() and abs(correlation) < _RELATED)


def polarities(block: Block) -> Float32[np.ndarray, " channel"]:
    """Return -1 for the channels of opposite polarity to the loudest one, 1 for the others."""
    values = block.astype(np.float64)
    products = values.T @ values
    energy = products.diagonal()
    loudest = int(energy.argmax())
    scale = np.sqrt(energy * energy[loudest])
    correlation = np.divide(products[loudest], scale, out=np.ones_like(scale), where=scale > 0)
    return np.where(correlation < _OPPOSITE, -1.0, 1.0).astype(np.float32)
