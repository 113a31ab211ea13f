from pathlib import Path

import pytest
import torch
from damaged_files import check_refusals
from torch.testing import assert_close

from mnemic_speech.data.cached_features import read_features, write_features
from mnemic_speech.features import FeatureConfig

CONFIG = FeatureConfig("kaldi")
VALUES = 20 * torch.rand(7, 80) - 5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_features(tmp_path / "kept.safetensors", {"a": VALUES, "b": VALUES[:3]}, CONFIG)
    return tmp_path / "kept.safetensors"


def test_features_come_back_in_half_precision(path: Path) -> None:
    assert_close(read_features(path, "a", CONFIG), VALUES, atol=8e-3, rtol=0)
    assert read_features(path, "b", CONFIG).shape == (3, 80)


def test_other_settings_and_an_unknown_name_are_refused(path: Path) -> None:
    with pytest.raises(ValueError, match=r'holds features with .*"hop": 160.*, not with .*"hop": 80'):
        read_features(path, "a", FeatureConfig("kaldi", hop=80))
    with pytest.raises(ValueError, match="has no features of c"):
        read_features(path, "c", CONFIG)


def test_an_absent_and_a_damaged_file_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_features(tmp_path / "absent.safetensors", "a", CONFIG)
    (tmp_path / "damaged").mkdir()

    def read(damaged: Path) -> None:
        read_features(damaged, "a", CONFIG)

    check_refusals(read, path, tmp_path / "damaged", count=10)
