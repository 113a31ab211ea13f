"""Sources of streams for training and evaluation, by name."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mnemic_core.errors import UserError
from mnemic_vision.matr.data import (
    ActionStreams,
    FeatureSet,
    GeneratedActions,
    muses,
    read_annotated_streams,
    shuffle_order,
    thumos14,
)


@dataclass(frozen=True)
class DataSource:
    """One part of the data.

    Args:
        name: data set. ``folder`` is a folder with annotations.json and a file for each stream, ``features`` any
            annotations in ActivityNet's format with features in npy, npz or HDF5, and ``generated`` needs no files.
        root: folder of the data set; not for ``features``, whose paths are in ``feature_set``, nor ``generated``.
        subset: such as train or val; null: all streams.
        shuffles: cut each stream between its actions and join the pieces in another order (not in training, where the
            augmentation does it).
        feature_set: files of ``features``.
        world: size and seed of a generated data set.
    """

    name: Literal["generated", "folder", "thumos14", "muses", "features"]
    root: Path | None = None
    subset: str | None = None
    shuffles: bool = False
    feature_set: FeatureSet | None = None
    world: GeneratedActions = GeneratedActions()

    def open(self) -> ActionStreams:
        """Return the streams.

        Raises:
            FileNotFoundError: a folder or file is missing.
            UserError: a file is malformed, or a path is not given.
        """
        found = self._read()
        if not len(found):
            raise UserError(f"data source {self.name} has no stream of subset {self.subset}: name another one")
        if not self.shuffles:
            return found
        return replace(found, streams=[shuffle_order(stream, found.kind, seed=0) for stream in found])

    def _read(self) -> ActionStreams:
        if self.name == "generated":
            return self.world.open()
        if self.name == "features":
            if self.feature_set is None:
                raise UserError("data source features needs feature_set, its annotations and folders of features")
            return self.feature_set.open(self.subset)
        if self.root is None:
            raise UserError(f"data source {self.name} needs root, the folder of the data set")
        if self.name == "folder":
            return read_annotated_streams(self.root, self.subset)
        return {"thumos14": thumos14, "muses": muses}[self.name](self.root).open(self.subset)
