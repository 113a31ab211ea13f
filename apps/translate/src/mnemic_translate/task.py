"""Training and evaluation of a simultaneous translator as a LightningModule."""

from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from rich.console import Console
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mnemic_core.errors import UserError, check_range
from mnemic_core.loading import load_exactly
from mnemic_kit.output import write_json_lines
from mnemic_kit.progress import audio_progress
from mnemic_kit.records import Records
from mnemic_kit.schedule import warmup_share
from mnemic_kit.task import Split, Task
from mnemic_speech.data.augmentation import Masks
from mnemic_speech.data.batching import SpeechBatch, SpeechBatches
from mnemic_speech.features import FeatureConfig, Features, Normalizer
from mnemic_speech.metrics import summarize, word_errors
from mnemic_speech.simultaneous import (
    AugmentedMemoryTransformer,
    SimultaneousConfig,
    TranslationSettings,
    Translator,
    decode_complete,
    score_quality,
)
from mnemic_speech.simultaneous.model import TranslationLosses
from mnemic_speech.subsampling import STRIDE
from mnemic_speech.text import tokenizer_from_state
from mnemic_translate.frozen_frames import KEPT_BYTES, FrozenFrames

_STATISTICS = 2000  # utterances for mean and variance of the features
# SpecAugment as in the released recipe: one mask of 27 bands, one of 100 frames, filled with the mean.
_FEATURES, _MASKS, _SETTINGS = FeatureConfig("kaldi"), Masks(0, 1, 27, 1, 1.0, 100), TranslationSettings()


