import torch
from torch.testing import assert_close

from mnemic_vision.boxes import cxcywh_to_xywh, cxcywh_to_xyxy, xywh_to_cxcywh

BOXES = torch.tensor([[10.0, 20.0, 4.0, 6.0]])


def test_corners_are_half_a_size_from_the_center() -> None:
    assert_close(cxcywh_to_xyxy(BOXES), torch.tensor([[8.0, 17.0, 12.0, 23.0]]))


def test_top_left_form_there_and_back_is_the_identity() -> None:
    boxes = torch.rand(2, 5, 4)
    assert_close(xywh_to_cxcywh(cxcywh_to_xywh(boxes)), boxes)
    assert_close(cxcywh_to_xywh(BOXES), torch.tensor([[8.0, 17.0, 4.0, 6.0]]))


def test_no_boxes_stay_no_boxes() -> None:
    assert cxcywh_to_xyxy(torch.zeros(0, 4)).shape == (0, 4)
