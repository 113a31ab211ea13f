"""Training and validation of MeMOTR as a LightningModule."""

from math import inf
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LinearLR, MultiStepLR

from mnemic_core.errors import UserError, check_range
from mnemic_core.loading import load_exactly
from mnemic_kit.output import show
from mnemic_kit.records import Records
from mnemic_kit.task import Split, Task
from mnemic_track.metrics import combine_counts, count_matches, scores_table
from mnemic_track.optimization import parameter_groups
from mnemic_track.results import bdd100k_writer, mot_writer
from mnemic_track.sequences import results_of, track_sequence
from mnemic_vision.backbone import load_backbone
from mnemic_vision.draw import draw_tracks
from mnemic_vision.memotr import (
    ClipBatch,
    MemotrConfig,
    Tracker,
    build_criterion,
    build_memotr,
    clip_loss,
    import_detector,
)
from mnemic_vision.memotr.checkpoint import TrackerCheckpoint, TrackerSettings
from mnemic_vision.memotr.data import TrackingSequence
from mnemic_vision.tracks import Track


class TrackingTask(Task):
    """Learns to track from clips and is validated on complete sequences; the defaults are the paper's DanceTrack run.

    Args:
        config: sizes and switches of the network.
        settings: input size, thresholds and class names of the tracker, in validation and in the checkpoint.
        lr: learning rate.
        lr_backbone: learning rate of the backbone.
        lr_points: learning rate of reference points and sampling offsets.
        weight_decay: of AdamW, on every parameter.
        lr_drops: epochs after which the learning rates fall to a tenth.
        warmup_steps: optimizer steps over which the learning rates rise from a hundredth.
        backbone_weights: file with ImageNet weights of the backbone.
        detector_checkpoint: file with a COCO-pretrained DAB-Deformable-DETR or Deformable-DETR to start from.
        init_checkpoint: one of our checkpoints to start from, such as the detector stage for the clip stage.
        average_classes: mean of the class loss over classes (official code) instead of the sum; matters with several.
        supervise_passive_tracks: train the tracks that pass through the detection layer as background, as the
            official code does.
        drop_rate: how often a good track is dropped between two frames, so that the detect queries learn to find an
            object among tracked ones (MOTR; 0 in the released settings, which train for days).
        insert_rate: how often a track brings a false positive along (likewise).
        frozen: parts of the network that are not trained, such as ``["backbone", "encoder"]``; their batch norm keeps
            its statistics.
        seed: of the noise in training steps; the command line sets it to ``seed_everything``.
    """

    distribution = "mnemic-track"

    def __init__(
        self,
        config: MemotrConfig = MemotrConfig(),
        settings: TrackerSettings = TrackerSettings(),
        lr: float = 2e-4,
        lr_backbone: float = 2e-5,
        lr_points: float = 1e-5,
        weight_decay: float = 5e-4,
        lr_drops: tuple[int, ...] = (12,),
        warmup_steps: int = 0,
        backbone_weights: Path | None = None,
        detector_checkpoint: Path | None = None,
        init_checkpoint: Path | None = None,
        average_classes: bool = True,
        supervise_passive_tracks: bool = True,
        drop_rate: float = 0.0,
        insert_rate: float = 0.0,
        frozen: tuple[str, ...] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        self.has_weights = any(path is not None for path in (backbone_weights, detector_checkpoint, init_checkpoint))
        self.lr, self.lr_backbone, self.lr_points = lr, lr_backbone, lr_points
        self.weight_decay, self.lr_drops, self.warmup_steps = weight_decay, lr_drops, warmup_steps
        check_range(self, 0, inf, "lr", "lr_backbone", "lr_points", "weight_decay", "lr_drops", "warmup_steps")
        self.model = build_memotr(config)
        self.settings = settings
        self.criterion = build_criterion(self.model, average_classes, supervise_passive_tracks, drop_rate, insert_rate)
        self.counts = Records()
        for part in frozen:  # Lightning takes every module in the mode it is in, and gives it back so after validation
            self.model.get_submodule(part).requires_grad_(False).eval()
        if backbone_weights is not None:
            load_backbone(self.model.backbone, backbone_weights)
        if detector_checkpoint is not None:
            import_detector(self.model, detector_checkpoint)
        if init_checkpoint is not None:
            given = TrackerCheckpoint.load(init_checkpoint).model
            load_exactly(self.model, given.state_dict(), init_checkpoint)

    def on_fit_start(self) -> None:
        """Refuse to freeze random weights.

        Raises:
            UserError: the backbone is said to be pretrained, and no weights are given.
        """
        super().on_fit_start()
        if self.model.config.pretrained_backbone and not self.has_weights and self.trainer.ckpt_path is None:
            raise UserError(
                "model.config.pretrained_backbone keeps parts of the backbone as they are, but no weights are given: "
                "set --model.backbone_weights, --model.detector_checkpoint or --model.init_checkpoint, or "
                "--model.config.pretrained_backbone=false to train it from scratch"
            )

    def training_step(self, clip: ClipBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch of clips, normalized by the objects of all processes."""
        number = sum(len(target.ids) for frame in clip.targets for target in frame)
        num_objects = self.trainer.strategy.reduce(torch.tensor(float(number), device=self.device), reduce_op="mean")
        loss, frames, _ = clip_loss(self.model, self.criterion, clip, num_objects)
        scale = num_objects.clamp(min=1)  # a batch may be without objects
        parts = {
            name: torch.stack([getattr(frame.last, name) for frame in frames]).sum() / scale
            for name in ("label", "l1", "giou")
        }
        self.log_losses(loss, len(clip.images), **parts)
        return loss

    def configure_optimizers(self) -> tuple[list[AdamW], list[Any]]:
        """Return AdamW with the official parameter groups, and the schedule by epochs after a warm-up by steps."""
        optimizer = AdamW(
            parameter_groups(self.model, self.lr, self.lr_backbone, self.lr_points), weight_decay=self.weight_decay
        )
        schedules: list[dict[str, Any]] = [
            {"scheduler": MultiStepLR(optimizer, list(self.lr_drops)), "interval": "epoch"}
        ]
        if self.warmup_steps:
            warmup = LinearLR(optimizer, 0.01, total_iters=self.warmup_steps)
            schedules.append({"scheduler": warmup, "interval": "step"})
        return [optimizer], schedules

    def begin_evaluation(self) -> None:
        """Reset the counts of the last evaluation."""
        self.counts.reset()

    def evaluation_step(self, sequence: TrackingSequence, batch_idx: int, split: Split) -> None:
        """Track one complete sequence."""
        frames = list(track_sequence(self.tracker(), sequence))
        for result in results_of(sequence, frames, self.settings.classes):
            self.counts.update(result.name, count_matches(result))
        if batch_idx == 0:  # one picture an evaluation
            self._log_picture(sequence, frames)

    def log_scores(self, split: Split) -> None:
        """Score the sequences of all processes together."""
        scores = combine_counts(self.counts.compute())  # gathered: equal in all processes
        self.log_dict(
            {f"{split}/{name}": float(value) for name, value in scores.as_dict().items()}, rank_zero_only=False
        )
        if self.trainer.is_global_zero:
            show(f"{split}, epoch {self.current_epoch}\n\n{scores_table(scores)}")

    def predict_step(self, sequence: TrackingSequence, batch_idx: int) -> str:
        """Track one sequence and write it to ``predictions``: MOT text, or BDD100K json with several classes."""
        folder = Path(self.trainer.default_root_dir, "predictions")
        folder.mkdir(parents=True, exist_ok=True)
        several = len(self.settings.classes) > 1
        path = folder / f"{sequence.name}.{'json' if several else 'txt'}"
        writer = bdd100k_writer(path, sequence.name, self.settings.classes) if several else mot_writer(path)
        with writer as write:
            for index, tracks in enumerate(track_sequence(self.tracker(), sequence)):
                write(index, tracks)
        return str(path)

    def tracker(self) -> Tracker:
        """Return a tracker with the present network and settings."""
        return self.make_checkpoint({}).tracker(use_bf16=str(self.trainer.precision).startswith("bf16"))

    def make_checkpoint(self, provenance: dict[str, object]) -> TrackerCheckpoint:
        """Return the network with the settings of its tracker."""
        return TrackerCheckpoint(self.model, self.settings, provenance)

    def _log_picture(self, sequence: TrackingSequence, frames: list[list[Track]]) -> None:
        """Show the middle frame of a sequence with its tracks in TensorBoard."""
        middle = sequence.num_frames // 2  # the tracks have a past by then
        picture = draw_tracks(sequence.image(middle).permute(1, 2, 0).numpy(), frames[middle])
        for logger in self.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(sequence.name, picture, self.global_step, dataformats="HWC")
