"""Training and evaluation of EMAT as a LightningModule."""

from math import inf
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from mnemic_ask.emat.batches import QuestionBatch
from mnemic_ask.emat.datamodule import EmatData
from mnemic_ask.emat.mined_pairs import KEY, MinedPairs
from mnemic_ask.emat.scores import HITS, mean_scores, score_answer
from mnemic_ask.emat.steps import finetuning_losses, pretraining_losses
from mnemic_core.checkpoint import split_checkpoint
from mnemic_core.errors import UserError, check_choice, check_range
from mnemic_core.loading import load_exactly
from mnemic_kit.output import write_json_lines
from mnemic_kit.parameter_groups import decay_groups
from mnemic_kit.records import Records
from mnemic_kit.task import Split, Task
from mnemic_retrieval.emat import Emat, EmatConfig, QuestionMemory
from mnemic_retrieval.emat.checkpoint import EmatCheckpoint, EmatSettings
from mnemic_retrieval.emat.criterion import LossWeights
from mnemic_retrieval.emat.mining import MiningConfig
from mnemic_retrieval.t5 import load_t5
from mnemic_retrieval.tokenizers import tokenizer_from_state

Stage = Literal["pretrain", "finetune"]
Schedule = Literal["linear", "constant"]

# Defaults as objects, not None: jsonargparse shows their fields in the help page.
_CONFIG, _MINING, _SETTINGS = EmatConfig(), MiningConfig(), EmatSettings()
_WEIGHTS = {"pretrain": LossWeights(), "finetune": LossWeights(keys=0.0, values=0.0, matching=1.0)}