class TranslationTask(Task):
    """Trains a simultaneous translator, or the recognizer whose encoder it begins with.

    The defaults are the released recipe of translation.

    Args:
        tokenizer: from `Tokenizer.state`; linked to the data on the command line.
        config: settings of the network.
        features: settings of the input features.
        masks: SpecAugment in training; null for none.
        settings: of inference, stored in checkpoints; validation encodes complete utterances, as in training.
        spoken: language of the speech; linked to the data.
        written: language of the texts; linked to the data.
        wait_k: k in training, one of these drawn for each utterance; several make one network for all of them.
        smoothing: probability spread over all tokens; the released commands leave it at 0.
        lr: peak learning rate.
        warmup_steps: optimizer steps of linear warm-up.
        warmup_lr: learning rate from which it begins.
        has_end: decay to 0 at ``trainer.max_steps``, for short runs; otherwise by the inverse square root of the step.
        weight_decay: of AdamW.
        init_checkpoint: checkpoint of a recognizer or translator whose encoder and feature statistics to begin with.
        init_decoder: begin with its decoder too, which needs the same tokens.
        frozen_steps: first steps in which the encoder does not learn. It then gets features without masks, and its
            frames are kept in memory where those of all training utterances take 2 GB at most.
        seed: of the randomness in training steps; linked to ``seed_everything`` on the command line.
    """

    distribution = "mnemic-translate"

    def __init__(
        self,
        tokenizer: dict[str, Any],
        config: SimultaneousConfig,
        features: FeatureConfig = _FEATURES,
        masks: Masks | None = _MASKS,
        settings: TranslationSettings = _SETTINGS,
        spoken: str = "en",
        written: str = "de",
        wait_k: tuple[int, ...] = (1,),
        smoothing: float = 0.0,
        lr: float = 3.5e-4,
        warmup_steps: int = 7500,
        warmup_lr: float = 1e-4,
        has_end: bool = False,
        weight_decay: float = 1e-4,
        init_checkpoint: Path | None = None,
        init_decoder: bool = False,
        frozen_steps: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        self.wait_k, self.smoothing = wait_k, smoothing
        self.lr, self.warmup_steps, self.warmup_lr, self.has_end = lr, warmup_steps, warmup_lr, has_end
        self.weight_decay, self.frozen_steps = weight_decay, frozen_steps
        check_range(self, 0, inf, "lr", "weight_decay", "frozen_steps")
        check_range(self, 0, lr, "warmup_lr")
        check_range(self, 1, inf, "warmup_steps")
        check_range(self, 0, 1, "smoothing")
        if not wait_k or min(wait_k) < 1:
            raise UserError(f"wait_k must be numbers of at least 1, such as [1, 3, 5], got {list(wait_k)}")
        self.tokenizer = tokenizer_from_state(tokenizer)
        self.model = AugmentedMemoryTransformer(replace(config, vocab_size=self.tokenizer.vocab_size))
        self.features = Features(features)
        self.normalizer = Normalizer("global", features.num_mels)
        self.spec_augment = (masks or Masks(0, 0, 0, 0)).build()  # a module, so that it is inactive in evaluation mode
        self.settings, self.spoken, self.written = settings, spoken, written
        self.predictions = Records()
        self._needs_statistics, self._frozen_frames = True, FrozenFrames(self.model.encoder, self.normalizer)
        if init_checkpoint is not None:
            self._begin_with(init_checkpoint, with_decoder=init_decoder)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the feature statistics of the checkpoint."""
        super().on_load_checkpoint(checkpoint)
        self._needs_statistics = False

    def on_fit_start(self) -> None:
        """Compute mean and variance of the training features, and the frames of a frozen encoder."""
        trainer: Any = self.trainer  # Lightning declares no type for the data module
        if self._needs_statistics:
            # The recipe reads 150,000 utterances; a sample gives the same mean in seconds.
            sample: SpeechBatches = trainer.datamodule.sample(_STATISTICS)
            batches = (sample[index] for index in range(len(sample)))
            rows = (row[:length] for batch in batches for row, length in zip(batch.inputs, batch.lengths, strict=True))
            self.normalizer.load_state_dict(Normalizer.fit(rows).state_dict())
            self._needs_statistics = False
        if self._is_frozen:
            self._keep_frozen_frames(trainer.datamodule.in_order("train"))

    def training_step(self, batch: SpeechBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, each utterance with a k of its own, with masks over its features."""
        drawn = torch.randint(len(self.wait_k), (len(batch),))
        k = torch.tensor(self.wait_k)[drawn].to(batch.lengths.device)
        losses = self._losses(batch, k, is_frozen=self._is_frozen)
        self.log_losses(losses.total, len(batch), attention=losses.attention, ctc=losses.ctc, acc=losses.accuracy)
        if not self._is_frozen:
            self._frozen_frames.clear()
            return losses.total
        # DDP needs a gradient for every parameter; the optimizer does not get those of the encoder.
        nothing: Tensor = sum(
            (0.0 * each.sum() for each in self.model.encoder.parameters()), torch.zeros_like(losses.total)
        )
        return losses.total + nothing

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Leave a frozen encoder as it is, without weight decay."""
        if self._is_frozen:
            for parameter in self.model.encoder.parameters():
                parameter.grad = None

    def begin_evaluation(self) -> None:
        """Reset the predictions."""
        self.predictions.reset()

    def evaluation_step(self, batch: SpeechBatch, batch_idx: int, split: Split) -> None:
        """Compute the losses of a batch and translate it."""
        losses = self._losses(batch, torch.full_like(batch.lengths, self.settings.policy.k), is_frozen=False)
        for name, value in {"loss": losses.total, "acc": losses.accuracy}.items():
            self.log(f"{split}/{name}", value, batch_size=len(batch), sync_dist=True)
        self._translate(batch)

    def log_scores(self, split: Split) -> None:
        """Log BLEU and chrF of all utterances, or the word error rate of a recognizer."""
        references, translations = zip(*self.predictions.compute().values(), strict=True)
        if self.spoken == self.written:
            pairs = zip(references, translations, strict=True)
            scores = {"wer": summarize(word_errors(*pair) for pair in pairs).rate}
        else:
            quality = score_quality(translations, references, self.written)
            scores = {"bleu": quality.bleu, "chrf": quality.chrf}
        self.show_scores(split, scores)

    def predict_step(self, batch: SpeechBatch, batch_idx: int) -> list[str]:
        """Return the translation of each utterance."""
        return self._translate(batch)

    def on_predict_epoch_end(self) -> None:
        """Write the predictions to ``predictions.jsonl``, one line per utterance."""
        found = self.predictions.compute()
        if self.trainer.is_global_zero:
            rows = [{"id": name, "pred_text": made, "text": reference} for name, (reference, made) in found.items()]
            write_json_lines(Path(self.trainer.default_root_dir, "predictions.jsonl"), rows)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW, which fairseq's Adam is, and its learning-rate schedule by steps."""
        total = self.total_steps() if self.has_end else None
        start = self.warmup_lr / self.lr if self.lr else 0.0
        optimizer = AdamW(self.model.parameters(), self.lr, betas=(0.9, 0.98), weight_decay=self.weight_decay)
        schedule = LambdaLR(optimizer, lambda step: warmup_share(step, self.warmup_steps, total, start))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def make_checkpoint(self, provenance: dict[str, object]) -> Translator:
        """Return the network with everything between a waveform and its translation."""
        parts = (self.features, self.normalizer, self.tokenizer, self.spoken, self.written)
        return Translator(self.model, self.settings, provenance, *parts)

    @property
    def _is_frozen(self) -> bool:
        """Whether the encoder does not learn in this step."""
        return self.global_step < self.frozen_steps

    def _begin_with(self, path: Path, *, with_decoder: bool) -> None:
        """Load the encoder and the feature statistics of a checkpoint, and where wanted the decoder."""
        given = Translator.load(path)
        if given.features.config != self.features.config:
            raise UserError(f"{path} has other features than this config, {given.features.config}")
        load_exactly(self.model.encoder, given.model.encoder.state_dict(), f"the encoder of {path}")
        if with_decoder:
            if given.tokenizer.state() != self.tokenizer.state():
                raise UserError(f"{path} has other tokens than this config: use its data.vocabulary")
            load_exactly(self.model.decoder, given.model.decoder.state_dict(), f"the decoder of {path}")
        self.normalizer.load_state_dict(given.normalizer.state_dict())
        self._needs_statistics = False

    def _keep_frozen_frames(self, batches: SpeechBatches) -> None:
        """Encode all training utterances, where their frames fit into memory."""
        seconds = sum(clip.seconds for clip in batches.clips)
        frames = seconds / self.features.config.frame_seconds / STRIDE
        if frames * self.model.config.encoder.dim * torch.half.itemsize > KEPT_BYTES:
            return
        with audio_progress("encoding", seconds, Console(stderr=True)) as advance:
            for index in range(len(batches)):
                batch = batches[index].to(self.device)
                with self.trainer.precision_plugin.forward_context():
                    self._frozen_frames.keep(batch.inputs, batch.lengths)
                advance(float(batch.lengths.sum()) * self.features.config.frame_seconds)

    def _losses(self, batch: SpeechBatch, k: Int[Tensor, " batch"], *, is_frozen: bool) -> TranslationLosses:
        if is_frozen:
            frames, valid = self._frozen_frames.of(batch.inputs, batch.lengths)
        else:
            frames, valid = self.model.encoder(self._prepare(batch), batch.lengths)
        smoothing = self.smoothing if self.model.training else 0.0
        return self.model.score(frames, valid, batch.tokens, batch.token_lengths, k, smoothing)

    def _prepare(self, batch: SpeechBatch) -> Float[Tensor, "batch frame mel"]:
        """Return normalized features, masked in training."""
        with torch.no_grad(), torch.autocast(batch.inputs.device.type, enabled=False):
            masked: Tensor = self.spec_augment(self.normalizer(batch.inputs, batch.lengths), batch.lengths)
        return masked

    def _translate(self, batch: SpeechBatch) -> list[str]:
        """Return the translations of a batch, and record them as predictions."""
        policy = self.settings.policy.build(self.model.config.ratio)
        with torch.autocast(batch.inputs.device.type, enabled=False):
            found = decode_complete(self.model, self._prepare(batch), batch.lengths, policy, self.settings.max_tokens)
        translations = [self.tokenizer.decode(tokens) for tokens in found]
        for name, *texts in zip(batch.ids, batch.texts, translations, strict=True):
            self.predictions.update(name, texts)
        return translations
