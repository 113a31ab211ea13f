from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.testing import unchecked_annotations
from mnemic_vision.deformable_attention import DeformableAttention, deformable_sample

SHAPES = [(3, 5), (2, 2), (1, 4)]
CELLS = sum(height * width for height, width in SHAPES)
CASES = golden_cases("memotr", Path(__file__).parent / "golden", prefix="msdeform_attn")


def random_inputs(queries: int = 6, spread: float = 1.0, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Value, locations and weights for 2 heads of 4 channels and 2 points; a spread above 1 leaves the maps."""
    generator = torch.Generator().manual_seed(queries)
    value = torch.randn(batch, CELLS, 2, 4, generator=generator)
    locations = torch.rand(batch, queries, 2, len(SHAPES), 2, 2, generator=generator)
    weights = torch.rand(batch, queries, 2, len(SHAPES), 2, generator=generator)
    return value, (locations - 0.5) * spread + 0.5, weights


def naive_sample(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """Every query, head, level, point and corner by itself; a cell outside counts as zero."""
    batch, queries, heads, levels, points, _ = locations.shape
    rows = []
    for b, q, h in torch.cartesian_prod(*map(torch.arange, (batch, queries, heads))).tolist():
        total, start = value.new_zeros(value.shape[-1]), 0
        for level in range(levels):
            height, width = SHAPES[level]
            image = value[b, start : start + height * width, h].unflatten(0, (height, width))
            start += height * width
            for p in range(points):
                x, y = locations[b, q, h, level, p] * torch.tensor([width, height]) - 0.5
                for row in (int(y.floor()), int(y.floor()) + 1):
                    for column in (int(x.floor()), int(x.floor()) + 1):
                        if 0 <= row < height and 0 <= column < width:
                            share = (1 - (x - column).abs()) * (1 - (y - row).abs())
                            total = total + weights[b, q, h, level, p] * share * image[row, column]
        rows.append(total)
    connected = 0 * (value.sum() + locations.sum() + weights.sum())  # a gradient of zero when no cell is hit
    return torch.stack(rows).reshape(batch, queries, -1) + connected


def grid_sample_form(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """The official formulation: all samples of all levels at once, then their weighted sum."""
    batch, queries, heads = locations.shape[:3]
    samples = []
    for level, cells in enumerate(value.split([height * width for height, width in SHAPES], dim=1)):
        image = cells.permute(0, 2, 3, 1).flatten(0, 1).unflatten(-1, SHAPES[level])
        grid = 2 * locations[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1
        samples.append(F.grid_sample(image, grid, align_corners=False))
    factors = weights.transpose(1, 2).reshape(batch * heads, 1, queries, -1)
    total = (torch.cat(samples, dim=-1) * factors).sum(-1)
    return total.reshape(batch, -1, queries).transpose(1, 2)


def assert_same_with_gradients(form, reference, inputs: tuple[Tensor, ...], tolerance: float = 2e-5) -> None:
    """Compares the outputs and the gradients of all inputs for one random direction."""
    inputs = tuple(x.requires_grad_() for x in inputs)
    actual, expected = form(*inputs), reference(*inputs)
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)
    for ours, theirs in zip(
        torch.autograd.grad(actual, inputs, direction), torch.autograd.grad(expected, inputs, direction), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


def sample(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    return deformable_sample(value, SHAPES, locations, weights)


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_module_equals_the_official_one(case: GoldenCase) -> None:
    config = case.config
    module = DeformableAttention(config["d"], config["heads"], config["levels"], config["dec_points"])
    module.load_state_dict(case.state)
    shapes = [(height, width) for height, width in case.inputs["spatial_shapes"].tolist()]
    for name in case.outputs:
        reference, *variant = name.split("_")
        padding = None if variant == ["nomask"] else case.inputs["padding_mask"]
        output = module(case.inputs["query"], case.inputs[reference], case.inputs["value"], shapes, padding)
        case.assert_output(name, output)


@pytest.mark.parametrize("spread", [1.0, 3.0, 50.0])
def test_sampling_equals_a_loop_over_single_corners(spread: float) -> None:
    assert_same_with_gradients(sample, naive_sample, random_inputs(spread=spread))


@pytest.mark.parametrize(
    "queries", [1, 6, 200]
)  # few samples and many samples per cell have backward forms of their own
def test_sampling_equals_the_grid_sample_form(queries: int) -> None:
    assert_same_with_gradients(sample, grid_sample_form, random_inputs(queries, spread=1.5))


def test_samples_on_the_border_equal_the_grid_sample_form() -> None:
    value, locations, weights = random_inputs(queries=25)
    edges = torch.tensor([-2.0, -1.0, -0.5, -0.01, 0.0, 0.5, 1.0, 1.01, 1.5, 2.0, 1e6, -1e6])
    locations = edges[torch.randint(len(edges), locations.shape, generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(sample(value, locations, weights), grid_sample_form(value, locations, weights))


def test_sampling_at_cell_centers_reads_the_cells() -> None:
    height, width = SHAPES[0]
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    value = torch.randn(1, height * width, 1, 4)
    locations = torch.stack([x, y], dim=-1).reshape(1, -1, 1, 1, 1, 2)
    output = deformable_sample(value, SHAPES[:1], locations, torch.ones(locations.shape[:-1]))
    torch.testing.assert_close(output, value[:, :, 0])


def test_gradients_equal_finite_differences() -> None:
    inputs = tuple(x.double().requires_grad_() for x in random_inputs(queries=2, spread=1.2, batch=1))
    assert torch.autograd.gradcheck(sample, inputs)


def test_bfloat16_values_are_sampled_at_float32_locations() -> None:
    value, locations, weights = random_inputs()
    expected = sample(value.bfloat16().float(), locations, weights)
    value = value.bfloat16().requires_grad_()
    output = sample(value, locations, weights)
    assert torch.equal(output, expected.bfloat16())
    output.sum().backward()
    assert value.grad is not None
    assert value.grad.dtype == torch.bfloat16


def test_half_precision_locations_are_refused() -> None:
    value, locations, weights = random_inputs()
    with pytest.raises(TypeError, match="locations must be float32 or float64"):
        sample(value, locations.bfloat16(), weights)


def test_shapes_of_other_maps_are_refused() -> None:
    value, locations, weights = random_inputs()
    with pytest.raises(ValueError, match="have 2 levels and 19 cells, got 3 levels in locations, 23 cells in value"):
        deformable_sample(value, SHAPES[:2], locations, weights)


def test_a_second_derivative_is_refused() -> None:
    inputs = tuple(x.requires_grad_() for x in random_inputs())
    gradient, *_ = torch.autograd.grad(sample(*inputs).square().sum(), inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        gradient.sum().backward()


def test_a_location_of_nan_affects_only_its_own_query() -> None:
    value, locations, weights = random_inputs()
    expected = sample(value, locations, weights)
    locations = locations.clone()
    locations[0, 0] = torch.nan
    output = sample(value, locations, weights)
    assert output[0, 0].isnan().all()
    assert torch.equal(output[0, 1:], expected[0, 1:])


@pytest.fixture
def module() -> DeformableAttention:
    """A small module whose parameters all matter."""
    torch.manual_seed(0)
    module = DeformableAttention(dim=8, num_heads=2, num_levels=3, num_points=2)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def module_inputs(queries: int = 5, coordinates: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, queries, 8, generator=generator)
    reference = torch.rand(2, queries, len(SHAPES), coordinates, generator=generator)
    return query, reference, torch.randn(2, CELLS, 8, generator=generator)


def test_no_query_gives_no_output(module: DeformableAttention) -> None:
    output = module(*module_inputs(queries=0), SHAPES)
    assert output.shape == (2, 0, 8)
    output.sum().backward()


def test_values_under_the_padding_do_not_matter(module: DeformableAttention) -> None:
    query, reference, value = module_inputs()
    padding = torch.rand(value.shape[:2], generator=torch.Generator().manual_seed(1)) < 0.4
    expected = module(query, reference, value, SHAPES, padding)
    changed = torch.where(padding[..., None], torch.full_like(value, 1e4), value)
    assert torch.equal(module(query, reference, changed, SHAPES, padding), expected)


def test_a_batch_equals_its_items(module: DeformableAttention) -> None:
    inputs = module_inputs()
    items = [module(*(x[row : row + 1] for x in inputs), SHAPES) for row in range(2)]
    torch.testing.assert_close(module(*inputs, SHAPES), torch.cat(items))


def test_offsets_of_a_box_are_in_halves_of_it_per_point(module: DeformableAttention) -> None:
    query, reference, value = module_inputs(coordinates=4)
    sizes = torch.tensor([(width, height) for height, width in SHAPES])
    # A box of two cells per point in each level moves samples exactly as far as a point does: one cell per unit.
    reference[..., 2:] = 2 * module.num_points / sizes
    torch.testing.assert_close(
        module(query, reference, value, SHAPES), module(query, reference[..., :2], value, SHAPES)
    )


def test_a_new_module_looks_around_the_reference() -> None:
    bias = DeformableAttention(dim=16, num_heads=4, num_levels=2, num_points=3).sampling_offsets.bias
    directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    expected = directions[:, None, None] * torch.tensor([1.0, 2.0, 3.0])[:, None]
    torch.testing.assert_close(bias.unflatten(0, (4, 2, 3, 2)), expected.expand(4, 2, 3, 2))


def test_autocast_changes_the_output_only_by_rounding(module: DeformableAttention) -> None:
    inputs = module_inputs()
    with torch.autocast("cpu", torch.bfloat16):
        output = module(*inputs, SHAPES)
    torch.testing.assert_close(output.float(), module(*inputs, SHAPES), atol=0.1, rtol=0.1)


@pytest.mark.parametrize("coordinates", [2, 4])
def test_gradients_reach_queries_references_values_and_every_parameter(
    module: DeformableAttention, coordinates: int
) -> None:
    inputs = tuple(x.requires_grad_() for x in module_inputs(coordinates=coordinates))
    module(*inputs, SHAPES).square().sum().backward()
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in (*inputs, *module.parameters()))


@pytest.mark.parametrize("coordinates", [2, 4])
def test_the_compiled_module_is_one_graph_with_the_output_and_gradients_of_the_eager_one(
    module: DeformableAttention, coordinates: int
) -> None:
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)

    def attend(*inputs: Tensor) -> Tensor:
        with unchecked_annotations():
            return compiled(*inputs, SHAPES)

    assert_same_with_gradients(attend, lambda *x: module(*x, SHAPES), module_inputs(coordinates=coordinates))


def test_the_operator_keeps_what_it_promises_to_the_compiler() -> None:
    value, locations, weights = (x.requires_grad_() for x in random_inputs())
    sizes = [size for shape in SHAPES for size in shape]
    sampled = torch.ops.mnemic_vision.gathered_sample.default
    torch.library.opcheck(sampled, (value, sizes, locations.flatten(3, 4), weights.flatten(3)))


def test_the_exported_module_equals_the_eager_one_and_needs_only_torch(module: DeformableAttention) -> None:
    inputs = module_inputs()
    with unchecked_annotations():
        exported = torch.export.export(module, (*inputs, SHAPES)).module()
    torch.testing.assert_close(exported(*inputs, SHAPES), module(*inputs, SHAPES))
    assert "mnemic" not in "".join(str(node.target) for node in exported.graph.nodes)


def test_heads_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of num_heads, got 10 and 4"):
        DeformableAttention(dim=10, num_heads=4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_as_the_cpu() -> None:
    inputs = random_inputs(spread=1.5)
    assert_same_with_gradients(lambda *x: sample(*(t.cuda() for t in x)).cpu(), sample, inputs)
