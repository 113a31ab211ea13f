"""Training and evaluation of MuRAG as a LightningModule."""

from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from mnemic_ask.murag.batching import MuragBatch
from mnemic_ask.murag.choosing import Found, found_before, hide_pictures, search_batch
from mnemic_ask.murag.mining import mine, remember
from mnemic_ask.murag.parameters import parameter_groups
from mnemic_ask.scoring import Metric, ask_all, means, memory_sources, score_answer
from mnemic_core.errors import UserError, check_choice, check_range
from mnemic_core.loading import load_exactly
from mnemic_kit.output import write_json_lines
from mnemic_kit.records import Records
from mnemic_kit.schedule import warmup_share
from mnemic_kit.task import Split, Task
from mnemic_retrieval.data import Query
from mnemic_retrieval.murag import (
    Assistant,
    Encoded,
    EntryEncoder,
    Evidence,
    Murag,
    MuragCheckpoint,
    MuragConfig,
    MuragSettings,
)
from mnemic_retrieval.murag.vectors import imagenet_names
from mnemic_retrieval.t5 import load_t5
from mnemic_retrieval.t5.model import IGNORED, sequence_loss, shifted
from mnemic_retrieval.tokenizers import tokenizer_from_state

Stage: TypeAlias = Literal["inbatch", "fixed"]
"""1: the batch is the memory, in which questions and items learn to meet. 2: what was found before training is read."""

_SETTINGS = MuragSettings()


