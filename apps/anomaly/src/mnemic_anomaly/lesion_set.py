"""Normal images of a data set with pasted lesions, under names of an MVTec tree."""

from collections.abc import Sequence
from dataclasses import replace

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.data import ImageSample, LesionSettings, training_normals, with_lesions


def with_lesions_as_mvtec(samples: Sequence[ImageSample], seed: int) -> list[ImageSample]:
    """Return the normal images of a data set, those of val and test also with a lesion.

    Args:
        samples: of the data set; anomalous ones are left out.
        seed: of the lesions.

    Raises:
        UserError: there are no normal images for training, or none in the other parts.
    """
    train = training_normals(samples)
    others = [sample for sample in samples if sample.split != "train" and sample.label == 0]
    if not others:
        raise UserError("lesions are pasted into normal images of val and test, of which the data has none")
    made = [*train, *with_lesions(others, train, LesionSettings(seed=seed))]
    return [
        replace(sample, name=f"{sample.split}/{sample.group or 'good'}/{place:05d}.png")
        if sample.label
        else replace(sample, name=f"{sample.split}/good/{place:05d}.png")
        for place, sample in enumerate(made)
    ]