class EmatTask(Task):
    """Trains a network that answers from a memory of questions and answers; the defaults are those of the paper.

    Args:
        tokenizer: from `Tokenizer.state`; linked to the data on the command line.
        config: settings of the network.
        stage: ``pretrain`` takes neighbors of each question's own pair as its memory, ``finetune`` searches a large
            memory and tells right from wrong answers.
        weights: of the losses; null: those of the paper for the stage.
        self_prob: how often a question's own pair is the first of its neighbors, in ``pretrain``.
        mining: how ``finetune`` searches.
        settings: of inference, stored in checkpoints.
        lr: peak learning rate.
        warmup_steps: optimizer steps of linear warm-up.
        schedule: ``linear`` falls to 0 at the end of training, ``constant`` stays.
        weight_decay: of AdamW, for matrices.
        init_checkpoint: checkpoint of an EMAT to begin with, which has the same tokens.
        init_t5: folder of a released T5 whose encoder, decoder and embeddings to begin with.
        seed: of the randomness in training steps; linked to ``seed_everything`` on the command line.
    """

    distribution = "mnemic-ask"

    def __init__(
        self,
        tokenizer: dict[str, str],
        config: EmatConfig = _CONFIG,
        stage: Stage = "finetune",
        weights: LossWeights | None = None,
        self_prob: float = 0.1,
        mining: MiningConfig = _MINING,
        settings: EmatSettings = _SETTINGS,
        lr: float = 5e-5,
        warmup_steps: int = 1000,
        schedule: Schedule = "linear",
        weight_decay: float = 0.01,
        init_checkpoint: Path | None = None,
        init_t5: Path | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        self.stage, self.weights = stage, weights or _WEIGHTS[stage]
        self.self_prob, self.mined = self_prob, MinedPairs(mining)
        self.lr, self.warmup_steps, self.schedule, self.weight_decay = lr, warmup_steps, schedule, weight_decay
        check_choice(Schedule, schedule=schedule)
        check_range(self, 0, 1, "self_prob")
        check_range(self, 0, inf, "lr", "weight_decay")
        check_range(self, 1, inf, "warmup_steps")
        self.tokenizer, self.settings = tokenizer_from_state(tokenizer), settings
        if self.tokenizer.vocab_size > config.t5.vocab_size:
            size = self.tokenizer.vocab_size
            raise UserError(f"the network has {config.t5.vocab_size} tokens, the data {size}: set config.t5.vocab_size")
        self.model = Emat(config)
        self._memory: QuestionMemory | None = None
        self.records = Records()
        if init_checkpoint is not None:
            self._begin_with(init_checkpoint)
        if init_t5 is not None:
            self._begin_with_t5(init_t5)

    @property
    def data(self) -> EmatData:
        """The data module."""
        trainer: Any = self.trainer  # Lightning declares no type for it
        data: EmatData = trainer.datamodule
        return data

    def on_fit_start(self) -> None:
        """Refuse data that the stage cannot use."""
        if self.stage == "pretrain" and not self.data.has_own_pairs:
            raise UserError(
                "pre-training needs the pair of each question: leave out data.memory, or use stage finetune"
            )

    def on_train_batch_start(self, batch: QuestionBatch, batch_idx: int) -> None:
        """Search the memory where it is due, and seed the noise of the step by its number."""
        is_due = self.mined.is_due(self.current_epoch, self.global_step, begins_epoch=batch_idx == 0)
        if self.stage == "finetune" and is_due:
            with self.trainer.precision_plugin.forward_context():
                self.mined.search(self.model, self.data, self.global_step)
        super().on_train_batch_start(batch, batch_idx)

    def training_step(self, batch: QuestionBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        if self.stage == "pretrain":
            losses = pretraining_losses(self.model, batch, self.data, self.self_prob, self.weights)
        else:
            losses = finetuning_losses(self.model, batch, self.data, self.mined, self.weights)
        parts = {name: getattr(losses, name) for name in ("answer", "keys", "values", "matching")}
        self.log_losses(losses.total, len(batch), **parts)
        return losses.total

    def begin_evaluation(self) -> None:
        """Encode what the memory knows, with the present weights."""
        self.records.reset()
        self._memory = self.make_checkpoint({}).new_memory()
        self._memory.add(self.data.known_pairs)

    def evaluation_step(self, batch: QuestionBatch, batch_idx: int, split: Split) -> None:
        """Answer the questions of a batch."""
        self._answer(batch)

    def log_scores(self, split: Split) -> None:
        """Log exact match, F1 and hits over all questions."""
        self._memory = None  # it may be large
        self.show_scores(split, mean_scores(self.records.compute().values()))

    def on_predict_epoch_start(self) -> None:
        """Encode what the memory knows."""
        self.begin_evaluation()

    def predict_step(self, batch: QuestionBatch, batch_idx: int) -> None:
        """Answer the questions of a batch."""
        self._answer(batch)

    def on_predict_epoch_end(self) -> None:
        """Write the answers to ``predictions.jsonl``, one line per question."""
        found = self.records.compute()
        if self.trainer.is_global_zero:
            write_json_lines(Path(self.trainer.default_root_dir, "predictions.jsonl"), found.values())

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW and its learning-rate schedule by steps."""
        total = self.total_steps() if self.schedule == "linear" else None
        optimizer = AdamW(decay_groups(self.model.parameters(), self.weight_decay), self.lr)
        schedule = LambdaLR(optimizer, lambda step: linear_share(step, self.warmup_steps, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def make_checkpoint(self, provenance: dict[str, object]) -> EmatCheckpoint:
        """Return the network with its tokenizer."""
        return EmatCheckpoint(self.model, self.settings, provenance, self.tokenizer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the pairs of the last search."""
        super().on_save_checkpoint(checkpoint)
        if self.stage == "finetune":
            checkpoint[KEY] = self.mined.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse other tokens, and continue with the pairs of the last search."""
        super().on_load_checkpoint(checkpoint)
        source = str(self.trainer.ckpt_path)
        self._check_tokens(split_checkpoint(checkpoint, source)[0].get("tokenizer"), source)
        if self.stage == "finetune" and self.trainer.training:
            self.mined.restore(checkpoint.get(KEY), source)

    def _answer(self, batch: QuestionBatch) -> None:
        """Record the answers to a batch."""
        assert self._memory is not None, "begin_evaluation comes first"
        with torch.autocast(self.device.type, enabled=False):
            questions = [each.forms[0] for each in batch.examples]
            answers, found = self._memory.ask(questions), self._memory.look_up(questions, max(HITS))
        scored = map(score_answer, answers, batch.examples, found)
        for place, record in zip(batch.places.tolist(), scored, strict=True):
            self.records.update(f"{place:09}", record)

    def _begin_with(self, path: Path) -> None:
        """Load the network of a checkpoint."""
        given = EmatCheckpoint.load(path)
        self._check_tokens(given.tokenizer.state(), path)
        load_exactly(self.model, given.model.state_dict(), path)

    def _begin_with_t5(self, folder: Path) -> None:
        """Load the parts that a T5 has too; prefix, key head and the bias of retrieved slots stay as they are."""
        given = load_t5(folder)
        encoders = {"encoder": self.model.encoder.stack, "memory encoder": self.model.memory_encoder.stack}
        for name, module in encoders.items():
            load_exactly(module, given.encoder.state_dict(), f"the {name} of {folder}")
        load_exactly(self.model.decoder, given.decoder.state_dict(), f"the decoder of {folder}")
        load_exactly(self.model.tokens, given.tokens.state_dict(), f"the embeddings of {folder}")

    def _check_tokens(self, state: object, path: str | Path) -> None:
        if state != self.tokenizer.state():
            raise UserError(f"{path} has other tokens than this config: use its data.vocabulary and data.train")


def linear_share(step: int, warmup: int, total: int | None) -> float:
    """Return the learning rate of a step relative to the peak.

    Args:
        step: number of the step, from 0.
        warmup: steps of linear warm-up.
        total: step at which it has fallen to 0 again; None: it stays at the peak.

    Example:
        >>> [linear_share(step, warmup=2, total=6) for step in (0, 1, 3, 5)]
        [0.5, 1.0, 0.75, 0.25]
    """
    rising = (step + 1) / warmup
    return min(1.0, rising, 1.0 if total is None else max(0.0, (total - step) / max(1, total - warmup)))
