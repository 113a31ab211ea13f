"""Random numbers of a step that follow from its number, so that nothing has to store their state."""

import hashlib

import torch


def seed_step(seed: int, rank: int, step: int) -> None:
    """Seed torch's random numbers for one training step of one process."""
    torch.manual_seed(hashed_seed(seed, rank, step))


def hashed_seed(*parts: int | str) -> int:
    """Return a seed for torch that is the same in every process; nearby seeds would give correlated numbers."""
    # 7 bytes, since torch takes at most 64 bits with sign.
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")
