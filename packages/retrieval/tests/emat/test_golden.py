"""Parity with the released code (uclnlp/EMAT)."""

from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases

from mnemic_core.loading import load_exactly
from mnemic_core.stores import KeyValueMemory
from mnemic_retrieval.emat import (
    Emat,
    EmatConfig,
    autoencoding_loss,
    emat_from_official,
    matching_loss,
)
from mnemic_retrieval.t5 import T5Config
from mnemic_retrieval.t5.model import IGNORED, sequence_loss, shifted

FOLDER = Path(__file__).parents[1] / "golden" / "retrieval"
CASES = golden_cases("retrieval", FOLDER, prefix="emat_")


def load(case: GoldenCase) -> Emat:
    sizes = case.config
    t5 = T5Config(
        vocab_size=sizes["vocab_size"],
        dim=sizes["d_model"],
        num_heads=sizes["num_heads"],
        head_dim=sizes["d_kv"],
        ffn_dim=sizes["d_ff"],
        encoder_layers=sizes["encoder_layers"],
        decoder_layers=sizes["decoder_layers"],
        activation="relu" if sizes["feed_forward"] == "relu" else "gated_gelu",
        tie_embeddings=sizes["tie_word_embeddings"],
        scale_outputs=sizes["tie_word_embeddings"],
        num_buckets=sizes["relative_attention_num_buckets"],
    )
    config = EmatConfig(
        t5,
        prefix_length=sizes["prefix_length"],
        key_layer=sizes["key_layer"],
        insert_layer=sizes["key_layer"] if sizes["cat_layer"] is None else sizes["cat_layer"],
        value_layer=sizes["value_layer"],
        num_values=sizes["num_values"],
        key_head=sizes["key_encoder_type"],
        bias_after_insertion="zero",
        has_own_memory_encoder=sizes["not_share_encoder"],
    )
    model = Emat(config)
    load_exactly(model, emat_from_official(case.state), case.name)
    return model.eval()


def labels_of(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return tokens.masked_fill(mask == 0, IGNORED)


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equals_the_released_code(case: GoldenCase) -> None:
    model, given = load(case), case.inputs
    key_labels, value_labels = (labels_of(given[f"{part}_ids"], given[f"{part}_mask"]) for part in ("key", "value"))
    keys, values = model.encode_keys(given["key_ids"]), model.encode_values(given["value_ids"])
    case.assert_output("key_embeds", keys)
    case.assert_output("value_embeds", values)
    case.assert_output("key_embeds_normed", model.memory_encoder.normalize(keys))
    case.assert_output("value_embeds_normed", model.memory_encoder.normalize(values))
    vectors = model.search_vectors(keys)
    case.assert_output("key_index_vectors", vectors)
    for part, slots, labels in (("key", keys, key_labels), ("value", values, value_labels)):
        case.assert_output(f"{part}_ae_logits", model.rebuild(slots, shifted(labels, 0)))
        case.assert_output(f"{part}_ae_loss", autoencoding_loss(model, slots, labels)[None])

    question = model.ask(given["query_ids"])
    case.assert_output("query", question.vector)
    case.assert_output("scores", question.vector @ vectors.mT)
    table = KeyValueMemory(model.config.t5.dim, num_slots=model.config.prefix_length, precision="float32")
    table.add(vectors, keys, values)
    scores, found = table.search(question.vector, model.config.num_values)
    case.assert_output("topk_scores", scores)
    assert torch.equal(found, case.outputs["topk_indices"])

    memory = table.gather(found)
    case.assert_output("encoder_last_hidden", model.encoder.resume(question, memory)[0])
    logits = model(question, memory, given["decoder_ids"])
    case.assert_output("logits", logits)
    case.assert_output("gen_loss", sequence_loss(logits, given["labels"])[None])
    expected = case.outputs["greedy_tokens"][:, 1:]
    written = model.answer(question, memory, expected.shape[1])
    has_ended = (expected == model.config.t5.end_id).cumsum(1) > 0
    until_end = ~has_ended | (has_ended.cumsum(1) == 1)
    until_end = until_end[:, : written.shape[1]]
    assert torch.equal(written[until_end], expected[:, : written.shape[1]][until_end])
    case.assert_output("match_loss", matching_loss(question.vector, vectors, given["match_targets"])[None])
