"""Training and evaluation of a machine on a task as a LightningModule."""

from math import inf

from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import LinearLR

from mnemic_algorithms.checkpoints import AlgorithmCheckpoint, AlgorithmSettings
from mnemic_algorithms.machines import AlgorithmConfig, AlgorithmModel, MachineConfig
from mnemic_core.errors import UserError
from mnemic_core.tasks import TaskBatch, task_loss
from mnemic_kit.task import Split, Task

# An object, not None: jsonargparse shows its fields in the help page.
_MACHINE = MachineConfig()


class AlgorithmTask(Task):
    """Trains a machine on strings; the defaults are those of the config ``proof``.

    The learning rate decays linearly over the run, so that soft actions become sharp: at a constant rate a stack fails
    soon beyond the training lengths.

    Args:
        task: name of the task; linked to the data on the command line.
        config: the machine.
        lr: initial learning rate of Adam; 0.001 in the study.
        final_share: final learning rate relative to the initial one; 1 in the study.
        seed: of the randomness in training steps; linked to ``seed_everything`` on the command line.
    """

    distribution = "mnemic-algorithms"

    def __init__(
        self,
        task: str = "reverse_string",
        config: MachineConfig = _MACHINE,
        lr: float = 3e-3,
        final_share: float = 0.02,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        self.model = AlgorithmModel(AlgorithmConfig(config, task))
        if not (0 < lr < inf and 0 < final_share <= 1):
            raise UserError(f"lr must be above 0 and final_share above 0 and at most 1, got {lr} and {final_share}")
        self.lr, self.final_share = lr, final_share

    def training_step(self, batch: TaskBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch of strings."""
        loss = task_loss(self.model(batch.inputs), batch)
        self.log_losses(loss, batch_size=1)  # equal weights for all string lengths
        return loss

    def evaluation_step(self, batch: TaskBatch, batch_idx: int, split: Split) -> None:
        """Log loss and accuracy, for each length and as a mean over the lengths."""
        logits = self.model(batch.inputs)
        right = (logits.argmax(-1) == batch.targets)[batch.valid].float().mean()
        figures = {"loss": task_loss(logits, batch), "accuracy": right, f"accuracy_{batch.inputs.shape[1]}": right}
        self.log_dict({f"{split}/{name}": value for name, value in figures.items()}, batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return Adam and its learning-rate schedule by steps."""
        optimizer = Adam(self.parameters(), self.lr)
        schedule = LinearLR(optimizer, 1.0, self.final_share, total_iters=self.total_steps())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def make_checkpoint(self, provenance: dict[str, object]) -> AlgorithmCheckpoint:
        """Return the machine with its training lengths."""
        max_length = getattr(getattr(self.trainer, "datamodule", None), "max_length", None)
        return AlgorithmCheckpoint(self.model, AlgorithmSettings(max_length), provenance)
