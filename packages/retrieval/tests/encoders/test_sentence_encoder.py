from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional
from transformers import BertConfig, BertModel

from mnemic_core.testing.comparison import assert_close
from mnemic_retrieval.encoders import SentenceConfig, SentenceEncoder
from mnemic_retrieval.encoders.cache import FeatureCache
from mnemic_retrieval.encoders.features import Features

SIZES = {"vocab_size": 30, "dim": 16, "num_layers": 2, "num_heads": 4, "ffn_dim": 32, "max_tokens": 12}
TOKENS = torch.tensor([[5, 6, 7, 1], [8, 1, 0, 0], [0, 0, 0, 0]])
FRAMED = torch.tensor([[2, 5, 6, 7, 3], [2, 8, 3, 0, 0]])


def official() -> BertModel:
    torch.manual_seed(0)
    sizes = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
    return BertModel(BertConfig(**sizes, intermediate_size=32, max_position_embeddings=12)).eval()


def encoder(folder: Path) -> SentenceEncoder:
    save_file(
        {name: value.contiguous() for name, value in official().state_dict().items()}, folder / "bert.safetensors"
    )
    config = SentenceConfig(str(folder / "bert.safetensors"), **SIZES, start_id=2, end_id=3)
    return SentenceEncoder(config)


def test_words_and_vectors_are_those_of_bert(tmp_path: Path) -> None:
    network = official()
    states = network(FRAMED, attention_mask=(FRAMED != 0).long()).last_hidden_state
    found = encoder(tmp_path)(TOKENS)
    is_word = TOKENS[:2] != 0
    words = network.embeddings.word_embeddings(TOKENS[:2])
    for half, expected in zip(found.tokens[:2].chunk(2, -1), (states[:, 1:], words), strict=True):
        assert_close(half[is_word], functional.layer_norm(expected, (16,))[is_word], tolerance=1e-4)
    mean = (states * (FRAMED != 0)[..., None]).sum(1) / (FRAMED != 0).sum(1, keepdim=True)
    assert_close(found.summary[:2], torch.nn.functional.normalize(mean, dim=-1), tolerance=1e-5)


def test_an_empty_text_has_no_words_and_no_vector(tmp_path: Path) -> None:
    found = encoder(tmp_path)(TOKENS)
    assert found.padding[2].all()
    assert not found.summary[2].any()


def test_a_text_has_the_vector_that_it_has_alone(tmp_path: Path) -> None:
    network = encoder(tmp_path)
    assert_close(network(TOKENS).summary[1], network(TOKENS[1:2, :2]).summary[0], tolerance=1e-5)


def test_longer_texts_are_cut(tmp_path: Path) -> None:
    long = torch.full((1, 40), 5)
    assert encoder(tmp_path)(long).tokens.shape[1] == 11


def test_without_a_file_it_learns() -> None:
    network = SentenceEncoder(SentenceConfig(**SIZES, start_id=2, end_id=3))
    assert not network.is_held
    network(TOKENS).summary.sum().backward()
    assert network.word_vectors.grad is not None


def test_the_cache_gives_what_the_encoder_gave_and_drops_what_was_used_longest_ago() -> None:
    calls: list[list[int]] = []

    def encode(rows: list[int]) -> Features:
        calls.append(rows)
        lengths = torch.tensor([1 + row for row in rows])
        padding = torch.arange(int(lengths.max())) >= lengths[:, None]
        return Features(torch.ones(len(rows), padding.shape[1], 4), padding, torch.ones(len(rows), 2), padding.long())

    cache = FeatureCache(max_bytes=100)
    found = cache.get(["a", "b", "a"], encode)
    assert found.tokens.dtype == torch.float32
    assert found.padding.tolist() == [[False, True], [False, False], [False, True]]
    cache.get(["b"], encode)
    cache.get(["c", "d", "e", "f", "b", "a"], encode)  # does not fit, but is complete
    assert cache.get(["a"], encode).tokens.shape == (1, 6, 4) or calls
    assert calls[:2] == [[0, 1], [0, 1, 2, 3]]


def test_the_cache_can_encode_each_alone() -> None:
    calls: list[list[int]] = []

    def encode(rows: list[int]) -> Features:
        calls.append(rows)
        ids = torch.ones(len(rows), 1, dtype=torch.long)
        return Features(torch.ones(len(rows), 1, 2), ids == 0, torch.ones(len(rows), 2), ids)

    FeatureCache(is_alone=True).get(["a", "b", "a", "c"], encode)
    assert calls == [[0], [1], [3]]
