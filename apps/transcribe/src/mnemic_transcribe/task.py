"""Training and validation of a Conformer with memory as a LightningModule."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from jaxtyping import Float, Int
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import get_total_norm
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mnemic_core import MemoryState
from mnemic_core.checkpoint import KEY
from mnemic_core.errors import UserError
from mnemic_core.loading import load_exactly
from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.provenance import training_provenance
from mnemic_kit.seeding import seed_step
from mnemic_speech.conformer_ntm import ConformerNtm, ConformerNtmConfig
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.recognition import recognise
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings, check_decoding
from mnemic_speech.features import FeatureConfig, Features, Normalizer, NormalizerKind
from mnemic_speech.text import tokenizer_from_state
from mnemic_transcribe.augmentation import Masks
from mnemic_transcribe.batching import SpeechBatch
from mnemic_transcribe.datamodule import SpeechData
from mnemic_transcribe.schedule import warmup_share
from mnemic_transcribe.scoring import Heard, error_rates, gather

Part = Literal["encoder", "memory", "ctc", "decoder"]
PARTS: tuple[Part, ...] = ("encoder", "memory", "ctc", "decoder")

_MULTIPLE = 32  # frames are padded to a multiple of it: few shapes, which a CPU runs a quarter faster
_STATISTICS = 2000  # utterances from which the mean of the features is computed


class TranscriptionTask(pl.LightningModule):
    """Learns to write down utterances, each with a fresh memory; the defaults are the published recipe.

    Args:
        tokenizer: what `Tokenizer.state` returns; the command line takes it from the data.
        config: sizes and switches of the network.
        features: what the network hears.
        normalizer: ``global`` mean and variance of the training set, those of each ``utterance``, or ``none``.
        masks: SpecAugment in training; none if null.
        settings: how the trained network is to be run: in tests and predictions, and by the users of a checkpoint.
            Validation takes the best CTC token of each frame where there is a CTC branch.
        lr: highest learning rate.
        warmup_steps: optimiser steps over which it rises to that.
        has_end: let it fall to 0 until ``trainer.max_steps``, for short runs; else with the root of the step.
        weight_decay: of Adam, added to the gradient.
        init_checkpoint: one of our checkpoints to start from, for another training set or another memory.
        init_parts: what is taken from it; the encoder alone, say, where the memory is to be another one: CTC and
            decoder have learned to read what their own memory puts out.
        seed: of the noise in training steps; the command line sets it to ``seed_everything``.
    """

    def __init__(
        self,
        tokenizer: dict[str, Any],
        config: ConformerNtmConfig,
        features: FeatureConfig = FeatureConfig(),  # noqa: B008  # frozen, and jsonargparse shows its defaults in the help
        normalizer: NormalizerKind = "global",
        masks: Masks | None = Masks(),  # noqa: B008  # likewise
        settings: TranscriptionSettings = TranscriptionSettings(),  # noqa: B008  # likewise
        lr: float = 2e-3,
        warmup_steps: int = 15000,
        has_end: bool = False,
        weight_decay: float = 1e-6,
        init_checkpoint: Path | None = None,
        init_parts: Sequence[Part] = PARTS,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if warmup_steps < 1:
            raise UserError(f"warmup_steps must be at least 1, got {warmup_steps}")
        self.tokenizer = tokenizer_from_state(tokenizer)
        if config.vocab_size != self.tokenizer.vocab_size:
            raise UserError(
                f"config.vocab_size must be that of the tokenizer, {self.tokenizer.vocab_size}, got {config.vocab_size}"
            )
        self.model = ConformerNtm(config)
        check_decoding(self.model, settings.decoding)
        self.features = Features(features)
        self.normalizer = Normalizer(normalizer, features.num_mels)
        self.spec_augment = (masks or Masks(0, 0, 0, 0)).build()  # as a module it rests outside of training
        self.settings = settings
        self.lr, self.warmup_steps, self.has_end, self.weight_decay = lr, warmup_steps, has_end, weight_decay
        self.seed = seed
        self._heard: list[Heard] = []
        self._needs_statistics = normalizer == "global"
        if init_checkpoint is not None:
            self._start_from(init_checkpoint, init_parts)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the statistics of the features that the checkpoint brings."""
        self._needs_statistics = False

    def on_fit_start(self) -> None:
        """Measure mean and variance of the features on training utterances as they are."""
        if self._needs_statistics:
            # The recipe reads the whole set, which takes hours of it; means over a million frames are as good.
            batches = self._data.sample(_STATISTICS)
            heard = (self._hear(batches[index].to(self.device)) for index in range(len(batches)))
            rows = (row[:length] for found in heard for row, length in zip(*found, strict=True))
            self.normalizer.load_state_dict(Normalizer.fit(rows).state_dict())
            self._needs_statistics = False

    def on_train_batch_start(self, batch: SpeechBatch, batch_idx: int) -> None:
        """Make the noise of the step follow from its number."""
        seed_step(self.seed, self.global_rank, self.trainer.fit_loop.total_batch_idx)

    def training_step(self, batch: SpeechBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch per utterance, with masks over its features."""
        features, lengths = self._prepare(batch)
        losses = self.model.loss(features, lengths, batch.tokens, batch.token_lengths)
        self.log("train/loss", losses.total.detach(), prog_bar=True, batch_size=len(batch))
        parts = {"train/ctc": losses.ctc, "train/attention": losses.attention, "train/acc": losses.accuracy}
        self.log_dict({name: value.detach() for name, value in parts.items()}, batch_size=len(batch))
        # Lightning's own count of logged steps is one off after a restart between two epochs.
        self.log("step", float(self.global_step), batch_size=len(batch))
        return losses.total

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Leave out a step whose gradient is infinite or no number, as ESPnet does: one such step would end it all."""
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        if not bool(get_total_norm(gradients).isfinite()):
            rank_zero_warn(f"the gradient of step {self.global_step} is not finite: the step is left out")
            optimizer.zero_grad()

    def validation_step(self, batch: SpeechBatch, batch_idx: int) -> None:
        """Compute the losses of a batch and write down what was said."""
        state = self._score(batch, "val")
        if batch_idx == 0:
            diversity = self.model.memory.report(state).diversity
            if diversity is not None:  # 0: all slots are alike, and the memory is no more than one of them
                self.log("val/memory_diversity", diversity, batch_size=len(batch))

    def on_validation_epoch_end(self) -> None:
        """Log the error rates of all utterances."""
        self._log_errors("val")

    def test_step(self, batch: SpeechBatch, batch_idx: int) -> None:
        """Compute the losses of a batch and write down what was said."""
        self._score(batch, "test")

    def on_test_epoch_end(self) -> None:
        """Log the error rates of all utterances."""
        self._log_errors("test")

    def predict_step(self, batch: SpeechBatch, batch_idx: int) -> list[str]:
        """Return what was said in each utterance."""
        found = self._transcribe(batch, self.settings)
        self._heard += found
        return [each.hypothesis for each in found]

    def on_predict_epoch_end(self) -> None:
        """Write what was said to ``predictions.jsonl``, one line an utterance."""
        heard = self._all_heard()
        folder = Path(self.trainer.default_root_dir)
        if self.trainer.is_global_zero:
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(folder / "predictions.jsonl") as file:
                for each in heard:
                    line = {"id": each.id, "pred_text": each.hypothesis, "text": each.reference}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return Adam and its schedule by steps."""
        total = self.trainer.max_steps if self.has_end else None
        if total == -1:
            raise UserError("model.has_end: the learning rate falls until the last step, give --trainer.max_steps")
        # All parameters in one kernel: faster, but Lightning's mixed precision then refuses to clip gradients.
        fused = "mixed" not in str(self.trainer.precision)
        optimizer = Adam(self.model.parameters(), self.lr, weight_decay=self.weight_decay, fused=fused)
        schedule = LambdaLR(optimizer, lambda step: warmup_share(step, self.warmup_steps, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what ``Recognizer.load`` needs, as plain data."""
        made = training_provenance(self, "mnemic-transcribe", Path(__file__).parent, self.seed)
        checkpoint[KEY] = self._recognizer(made).header()

    def _recognizer(self, made: dict[str, object] | None = None) -> Recognizer:
        return Recognizer(self.model, self.settings, made or {}, self.features, self.normalizer, self.tokenizer)

    def _hear(self, batch: SpeechBatch) -> tuple[Float[Tensor, "batch frame mel"], Int[Tensor, " batch"]]:
        """Return the features of a batch as they are, in single precision."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            features, lengths = self.features(batch.waveforms, batch.lengths)
        return features, lengths

    def _prepare(self, batch: SpeechBatch) -> tuple[Float[Tensor, "batch frame mel"], Int[Tensor, " batch"]]:
        """Return the features of a batch as the network takes them, in training with masks."""
        features, lengths = self._hear(batch)
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            # As in the recipe masks come before the mean of the training set is taken off; they must not change the
            # mean of an utterance, though.
            parts = [self.spec_augment, self.normalizer]
            for part in reversed(parts) if self.normalizer.kind == "utterance" else parts:
                features = part(features, lengths)
        return F.pad(features, (0, 0, 0, -features.shape[1] % _MULTIPLE)), lengths

    def _score(self, batch: SpeechBatch, split: str) -> MemoryState:
        """Take note of the losses of a batch and of what is heard in it; return what the memory holds."""
        losses = self.model.loss(*self._prepare(batch), batch.tokens, batch.token_lengths)
        self.log(f"{split}/loss", losses.total, batch_size=len(batch), sync_dist=True)
        if self.model.decoder is not None:
            self.log(f"{split}/acc", losses.accuracy, batch_size=len(batch), sync_dist=True)
        is_quick = split == "val" and self.model.ctc is not None
        self._heard += self._transcribe(batch, replace(self.settings, decoding="ctc") if is_quick else self.settings)
        return losses.state

    def _transcribe(self, batch: SpeechBatch, settings: TranscriptionSettings) -> list[Heard]:
        """Return what is heard in each utterance of a batch."""
        waveforms = [row[:length] for row, length in zip(batch.waveforms, batch.lengths, strict=True)]
        found, _ = recognise(self._recognizer(), waveforms, settings)
        return [Heard(*each) for each in zip(batch.ids, batch.texts, (one.text for one in found), strict=True)]

    def _all_heard(self) -> list[Heard]:
        """Return what all processes heard, and forget it."""
        heard, self._heard = self._heard, []
        return gather(heard, self.trainer.world_size)

    def _log_errors(self, split: str) -> None:
        rates = error_rates(self._all_heard())
        self.log_dict({f"{split}/{name}": value for name, value in rates.items()}, rank_zero_only=False)

    def _start_from(self, path: Path, parts: Sequence[Part]) -> None:
        """Take over parts of another recogniser for the same tokens, and the statistics of its features."""
        given = Recognizer.load(path)
        if given.tokenizer.state() != self.tokenizer.state() or given.features.config != self.features.config:
            raise UserError(f"{path} has other tokens or features than this config: use its data.vocabulary")
        for part in parts:
            own, others = (getattr(model, part) or nn.Module() for model in (self.model, given.model))
            load_exactly(own, others.state_dict(), f"the {part} of {path}")
        self.normalizer.load_state_dict(given.normalizer.state_dict())
        self._needs_statistics = False

    @property
    def _data(self) -> SpeechData:
        data: SpeechData = self.trainer.datamodule  # type: ignore[attr-defined]  # set where it is given
        return data
