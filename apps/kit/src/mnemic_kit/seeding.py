"""Random numbers of a step that follow from its number, so that nothing has to store their state."""

import hashlib

import torch


def seed_step(seed: int, rank: int, step: int) -> None:
    """Seed torch's random numbers for one training step of one process."""
    # A hash, since nearby seeds would give correlated noise; 7 bytes, since torch takes at most 64 bits with sign.
    digest = hashlib.blake2b(f"{seed}/{rank}/{step}".encode(), digest_size=7).digest()
    torch.manual_seed(int.from_bytes(digest, "big"))
