import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch import Tensor
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_core.machines.turing_memory import TuringState
from mnemic_speech.conformer_ntm import ConformerConfig, ConformerNtm, ConformerNtmConfig, EncoderMemory, load_official
from mnemic_speech.conformer_ntm.weights import convert_official
from mnemic_speech.losses import add_sos_eos, ctc_loss, label_smoothing_loss

FOLDER = Path(__file__).parent.parent / "golden"


def speech_cases(prefix: str) -> list[object]:
    cases = golden_cases("speech", FOLDER, prefix)
    assert cases or "MNEMIC_GOLDEN_DIR" in os.environ, f"no golden case {prefix}*"
    return [pytest.param(case, id=case.name) for case in cases]


def memory_of(case: GoldenCase, name: str, **options: Any) -> EncoderMemory:
    sizes = case.config
    options = {"slots": sizes["rows"], "width": sizes["cols"], "max_shift": sizes["max_shift"], **options}
    memory = EncoderMemory(sizes["dim"], MemoryConfig(name, options))
    converted = convert_official({f"ntm.{key}": value for key, value in case.state.items()})
    memory.load_state_dict({key.removeprefix("memory."): value for key, value in converted.items()})
    return memory


@pytest.mark.golden
@pytest.mark.parametrize("case", speech_cases("c_"))
def test_released_memory_over_encoder_frames(case: GoldenCase) -> None:
    hidden, batch = case.inputs["encoder_out"], case.config["batch"]
    for name, prefix, options in (
        ("turing_release", "", {}),
        ("turing_release", "", {"addressing": "content"}),
        ("turing_release", "rand.", {"addressing": "content"}),
        ("turing_paper", "full.", {"order": "pairs"}),
    ):
        memory = memory_of(case, name, **options)
        state = memory.init_state(batch)
        assert isinstance(state, TuringState)
        start = replace(state, memory=case.inputs["memory0"]) if prefix == "rand." else state
        output, after = memory(hidden, start)
        case.assert_output(f"{prefix}y", output)
        case.assert_output(f"{prefix}memory", after.tensors()["memory"])


@pytest.mark.golden
@pytest.mark.parametrize("case", speech_cases("c_"))
def test_released_memory_chunk_by_chunk(case: GoldenCase) -> None:
    memory = memory_of(case, "turing_release")
    state = memory.init_state(case.config["batch"])
    for index, chunk in enumerate(case.inputs["encoder_out"].tensor_split(case.config["chunk_cuts"], dim=1)):
        output, state = memory(chunk, state)
        case.assert_output(f"chunk{index}.y", output)
        case.assert_output(f"chunk{index}.memory", state.tensors()["memory"])


@pytest.mark.golden
@pytest.mark.parametrize("case", speech_cases("c_"))
def test_released_memory_of_a_padded_row_equals_that_of_the_row_alone(case: GoldenCase) -> None:
    memory, hidden = memory_of(case, "turing_release"), case.inputs["encoder_out"]
    padding = torch.arange(hidden.shape[1]) >= case.inputs["encoder_out_lens"][:, None]
    output, _ = memory(hidden, memory.init_state(len(hidden)), padding=padding)
    case.assert_output("y_item1_alone", output[1:2, ~padding[1]])


def network_of(case: GoldenCase, memory: str = "turing_release") -> ConformerNtm:
    sizes = case.config
    encoder = ConformerConfig(
        num_mels=sizes["feats"],
        dim=sizes["dim"],
        num_heads=sizes["heads"],
        ffn_dim=sizes["ff"],
        num_layers=sizes["blocks"],
        kernel_size=sizes["kernel"],
        mask_conv=False,
    )
    config = ConformerNtmConfig(
        vocab_size=sizes["vocab"],
        encoder=encoder,
        decoder_layers=sizes["blocks"],
        decoder_ffn_dim=sizes["ff"],
        memory=MemoryConfig(memory, {"slots": sizes["rows"], "width": sizes["cols"]}),
        ctc_weight=sizes["ctc_weight"],
        label_smoothing=sizes["label_smoothing"],
    )
    model = ConformerNtm(config)
    assert load_official(model, case.state) == {}
    return model.eval()


def inputs_of(case: GoldenCase) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    feats, feats_lengths, text, text_lengths = (
        case.inputs[name] for name in ("feats", "feats_lengths", "text", "text_lengths")
    )
    return feats, feats_lengths, text, text_lengths


@pytest.mark.golden
@pytest.mark.parametrize("case", speech_cases("h_"))
def test_released_network_from_features_to_frames(case: GoldenCase) -> None:
    model = network_of(case)
    features, lengths, *_ = inputs_of(case)
    case.assert_output("conv_subsampled", model.encoder.subsampling.conv(features[:, None]))
    hidden, padding = model.encoder(features, lengths)
    case.assert_output("encoder_out", hidden)
    case.assert_output("encoder_out_lens", (~padding).sum(1))
    output, state = model.memory(hidden, model.init_state(len(hidden)))  # as released, over padding too
    case.assert_output("ntm_out", output)
    case.assert_output("ntm_memory", state.tensors()["memory"])
    case.assert_output("ctc_log_softmax", model.ctc_log_probs(output))
    encoded = model.encode(features, lengths)
    expected = case.outputs["ntm_out"][~padding]
    assert_close(encoded.hidden[~padding], expected, atol=case.tolerance, rtol=case.tolerance)


@pytest.mark.golden
@pytest.mark.parametrize("case", speech_cases("h_"))
def test_released_network_from_frames_to_losses(case: GoldenCase) -> None:
    model = network_of(case)
    features, lengths, text, text_lengths = inputs_of(case)
    read, targets = add_sos_eos(text, text_lengths, case.config["sos_eos"], case.config["ignore_id"])
    case.assert_output("ys_in", read)
    case.assert_output("ys_out", targets)
    assert model.decoder is not None
    encoded = model.encode(features, lengths)
    after_end = torch.arange(read.shape[1]) > text_lengths[:, None]
    logits = model.decoder(read, encoded.hidden, encoded.padding, after_end)
    case.assert_output("decoder_logits", logits)
    case.assert_output("loss_att", label_smoothing_loss(logits, targets, case.config["label_smoothing"]))
    log_probs = model.ctc_log_probs(encoded.hidden)
    case.assert_output("loss_ctc", ctc_loss(log_probs, encoded.lengths, text, text_lengths))


@pytest.mark.golden
@pytest.mark.parametrize("case", speech_cases("h_"))
def test_released_training_losses(case: GoldenCase) -> None:
    losses = network_of(case).loss(*inputs_of(case))
    case.assert_output("loss", losses.total)
    case.assert_output("loss_att", losses.attention)
    case.assert_output("loss_ctc", losses.ctc)
