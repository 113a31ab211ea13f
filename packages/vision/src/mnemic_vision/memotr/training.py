"""The criterion of a network and the loss of a clip."""

from typing import cast

from jaxtyping import Float
from torch import Tensor

from mnemic_vision.memotr.aids.criteria import AloneCriterion, DenoisingCriterion, ProposalCriterion
from mnemic_vision.memotr.aids.denoising import Denoising
from mnemic_vision.memotr.criterion import (
    AugmentedSelection,
    ClipCriterion,
    ConfidentSelection,
    Criterion,
    FrameLosses,
    LabeledTracks,
)
from mnemic_vision.memotr.model import Memotr
from mnemic_vision.memotr.targets import ClipBatch


def build_criterion(
    model: Memotr,
    average_classes: bool = True,
    supervise_passive_tracks: bool = True,
    drop_rate: float = 0.0,
    insert_rate: float = 0.0,
) -> Criterion:
    """Return the criterion of a network, with the training aids of its configuration.

    Args:
        model: the network.
        average_classes: see `losses.set_losses`.
        supervise_passive_tracks: see `ClipCriterion`.
        drop_rate: see `AugmentedSelection`, which is used if this or ``insert_rate`` is not 0.
        insert_rate: likewise.
    """
    config = model.config
    is_augmented = drop_rate != 0 or insert_rate != 0
    kind = AloneCriterion if config.detect_alone else ClipCriterion
    criterion: Criterion = kind(
        config.merge_layer,
        selection=AugmentedSelection(drop_rate, insert_rate)
        if is_augmented
        else ConfidentSelection(config.update_threshold),
        supervise_passive_tracks=supervise_passive_tracks,
        average_classes=average_classes,
    )
    if config.two_stage:
        criterion = ProposalCriterion(criterion)
    if config.denoising_groups:
        criterion = DenoisingCriterion(criterion, cast(Denoising, model.get_submodule("denoising")), average_classes)
    return criterion


def clip_loss(
    model: Memotr, criterion: Criterion, clip: ClipBatch, num_objects: Float[Tensor, ""] | float | None = None
) -> tuple[Float[Tensor, ""], list[FrameLosses], LabeledTracks]:
    """Run the network over a clip, carrying the tracks, and return the loss, its parts and the last state.

    Args:
        model: network in training mode.
        criterion: assignment and losses.
        clip: frames and ground truth.
        num_objects: divisor of the loss; None: the number of objects in the clip.
    """
    tracks = LabeledTracks.start(model.init_tracks(len(clip.images)))
    losses = []
    for index, targets in enumerate(clip.targets):
        frame, tracks = criterion.step(model, clip.images[:, index], clip.padding, tracks, targets)
        losses.append(frame)
    if num_objects is None:
        num_objects = float(sum(len(target.ids) for frame in clip.targets for target in frame))
    # The memory after the last frame has no loss; weight 0 gives its parameters a gradient also in clips of one frame.
    return criterion.total(losses, num_objects) + 0.0 * tracks.query.sum(), losses, tracks
