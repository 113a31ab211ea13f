"""Training and validation of MemMC-MAE as a LightningModule."""

import csv
from math import inf
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from mnemic_anomaly.images import ImageBatch, PreparedImages
from mnemic_anomaly.records import as_record, count_pixels, read_records
from mnemic_core.checkpoint import split_checkpoint
from mnemic_core.errors import UserError, check_range
from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.output import show
from mnemic_kit.parameter_groups import decay_groups
from mnemic_kit.records import Records
from mnemic_kit.schedule import warmup_share
from mnemic_kit.task import Split, Task
from mnemic_vision.memmc_mae import (
    AnomalyDetector,
    Calibration,
    DetectorCheckpoint,
    DetectorSettings,
    ErrorStatistics,
    ImageDomain,
    MemMcMae,
    MemMcMaeConfig,
    ReconstructionLoss,
    evaluate_anomalies,
    fit_calibration,
    load_vit,
    random_visible,
)
from mnemic_vision.memmc_mae.masks import masked_patches
from mnemic_vision.memmc_mae.targets import FeatureTarget

_KEPT_BYTES = 2e9  # frozen features of training images, beyond which they are computed in each step
_BATCH = 32
_MEASURED = 256  # training images, more of which would not change the statistics of errors


class AnomalyTask(Task):
    """Learns to reconstruct normal images from a part of their patches.

    Args:
        config: sizes, memory and target of the network.
        settings: masks and score in validation and in the checkpoint.
        visible_weight: weight of visible patches in the loss; 0 as in plain masked autoencoders.
        lr: peak learning rate.
        warmup: share of the steps before it.
        weight_decay: of matrices, except those of the memory.
        standardize: standardize maps by the errors of training images at each place, for images that are aligned.
        feature_flip: probability of exchanging left and right in a grid of features.
        backbone_weights: file with the weights of the frozen network whose features are reconstructed; a new run needs
            it, later the checkpoint holds them.
        encoder_weights: file of a ViT or a masked autoencoder (timm or official) to begin with; pixels only.
        seed: of masks; the command line sets it to ``seed_everything``.
    """

    distribution = "mnemic-anomaly"

    def __init__(
        self,
        config: MemMcMaeConfig = MemMcMaeConfig(),
        settings: DetectorSettings = DetectorSettings(),
        visible_weight: float = 1.0,
        lr: float = 3.75e-5,
        warmup: float = 0.05,
        weight_decay: float = 0.05,
        standardize: bool = False,
        feature_flip: float = 0.0,
        backbone_weights: Path | None = None,
        encoder_weights: Path | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        self.lr, self.warmup, self.weight_decay = lr, warmup, weight_decay
        self.standardize, self.feature_flip = standardize, feature_flip
        check_range(self, 0, inf, "lr", "weight_decay")
        check_range(self, 0, 1, "warmup", "feature_flip")
        self.backbone_weights, self.encoder_weights = backbone_weights, encoder_weights
        self.model, self.settings = MemMcMae(config), settings
        AnomalyDetector(self.model, settings)  # refuses scores and draws that do not fit the network
        self.model.train()  # a detector sets the other mode, in which Lightning would train
        self.criterion = ReconstructionLoss(visible_weight)
        self.found = Records()
        self.calibration: Calibration | None = None
        self.domain: ImageDomain | None = None
        self.statistics: ErrorStatistics | None = None
        self._features: Float[Tensor, "image patch value"] | None = None

    def on_fit_start(self) -> None:
        """Load weights to begin with, set mean and deviation of features, and describe the training images."""
        data = cast(Any, self.trainer).datamodule
        train: PreparedImages = data.split("train")
        if self.trainer.ckpt_path is None:
            self._load_weights()
        if isinstance(self.model.target, FeatureTarget):
            self._measure_features(self.model.target, train, keep=data.augmentation is None)
        val: PreparedImages = data.split("val")
        normals = [index for index, sample in enumerate(val.samples) if sample.label == 0]
        self.domain = ImageDomain.fit(
            (train.image(index) for index in range(len(train))), (val.image(index) for index in normals)
        )

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, of which other patches are hidden in each step."""
        config = self.model.config
        patches = self._patches(batch)
        visible = random_visible(len(patches), config.num_patches, config.num_visible).to(patches.device)
        predicted = self.model(patches, visible[:, None])[:, 0]
        loss: Tensor = self.criterion(predicted.float(), patches, masked_patches(visible, config.num_patches))
        self.log_losses(loss, len(batch))
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with warm-up and half a cosine; slots of the memory, which would become equal, do not decay."""
        trained = {name: each for name, each in self.model.named_parameters() if each.requires_grad}
        slots = [each for name, each in trained.items() if ".memory." in name]
        others = [each for name, each in trained.items() if ".memory." not in name]
        groups = [*decay_groups(others, self.weight_decay), {"params": slots, "weight_decay": 0.0}]
        optimizer = AdamW([group for group in groups if group["params"]], self.lr, betas=(0.9, 0.95))
        total = self.total_steps()
        warmup = max(1, round(self.warmup * total))
        by_step = LambdaLR(optimizer, lambda step: warmup_share(step, warmup, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": by_step, "interval": "step"}}

    def begin_evaluation(self) -> None:
        """Forget what the last evaluation found; while training, measure the errors of normal images first."""
        self.found.reset()
        if self.standardize and self.trainer.state.fn == TrainerFn.FITTING:
            self.statistics = self._measure_errors(cast(Any, self.trainer).datamodule.split("train"))

    def evaluation_step(self, batch: ImageBatch, batch_idx: int, split: Split) -> None:
        """Score images with the draws of the detector, which are the same in each epoch."""
        detector = self._detector()
        made = detector.reconstruct(batch.images)
        scored = detector.score(batch.images, made)
        maps, scores = scored.map.float().cpu(), scored.score.float().cpu().tolist()
        for place, sample in enumerate(batch.samples):
            target = made.target[place][None].expand_as(made.predicted[place])
            loss = self.criterion(made.predicted[place].float(), target, made.masked[place])
            record = as_record(
                scores[place], cast(int, sample.label), count_pixels(maps[place], sample.load_mask(), sample.label)
            )
            self.found.update(sample.name, {**record, "loss": float(loss)})

    def log_scores(self, split: Split) -> None:
        """Score the images of all processes together; those of validation set the thresholds."""
        records = list(self.found.compute().values())  # gathered: equal in all processes
        normal = [record["loss"] for record in records if record["label"] == 0]
        if not normal:
            return
        images = read_records(records)
        scores = evaluate_anomalies(images).as_dict()
        numbers = {f"{split}/{name}": value for name, value in scores.items() if value is not None}
        self.log_dict({f"{split}/loss": sum(normal) / len(normal), **numbers}, rank_zero_only=False)
        if split == "val":
            self.calibration = fit_calibration(images)
        if self.trainer.is_global_zero:
            shown = [f"{name} {scores[name]:.3f}" for name in ("auroc", "average_precision", "pixel_auroc", "aupro")
                     if scores.get(name) is not None]  # fmt: skip
            show(f"{split}, epoch {self.current_epoch}: loss {sum(normal) / len(normal):.4f} {' '.join(shown)}")

    def on_predict_epoch_start(self) -> None:
        """Forget what was found before."""
        self.found.reset()

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> list[str]:
        """Score images, and return their names."""
        scored = self._detector().detect(batch.images)
        for sample, score in zip(batch.samples, scored.score.float().tolist(), strict=True):
            self.found.update(sample.name, score)
        return [sample.name for sample in batch.samples]

    def on_predict_epoch_end(self) -> None:
        """Write the scores of all images to ``scores.csv``."""
        records = self.found.compute()
        if self.trainer.is_global_zero:
            with atomic_write(Path(self.trainer.default_root_dir, "scores.csv")) as file:
                csv.writer(file).writerows([("image", "score"), *records.items()])

    def make_checkpoint(self, provenance: dict[str, object]) -> DetectorCheckpoint:
        """Return the network with its settings and what was measured on images."""
        return DetectorCheckpoint(self.model, self.settings, provenance, self.calibration, self.domain, self.statistics)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint that does not fit, and take what was measured on images."""
        super().on_load_checkpoint(checkpoint)
        path = str(self.trainer.ckpt_path)
        parts = DetectorCheckpoint.restore_parts(split_checkpoint(checkpoint, path)[0], path)
        self.calibration, self.domain, self.statistics = parts["calibration"], parts["domain"], parts["statistics"]

    def _load_weights(self) -> None:
        """Load the files that a new run begins with.

        Raises:
            UserError: a network with random weights would give the features.
        """
        if self.encoder_weights is not None:
            load_vit(self.model, self.encoder_weights)
        if not isinstance(self.model.target, FeatureTarget):
            return
        if self.backbone_weights is None:
            name = self.model.target.config.backbone
            raise UserError(f"features of {name} need its weights: give a file with --model.backbone_weights")
        self.model.target.load_backbone(self.backbone_weights)

    def _detector(self) -> AnomalyDetector:
        """Return the network in its present state as a detector, without thresholds."""
        return AnomalyDetector(self.model, self.settings, statistics=self.statistics)

    def _measure_errors(self, train: PreparedImages) -> ErrorStatistics | None:
        """Return the statistics of the errors of training images; None of too few.

        Not of validation images, whose scores set the thresholds and would come out too low.
        """
        detector = AnomalyDetector(self.model, self.settings)
        chosen = range(0, len(train), -(-len(train) // _MEASURED)) if len(train) > 1 else ()
        maps = []
        for start in range(0, len(chosen), _BATCH):
            images = torch.stack([train.image(index) for index in chosen[start : start + _BATCH]])
            maps.append(detector.score(images, detector.reconstruct(images)).map.float())
        return ErrorStatistics.fit(maps, self.model.config.grid) if maps else None

    @torch.no_grad()
    def _measure_features(self, target: FeatureTarget, train: PreparedImages, *, keep: bool) -> None:
        """Standardize features by those of the training images, and keep them where images do not change."""
        batches = [batch.images.to(self.device) for batch in train.batches(_BATCH)]
        raw = torch.cat([target.raw(images) for images in batches])
        values = raw.flatten(0, 1)
        target.standardize(values.mean(0), values.std(0))
        if keep and raw.nbytes <= _KEPT_BYTES:
            self._features = (raw - target.mean) * target.scale

    def _patches(self, batch: ImageBatch) -> Float[Tensor, "batch patch value"]:
        """Return the targets of training images, frozen features of unchanged ones from memory."""
        if not isinstance(self.model.target, FeatureTarget):
            pixels: Tensor = self.model.target(batch.images)
            return pixels
        patches: Tensor = self.model.target(batch.images) if self._features is None else self._features[batch.index]
        if self.feature_flip == 0:
            return patches
        side = self.model.config.grid
        flipped = patches.unflatten(1, (side, side)).flip(2).flatten(1, 2)
        chosen = torch.rand(len(patches)) < self.feature_flip
        return torch.where(chosen.to(patches.device)[:, None, None], flipped, patches)
