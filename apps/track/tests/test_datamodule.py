from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from mnemic_core.errors import UserError
from mnemic_kit.data import ResumableLoader
from mnemic_track.datamodule import DataSource, TrackingData, World
from mnemic_vision.memotr import ClipBatch
from mnemic_vision.memotr.data import ClipAugmentation, GeneratedSequences

SMALL = World(num_sequences=1, num_frames=4, size=(64, 96), seed=3)
PLAIN = ClipAugmentation(scales=(64,), max_size=96, crop_prob=0.0)


@pytest.fixture
def mot_folder(tmp_path: Path) -> Path:
    GeneratedSequences(seed=5, num_sequences=2, num_frames=3, size=(64, 96)).write_mot_layout(tmp_path)
    return tmp_path


def loader(sources: list[DataSource], epoch: int = 0, **options: object) -> ResumableLoader:
    data = TrackingData(sources, augmentation=PLAIN, **options)
    data.trainer = Trainer(reload_dataloaders_every_n_epochs=1, logger=False, accelerator="cpu")
    data.trainer.fit_loop.epoch_progress.current.completed = epoch
    data.setup("fit")
    return data.train_dataloader()


def images(batches: ResumableLoader) -> list[torch.Tensor]:
    return [batch.images for batch in batches]


def test_a_mixture_has_the_clips_of_all_its_sources(mot_folder: Path) -> None:
    sources = [DataSource("generated", world=SMALL), DataSource("mot", mot_folder)]
    assert len(loader(sources, clip_lengths={0: 1})) == 4 + 2 * 3


def test_training_needs_an_object(mot_folder: Path) -> None:
    for truth in mot_folder.glob("*/gt/gt.txt"):
        truth.write_text("")
    with pytest.raises(UserError, match=r"data\.train has no object"):
        loader([DataSource("mot", mot_folder)])


def test_the_clip_length_follows_the_epoch() -> None:
    source = [DataSource("generated", world=SMALL)]
    lengths = [next(iter(loader(source, epoch, clip_lengths={0: 1, 2: 3}))).images.shape[1] for epoch in (0, 1, 2)]
    assert lengths == [1, 1, 3]


def test_batches_follow_from_seed_and_epoch() -> None:
    source = [DataSource("generated", world=SMALL)]
    first, again, later, other = (
        images(loader(source, epoch, seed=seed)) for epoch, seed in ((0, 1), (0, 1), (1, 1), (0, 2))
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, later, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_worker_processes_change_nothing() -> None:
    source = [DataSource("generated", world=SMALL)]
    alone, helped = images(loader(source)), images(loader(source, num_workers=1))
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))


def test_validation_gives_complete_sequences(mot_folder: Path) -> None:
    data = TrackingData([], [DataSource("mot", mot_folder)])
    data.setup("validate")
    assert [sequence.num_frames for sequence in data.val_dataloader()] == [3, 3]


def test_clips_move_to_the_device_and_sequences_stay(mot_folder: Path) -> None:
    data = TrackingData([DataSource("mot", mot_folder)])
    batch = next(iter(loader([DataSource("mot", mot_folder)])))
    moved = data.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert isinstance(moved, ClipBatch)
    assert moved.images.is_meta
    assert data.transfer_batch_to_device("sequence", torch.device("meta"), 0) == "sequence"


@pytest.mark.parametrize("name", ["mot", "dancetrack", "sportsmot", "mot17", "mot20", "crowdhuman", "bdd100k"])
def test_a_source_without_its_files_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"data source {name} needs root"):
        DataSource(name).open()
    with pytest.raises(FileNotFoundError, match="absent"):
        DataSource(name, tmp_path / "absent").open()


def test_a_trainer_that_keeps_its_loader_is_refused() -> None:
    data = TrackingData([DataSource("generated", world=SMALL)])
    data.setup("fit")
    data.trainer = Trainer(logger=False, accelerator="cpu")
    with pytest.raises(ValueError, match="reload_dataloaders_every_n_epochs=1"):
        data.train_dataloader()
