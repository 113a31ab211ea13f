from math import exp, log

import pytest
import torch

from mnemic_core.errors import UserError
from mnemic_core.testing import unchecked_annotations
from mnemic_retrieval.murag import contrastive_loss

QUESTIONS = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
ITEMS = torch.tensor([[0.5, 0.0], [0.0, 1.0], [1.0, 1.0]])


def test_one_positive_each_by_hand() -> None:
    is_positive = torch.tensor([[True, False, False], [False, True, False]])
    first = -log(exp(1.0) / (exp(1.0) + exp(0.0) + exp(2.0)))
    second = -log(exp(2.0) / (exp(0.0) + exp(2.0) + exp(2.0)))
    assert float(contrastive_loss(QUESTIONS, ITEMS, is_positive, 0.5)) == pytest.approx((first + second) / 2)


def test_several_positives_are_averaged_inside_the_logarithm() -> None:
    is_positive = torch.tensor([[True, False, True]])
    expected = -log((exp(0.5) + exp(1.0)) / 2 / (exp(0.5) + exp(0.0) + exp(1.0)))
    assert float(contrastive_loss(QUESTIONS[:1], ITEMS, is_positive, 1.0)) == pytest.approx(expected)


def test_questions_without_an_item_are_left_out() -> None:
    is_positive = torch.tensor([[True, False, False], [False, False, False]])
    alone = contrastive_loss(QUESTIONS[:1], ITEMS, is_positive[:1])
    assert float(contrastive_loss(QUESTIONS, ITEMS, is_positive)) == pytest.approx(float(alone))
    vectors = QUESTIONS.clone().requires_grad_()
    nothing = contrastive_loss(vectors, ITEMS, torch.zeros(2, 3, dtype=torch.bool))
    nothing.backward()
    assert nothing == 0
    assert vectors.grad is not None
    assert not vectors.grad.any()


def test_the_temperature_learns() -> None:
    temperature = torch.tensor(0.5, requires_grad=True)
    contrastive_loss(QUESTIONS, ITEMS, torch.eye(2, 3).bool(), temperature).backward()
    assert temperature.grad is not None
    assert temperature.grad != 0


def test_a_mask_of_another_shape_is_refused() -> None:
    with unchecked_annotations(), pytest.raises(UserError, match=r"must be \(2, 3\), got \(2, 2\)"):
        contrastive_loss(QUESTIONS, ITEMS, torch.eye(2).bool())
