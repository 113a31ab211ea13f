"""Training and validation of MATR as a LightningModule."""

from math import inf
from pathlib import Path
from typing import Any, Literal, cast

from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Adam, AdamW
from torch.optim.lr_scheduler import LambdaLR

from mnemic_actions.results import as_record, read_found, read_truths, write_predictions
from mnemic_core.errors import check_range
from mnemic_kit.output import show
from mnemic_kit.parameter_groups import decay_groups
from mnemic_kit.records import Records
from mnemic_kit.schedule import warmup_share
from mnemic_kit.task import Split, Task
from mnemic_vision.matr import (
    Clock,
    CyclicSchedule,
    DetectedAction,
    LocalizerCheckpoint,
    LocalizerSettings,
    Matr,
    MatrConfig,
    MatrCriterion,
)
from mnemic_vision.matr.data import ActionStream
from mnemic_vision.matr.data.windows import WindowBatch
from mnemic_vision.matr.metrics import evaluate_actions, scores_tables


class ActionTask(Task):
    """Learns to localize actions from windows and is validated on complete streams; the defaults are the paper's.

    Args:
        config: sizes and memory of the network.
        settings: classes, inputs and rules of the localizer, in validation and in the checkpoint.
        schedule: learning rate by epoch; null: ``lr`` after a warm-up by steps, then half a cosine to 0.
        lr: peak learning rate without ``schedule``.
        warmup_steps: steps of warm-up without ``schedule``.
        optimizer: ``adam`` adds the weight decay to the gradient (paper), ``adamw`` does not and spares vectors.
        weight_decay: of the optimizer.
        class_weight: factor of the class loss.
        is_focal: focal losses of classes and regions (released scripts) instead of cross-entropy (paper).
        uses_true_region: train the start offset in the annotated region instead of the predicted one (released code).
        seed: of the noise in training steps; the command line sets it to ``seed_everything``.
    """

    distribution = "mnemic-actions"

    def __init__(
        self,
        config: MatrConfig = MatrConfig(),
        settings: LocalizerSettings = LocalizerSettings(),
        schedule: CyclicSchedule | None = CyclicSchedule(),
        lr: float = 1e-3,
        warmup_steps: int = 100,
        optimizer: Literal["adam", "adamw"] = "adam",
        weight_decay: float = 1e-4,
        class_weight: float = 1.0,
        is_focal: bool = True,
        uses_true_region: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        self.schedule, self.lr, self.warmup_steps = schedule, lr, warmup_steps
        self.optimizer, self.weight_decay, self.class_weight = optimizer, weight_decay, class_weight
        check_range(self, 0, inf, "lr", "warmup_steps", "weight_decay", "class_weight")
        self.model, self.settings = Matr(config), settings
        self.make_checkpoint({}).localizer()  # refuses inputs and classes that do not fit the network
        self.model.train()  # a localizer sets the other mode, in which Lightning would train
        self.criterion = MatrCriterion(config.window, is_focal=is_focal, uses_true_region=uses_true_region)
        self.found = Records()

    def on_fit_start(self) -> None:
        """Set mean and deviation of the features; a resumed run has the same data."""
        if self.model.config.standardizes:
            self.model.standardize(*cast(Any, self.trainer).datamodule.statistics())

    def training_step(self, batch: WindowBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch of windows."""
        windows = self.model.project(batch.frames)[batch.rows]
        state = self.model.remember(windows[:, :-1], batch.now[:, :-1], batch.stored)
        output, _ = self.model(windows[:, -1], state, batch.now[:, -1], batch.targets.flag)
        losses = self.criterion(output, batch.targets)
        loss: Tensor = losses.total() + (self.class_weight - 1) * losses.classes
        self.log_losses(loss, len(batch), **vars(losses))
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer with its schedule, by epochs or by steps."""
        schedule = self.schedule
        if schedule is not None:
            optimizer = self._make_optimizer(1.0)
            return {"optimizer": optimizer, "lr_scheduler": LambdaLR(optimizer, schedule.learning_rate)}
        optimizer, total = self._make_optimizer(self.lr), self.total_steps()
        by_step = LambdaLR(optimizer, lambda step: warmup_share(step, self.warmup_steps, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": by_step, "interval": "step"}}

    def begin_evaluation(self) -> None:
        """Forget what the last evaluation found."""
        self.found.reset()

    def evaluation_step(self, stream: ActionStream, batch_idx: int, split: Split) -> None:
        """Localize the actions of one complete stream."""
        self.found.update(stream.name, as_record(self.localize(stream), stream.actions))

    def log_scores(self, split: Split) -> None:
        """Score the streams of all processes together."""
        records = self.found.compute()  # gathered: equal in all processes
        scores = evaluate_actions(read_truths(records), read_found(records))
        numbers = {f"{split}/{name}": value for name, value in scores.as_dict().items() if value is not None}
        self.log_dict(numbers, rank_zero_only=False)
        if self.trainer.is_global_zero:
            show(f"{split}, epoch {self.current_epoch}\n\n{scores_tables(scores)}")

    def on_predict_epoch_start(self) -> None:
        """Forget what was found before."""
        self.found.reset()

    def predict_step(self, stream: ActionStream, batch_idx: int) -> str:
        """Localize the actions of one stream."""
        self.found.update(stream.name, as_record(self.localize(stream)))
        return stream.name

    def on_predict_epoch_end(self) -> None:
        """Write the actions of all streams to ``predictions.json`` in ActivityNet's format."""
        records = self.found.compute()
        if self.trainer.is_global_zero:
            write_predictions(Path(self.trainer.default_root_dir, "predictions.json"), read_found(records))

    def localize(self, stream: ActionStream) -> list[DetectedAction]:
        """Return the actions that the present network finds in a stream."""
        return self.make_checkpoint({}).localizer(Clock.of(stream)).localize(stream.load())

    def make_checkpoint(self, provenance: dict[str, object]) -> LocalizerCheckpoint:
        """Return the network with the settings of its localizer."""
        return LocalizerCheckpoint(self.model, self.settings, provenance)

    def _make_optimizer(self, lr: float) -> Adam:
        if self.optimizer == "adam":
            return Adam(self.model.parameters(), lr, weight_decay=self.weight_decay)
        return AdamW(decay_groups(self.model.parameters(), self.weight_decay), lr)
