import io
import json
from pathlib import Path

import pytest
import torch
from command_lines import mistake
from rich.console import Console

from mnemic_ask.cli import main
from mnemic_ask.emat.evaluation import evaluate, show_evaluation
from mnemic_ask.emat.sources import QuestionSource
from mnemic_ask.emat.speed import Speed, batches_to_time
from mnemic_core.errors import UserError
from mnemic_retrieval.emat import Emat, EmatCheckpoint, EmatConfig, EmatSettings
from mnemic_retrieval.t5 import T5Config


def checkpoint() -> EmatCheckpoint:
    torch.manual_seed(0)
    t5 = T5Config(259, dim=16, num_heads=2, head_dim=8, ffn_dim=8, encoder_layers=3, decoder_layers=1)
    return EmatCheckpoint(Emat(EmatConfig(t5, 2, 0, 0, 1, 2)).eval(), EmatSettings(max_tokens=8), {})


def test_scores_and_speeds_with_memory_and_without(facts: Path) -> None:
    examples = QuestionSource("wordnet", facts).open()
    found = evaluate(checkpoint(), examples, [each.known for each in examples], batch_sizes=(8,))
    assert (found["num_questions"], found["num_known"]) == (48, 48)
    scores = found["with_memory"]
    assert scores["hit_1"] <= scores["hit_5"] <= scores["hit_10"]
    assert scores["hit_10"] > 0  # though the network reads two pairs
    assert found["without_memory"]["hit_10"] == 0
    assert found["with_other_pairs"]["hit_10"] == 0  # none is left, as all are asked for
    speed = found["speed"]["8"]
    parts = sum(speed[f"{name}_ms"] for name in ("encode", "search", "decode"))
    assert speed["queries_per_second"] == pytest.approx(1000 / parts)
    text = io.StringIO()
    show_evaluation(found, Console(file=text, width=100))
    assert "hit@10" in text.getvalue()
    assert "em kind" in text.getvalue()


def test_first_and_last_batches_do_not_count() -> None:
    tokens = torch.arange(5)[:, None]
    assert len(batches_to_time(tokens, 1)) == 2 + 200 + 1
    batches = batches_to_time(tokens, 64)
    assert len(batches) == 2 + 10 + 1
    assert batches[0].flatten().tolist()[:7] == [0, 1, 2, 3, 4, 0, 1]
    assert Speed(10, 1.0, 2.0, 2.0).summary()["queries_per_second"] == 2


def test_nothing_to_evaluate_is_named() -> None:
    with pytest.raises(UserError, match="0 questions, 0 known answers"):
        evaluate(checkpoint(), [], [])


def test_the_command_scores_files_and_names_what_is_missing(
    facts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint().save(tmp_path / "emat.safetensors")
    weights = ["--checkpoint", str(tmp_path / "emat.safetensors")]
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "--data", str(facts), "--split", "all", *weights, "--json"])
    assert end.value.code == 0
    scores = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"em", "f1", "em_no_memory", "with_memory", "speed"} <= scores.keys()
    (tmp_path / "nq.jsonl").write_text('{"question": "who?", "answer": ["Ada"]}\n')
    line = mistake(main, ["evaluate", "--data", str(tmp_path / "nq.jsonl"), *weights], capsys)
    assert "give --known" in line
    line = mistake(main, ["evaluate", "--data", str(facts), "--split", "spring", *weights], capsys)
    assert "parts of WordNet's words" in line
