"""Writing an output token by token."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_core.errors import check_at_least
from mnemic_retrieval.t5.choices import Choices
from mnemic_retrieval.t5.decoder import T5Decoder
from mnemic_retrieval.t5.tokens import Tokens


@torch.no_grad()
def generate_greedy(
    tokens: Tokens,
    decoder: T5Decoder,
    source: Float[Tensor, "batch frame dim"],
    source_padding: Bool[Tensor, "batch frame"],
    max_tokens: int = 64,
    choices: Choices | None = None,
    logits_of: Callable[[Float[Tensor, "batch token dim"]], Float[Tensor, "batch token vocab"]] | None = None,
) -> Int[Tensor, "batch output"]:
    """Return the likeliest next tokens one by one, without the start symbol.

    Rows end with ``end_id`` and are filled with ``pad_id``; a row that did not end has ``max_tokens`` tokens.

    Args:
        tokens: token layer of the decoder.
        decoder: decoder in evaluation mode.
        source: what it attends to.
        source_padding: True at what to ignore of it.
        max_tokens: most tokens of an output.
        choices: outputs that are allowed; None: all.
        logits_of: from what the decoder made of tokens to logits of the next ones; None: by the token layer.
    """
    check_at_least(1, max_tokens=max_tokens)
    config = decoder.config
    state = decoder.init_state(decoder.attend_to(source, source_padding), max_tokens)
    last = torch.full((len(source),), config.pad_id, device=source.device)
    has_ended = torch.zeros_like(last, dtype=torch.bool)
    written: list[Tensor] = []
    while len(written) < max_tokens and not bool(has_ended.all()):
        hidden, state = decoder.step(tokens(last[:, None])[:, 0], state)
        logits = (logits_of or tokens.logits)(hidden[:, None])[:, 0]
        if choices is not None:
            allowed = choices.allowed(written, logits.shape[1]).to(logits.device)
            logits = logits.masked_fill(~allowed, torch.finfo(logits.dtype).min)
        best = logits.argmax(-1)
        last = best.masked_fill(has_ended, config.pad_id)
        has_ended = has_ended | (last == config.end_id)
        written.append(last)
    return torch.stack(written, 1)
