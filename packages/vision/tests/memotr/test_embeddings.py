import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mnemic_vision.memotr.embeddings import logit, sine_boxes, sine_image


@settings(max_examples=50, deadline=None)
@given(st.floats(-9, 9))
def test_logit_is_the_inverse_of_the_sigmoid(value: float) -> None:
    value = torch.tensor(value, dtype=torch.float64)
    assert_close(logit(value.sigmoid()), value)


def test_logit_is_finite_everywhere_and_so_is_its_gradient() -> None:
    probability = torch.tensor([-1.0, 0.0, 1.0, 2.0], requires_grad=True)
    bounded = logit(probability)
    bounded.sum().backward()
    bound = math.log(1e5)
    assert_close(bounded, torch.tensor([-bound, -bound, bound, bound]), atol=1e-2, rtol=0.0)
    assert probability.grad is not None
    assert probability.grad.isfinite().all()


def test_box_embedding_equals_a_loop_in_the_order_x_y_width_height() -> None:
    box, dim = torch.tensor([0.1, 0.2, 0.3, 0.4]), 8
    expected = []
    for coordinate in box.tolist():
        for index in range(dim // 2):
            angle = coordinate * 2 * math.pi / 10000 ** (2 * (index // 2) / (dim // 2))
            expected.append(math.cos(angle) if index % 2 else math.sin(angle))
    assert_close(sine_boxes(box, dim), torch.tensor(expected))


def test_image_embedding_equals_a_loop() -> None:
    embedded = sine_image(torch.zeros(1, 3, 5, dtype=torch.bool), dim=8)
    for y in range(3):
        for x in range(5):
            expected = []
            for place in ((y + 0.5) / 3, (x + 0.5) / 5):
                for index in range(4):
                    angle = place * 2 * math.pi / 20 ** (2 * (index // 2) / 4)
                    expected.append(math.cos(angle) if index % 2 else math.sin(angle))
            assert_close(embedded[0, :, y, x], torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_cells_keep_their_image_embedding_in_a_larger_padded_canvas() -> None:
    padding = torch.ones(1, 6, 8, dtype=torch.bool)
    padding[:, :3, :5] = False
    assert_close(sine_image(padding, 8)[..., :3, :5], sine_image(padding[:, :3, :5], 8))
