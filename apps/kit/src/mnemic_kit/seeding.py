"""Random numbers of a step that follow from its number, so that nothing has to store their state."""

import hashlib

import torch


def seed_step(seed: int, rank: int, step: int) -> None:
    """Seed torch's random numbers for one training step of one process."""
    digest = hashlib.blake2b(f"{seed}/{rank}/{step}".encode(), digest_size=7).digest()
    torch.manual_seed(int.from_bytes(digest, "big"))
