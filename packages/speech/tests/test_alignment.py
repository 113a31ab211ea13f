from itertools import groupby, pairwise, product

import pytest
import torch
from torch.testing import assert_close

from mnemic_speech.alignment import align_words
from mnemic_speech.text import CharTokenizer, SentencePieceTokenizer, WordTokenizer

CHARS = CharTokenizer(" ab")


def certain(path: list[int], vocab_size: int, probability: float = 0.9) -> torch.Tensor:
    """Log-probabilities in which every frame is sure of one token."""
    rest = (1 - probability) / (vocab_size - 1)
    probabilities = torch.full((len(path), vocab_size), rest)
    probabilities[torch.arange(len(path)), path] = probability
    return probabilities.log()


def test_words_lie_where_their_tokens_were_emitted() -> None:
    a, b, space = CHARS.encode("ab ")
    path = [0, a, a, 0, b, space, 0, 0, b, b, 0, b]
    words = align_words(certain(path, CHARS.vocab_size), [a, b, space, b, b], CHARS, frame_seconds=0.04, offset=10.0)
    assert [word.text for word in words] == ["ab", "bb"]
    assert_close([(word.start, word.end) for word in words], [(10.04, 10.2), (10.32, 10.48)])
    assert_close([word.confidence for word in words], [0.9, 0.9])


def test_path_is_the_most_probable_of_all() -> None:
    torch.manual_seed(0)
    log_probs, tokens = torch.randn(5, 4).log_softmax(-1), [2, 2]
    fitting = [path for path in product(range(4), repeat=5) if [token for token, _ in groupby(path) if token] == tokens]
    best = max(fitting, key=lambda path: sum(float(log_probs[frame, token]) for frame, token in enumerate(path)))
    places = [frame for frame, token in enumerate(best) if token]
    words = align_words(log_probs, tokens, WordTokenizer(["one"]), frame_seconds=1.0)
    assert (words[0].start, words[-1].end) == (places[0], places[-1] + 1)


def test_confidence_falls_with_the_probability_of_a_word() -> None:
    log_probs = torch.cat([certain([2], 5, 0.9), certain([3], 5, 0.4)])
    words = align_words(log_probs, [2, 3], WordTokenizer(["one", "two"]), frame_seconds=1.0)
    assert_close([word.confidence for word in words], [0.9, 0.4])


def test_pieces_are_joined_to_words() -> None:
    tokenizer = SentencePieceTokenizer.train(["THE CAT SAT", "A CAT AND A DOG", "THE DOG'S MAT"], vocab_size=19)
    tokens = tokenizer.encode("THE DOG'S MAT")
    path = [frame for token in tokens for frame in (token, 0)]
    words = align_words(certain(path, tokenizer.vocab_size), tokens, tokenizer, frame_seconds=0.5)
    assert [word.text for word in words] == ["THE", "DOG'S", "MAT"]
    assert len(tokens) > len(words)
    assert all(word.end <= following.start for word, following in pairwise(words))
    assert words[-1].end == len(path) / 2 - 0.5


def test_more_tokens_than_frames_share_the_time_without_confidence() -> None:
    tokens = CHARS.encode("aa b")  # needs five frames, with the blank between the two letters
    words = align_words(certain([0] * 4, CHARS.vocab_size), tokens, CHARS, frame_seconds=0.1)
    assert [(word.text, word.confidence) for word in words] == [("aa", 0.0), ("b", 0.0)]
    assert_close([(word.start, word.end) for word in words], [(0.0, 0.2), (0.3, 0.4)])


def test_nothing_recognized_is_no_word() -> None:
    assert align_words(certain([0], CHARS.vocab_size), [], CHARS, frame_seconds=0.1) == []
    assert align_words(certain([2], CHARS.vocab_size), CHARS.encode(" "), CHARS, frame_seconds=0.1) == []


@pytest.mark.parametrize("token", [0, 6, -1])
def test_blanks_and_foreign_tokens_cannot_be_aligned(token: int) -> None:
    with pytest.raises(ValueError, match=f"tokens to align are 1 to 5 without the blank, got .{token}"):
        align_words(certain([0] * 4, CHARS.vocab_size), [2, token], CHARS, frame_seconds=0.1)
