import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from mnemic_anomaly.commands.evaluate import evaluate
from mnemic_vision.backbone import build_backbone


def evaluated(capsys: pytest.CaptureFixture[str], data: Path, checkpoint: Path, **options: Any) -> dict[str, Any]:
    evaluate(data, checkpoint=checkpoint, device="cpu", json=True, **options)
    summary: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return summary


def test_the_last_line_of_an_evaluation_is_json(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(capsys, images, checkpoint, out=tmp_path / "out", baselines=True)
    assert found.keys() >= {"auroc", "average_precision", "images_per_second", "pixel_auroc", "aupro", "iou"}
    assert found["images_with_masks"] == 6
    assert found["baselines"].keys() == {"memory emptied"}
    assert (tmp_path / "out" / "index.html").read_text().count("labeled anomalous") == 3
    assert (tmp_path / "out" / "histogram.png").stat().st_size > 1000
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["auroc"] == found["auroc"]


def test_lesions_are_pasted_into_normal_images(
    images: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(capsys, images, checkpoint, lesions=2)
    assert (found["normal_images"], found["anomalous_images"]) == (3, 6)


def test_glaring_lesions_change_more(images: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faint, glaring = (
        evaluated(capsys, images, checkpoint, lesions=1, lesion_kinds=("noise",), lesion_contrast=contrast)
        for contrast in ((0.1, 0.2), (8.0, 10.0))
    )
    assert glaring["pixel_auroc"] > faint["pixel_auroc"] + 0.1


def test_neighbors_are_baselines_where_a_frozen_network_is_given(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    torch.save(build_backbone("tf_efficientnet_lite0").get_submodule("body").state_dict(), tmp_path / "lite0.pth")
    found = evaluated(capsys, images, checkpoint, baselines=True, neighbor_weights=tmp_path / "lite0.pth")
    assert found["baselines"].keys() == {"memory emptied", "nearest images", "nearest patches"}
    assert found["baselines"]["nearest patches"]["pixel_auroc"] > 0.5


def test_an_image_in_two_parts_is_reported(images: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copied = next((images / "train" / "good").glob("*.png")).read_bytes()
    (images / "test" / "good" / "copy.png").write_bytes(copied)
    found = evaluated(capsys, images, checkpoint)
    assert any("is the same image as test/good/copy.png (test)" in line for line in found["duplicates"])


def test_a_mask_of_another_shape_leaves_its_image_out(
    images: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = next((images / "ground_truth").rglob("*_mask.png"))
    Image.new("L", (64, 20)).save(mask)
    with pytest.raises(SystemExit, match="2"):
        evaluate(images, checkpoint=checkpoint, device="cpu")
    assert "need the same ratio of sides" in capsys.readouterr().err
