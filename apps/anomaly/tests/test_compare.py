import json
from pathlib import Path

from mnemic_anomaly.commands.compare import compare


def test_memories_are_compared_on_labeled_images_and_on_lesions(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compare(str(config), memories=("persistent", "none"), seeds=(0,), out=out, options=("--trainer.max_epochs=1",))
    content = json.loads((out / "compare.json").read_text())
    assert content["baseline"] == "none"
    assert content["scores"].keys() == {"labeled", "lesions"}
    row = content["scores"]["lesions"]["persistent"]
    assert row["auroc"]["difference"]["over"] == row["aupro"]["difference"]["over"] == "images"
    memory, plain = (content["scores"]["labeled"][name]["parameters"]["mean"] for name in ("persistent", "none"))
    assert memory > plain
    found = content["scores"]["lesions"]["persistent"]
    assert 0 < found["memory_share"]["mean"] < 1 <= found["slots_used"]["mean"] <= 40
    assert found["error_ratio"]["mean"] > 0 < found["emptied_error_ratio"]["mean"]
    assert "slots_used" not in content["scores"]["lesions"]["none"]
