"""Training and evaluation of a language model as a LightningModule that carries the memory between steps."""

from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mnemic_core import MemoryState, TransformerConfig
from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError, check_range
from mnemic_kit.task import Split, Task
from mnemic_lm.checkpoints import LanguageCheckpoint, LanguageSettings
from mnemic_lm.model import LanguageModel, LanguageModelConfig, ProductKeyConfig
from mnemic_lm.optimization import parameter_groups, warmup_cosine
from mnemic_lm.scoring import Tally
from mnemic_lm.sizes import match_size as matched
from mnemic_lm.streams import SegmentBatch
from mnemic_lm.tokens import open_codec
from mnemic_lm.unrolling import replay, unroll

STREAMS = "mnemic_streams"
"""Key of the memory of the training streams in a checkpoint, for resumed runs."""

# An object, not None: jsonargparse shows its fields in the help page.
_TRANSFORMER = TransformerConfig()


class LanguageTask(Task):
    """Trains a language model on streams of text; the memory is carried between steps without gradients.

    Args:
        transformer: sizes and memory of the network.
        product_keys: sizes of a product-key memory before the head; null: none.
        tokenizer: tokenizer file; linked to the data on the command line.
        match_size: reduce ``ffn_dim`` until the network has as many parameters as without memory.
        lr: peak learning rate.
        final_lr: last learning rate relative to the peak.
        warmup_steps: steps of linear warm-up, before a cosine decay to the last step.
        weight_decay: of AdamW, on matrices.
        memory_lr_scale: factor of the learning rate of the values of a product-key memory.
        replay: keep the activations of one segment at a time (memory replay back-propagation): equal gradients, less
            memory, a third more time.
        seed: of the randomness in training steps; linked to ``seed_everything`` on the command line.
    """

    distribution = "mnemic-lm"

    def __init__(
        self,
        transformer: TransformerConfig = _TRANSFORMER,
        product_keys: ProductKeyConfig | None = None,
        tokenizer: Path | None = None,
        match_size: bool = False,
        lr: float = 2e-3,
        final_lr: float = 0.1,
        warmup_steps: int = 100,
        weight_decay: float = 0.1,
        memory_lr_scale: float = 10.0,
        replay: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        self.lr, self.final_lr, self.warmup_steps = lr, final_lr, warmup_steps
        self.weight_decay, self.memory_lr_scale = weight_decay, memory_lr_scale
        check_range(self, 0, inf, "lr", "warmup_steps", "weight_decay", "memory_lr_scale")
        check_range(self, 0, 1, "final_lr")
        self.codec = open_codec(tokenizer)
        vocab_size = self.codec.num_tokens + 1
        sizes = matched(transformer, vocab_size, product_keys) if match_size else transformer
        self.model = LanguageModel(LanguageModelConfig(sizes, vocab_size, product_keys))
        self.replay = replay
        self._carried: MemoryState | None = None  # of the training streams
        self._saved: dict[str, Tensor] | None = None  # the same, read from a checkpoint
        self._scored: MemoryState | None = None  # of the streams of a validation or test
        self._tally, self._bytes_per_token = Tally(), 1.0

    def on_fit_start(self) -> None:
        """Refuse several processes, and trainer settings that memory replay does not support."""
        trainer = self.trainer
        if trainer.world_size > 1:  # a checkpoint holds the streams of one process
            raise UserError(f"streams belong to one process, got {trainer.world_size}: use --trainer.devices=1")
        if self.replay and (trainer.accumulate_grad_batches > 1 or trainer.precision == "16-mixed"):
            raise UserError("model.replay goes with neither accumulate_grad_batches nor 16-mixed: use bf16-mixed")

    def training_step(self, batch: SegmentBatch, batch_idx: int) -> Tensor:
        """Return the mean loss per token over consecutive segments of every stream."""
        if self.replay:
            self.zero_grad()  # Lightning would do it only after this step
        run = replay if self.replay else unroll
        loss, state = run(self.model, batch, self._before(batch))
        self._carried = state.detach()  # truncated back-propagation
        self.log_losses(loss, batch_size=batch.inputs.shape[1])
        return loss

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Clear the gradients, except those that memory replay has just computed."""
        if not self.replay:
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def backward(self, loss: Tensor, *arguments: Any, **keywords: Any) -> None:
        """Back-propagate, unless memory replay already has."""
        if not self.replay:
            super().backward(loss, *arguments, **keywords)

    def begin_evaluation(self) -> None:
        """Reset all streams."""
        self._scored, self._tally = None, Tally()

    def evaluation_step(self, batch: SegmentBatch, batch_idx: int, split: Split) -> None:
        """Score the next segments of every stream."""
        state = self.model.init_state(batch.inputs.shape[1]) if self._scored is None else self._scored
        for ids, targets, padding, reset in zip(batch.inputs, batch.targets, batch.padding, batch.reset, strict=True):
            logits, state = self.model(ids, state, padding=padding, reset=reset)
            self._tally = self._tally.add(logits, targets, padding)
        self._scored = state
        self._bytes_per_token = batch.bytes_per_token

    def log_scores(self, split: Split) -> None:
        """Log bits per byte, comparable between tokenizers."""
        self.log(f"{split}/loss", self._tally.nats_per_token)
        self.log(f"{split}/bits_per_byte", self._tally.bits_per_byte(self._bytes_per_token), prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW and its learning-rate schedule by steps."""
        groups = parameter_groups(self.model, self.lr, self.weight_decay, self.memory_lr_scale)
        optimizer = AdamW(groups, self.lr, betas=(0.9, 0.95))  # those of GPT-3
        share = partial(warmup_cosine, warmup=self.warmup_steps, total=self.total_steps(), final=self.final_lr)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, share), "interval": "step"}}

    def make_checkpoint(self, provenance: dict[str, object]) -> LanguageCheckpoint:
        """Return the network with codec and segment length."""
        trainer: Any = self.trainer  # Lightning declares no type for the data module
        settings = LanguageSettings(trainer.datamodule.segment_length)
        return LanguageCheckpoint(self.model, settings, provenance, self.codec)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the memory of the streams."""
        super().on_save_checkpoint(checkpoint)
        if self._carried is not None:
            checkpoint[STREAMS] = self._carried.to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the memory of the streams."""
        super().on_load_checkpoint(checkpoint)
        path = str(self.trainer.ckpt_path)
        self._saved = deserialize(dict[str, Tensor] | None, checkpoint.get(STREAMS), path, STREAMS)

    def _before(self, batch: SegmentBatch) -> MemoryState:
        """Return the state after the previous step, or that of the run being resumed."""
        rows = batch.inputs.shape[1]
        if self._saved is not None:
            self._carried, self._saved = self.model.init_state(rows).refill(self._saved), None
        return self.model.init_state(rows).detach() if self._carried is None else self._carried
