"""What all training tasks share: seeded steps, logs, evaluation, schedules and the header of checkpoints."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning.pytorch as pl
from jaxtyping import Float
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from mnemic_core.checkpoint import KEY, Checkpoint, split_checkpoint
from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError, check_range
from mnemic_core.loading import describe_misfit
from mnemic_kit.output import show
from mnemic_kit.provenance import training_provenance
from mnemic_kit.seeding import seed_step

Split = Literal["val", "test"]


class Task(pl.LightningModule, ABC):
    """Base of all tasks, which add loss, scores and hooks.

    Validation and test are the same evaluation: a task defines its step (`evaluation_step`) and what is logged at the
    end (`log_scores`). ``distribution`` is the name that a checkpoint gives as its maker, ``seed`` that of the noise in
    training steps.
    """

    distribution: ClassVar[str]

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        check_range(self, 0, inf, "seed")

    @abstractmethod
    def make_checkpoint(self, provenance: dict[str, object]) -> Checkpoint[Any, Any]:
        """Return the network in its present state with what it takes to run it."""

    def begin_evaluation(self) -> None:
        """Prepare for an evaluation; called before its first step."""

    @abstractmethod
    def evaluation_step(self, batch: Any, batch_idx: int, split: Split) -> None:
        """Score one batch of validation or test data."""

    def log_scores(self, split: Split) -> None:
        """Log the scores of all batches of all processes; called after the last step of an evaluation."""

    def log_losses(self, loss: Float[Tensor, ""], batch_size: int, **parts: Float[Tensor, ""]) -> None:
        """Log the loss of a training step, its parts by the name after ``train/``, and the number of the step.

        The batch size is the weight in means over an epoch.
        """
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=batch_size)
        self.log_dict({f"train/{name}": value.detach() for name, value in parts.items()}, batch_size=batch_size)
        # Lightning's own count of logged steps is one off after a restart between two epochs.
        self.log("step", float(self.global_step), batch_size=batch_size)

    def show_scores(self, split: Split, scores: Mapping[str, float]) -> None:
        """Log scores that every process has, and print them in one line.

        Args:
            split: whose scores they are.
            scores: by the name after ``val/`` or ``test/``.
        """
        self.log_dict({f"{split}/{name}": value for name, value in scores.items()}, rank_zero_only=False)
        if self.trainer.is_global_zero:
            shown = " ".join(f"{name} {value:.3f}" for name, value in scores.items())
            show(f"{split}, step {self.global_step}: {shown}")

    def total_steps(self) -> int:
        """Return the number of optimizer steps of the complete run, for a schedule that ends with it.

        Raises:
            UserError: the run has no end.
        """
        # Not Lightning's estimate: it builds the loader before a checkpoint restores the position in the epoch.
        trainer = self.trainer
        limits = [trainer.max_steps] if trainer.max_steps != -1 else []
        batches: int | None = getattr(getattr(trainer, "datamodule", None), "steps_per_epoch", None)
        if batches is not None and trainer.max_epochs not in (None, -1):
            limits.append(trainer.max_epochs * (batches // trainer.world_size) // trainer.accumulate_grad_batches)
        if not limits:
            ways = "max_steps" if batches is None else "max_steps or max_epochs"
            raise UserError(f"the learning rate falls until the last step: give --trainer.{ways}")
        return min(limits)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the noise of the step by its number."""
        seed_step(self.seed, self.global_rank, self.trainer.fit_loop.total_batch_idx)

    def on_validation_epoch_start(self) -> None:
        """Prepare for an evaluation."""
        self.begin_evaluation()

    on_test_epoch_start = on_validation_epoch_start

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Score one batch of validation data."""
        self.evaluation_step(batch, batch_idx, "val")

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation data."""
        self.log_scores("val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Score one batch of test data."""
        self.evaluation_step(batch, batch_idx, "test")

    def on_test_epoch_end(self) -> None:
        """Log the scores of the test data."""
        self.log_scores("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what it takes to build and run the network, and what made it.

        Raises:
            UserError: a weight is NaN or infinite; an earlier checkpoint is better than this one.
        """
        if not all(bool(weight.isfinite().all()) for weight in self.parameters()):
            raise UserError(
                f"training has diverged: after step {self.global_step} weights are NaN or infinite; checkpoints of "
                "earlier steps are kept. Try a lower learning rate or --trainer.gradient_clip_val"
            )
        made = training_provenance(self, self.distribution, self.seed)
        checkpoint[KEY] = self.make_checkpoint(made).header()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another program, of a newer version or of a network with other sizes.

        Raises:
            UserError: it is of another kind, has unknown settings, does not fit, or has no state of training to resume.
        """
        path = Path(str(self.trainer.ckpt_path))
        header, weights = split_checkpoint(checkpoint, path)
        own = self.make_checkpoint({})
        own.check_header(header, path)
        for section, settings in {"config": own.model.config, "settings": own.settings}.items():
            deserialize(type(settings), header.get(section), path, section)
        if misfit := describe_misfit(self, weights):
            raise UserError(f"{path} does not fit the network of this config: {misfit}")
        if self.trainer.state.fn != TrainerFn.FITTING:
            return
        if not checkpoint.get("optimizer_states"):
            raise UserError(f"{path} holds weights only, which cannot be resumed: give the last.ckpt of a run")
        for part in ("optimizer_states", "lr_schedulers"):
            deserialize(list[dict[str, Any]], checkpoint.get(part), path, part)