class MuragTask(Task):
    """Trains the network to find items and to read answers from them.

    The defaults are those that the reference recommends, as the paper's could not be read.

    Args:
        tokenizer: from `Tokenizer.state`; linked to the data on the command line.
        config: settings of the network.
        settings: of inference, stored in checkpoints.
        stage: see `Stage`.
        metric: how answers are compared in validation.
        contrastive_weight: of the contrastive loss in stage 1, beside the loss of the answer.
        forced_share: probability that the items that answer a question are among those that are read in stage 1.
        no_memory_share: of questions that are answered without items, so that this is learned too.
        hidden_share: of questions whose picture is hidden from the reader where there are items, so that it reads them.
        smoothing: probability spread over all tokens.
        lr: peak learning rate of parts into which released weights load.
        lr_new: that of new parts.
        lr_vectors: that of what pictures add to retrieval vectors of summaries.
        warmup_steps: optimizer steps of linear warm-up; then half a cosine to ``trainer.max_steps``.
        weight_decay: of matrices.
        init_checkpoint: checkpoint to begin with; it also finds the items of stage 2.
        init_t5: folder of released T5 weights to begin with.
        mine_negatives: whether hard negatives are what ``init_checkpoint`` finds (stage 1b).
        seed: of the randomness in training steps; linked to ``seed_everything`` on the command line.
    """

    distribution = "mnemic-ask"

    def __init__(
        self,
        tokenizer: dict[str, Any],
        config: MuragConfig,
        settings: MuragSettings = _SETTINGS,
        stage: Stage = "inbatch",
        metric: Metric = "squad",
        contrastive_weight: float = 1.0,
        forced_share: float = 0.9,
        no_memory_share: float = 0.1,
        hidden_share: float = 0.0,
        smoothing: float = 0.1,
        lr: float = 1e-4,
        lr_new: float = 5e-4,
        lr_vectors: float = 1e-4,
        warmup_steps: int = 1000,
        weight_decay: float = 0.01,
        init_checkpoint: Path | None = None,
        init_t5: Path | None = None,
        mine_negatives: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        self.settings, self.stage, self.metric = settings, stage, metric
        self.contrastive_weight, self.forced_share = contrastive_weight, forced_share
        self.no_memory_share, self.hidden_share, self.smoothing = no_memory_share, hidden_share, smoothing
        self.rates, self.warmup_steps, self.weight_decay = (lr, lr_new, lr_vectors), warmup_steps, weight_decay
        self.init_checkpoint, self.mine_negatives = init_checkpoint, mine_negatives
        check_choice(Stage, stage=stage)
        check_range(self, 0, inf, "contrastive_weight", "weight_decay")
        check_range(self, 0, 1, "forced_share", "no_memory_share", "hidden_share", "smoothing")
        check_range(self, 1, inf, "warmup_steps")
        if (stage == "fixed" or mine_negatives) and init_checkpoint is None:
            raise UserError("stage fixed and mine_negatives need init_checkpoint, the network that searches")
        self.tokenizer = tokenizer_from_state(tokenizer)
        self.model = Murag(config)
        self._begin(init_checkpoint, init_t5)
        self.encode = EntryEncoder(self.model, self.tokenizer, is_alone=True)
        self.predictions = Records()
        self._asked: Assistant | None = None

    def on_fit_start(self) -> None:
        """Encode names of classes, and search once with the network that training begins with, where that is needed."""
        vectors, sentences = self.model.encoder.vectors, self.model.encoder.sentences
        # A checkpoint has them.
        if vectors is not None and sentences is not None and not bool(vectors.class_vectors.any()):
            vectors.set_classes(imagenet_names(), sentences, self.tokenizer)
        if self.init_checkpoint is None or not (self.stage == "fixed" or self.mine_negatives):
            return
        # Not with the network as it is: a run that is resumed has to find the same.
        given = MuragCheckpoint.load(self.init_checkpoint).to(self.device)
        trainer: Any = self.trainer  # Lightning declares no type for the data module
        train = trainer.datamodule.split("train")
        mined = mine(replace(given, settings=self.settings), train.sources, train.queries)
        trainer.datamodule.hard = mined.hard
        trainer.datamodule.found = mined.found if self.stage == "fixed" else {}

    def training_step(self, batch: MuragBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        asked = self.encode(batch.questions, self.settings.max_question_tokens)
        items = self.encode.items(batch.items, self.settings.max_item_tokens)
        found = self._search(batch, asked.vector, items.vector)
        generative = self._generative_loss(batch, asked, found.evidence(items))
        self.log_losses(
            loss := generative + self.contrastive_weight * found.loss,
            len(batch),
            generative=generative.detach(),
            contrastive=found.loss.detach(),
        )
        return loss

    def begin_evaluation(self) -> None:
        """Reset the predictions; the memory is filled when the first questions come."""
        self.predictions.reset()
        self._asked = None

    def evaluation_step(self, batch: list[Query], batch_idx: int, split: Split) -> None:
        """Answer the questions of a batch from a memory of all items of the split."""
        queries = [query for query in batch if query.answers]
        if queries:
            self._record(queries, split)

    def log_scores(self, split: Split) -> None:
        """Log the mean scores of all questions, and of each category."""
        self.show_scores(split, means([row for _, row in self.predictions.compute().values()]))

    def predict_step(self, batch: list[Query], batch_idx: int) -> list[str]:
        """Return the answer to each question."""
        return self._record([query for query in batch if query.answers], "test")

    def on_predict_epoch_end(self) -> None:
        """Write the predictions to ``predictions.jsonl``, one line per question."""
        found = self.predictions.compute()
        if self.trainer.is_global_zero:
            rows = [{"id": name, "answer": text, **scores} for name, (text, scores) in found.items()]
            write_json_lines(Path(self.trainer.default_root_dir, "predictions.jsonl"), rows)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with a rate for each kind of parts, and half a cosine by steps."""
        optimizer = AdamW(parameter_groups(self.model, *self.rates, self.weight_decay))
        total = self.total_steps()
        schedule = LambdaLR(optimizer, lambda step: warmup_share(step, self.warmup_steps, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def make_checkpoint(self, provenance: dict[str, object]) -> MuragCheckpoint:
        """Return the network with everything between questions and answers."""
        return MuragCheckpoint(self.model, self.settings, provenance, self.tokenizer)

    def _begin(self, checkpoint: Path | None, t5: Path | None) -> None:
        """Load weights of others, and keep what the stage does not train."""
        encoder = self.model.encoder
        if t5 is not None:
            released = load_t5(t5)
            load_exactly(encoder.tokens, released.tokens.state_dict(), f"the tokens of {t5}")
            load_exactly(encoder.stack, released.encoder.state_dict(), f"the encoder of {t5}")
            load_exactly(self.model.decoder, released.decoder.state_dict(), f"the decoder of {t5}")
        if checkpoint is not None:
            given = MuragCheckpoint.load(checkpoint)
            if given.tokenizer.state() != self.tokenizer.state():
                raise UserError(f"{checkpoint} has other tokens than this config: use its data.tokenizer")
            load_exactly(self.model, given.model.state_dict(), checkpoint)
        if self.stage == "fixed":
            # The memory was searched with these vectors, and will be.
            (encoder if encoder.vectors is None else encoder.vectors).requires_grad_(False)

    def _search(self, batch: MuragBatch, asked: Float[Tensor, "batch dim"], items: Float[Tensor, "item dim"]) -> Found:
        """Return what is read for each question."""
        if batch.found is not None:
            return found_before(batch, asked, items)
        is_forced = self._drawn(batch, self.forced_share)
        return search_batch(self.encode, batch, asked, items, self.settings, is_forced)

    def _generative_loss(self, batch: MuragBatch, asked: Encoded, evidence: Evidence) -> Float[Tensor, ""]:
        """Return the loss of the answers, of the questions that have one."""
        has_none = self._drawn(batch, self.no_memory_share)
        evidence = replace(evidence, is_found=evidence.is_found & ~has_none[:, None])
        is_hidden = self._drawn(batch, self.hidden_share) & ~has_none
        if bool(is_hidden.any()):
            asked = hide_pictures(self.model.encoder, asked, is_hidden)
        rows = (batch.labels != IGNORED).any(1)
        if not bool(rows.any()):
            return asked.hidden.sum() * 0
        labels = batch.labels[rows]
        reading = self.model.read(asked.index_select(rows), evidence.index_select(rows))
        return sequence_loss(self.model(reading, shifted(labels, pad_id=0)), labels, self.smoothing)

    def _drawn(self, batch: MuragBatch, share: float) -> Bool[Tensor, " batch"]:
        """Return which questions are drawn with a probability."""
        return (torch.rand(len(batch)) < share).to(batch.labels.device)

    def _record(self, queries: list[Query], split: Split) -> list[str]:
        """Answer questions, and record answers and scores."""
        with torch.autocast(self.device.type, enabled=False):
            answers = ask_all(self._assistant(split), queries, "memory")
        for query, answer in zip(queries, answers, strict=True):
            self.predictions.update(query.id, [answer.text, score_answer(query, answer, self.metric)])
        return [answer.text for answer in answers]

    def _assistant(self, split: Split) -> Assistant:
        """Return the network with a memory of a split's items, filled once in an evaluation."""
        if self._asked is None:
            trainer: Any = self.trainer
            opened = trainer.datamodule.split(split)
            sources = memory_sources(opened.sources.values(), opened.queries)
            self._asked = remember(self.make_checkpoint({}), sources, self.encode)
        return self._asked
