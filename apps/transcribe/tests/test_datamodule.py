from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from lightning.pytorch import Trainer

from mnemic_kit.data import ResumableLoader
from mnemic_speech.data import Utterance, write_manifest
from mnemic_speech.data.augmentation import Augmentation
from mnemic_speech.data.tones import WORDS, ToneWorld
from mnemic_speech.data.vocabulary import Vocabulary
from mnemic_transcribe.datamodule import SpeechData
from mnemic_transcribe.sources import DataSource

TONES = DataSource("generated", world=ToneWorld(12, 1, 3))
LOUD = Augmentation(gain_db=(-6.0, 6.0))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Return a manifest of three utterances, at 16 kHz, the last of them very short."""
    utterances = []
    for number, seconds in enumerate((0.5, 0.4, 0.05)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.full(int(16000 * seconds), 0.1), 16000)
        utterances.append(Utterance(path, seconds, "Don't!", id=f"clip-{number}"))
    write_manifest(tmp_path / "all.jsonl", utterances)
    return tmp_path / "all.jsonl"


def data(*train: DataSource, **options: object) -> SpeechData:
    defaults = {"vocabulary": Vocabulary("words", words=WORDS), "text_style": "keep", "sample_rate": 8000}
    return SpeechData(list(train or [TONES]), **{**defaults, "val": [TONES], "batch_seconds": 4.0, **options})


def loader(epoch: int = 0, **options: object) -> ResumableLoader:
    made = data(**options)
    made.trainer = Trainer(reload_dataloaders_every_n_epochs=1, logger=False, accelerator="cpu")
    made.trainer.fit_loop.epoch_progress.current.completed = epoch
    made.setup("fit")
    return made.train_dataloader()


def same(first: ResumableLoader, second: ResumableLoader) -> bool:
    one, other = ([batch.inputs for batch in batches] for batches in (first, second))
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_batches_follow_from_seed_and_epoch() -> None:
    assert same(loader(augmentation=LOUD, seed=1), loader(augmentation=LOUD, seed=1))
    assert not same(loader(augmentation=LOUD, seed=1), loader(1, augmentation=LOUD, seed=1))
    assert not same(loader(augmentation=LOUD, seed=1), loader(augmentation=LOUD, seed=2))


def test_worker_processes_change_nothing() -> None:
    assert same(loader(augmentation=LOUD), loader(augmentation=LOUD, num_workers=1))


def test_a_resumed_epoch_continues_where_it_stopped() -> None:
    whole, first, second = loader(), loader(), loader()
    begun = iter(first)
    used = [next(begun), next(begun)]
    second.load_state_dict(first.state_dict())
    assert [batch.ids for batch in [*used, *second]] == [batch.ids for batch in whole]


def test_an_epoch_that_was_cut_short_is_followed_by_a_whole_one() -> None:
    first, second = loader(), loader(1)
    next(iter(first))
    second.load_state_dict(first.state_dict())
    assert len(list(second)) == len(loader(1))


def test_a_mixture_has_the_utterances_of_all_its_sources_that_are_neither_too_short_nor_too_long(
    manifest: Path,
) -> None:
    made = data(TONES, DataSource("recordings", manifest), min_seconds=0.1, max_seconds=0.6)
    found = made.clips("train")
    assert {"clip-0", "clip-1"} <= {clip.id for clip in found}
    assert "clip-2" not in {clip.id for clip in found}
    assert 2 < len(found) < 14
    assert len(made.clips("val")) == 12  # validation keeps all utterances


def test_two_sources_with_the_same_names_are_both_validated_on(manifest: Path) -> None:
    made = data(val=[DataSource("recordings", manifest), DataSource("recordings", manifest)])
    assert [clip.id for clip in made.clips("val")] == [f"{source}-clip-{n}" for source in (1, 2) for n in range(3)]


def test_recordings_are_resampled_and_their_texts_normalized(manifest: Path) -> None:
    made = SpeechData([DataSource("recordings", manifest)], sample_rate=8000, text_style="upper", max_seconds=9.0)
    made.setup("fit")
    batch = made.sample(2)[0]
    assert sorted(batch.lengths.tolist()) == [3200, 4000]
    assert batch.texts == ("DON'T", "DON'T")


def test_a_sample_is_of_training_utterances_as_they_are() -> None:
    made = data(augmentation=LOUD)
    sample, clips = made.sample(5), {clip.id: clip for clip in made.clips("train")}
    batches = [sample[index] for index in range(len(sample))]
    assert sum(map(len, batches)) == 5
    for batch in batches:
        for row, name in enumerate(batch.ids):
            assert torch.equal(batch.inputs[row, : batch.lengths[row]], clips[name].read(8000, np.random.default_rng()))


def test_validation_is_by_length_and_tests_take_the_validation_set_if_there_is_no_other() -> None:
    made = data()
    made.setup("test")
    batches = list(made.test_dataloader())
    lengths = [int(length) for batch in batches for length in batch.lengths]
    assert lengths == sorted(lengths)
    assert len(lengths) == 12
    assert SpeechData([TONES]).val_dataloader() == []


def test_the_tokens_of_a_sentencepiece_vocabulary_come_from_the_training_texts(tmp_path: Path) -> None:
    vocabulary = Vocabulary("sentencepiece", file=tmp_path / "tones.model", size=30)
    made = data(DataSource("generated", world=ToneWorld(60)), vocabulary=vocabulary)
    assert made.vocab_size == 30
    assert made.tokenizer_state["kind"] == "sentencepiece"
    made.setup("fit")


def test_a_training_text_outside_the_vocabulary_is_named_before_the_first_step() -> None:
    with pytest.raises(ValueError, match=r"tones-0-00000: not in the vocabulary.*data\.vocabulary"):
        data(vocabulary=Vocabulary("words", words=("one",))).setup("fit")


@pytest.mark.parametrize("name", ["recordings", "digits"])
def test_a_source_without_its_files_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"data source {name} needs root"):
        DataSource(name).open("upper")
    with pytest.raises(FileNotFoundError, match="absent"):
        DataSource(name, tmp_path / "absent").open("upper")


def test_a_set_without_a_usable_utterance_is_refused(manifest: Path) -> None:
    made = data(DataSource("recordings", manifest), min_seconds=2.0)
    with pytest.raises(ValueError, match=r"no utterance of usable length in data.train: recordings .*all\.jsonl"):
        made.setup("fit")


def test_settings_without_meaning_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got 0\.0, 0\.1 and 30\.0"):
        data(batch_seconds=0.0)
    with pytest.raises(ValueError, match=r"got 4\.0, 3\.0 and 2\.0"):
        data(min_seconds=3.0, max_seconds=2.0)


def test_a_trainer_that_keeps_its_loader_is_refused() -> None:
    made = data()
    made.setup("fit")
    made.trainer = Trainer(logger=False, accelerator="cpu")
    with pytest.raises(ValueError, match="reload_dataloaders_every_n_epochs=1"):
        made.train_dataloader()
