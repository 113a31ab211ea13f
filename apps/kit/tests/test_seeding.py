import torch

from mnemic_kit.seeding import seed_step


def test_the_noise_of_a_step_follows_from_its_number() -> None:
    def noise(*place: int) -> torch.Tensor:
        seed_step(*place)
        return torch.rand(3)

    assert torch.equal(noise(0, 1, 2), noise(0, 1, 2))
    assert not torch.equal(noise(0, 1, 2), noise(0, 2, 1))
