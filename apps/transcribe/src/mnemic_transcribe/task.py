"""Training and evaluation of a Conformer with memory as a LightningModule."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mnemic_core.errors import UserError, check_range
from mnemic_kit.records import Records
from mnemic_kit.schedule import warmup_share
from mnemic_kit.task import Split, Task
from mnemic_speech.conformer_ntm import ConformerNtm, ConformerNtmConfig
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.recognition import recognize
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings, check_decoding
from mnemic_speech.data.augmentation import Masks
from mnemic_speech.data.batching import SpeechBatch, SpeechBatches
from mnemic_speech.features import FeatureConfig, Features, Normalizer, NormalizerKind
from mnemic_speech.text import tokenizer_from_state
from mnemic_transcribe.frontend import fit_normalizer, network_input
from mnemic_transcribe.initialization import PARTS, Part, load_parts
from mnemic_transcribe.scoring import Prediction, error_rates, write_predictions

_STATISTICS = 2000  # utterances for mean and variance of the features
# Defaults as objects, not None: jsonargparse shows their fields in the help page.
_FEATURES, _MASKS, _SETTINGS = FeatureConfig(), Masks(), TranscriptionSettings()


class TranscriptionTask(Task):
    """Trains a Conformer-NTM on utterances, each from the initial memory; the defaults are the published recipe.

    Args:
        tokenizer: from `Tokenizer.state`; linked to the data on the command line.
        config: settings of the network.
        features: settings of the input features.
        normalizer: with mean and variance of the training set (``global``), of each ``utterance``, or ``none``.
        masks: SpecAugment in training; null for none.
        settings: inference settings for tests and predictions, stored in checkpoints. Validation uses greedy CTC where
            there is a CTC branch.
        lr: peak learning rate.
        warmup_steps: optimizer steps of linear warm-up.
        has_end: decay to 0 at ``trainer.max_steps``, for short runs; otherwise by the inverse square root of the step.
        weight_decay: L2 penalty of Adam, added to the gradient.
        init_checkpoint: checkpoint to initialize from, for another training set or memory.
        init_parts: parts to load from it; only the encoder for another memory, since CTC and decoder are trained on the
            output of their memory.
        seed: of the randomness in training steps; linked to ``seed_everything`` on the command line.
    """

    distribution = "mnemic-transcribe"

    def __init__(
        self,
        tokenizer: dict[str, Any],
        config: ConformerNtmConfig,
        features: FeatureConfig = _FEATURES,
        normalizer: NormalizerKind = "global",
        masks: Masks | None = _MASKS,
        settings: TranscriptionSettings = _SETTINGS,
        lr: float = 2e-3,
        warmup_steps: int = 15000,
        has_end: bool = False,
        weight_decay: float = 1e-6,
        init_checkpoint: Path | None = None,
        init_parts: Sequence[Part] = PARTS,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        self.lr, self.warmup_steps, self.has_end, self.weight_decay = lr, warmup_steps, has_end, weight_decay
        check_range(self, 0, inf, "lr", "weight_decay")
        check_range(self, 1, inf, "warmup_steps")
        self.tokenizer = tokenizer_from_state(tokenizer)
        if config.vocab_size != self.tokenizer.vocab_size:
            raise UserError(
                f"config.vocab_size must be that of the tokenizer, {self.tokenizer.vocab_size}, got {config.vocab_size}"
            )
        self.model = ConformerNtm(config)
        check_decoding(self.model, settings.decoding)
        self.features = Features(features)
        self.normalizer = Normalizer(normalizer, features.num_mels)
        self.spec_augment = (masks or Masks(0, 0, 0, 0)).build()  # a module, so that it is inactive in evaluation mode
        self.settings = settings
        self.predictions = Records()
        self._needs_statistics = normalizer == "global"
        if init_checkpoint is not None:
            load_parts(self.make_checkpoint({}), init_checkpoint, init_parts)
            self._needs_statistics = False

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the feature statistics of the checkpoint."""
        super().on_load_checkpoint(checkpoint)
        self._needs_statistics = False

    def on_fit_start(self) -> None:
        """Compute mean and variance of the features on training utterances."""
        if self._needs_statistics:
            # The recipe reads the complete set; a sample of a million frames gives the same mean in minutes.
            trainer: Any = self.trainer  # Lightning declares no type for the data module
            sample: SpeechBatches = trainer.datamodule.sample(_STATISTICS)
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
        """Skip steps with non-finite gradients, as ESPnet does."""
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        if not bool(get_total_norm(gradients).isfinite()):
            rank_zero_warn(f"the gradient of step {self.global_step} is not finite: the step is left out")
            optimizer.zero_grad()

    def begin_evaluation(self) -> None:
        """Reset the predictions."""
        self.predictions.reset()

    def evaluation_step(self, batch: SpeechBatch, batch_idx: int, split: Split) -> None:
        """Compute the losses of a batch and transcribe it."""
        losses = self.model.loss(*self._prepare(batch), batch.tokens, batch.token_lengths)
        self.log(f"{split}/loss", losses.total, batch_size=len(batch), sync_dist=True)
        if self.model.decoder is not None:
            self.log(f"{split}/acc", losses.accuracy, batch_size=len(batch), sync_dist=True)
        # Beam search in every validation would slow training down.
        is_quick = split == "val" and self.model.ctc is not None
        self._transcribe(batch, replace(self.settings, decoding="ctc") if is_quick else self.settings)
        diversity = self.model.memory.report(losses.state).diversity if (split, batch_idx) == ("val", 0) else None
        if diversity is not None:  # 0: all slots are equal, so that the memory acts as a single one
            self.log("val/memory_diversity", diversity, batch_size=len(batch))

    def log_scores(self, split: Split) -> None:
        """Log the error rates of all utterances."""
        rates = error_rates(self._predicted())
        self.log_dict({f"{split}/{name}": value for name, value in rates.items()}, rank_zero_only=False)

    def predict_step(self, batch: SpeechBatch, batch_idx: int) -> list[str]:
        """Return the transcript of each utterance."""
        return self._transcribe(batch, self.settings)

    def on_predict_epoch_end(self) -> None:
        """Write the predictions to ``predictions.jsonl``, one line per utterance."""
        predictions = self._predicted()
        if self.trainer.is_global_zero:
            write_predictions(Path(self.trainer.default_root_dir, "predictions.jsonl"), predictions)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return Adam and its learning-rate schedule by steps."""
        total = self.total_steps() if self.has_end else None
        # The fused kernel is faster, but with it Lightning's mixed precision refuses to clip gradients.
        fused = "mixed" not in str(self.trainer.precision)
        optimizer = Adam(self.model.parameters(), self.lr, weight_decay=self.weight_decay, fused=fused)
        schedule = LambdaLR(optimizer, lambda step: warmup_share(step, self.warmup_steps, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def make_checkpoint(self, provenance: dict[str, object]) -> Recognizer:
        """Return the network with everything between a waveform and its text."""
        return Recognizer(self.model, self.settings, provenance, self.features, self.normalizer, self.tokenizer)

    def _prepare(self, batch: SpeechBatch) -> tuple[Float[Tensor, "batch frame mel"], Int[Tensor, " batch"]]:
        """Return normalized features of a batch and their frames, masked in training."""
        return network_input(self.features, self.normalizer, self.spec_augment, batch)

    def _transcribe(self, batch: SpeechBatch, settings: TranscriptionSettings) -> list[str]:
        """Return the transcripts of a batch, and record them as predictions."""
        waveforms = [row[:length] for row, length in zip(batch.inputs, batch.lengths, strict=True)]
        transcripts = [found.text for found in recognize(self.make_checkpoint({}), waveforms, settings)[0]]
        for name, *texts in zip(batch.ids, batch.texts, transcripts, strict=True):
            self.predictions.update(name, texts)
        return transcripts

    def _predicted(self) -> list[Prediction]:
        """Return the predictions of all processes."""
        return [Prediction(name, *texts) for name, texts in self.predictions.compute().items()]
