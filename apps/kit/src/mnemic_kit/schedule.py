"""Learning-rate schedule."""

import math


def warmup_share(step: int, warmup: int, total: int | None = None, start: float = 0.0) -> float:
    """Return the learning rate of a step relative to the peak.

    Linear warm-up over ``warmup`` steps, then the inverse square root of the step (Vaswani et al. 2017, section 5.3,
    scaled as in ESPnet's WarmupLR: the peak is at step ``warmup``), or half a cosine down to 0.

    Args:
        step: number of the step, from 0.
        warmup: warm-up steps.
        total: step at which the cosine ends; None: inverse square root, without end.
        start: share from which the warm-up begins.

    Example:
        >>> [round(warmup_share(step, warmup=4), 2) for step in (0, 1, 3, 15)]
        [0.25, 0.5, 1.0, 0.5]
        >>> [round(warmup_share(step, warmup=4, total=14), 2) for step in (0, 3, 8, 13)]
        [0.25, 1.0, 0.5, 0.0]
    """
    number = step + 1  # counted from 1, so that the first step already learns
    if number <= warmup:
        return start + (1 - start) * number / warmup
    if total is None:
        return math.sqrt(warmup / number)
    done = min(1.0, (number - warmup) / max(1, total - warmup))
    return (1 + math.cos(math.pi * done)) / 2
