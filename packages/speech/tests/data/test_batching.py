from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from mnemic_speech.data.augmentation import Augmentation
from mnemic_speech.data.batching import SpeechBatches, Waveforms, duration_batches, with_distinct_ids
from mnemic_speech.data.manifest import Utterance
from mnemic_speech.data.tones import WORDS, ToneWorld
from mnemic_speech.text import WordTokenizer

SECONDS = np.random.default_rng(0).uniform(0.5, 12, size=200).tolist()
CLIPS = ToneWorld(num_clips=6, max_words=3).clips()
LOUD = Augmentation(speeds=(0.9, 1.1), gain_db=(-6.0, 6.0), noise_prob=0.5)


def batches(shuffle: tuple[int, int] | None = None, augmentation: Augmentation | None = None) -> SpeechBatches:
    return SpeechBatches(CLIPS, WordTokenizer(WORDS), Waveforms(8000, augmentation), 3.0, shuffle)


@pytest.mark.parametrize("shuffle", [None, (0, 0), (3, 7)])
def test_batches_hold_every_clip_once_and_keep_to_the_duration(shuffle: tuple[int, int] | None) -> None:
    found = duration_batches(SECONDS, 40.0, shuffle)
    assert sorted(index for batch in found for index in batch) == list(range(200))
    assert all(max(SECONDS[index] for index in batch) * len(batch) <= 40 for batch in found)


def test_clips_of_one_name_in_two_sources_are_told_apart() -> None:
    recorded = Utterance(Path("a.wav"), 1.0, "one", id=CLIPS[0].id)
    found = with_distinct_ids([CLIPS[:2], [recorded]])
    assert [clip.id for clip in found] == [f"1-{CLIPS[0].id}", CLIPS[1].id, f"2-{CLIPS[0].id}"]
    assert [clip.text for clip in found] == [CLIPS[0].text, CLIPS[1].text, "one"]
    sounds = [clip.read(8000, np.random.default_rng(0)) for clip in (found[0], CLIPS[0])]
    assert torch.equal(*sounds)
    assert isinstance(found[2], Utterance)


def test_little_of_a_shuffled_batch_is_padding() -> None:
    found = duration_batches(SECONDS, 40.0, (0, 0))
    padded = sum(max(SECONDS[index] for index in batch) * len(batch) for batch in found)
    assert sum(SECONDS) / padded > 0.85


def test_neighbors_follow_from_seed_and_epoch() -> None:
    first, again, later, other = (duration_batches(SECONDS, 40.0, key) for key in ((1, 0), (1, 0), (1, 1), (2, 0)))
    assert first == again
    assert first != later
    assert first != other


def test_a_clip_longer_than_a_batch_is_a_batch_alone() -> None:
    assert duration_batches([50.0, 1.0, 2.0], 40.0) == [[1, 2], [0]]


def test_a_batch_is_its_clips_with_zeros_after_them() -> None:
    made, places = batches(), []
    for index, batch in enumerate(made):
        assert batch.inputs.shape == (len(batch), int(batch.lengths.max()))
        for row, place in enumerate(made.batches[index]):
            clip, length = CLIPS[place], int(batch.lengths[row])
            assert torch.equal(batch.inputs[row, :length], clip.read(8000, np.random.default_rng()))
            assert not batch.inputs[row, length:].any()
            spoken = batch.tokens[row, : batch.token_lengths[row]].tolist()
            assert made.tokenizer.decode(spoken) == clip.text == batch.texts[row]
            assert batch.ids[row] == clip.id
            places.append(place)
    assert sorted(places) == list(range(6))


def test_what_is_changed_follows_from_seed_and_epoch() -> None:
    first, again, later, plain = (
        torch.cat([batch.inputs.flatten() for batch in batches(shuffle, augmentation)])
        for shuffle, augmentation in (((1, 0), LOUD), ((1, 0), LOUD), ((1, 1), LOUD), ((1, 0), None))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, plain)


def test_a_word_outside_the_vocabulary_is_unknown_and_no_crash() -> None:
    @dataclass(frozen=True)
    class Strange:
        id = "strange"
        text = "one sixteen"
        seconds = 0.1

        def read(self, sample_rate: int, random: np.random.Generator) -> torch.Tensor:
            return torch.zeros(sample_rate // 10)

    made = SpeechBatches([Strange()], WordTokenizer(["one"]), Waveforms(8000), 1.0)
    assert made[0].tokens.tolist() == [[2, 1]]


def test_a_batch_moves_to_a_device() -> None:
    moved = batches()[0].to(torch.device("meta"))
    assert moved.inputs.is_meta
    assert moved.token_lengths.is_meta
    assert moved.ids == batches()[0].ids
