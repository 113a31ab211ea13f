from pathlib import Path

import pytest

from mnemic_anomaly.commands.demo import demo
from mnemic_anomaly.commands.generate import generate
from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.data import open_images


def test_textures_are_a_tree_with_masks(tmp_path: Path) -> None:
    generate(tmp_path / "made", num_train=2, num_val=0, num_test=4)
    samples = open_images("folders", tmp_path / "made")
    assert sum(sample.mask_path is not None for sample in samples) == 2
    generate(tmp_path / "made", num_train=2, num_val=0, num_test=6)  # replaced


def test_lesions_in_images_of_a_folder_are_a_tree_with_masks(images: Path, tmp_path: Path) -> None:
    generate(tmp_path / "made", data=images)
    test = [sample for sample in open_images("folders", tmp_path / "made") if sample.split == "test"]
    assert [sum(sample.label == label for sample in test) for label in (0, 1)] == [3, 3]
    assert all(sample.load_mask().any() for sample in test if sample.label)


def test_data_without_normal_images_to_change_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="normal images, found none in the train part"):
        generate(tmp_path / "made", data=images / "test" / "good" / "000.png")


def test_the_demo_writes_a_page_and_scores(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo(out=tmp_path / "out", checkpoint=checkpoint, num_images=4, device="cpu")
    assert (tmp_path / "out" / "index.html").read_text().count("<article") == 4
    assert "pixel AUROC" in capsys.readouterr().out
