from pathlib import Path

import pytest
import torch

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae import (
    Calibration,
    DetectorCheckpoint,
    DetectorSettings,
    DrawRule,
    ErrorStatistics,
    ImageDomain,
    MemMcMae,
    MemMcMaeConfig,
    NearestNeighbors,
    ScoreScale,
    prepare,
)
from mnemic_vision.memmc_mae.data import GeneratedTextures

CONFIG = MemMcMaeConfig(
    image_size=64,
    patch_size=8,
    channels=1,
    dim=8,
    depth=1,
    num_heads=2,
    decoder_dim=8,
    decoder_depth=1,
    decoder_heads=2,
)
CALIBRATION = Calibration(ScoreScale(0.0, 0.5, 1.0), ScoreScale(0.0, 0.9, 2.0))


@pytest.fixture
def checkpoint() -> DetectorCheckpoint:
    torch.manual_seed(0)
    domain = ImageDomain.fit([torch.rand(1, 20, 20) for _ in range(4)], [])
    settings = DetectorSettings(DrawRule(num_draws=4))
    statistics = ErrorStatistics.fit([torch.rand(5, 64, 64)], CONFIG.grid)
    return DetectorCheckpoint(MemMcMae(CONFIG), settings, {"command": "test"}, CALIBRATION, domain, statistics)


def test_a_score_does_not_depend_on_the_batch(checkpoint: DetectorCheckpoint) -> None:
    detector, images = checkpoint.detector(), torch.rand(3, 1, 64, 64)
    together = detector.detect(images)
    alone = [detector.detect(image[None]) for image in images]
    torch.testing.assert_close(together.score, torch.cat([each.score for each in alone]))
    torch.testing.assert_close(together.map, torch.cat([each.map for each in alone]))


def test_labels_and_masks_are_what_exceeds_half_of_the_scale(checkpoint: DetectorCheckpoint) -> None:
    found = checkpoint.detector().detect(torch.rand(2, 1, 64, 64))
    assert torch.equal(found.label, found.scaled >= 0.5)
    assert torch.equal(found.mask, found.map >= 0.9)
    assert found.reconstruction.shape == (2, 1, 64, 64)


def test_a_file_holds_thresholds_and_domain(checkpoint: DetectorCheckpoint, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "a.safetensors")
    loaded = DetectorCheckpoint.load(tmp_path / "a.safetensors")
    assert (loaded.calibration, loaded.domain, loaded.settings) == (
        checkpoint.calibration,
        checkpoint.domain,
        checkpoint.settings,
    )
    images = torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(loaded.detector().detect(images).map, checkpoint.detector().detect(images).map)


def test_images_of_another_size_are_refused(checkpoint: DetectorCheckpoint) -> None:
    with pytest.raises(UserError, match="takes images of 1x64x64, got 3x32x32: use prepare"):
        checkpoint.detector().detect(torch.rand(1, 3, 32, 32))


def test_a_domain_knows_its_own_kind_of_images() -> None:
    textures = GeneratedTextures(num_train=24, num_val=24, num_test=0).open()
    train, held_out = ([s.load() for s in textures if s.split == split and not s.label] for split in ("train", "val"))
    domain = ImageDomain.fit(train, held_out)
    assert sum(domain.distance(image) <= 1 for image in held_out) >= 11  # of 12
    assert domain.distance(torch.zeros(1, 50, 40)) > 2
    assert domain.distance(prepare(train[0], 200, 3)) == pytest.approx(domain.distance(train[0]), rel=0.3)


def test_the_distance_to_neighbors_is_that_of_a_loop() -> None:
    normal, images = torch.randn(7, 4), torch.randn(3, 4)
    scores = NearestNeighbors.fit([normal[:4], normal[4:]], num_neighbors=2).score(images)
    for image, score in zip(images, scores, strict=True):
        distances = sorted(1 - float(torch.cosine_similarity(image, each, dim=0)) for each in normal)
        assert float(score) == pytest.approx(sum(distances[:2]) / 2, abs=1e-6)
