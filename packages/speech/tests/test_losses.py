from itertools import product
from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_speech.losses import add_sos_eos, ctc_loss, label_smoothing_loss, token_accuracy

GOLDEN = golden_cases("speech", Path(__file__).parent / "golden" / "speech", prefix="h_")


@pytest.mark.golden
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in GOLDEN])
def test_official_logits_give_the_official_losses(case: GoldenCase) -> None:
    tokens, token_lengths = case.inputs["text"], case.inputs["text_lengths"]
    inputs, targets = add_sos_eos(tokens, token_lengths, case.config["sos_eos"], case.config["ignore_id"])
    case.assert_output("ys_in", inputs)
    case.assert_output("ys_out", targets)
    smoothing = case.config["label_smoothing"]
    attention = label_smoothing_loss(case.outputs["decoder_logits"], targets, smoothing, case.config["ignore_id"])
    ctc = ctc_loss(case.outputs["ctc_log_softmax"], case.outputs["encoder_out_lens"], tokens, token_lengths)
    case.assert_output("loss_att", attention)
    case.assert_output("loss_ctc", ctc)
    weight = case.config["ctc_weight"]
    case.assert_output("loss", weight * ctc + (1 - weight) * attention)


def test_smoothed_loss_is_the_divergence_from_the_smoothed_targets() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 3, 5), torch.tensor([[1, 4, -1], [0, -1, -1]])
    counted = targets >= 0
    smoothed = torch.full((2, 3, 5), 0.2 / 4).scatter(-1, targets.clamp(min=0)[..., None], 0.8)
    expected = F.kl_div(logits.log_softmax(-1), smoothed, reduction="none").sum(-1)[counted].sum() / 2
    assert_close(label_smoothing_loss(logits, targets, 0.2), expected)


def test_without_smoothing_the_loss_is_cross_entropy() -> None:
    logits, targets = torch.randn(1, 4, 3), torch.tensor([[0, 1, 2, -1]])
    expected = F.cross_entropy(logits[0], targets[0], ignore_index=-1, reduction="sum")
    assert_close(label_smoothing_loss(logits, targets, 0.0), expected)


def test_ctc_loss_sums_over_every_alignment() -> None:
    torch.manual_seed(0)
    log_probs, tokens = torch.randn(2, 4, 3).log_softmax(-1), torch.tensor([[1, 2], [1, 7]])
    loss = ctc_loss(log_probs, torch.tensor([4, 2]), tokens, torch.tensor([2, 1]))
    total = alignment_log_prob(log_probs[0], [1, 2]) + alignment_log_prob(log_probs[1, :2], [1])
    assert_close(loss, -total / 2)


def alignment_log_prob(log_probs: Tensor, text: list[int]) -> Tensor:
    frames, vocab = log_probs.shape
    paths = [path for path in product(range(vocab), repeat=frames) if collapse(path) == text]
    return torch.stack([sum(log_probs[i, token] for i, token in enumerate(path)) for path in paths]).logsumexp(0)


def collapse(path: tuple[int, ...]) -> list[int]:
    return [token for i, token in enumerate(path) if token and (i == 0 or token != path[i - 1])]


def test_a_text_too_long_for_its_frames_counts_nothing_and_teaches_nothing() -> None:
    logits = torch.randn(1, 2, 3, requires_grad=True)
    loss = ctc_loss(logits.log_softmax(-1), torch.tensor([2]), torch.tensor([[1, 1]]), torch.tensor([2]))
    loss.backward()
    assert loss == 0
    assert_close(logits.grad, torch.zeros_like(logits))


def test_losses_of_a_batch_are_the_mean_of_those_of_its_items() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 3, 5), torch.tensor([[1, 4, 2], [3, -1, -1]])
    alone = [label_smoothing_loss(logits[i : i + 1], targets[i : i + 1], 0.1) for i in range(2)]
    assert_close(label_smoothing_loss(logits, targets, 0.1), torch.stack(alone).mean())


def test_start_and_end_symbols_surround_texts_of_any_length() -> None:
    inputs, targets = add_sos_eos(torch.tensor([[1, 2], [3, 99], [99, 99]]), torch.tensor([2, 1, 0]), sos_eos=5)
    assert inputs.tolist() == [[5, 1, 2], [5, 3, 5], [5, 5, 5]]
    assert targets.tolist() == [[1, 2, 5], [3, 5, -1], [5, -1, -1]]


def test_accuracy_counts_targets_only() -> None:
    logits = F.one_hot(torch.tensor([[1, 2, 0], [0, 0, 0]]), 3).float()
    assert_close(token_accuracy(logits, torch.tensor([[1, 1, -1], [0, -1, -1]])), torch.tensor(2 / 3))
    assert token_accuracy(logits, torch.full((2, 3), -1)) == 0
