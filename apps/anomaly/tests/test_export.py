from pathlib import Path

import pytest
import torch

from mnemic_anomaly.commands.export import export
from mnemic_core.errors import UserError
from mnemic_core.testing.annotations import unchecked_annotations
from mnemic_vision.memmc_mae import OnnxDetector

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def test_the_graph_is_compared_and_written(
    checkpoint: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with unchecked_annotations():
        export(checkpoint, out=tmp_path / "new" / "detector.onnx", images=images / "test")
        found = OnnxDetector(tmp_path / "new" / "detector.onnx")(torch.rand(2, 3, 40, 30))
    assert "equal to the network on 6 pictures" in capsys.readouterr().out
    assert found.anomaly_map.shape == (2, 64, 64)


@pytest.mark.slow  # exporting takes a quarter of a minute
def test_a_graph_that_differs_is_not_written(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnemic_anomaly.graph_check.TOLERANCE", -1.0)
    with unchecked_annotations(), pytest.raises(UserError, match="differs from the network"):
        export(checkpoint, out=tmp_path / "detector.onnx")
    assert not (tmp_path / "detector.onnx").exists()
