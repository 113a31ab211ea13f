import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from sklearn.metrics import roc_auc_score
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.data import ImageSample, LesionSettings, paste_lesion, with_lesions
from mnemic_vision.memmc_mae.data.lesion_kinds import LesionKind
from mnemic_vision.memmc_mae.data.lesions import LESION_KINDS
from mnemic_vision.memmc_mae.data.placing import local_variation

SHARED = Path(__file__).parents[6] / "shared/data"
NORMALS = [SHARED / "xray/nih/test/normal", SHARED / "brain_mri/test/normal"]


def texture(seed: int, channels: int = 1, size: tuple[int, int] = (96, 112)) -> Tensor:
    noise = np.random.default_rng(seed).normal(size=(channels, *size))
    smooth = ndimage.gaussian_filter(noise, (0, 2, 2))
    return torch.from_numpy(0.5 + 0.15 * smooth / smooth.std()).float().clamp(0, 1)


def sample_of(seed: int) -> ImageSample:
    return ImageSample(f"{seed}.png", "test", 0, "", None, None, partial(texture, seed), no_mask)


def mask_of(sample: ImageSample) -> Tensor:
    mask = sample.load_mask()
    assert mask is not None
    return mask


def no_mask() -> None:
    """Like a lambda, but can be pickled."""


@pytest.fixture(params=NORMALS, ids=["xray", "brain_mri"])
def radiographs(request: pytest.FixtureRequest) -> list[Tensor]:
    if not request.param.is_dir():
        pytest.skip("needs the shared data")
    files = sorted(request.param.glob("*.jpg"))[:12]
    return [torch.from_numpy(np.asarray(Image.open(file)) / np.float32(255))[None] for file in files]


@pytest.mark.parametrize("kind", LESION_KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_lesion_changes_the_image_where_its_mask_is(kind: LesionKind, channels: int) -> None:
    image = texture(0, channels)
    lesion = paste_lesion(image, "a.png", LesionSettings(kinds=(kind,)), texture(1, 4 - channels, (64, 200)))
    change = (lesion.image - image).square().sum(0)
    assert change[lesion.mask].sum() > 0.85 * change.sum()
    away = ndimage.distance_transform_edt(~lesion.mask.numpy()) > 20
    assert change[torch.from_numpy(away)].max() == 0
    assert ((lesion.image >= 0) & (lesion.image <= 1)).all()


@pytest.mark.parametrize(("kind", "sign"), [("bright", 1), ("dark", -1)])
def test_bright_lesions_are_brighter_and_dark_ones_darker(kind: LesionKind, sign: int) -> None:
    lesion = paste_lesion(texture(0), "a.png", LesionSettings(kinds=(kind,)))
    assert (sign * (lesion.image - texture(0))[0][lesion.mask]).mean() > 0.03


def test_name_and_seed_decide_the_lesion() -> None:
    def paste(name: str, seed: int) -> Tensor:
        return paste_lesion(texture(0), name, LesionSettings(kinds=("noise",), seed=seed)).image

    assert torch.equal(paste("a.png", 0), paste("a.png", 0))
    assert not torch.equal(paste("a.png", 0), paste("b.png", 0))
    assert not torch.equal(paste("a.png", 0), paste("a.png", 1))


def test_lesions_of_real_images_have_area_and_contrast_in_range(radiographs: list[Tensor]) -> None:
    settings = LesionSettings()
    for index, image in enumerate(radiographs):
        lesion = paste_lesion(image, str(index), replace(settings, kinds=LESION_KINDS[:2]), radiographs[0])
        assert 0.009 <= lesion.mask.float().mean() <= 0.082
        change = (lesion.image - image)[0][lesion.mask].square().mean().sqrt().item()
        low, high = (factor * local_variation(image[0].double().numpy()) for factor in settings.contrast)
        assert low - 1e-6 <= change <= high + 1e-6


def test_lesions_of_real_images_lie_in_the_body(radiographs: list[Tensor]) -> None:
    for index, image in enumerate(radiographs):
        mask = paste_lesion(image, str(index), donor=radiographs[0]).mask
        assert image[0][mask].mean() > 0.5 * image.mean()


def least_detail(image: Tensor) -> float:
    """Return the smallest energy of fine detail in a window of the bright part."""
    energy = ndimage.uniform_filter(ndimage.laplace(image[0].double().numpy()) ** 2, 15)
    return float(energy[image[0].numpy() > 0.1].min())


@pytest.mark.parametrize("kind", LESION_KINDS)
def test_neither_brightness_nor_missing_noise_tells_lesions(radiographs: list[Tensor], kind: LesionKind) -> None:
    settings = LesionSettings(kinds=(kind,))
    lesions = [paste_lesion(image, str(i), settings, radiographs[i - 1]).image for i, image in enumerate(radiographs)]
    labels = [0] * len(radiographs) + [1] * len(lesions)
    for statistic in (least_detail, lambda image: image.mean().item(), lambda image: image.std().item()):
        area = roc_auc_score(labels, [statistic(image) for image in [*radiographs, *lesions]])
        assert 0.25 <= area <= 0.75


def test_every_normal_image_is_there_twice_and_only_the_copy_is_anomalous() -> None:
    normals = [sample_of(seed) for seed in range(40)]
    samples = with_lesions(normals, [sample_of(99)])
    for normal, clean, lesion in zip(normals, samples[::2], samples[1::2], strict=True):
        assert torch.equal(clean.load(), normal.load())
        assert (clean.label, clean.group, clean.name) == (0, "", normal.name)
        assert not mask_of(clean).any()
        assert (lesion.label, lesion.name) == (1, f"{normal.name}+lesion")
        assert mask_of(lesion).any()
    assert {sample.group for sample in samples[1::2]} == set(LESION_KINDS)


def test_a_lesion_does_not_depend_on_the_other_images() -> None:
    normals, donors = [sample_of(seed) for seed in range(6)], [sample_of(98), sample_of(99)]
    together, alone = with_lesions(normals, donors)[9], with_lesions(normals[4:5], donors)[1]
    assert torch.equal(together.load(), alone.load())
    assert torch.equal(mask_of(together), mask_of(alone))


def test_samples_can_be_sent_to_another_process() -> None:
    lesion = with_lesions([sample_of(0)], [sample_of(1)])[1]
    assert torch.equal(pickle.loads(pickle.dumps(lesion)).load(), lesion.load())


def test_mistakes_are_one_clear_line() -> None:
    with pytest.raises(UserError, match=r"0.png is not labeled normal"):
        with_lesions([replace(sample_of(0), label=1)], [sample_of(1)])
    with pytest.raises(UserError, match="give donors or other kinds"):
        with_lesions([sample_of(0)], [])
    with pytest.raises(UserError, match="area and contrast from small to large"):
        LesionSettings(area=(0.08, 0.01))


@pytest.mark.parametrize("kind", LESION_KINDS)
def test_images_of_a_few_dozen_pixels_get_lesions_too(kind: LesionKind) -> None:
    """The grain of a blurred lesion is finer than such pixels: there is none to restore."""
    lesion = paste_lesion(texture(3, size=(32, 32)), "a.png", LesionSettings(kinds=(kind,)))
    assert torch.isfinite(lesion.image).all()
    assert lesion.mask.any()
