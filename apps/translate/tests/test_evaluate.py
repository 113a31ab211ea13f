import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mnemic_speech.data.tones import ToneWorld
from mnemic_speech.simultaneous import Translator, read_instances, score_quality, translate
from mnemic_translate import cli
from mnemic_translate.evaluation import evaluate_clips, translate_timed


def call(*arguments: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as exit_request:
        cli.main([*map(str, arguments)])
    assert exit_request.value.code == code


def last_object(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_scores_and_a_log_of_each_word(
    checkpoint: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("evaluate", "--data", manifest, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--json", "--to", "de")
    found = last_object(capsys)
    assert {"bleu", "chrf", "al_ms", "laal_ms", "ap", "dal_ms", "atd_ms", "real_time_factor"} <= found.keys()
    assert {"al_ms_ca", "laal_ms_ca", "ap_ca", "dal_ms_ca", "atd_ms_ca"} <= found.keys()
    assert found["num_utterances"] == 3
    assert found["laal_ms_ca"] > found["laal_ms"]
    assert "version:" in found["bleu_signature"]
    log = (tmp_path / "out" / "instances.log").read_text().splitlines()
    records = read_instances(log, "instances.log")
    assert len(records) == 3
    for record in records:
        assert len(record.prediction.split()) == len(record.delays)
        assert all(late > soon for late, soon in zip(record.elapsed, record.delays, strict=True))


def test_a_greater_k_waits_longer(checkpoint: Path, manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    delays = []
    for k in (1, 4, 100):  # the last is longer than every source
        call("evaluate", "--data", manifest, "--checkpoint", checkpoint, "--k", k, "--json")
        delays.append(last_object(capsys))
    assert delays[0]["laal_ms"] < delays[1]["laal_ms"] < delays[2]["laal_ms"]
    assert delays[2]["early_share"] == 0  # an offline system, and said so
    call("evaluate", "--data", manifest, "--checkpoint", checkpoint, "--k", 100)
    assert "this is not simultaneous" in capsys.readouterr().out


def test_a_table_with_one_column_for_each_language(
    checkpoint: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    lines = ["path\tvoice\tseconds\ten\tde"]
    lines += [f"{row['audio_filepath']}\tx\t1\t{row['text']}\t{row['translations']['de']}" for row in rows]
    (tmp_path / "table.tsv").write_text("\n".join(lines))
    call("evaluate", "--data", tmp_path / "table.tsv", "--checkpoint", checkpoint, "--json")
    assert last_object(capsys)["num_utterances"] == 3


def test_what_cannot_be_used_is_listed_and_the_rest_scored(
    checkpoint: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows[0]["translations"]["de"] = " "
    rows[1]["audio_filepath"] = "absent.flac"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    call("evaluate", "--data", manifest, "--checkpoint", checkpoint, "--json", code=2)
    shown = capsys.readouterr()
    assert json.loads(shown.out.splitlines()[-1])["num_utterances"] == 1
    first, second = [line for line in shown.err.splitlines() if line.startswith("left out: ")]
    assert "no text in 'de', its text is empty" in first
    assert "absent.flac" in second


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "tlh"], "keys.safetensors translates en to de, not to 'tlh'"),
        (["--k", "0"], "k must be at least 1"),
        (["--split", "dev", "--data", "absent"], "no data at absent"),
    ],
)
def test_mistakes_are_one_line(
    checkpoint: Path, manifest: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    call("evaluate", "--data", manifest, "--checkpoint", checkpoint, *options, code=2)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_a_data_set_without_the_language_is_one_line(
    checkpoint: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.write_text(manifest.read_text().replace('"de"', '"fr"'))
    call("evaluate", "--data", manifest, "--checkpoint", checkpoint, code=2)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no text in 'de', it has en, fr" in error


def test_timing_changes_no_word(translator: Translator) -> None:
    samples = 0.3 * torch.randn(12_000, generator=torch.Generator().manual_seed(0))
    words, elapsed, spent = translate_timed(translator, samples)
    assert words == translate(translator, samples)
    assert len(elapsed) == len(words)
    assert elapsed[-1] == pytest.approx(1000 * (words[-1].seconds + spent))


def test_a_curve_keeps_its_points(
    checkpoint: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "curve"
    command = ["curve", "--data", manifest, "--checkpoints", checkpoint, "--out", out, "--ks", 1, 3, "--json"]
    call(*command)
    points = last_object(capsys)["points"]
    assert [(point["shift"], point["k"]) for point in points] == [("all", 1), ("all", 3), ("none", 1), ("none", 3)]
    assert (out / "curve.png").stat().st_size > 10_000
    assert "| keys | all | 1 |" in (out / "curve.md").read_text()
    kept = out / "points" / "keys-all-k1.json"
    log = kept.with_suffix(".log").read_text().splitlines()
    translations = read_instances(log, "log")
    assert score_quality(
        [each.prediction for each in translations], [each.reference for each in translations]
    ).bleu == pytest.approx(points[0]["bleu"])
    before = kept.stat().st_mtime_ns
    call(*command)
    assert kept.stat().st_mtime_ns == before
    assert last_object(capsys)["points"] == points
    manifest.write_text(manifest.read_text() + "\n")
    call(*command, code=2)
    assert "was made with other settings (data" in capsys.readouterr().err


def test_a_curve_lists_what_it_left_out_also_when_called_again(
    checkpoint: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows[1]["audio_filepath"] = "absent.flac"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for _ in range(2):
        command = ["curve", "--data", manifest, "--checkpoints", checkpoint, "--out", tmp_path / "out", "--ks", 1, 3]
        call(*command, code=2)
        (problem,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out: ")]
        assert "absent.flac" in problem


def test_memories_are_compared(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--trainer.max_steps=2", "slot_attention:--model.config.encoder.memory.options.num_slots=3"]
    command = ["compare", "--config", config, "--memories", "none", "summary_bank", "slot_attention", "--seeds", 0]
    command += ["--capacities", 1, 3]
    call(*command, "--out", tmp_path / "out", "--ks", 1, 3, "--options", json.dumps(options), "--json")
    scores = last_object(capsys)["scores"]
    assert list(scores) == ["k=1", "k=3"]
    assert set(scores["k=1"]) == {"none", "summary_bank, 1", "summary_bank, 3", "slot_attention"}
    assert scores["k=1"]["none"]["parameters"]["mean"] == scores["k=1"]["summary_bank, 1"]["parameters"]["mean"]
    for capacity in (1, 3):
        run = Translator.load(tmp_path / "out" / f"summary_bank,_{capacity}-0" / "checkpoints" / "last.ckpt")
        assert run.model.config.encoder.memory.options["capacity"] == capacity


def test_in_chinese_the_latency_of_characters_counts(translator: Translator) -> None:
    chinese = replace(translator, target="zh")
    record = evaluate_clips(chinese, ToneWorld(num_clips=1, max_words=2).clips("de")).records[0]
    assert " " not in record.prediction
    assert len(record.delays) == len(record.prediction)
