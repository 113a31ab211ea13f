"""Wait-k: each token sees a fixed number of decisions more of the source than the one before (arXiv 1810.08398)."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def wait_k_visible(
    num_tokens: int, num_frames: int, lengths: Int[Tensor, " batch"], k: int | Int[Tensor, " batch"], ratio: int
) -> Bool[Tensor, "batch token frame"]:
    """Return True at the encoder frames that a token may see: token ``i``, from 1, the first ``(k + i - 1) ratio``.

    Args:
        num_tokens: tokens.
        num_frames: encoder frames of the longest recording.
        lengths: encoder frames of each recording.
        k: decisions to wait for before the first token, 1 or more; one number, or one of each recording.
        ratio: encoder frames between two decisions.

    Example:
        >>> wait_k_visible(3, 5, torch.tensor([5]), k=1, ratio=2).sum(-1).tolist()
        [[2, 4, 5]]
    """
    waited = torch.as_tensor(k, device=lengths.device).reshape(-1, 1)
    token = torch.arange(num_tokens, device=lengths.device)
    limit = torch.minimum((waited + token) * ratio, lengths[:, None])  # batch token
    return torch.arange(num_frames, device=lengths.device) < limit.clamp(min=1)[..., None]


def decisions(num_frames: int, ratio: int) -> int:
    """Return after how many decisions a number of encoder frames has arrived; 1 as soon as there is one."""
    return max(1, num_frames // ratio) if num_frames else 0
