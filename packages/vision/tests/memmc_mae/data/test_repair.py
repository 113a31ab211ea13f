import torch

from mnemic_vision.memmc_mae.data import LesionSettings, RepairSettings


def test_the_share_of_images_with_a_lesion_is_the_given_one() -> None:
    settings, image = RepairSettings(share=0.3), torch.rand(1, 32, 32)
    made = [settings(image, image, torch.Generator().manual_seed(seed)) for seed in range(200)]
    share = sum(each is not None for each in made) / len(made)
    assert 0.2 < share < 0.4
    assert RepairSettings(share=0.0)(image, image, torch.Generator()) is None


def test_lesions_are_of_the_given_kinds_differ_and_come_again() -> None:
    settings = RepairSettings(1.0, LesionSettings(kinds=("bright",), contrast=(2.0, 3.0)))
    torch.manual_seed(0)
    image = 0.3 + 0.2 * torch.rand(1, 48, 48)
    first, second, again = (settings(image, image, torch.Generator().manual_seed(seed)) for seed in (1, 2, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert (first - image).min() > -0.05 < 0.1 < (first - image).max()
