import torch

from mnemic_core.training import directional_derivative, gradient_reach


def test_reach_shows_which_output_depends_on_which_segment() -> None:
    segments = list(torch.randn(3, 1, 2, 4))
    reach = gradient_reach(lambda parts: [parts[0], parts[0] + parts[2].detach(), parts[1].detach()], segments)
    assert (reach > 0).tolist() == [[True, False, False], [True, False, False], [False, False, False]]


def test_reach_sees_through_a_softmax() -> None:
    reach = gradient_reach(lambda parts: [parts[0].softmax(-1)], [torch.randn(1, 1, 4)])
    assert reach.item() > 0


def test_derivatives_agree_where_nothing_is_detached() -> None:
    x = torch.randn(3, dtype=torch.float64)
    reported, true = directional_derivative(lambda x: x.sin() * x.sum(), x)
    assert abs(reported - true) < 1e-8


def test_derivatives_disagree_where_something_is_detached() -> None:
    x = torch.randn(3, dtype=torch.float64)
    for hidden in (lambda x: x.detach() * 2, lambda x: x * x.detach()):
        reported, true = directional_derivative(hidden, x)
        assert abs(reported - true) > 1e-3
