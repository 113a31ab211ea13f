import json
from pathlib import Path

from mnemic_actions.commands.compare import compare

OPTIONS = (
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--data.windows_per_epoch=64",
    "--data.train=[{name: generated, world: {num_streams: 2, num_frames: 60}}]",
    "--data.val=[{name: generated, world: {num_streams: 2, num_frames: 60, seed: 1}}]",
)


def test_memories_and_windows_are_compared_in_both_orders(tmp_path: Path) -> None:
    compare(memories=("segment_queue", "none"), windows=(8,), seeds=(0,), out=tmp_path, options=OPTIONS)
    content = json.loads((tmp_path / "compare.json").read_text())
    assert content["baseline"] == "none, window 8"
    assert content["scores"].keys() == {"as recorded", "shuffled"}
    row = content["scores"]["shuffled"]["segment_queue, window 8"]
    assert row["map_average"]["difference"]["over"] == "streams"
    assert row["parameters"]["mean"] > 10_000
    assert "| none, window 8 |" in (tmp_path / "compare.md").read_text()
