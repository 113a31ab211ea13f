"""Training and validation of a Conformer with memory as a LightningModule."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float, Int
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mnemic_core.errors import UserError
from mnemic_core.loading import load_exactly
from mnemic_kit.records import Records
from mnemic_kit.task import Split, Task
from mnemic_speech.conformer_ntm import ConformerNtm, ConformerNtmConfig
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.recognition import recognize
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings, check_decoding
from mnemic_speech.features import FeatureConfig, Features, Normalizer, NormalizerKind
from mnemic_speech.text import tokenizer_from_state
from mnemic_transcribe.augmentation import Masks
from mnemic_transcribe.batching import SpeechBatch
from mnemic_transcribe.datamodule import SpeechData
from mnemic_transcribe.frontend import fit_normalizer, network_input
from mnemic_transcribe.schedule import warmup_share
from mnemic_transcribe.scoring import Prediction, error_rates, write_predictions

Part = Literal["encoder", "memory", "ctc", "decoder"]
PARTS: tuple[Part, ...] = ("encoder", "memory", "ctc", "decoder")

_STATISTICS = 2000  # utterances from which the mean of the features is computed


class TranscriptionTask(Task):
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
        warmup_steps: optimizer steps over which it rises to that.
        has_end: let it fall to 0 until ``trainer.max_steps``, for short runs; else with the root of the step.
        weight_decay: of Adam, added to the gradient.
        init_checkpoint: one of our checkpoints to start from, for another training set or another memory.
        init_parts: what is taken from it; the encoder alone, say, where the memory is to be another one: CTC and
            decoder have learned to read what their own memory puts out.
        seed: of the noise in training steps; the command line sets it to ``seed_everything``.
    """

    distribution = "mnemic-transcribe"

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
        super().__init__(seed)
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
        self.predictions = Records()
        self._needs_statistics = normalizer == "global"
        if init_checkpoint is not None:
            self._load_parts(init_checkpoint, init_parts)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the statistics of the features that the checkpoint brings."""
        super().on_load_checkpoint(checkpoint)
        self._needs_statistics = False

    def on_fit_start(self) -> None:
        """Measure mean and variance of the features on training utterances as they are."""
        if self._needs_statistics:
            # The recipe reads the whole set, which takes hours of it; means over a million frames are as good.
            data: SpeechData = self.trainer.datamodule  # type: ignore[attr-defined]  # set where it is given
            sample = data.sample(_STATISTICS)
            batches = (sample[index].to(self.device) for index in range(len(sample)))
            self.normalizer.load_state_dict(fit_normalizer(self.features, batches).state_dict())
            self._needs_statistics = False

    def training_step(self, batch: SpeechBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch per utterance, with masks over its features."""
        features, lengths = self._prepare(batch)
        losses = self.model.loss(features, lengths, batch.tokens, batch.token_lengths)
        parts = {"ctc": losses.ctc, "attention": losses.attention, "acc": losses.accuracy}
        self.log_losses(losses.total, len(batch), **parts)
        return losses.total

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Leave out a step whose gradient is infinite or no number, as ESPnet does: one such step would end it all."""
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        if not bool(get_total_norm(gradients).isfinite()):
            rank_zero_warn(f"the gradient of step {self.global_step} is not finite: the step is left out")
            optimizer.zero_grad()

    def begin_evaluation(self) -> None:
        """Forget the utterances of an earlier evaluation."""
        self.predictions.reset()

    def evaluation_step(self, batch: SpeechBatch, batch_idx: int, split: Split) -> None:
        """Compute the losses of a batch and transcribe it."""
        losses = self.model.loss(*self._prepare(batch), batch.tokens, batch.token_lengths)
        self.log(f"{split}/loss", losses.total, batch_size=len(batch), sync_dist=True)
        if self.model.decoder is not None:
            self.log(f"{split}/acc", losses.accuracy, batch_size=len(batch), sync_dist=True)
        is_quick = split == "val" and self.model.ctc is not None
        self._transcribe(batch, replace(self.settings, decoding="ctc") if is_quick else self.settings)
        diversity = self.model.memory.report(losses.state).diversity if (split, batch_idx) == ("val", 0) else None
        if diversity is not None:  # 0: all slots are alike, and the memory is no more than one of them
            self.log("val/memory_diversity", diversity, batch_size=len(batch))

    def log_scores(self, split: Split) -> None:
        """Log the error rates of all utterances."""
        rates = error_rates(self._predicted())
        self.log_dict({f"{split}/{name}": value for name, value in rates.items()}, rank_zero_only=False)

    def predict_step(self, batch: SpeechBatch, batch_idx: int) -> list[str]:
        """Return what was said in each utterance."""
        return self._transcribe(batch, self.settings)

    def on_predict_epoch_end(self) -> None:
        """Write what was said to ``predictions.jsonl``, one line an utterance."""
        predictions = self._predicted()
        if self.trainer.is_global_zero:
            write_predictions(Path(self.trainer.default_root_dir, "predictions.jsonl"), predictions)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return Adam and its schedule by steps."""
        total = self.total_steps() if self.has_end else None
        # All parameters in one kernel: faster, but Lightning's mixed precision then refuses to clip gradients.
        fused = "mixed" not in str(self.trainer.precision)
        optimizer = Adam(self.model.parameters(), self.lr, weight_decay=self.weight_decay, fused=fused)
        schedule = LambdaLR(optimizer, lambda step: warmup_share(step, self.warmup_steps, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def header(self, provenance: dict[str, object]) -> dict[str, Any]:
        """Return what ``Recognizer.load`` needs."""
        return self._recognizer(provenance).header()

    def _recognizer(self, provenance: dict[str, object]) -> Recognizer:
        return Recognizer(self.model, self.settings, provenance, self.features, self.normalizer, self.tokenizer)

    def _prepare(self, batch: SpeechBatch) -> tuple[Float[Tensor, "batch frame mel"], Int[Tensor, " batch"]]:
        """Return the features of a batch as the network takes them, in training with masks."""
        return network_input(self.features, self.normalizer, self.spec_augment, batch)

    def _transcribe(self, batch: SpeechBatch, settings: TranscriptionSettings) -> list[str]:
        """Return what is said in each utterance of a batch, and keep it."""
        waveforms = [row[:length] for row, length in zip(batch.waveforms, batch.lengths, strict=True)]
        transcripts = [found.text for found in recognize(self._recognizer({}), waveforms, settings)[0]]
        for name, *texts in zip(batch.ids, batch.texts, transcripts, strict=True):
            self.predictions.update(name, texts)
        return transcripts

    def _predicted(self) -> list[Prediction]:
        """Return what all processes transcribed."""
        return [Prediction(name, *texts) for name, texts in self.predictions.compute().items()]

    def _load_parts(self, path: Path, parts: Sequence[Part]) -> None:
        """Take over parts of another recognizer for the same tokens, and the statistics of its features."""
        given = Recognizer.load(path)
        if given.tokenizer.state() != self.tokenizer.state() or given.features.config != self.features.config:
            raise UserError(f"{path} has other tokens or features than this config: use its data.vocabulary")
        for part in parts:
            own, others = (getattr(model, part) or nn.Module() for model in (self.model, given.model))
            load_exactly(own, others.state_dict(), f"the {part} of {path}")
        self.normalizer.load_state_dict(given.normalizer.state_dict())
        self._needs_statistics = False
