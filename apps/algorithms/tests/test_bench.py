import json
from pathlib import Path

import pytest

from mnemic_algorithms import cli
from mnemic_algorithms.bench import choose
from mnemic_core import list_mechanisms

SMALL = ["--dim", "8", "--stored", "4", "--segment_length", "4", "--segments", "8", "--batch", "1"]


def test_costs_are_printed_written_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["bench", "--mechanism", "window", "memory_tokens", *SMALL, "--out", str(tmp_path), "--json"])
    *text, last = capsys.readouterr().out.splitlines()
    summary = json.loads(last)
    assert list(summary["results"]) == ["window", "memory_tokens"]
    window = summary["results"]["window"]
    assert window["recall_distance"] == 7
    assert window["state_bytes_per_row"] == 4 * 4 * 8 + 16
    assert window["is_memory_flat"]
    assert set(summary["versions"]) == {"python", "torch"}
    assert summary["machine"]["threads"] == 1
    assert any(line.startswith("| window ") for line in text)
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written.pop("settings").keys() > {"segments", "mechanism", "device"}
    assert written == summary
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"bench.json", "bench.md", "bench.png"}


def test_every_memory_of_the_catalogue_is_measured_and_flat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["bench", *SMALL, "--out", str(tmp_path), "--json"])
    results = json.loads(capsys.readouterr().out.splitlines()[-1])["results"]
    assert set(results) == {entry.name for entry in list_mechanisms() if entry.is_recurrent}
    assert [name for name, result in results.items() if not result["is_memory_flat"]] == []


def test_a_mechanism_without_a_state_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mechanisms that carry a state are .*; got product_key"):
        choose(["window", "product_key"])
