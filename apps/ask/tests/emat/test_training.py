import json
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from trainings import Stop, losses

from mnemic_ask.emat.datamodule import EmatData
from mnemic_ask.emat.sources import QuestionSource
from mnemic_ask.emat.task import EmatTask
from mnemic_ask.emat.training import TRAINER_DEFAULTS, EmatCLI
from mnemic_ask.options import CONFIGS
from mnemic_core.errors import UserError
from mnemic_kit.run_folder import checkpoint_path, fit_or_resume
from mnemic_kit.training import run_training
from mnemic_retrieval.emat import EmatCheckpoint, EmatConfig
from mnemic_retrieval.metrics import exact_match
from mnemic_retrieval.t5 import T5, T5Config


def train(program: str, arguments: list[str], **defaults: object) -> EmatCLI:
    given = TRAINER_DEFAULTS | defaults
    return run_training(EmatCLI, EmatTask, EmatData, program, arguments, CONFIGS, given)


def fit(config: Path, root: Path, *options: str, **defaults: object) -> Path:
    fit_or_resume(partial(train, **defaults), ["--config", str(config), *options], root)
    return root


def weights(root: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint_path(root))["state_dict"]


@pytest.mark.parametrize(("stage", "every"), [("pretrain", "null"), ("finetune", "3"), ("finetune", "null")])
def test_a_run_stopped_anywhere_ends_as_an_uninterrupted_one(
    stage: str, every: str, config: Path, tmp_path: Path
) -> None:
    """Also between two searches of the memory, by steps or by epochs: their result is part of the state."""
    options = (f"--model.stage={stage}", f"--model.mining.every_n_steps={every}")
    whole = fit(config, tmp_path / "whole", *options)
    assert len(losses(whole)) == 8
    for batches in (3, 5, 7):
        with pytest.raises(RuntimeError, match="killed"):
            fit(config, tmp_path / "broken", *options, callbacks=[Stop(batches)])
    broken = fit(config, tmp_path / "broken", *options)
    assert losses(broken) == losses(whole)
    assert_close(weights(broken), weights(whole), atol=0.0, rtol=0.0)


def test_scores_are_logged_and_predictions_written(config: Path, tmp_path: Path) -> None:
    root = fit(config, tmp_path / "run", "--trainer.max_steps=2")
    common = ["--config", str(config), f"--trainer.default_root_dir={root}", "--ckpt_path", "last"]
    scores = train("test", common).trainer.callback_metrics
    assert {"test/em", "test/f1", "test/hit_1", "test/hit_5", "test/hit_10", "test/em_kind"} <= scores.keys()
    train("predict", common)
    lines = [json.loads(line) for line in (root / "predictions.jsonl").read_text().splitlines()]
    assert {"question", "answer", "citations"} <= lines[0].keys()
    assert len(lines[0]["citations"]) == 2  # the network reads two pairs


def test_a_training_begins_with_the_network_of_another(config: Path, tmp_path: Path) -> None:
    first = fit(config, tmp_path / "first", "--trainer.max_steps=2")
    start = f"--model.init_checkpoint={checkpoint_path(first)}"
    second = fit(config, tmp_path / "second", start, "--model.lr=0", "--trainer.max_steps=1")
    assert_close(weights(second), weights(first), atol=0.0, rtol=0.0)
    assert EmatCheckpoint.load(checkpoint_path(second)).provenance["step"] == 1
    with pytest.raises(UserError, match="other tokens than this config"):
        fit(config, tmp_path / "third", start, "--data.vocabulary.size=290")


def test_neighbors_found_by_another_retriever_are_read(config: Path, tmp_path: Path) -> None:
    count = len(QuestionSource("wordnet", config.with_name("facts.jsonl"), "train").open())
    path = tmp_path / "neighbors"
    path.write_text("".join(f"{(row + 1) % count} {(row + 2) % count}\n" for row in range(count)))
    options = (f"--data.neighbors={path}", "--trainer.max_steps=2")
    assert len(losses(fit(config, tmp_path / "run", *options))) == 2


def test_pretraining_needs_the_pair_of_each_question(config: Path, tmp_path: Path) -> None:
    memory = f"--data.memory=[{{name: wordnet, path: {config.with_name('facts.jsonl')}}}]"
    with pytest.raises(UserError, match=r"leave out data\.memory"):
        fit(config, tmp_path / "run", memory)
    assert len(losses(fit(config, tmp_path / "fine", memory, "--model.stage=finetune", "--trainer.max_steps=2"))) == 2


def test_a_network_with_too_few_tokens_is_refused(config: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the network has 280 tokens, the data 300: set config\.t5\.vocab_size"):
        fit(config, tmp_path / "run", "--model.config.t5.vocab_size=280")


def test_a_released_t5_is_what_training_begins_with(tmp_path: Path) -> None:
    config = T5Config(300, dim=16, num_heads=2, head_dim=8, ffn_dim=16, encoder_layers=3, decoder_layers=1)
    torch.manual_seed(0)
    given = T5(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mnemic_ask.emat.task.load_t5", lambda folder: given)
        task = EmatTask({"kind": "bytes"}, EmatConfig(config, 2, 0, 0, 1), init_t5=tmp_path)
    for own, official in (
        (task.model.encoder.stack, given.encoder),
        (task.model.decoder, given.decoder),
        (task.model.tokens, given.tokens),
    ):
        assert_close(own.state_dict(), official.state_dict(), atol=0.0, rtol=0.0)


@pytest.mark.slow
def test_a_pair_makes_its_question_answerable_without_training(tmp_path: Path) -> None:
    """With words that training never had: what is added is answered, what is removed is not."""
    if not Path("/usr/share/wordnet/data.noun").exists():
        pytest.skip("needs the Debian package wordnet-base")
    run = fit_or_resume(train, ["--config=emat_wordnet", "--data.val=[]", "--trainer.max_steps=2000"], tmp_path)
    checkpoint = run.model.make_checkpoint({})
    checkpoint.model.eval()
    nouns = QuestionSource("wordnet", Path("/usr/share/wordnet/data.noun"), "test", limit=200).open()
    memory, questions = checkpoint.new_memory(), [each.forms[0] for each in nouns]

    def share_right() -> float:
        found = zip(memory.ask(questions), nouns, strict=True)
        return sum(exact_match(answer.text, each.answers) for answer, each in found) / len(nouns)

    before = share_right()
    identities = memory.add([each.known for each in nouns])
    assert share_right() > before + 0.3
    memory.remove(identities)
    assert share_right() == before
