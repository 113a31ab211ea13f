from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_core.testing.annotations import unchecked_annotations
from mnemic_vision.memotr import Memotr, MemotrConfig, TrackState
from mnemic_vision.memotr.tracks import TrackSlots, empty_slots

Build = Callable[[MemotrConfig], Memotr]
VECTORS = ("query", "reference", "output", "last_output", "logits")


def running(model: Memotr, used: tuple[int, ...] = (3, 5)) -> TrackState:
    """Return streams with the given numbers of tracks, which were born and then observed a second time."""
    torch.manual_seed(1)
    config, memory = model.config, model.track_memory
    newborn = empty_slots(len(used), config.capacity, config.query_dim, config.dim, config.num_classes)
    newborn |= {name: torch.randn_like(newborn[name]) for name in VECTORS}
    newborn["valid"] = torch.arange(config.capacity) < torch.tensor(used)[:, None]
    tracks, added = model.init_tracks(len(used)).append(TrackSlots(**newborn))
    tracks = memory(memory.start(tracks, added))
    return replace(tracks, output=torch.randn_like(tracks.output), boxes=torch.rand_like(tracks.boxes))


def assert_same(actual: TrackState, expected: TrackState, used: torch.Tensor) -> None:
    for name, tensor in expected.tensors().items():
        chosen = used.flatten() if name.startswith("memory.") else used
        if name != "next_id":
            assert_close(actual.tensors()[name][chosen], tensor[chosen], msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("detector", ["dab", "deformable"])
@pytest.mark.parametrize("mechanism", ["exponential", "window", "none"])
def test_streams_are_updated_like_each_alone(config: MemotrConfig, build: Build, detector: str, mechanism: str) -> None:
    model = build(replace(config, detector=detector, memory=MemoryConfig(mechanism)))
    tracks = running(model)
    together = model.track_memory(tracks)
    alone = [model.track_memory(tracks.index_select(torch.tensor([row]))) for row in range(2)]
    for row, single in enumerate(alone):
        assert_same(together.index_select(torch.tensor([row])), single, single.valid)


def test_the_number_of_unused_slots_and_what_they_hold_change_nothing(config: MemotrConfig, build: Build) -> None:
    model = build(config)
    memory = model.track_memory
    tracks = running(model)
    count = int(tracks.valid.sum(dim=1).max())
    trimmed = tracks.take(torch.arange(count).expand(2, -1))
    filled = replace(
        tracks, **{name: torch.where(tracks.valid[..., None], getattr(tracks, name), 1e4) for name in VECTORS}
    )
    updated = memory(tracks)
    assert_same(memory(filled), updated, tracks.valid)
    few = memory(trimmed)
    assert_close(few.query[trimmed.valid], updated.query[tracks.valid])


@pytest.mark.parametrize("detector", ["dab", "deformable"])
@pytest.mark.parametrize("mechanism", ["exponential", "window", "none"])
def test_an_unconfident_track_is_frozen_bit_for_bit(
    config: MemotrConfig, build: Build, detector: str, mechanism: str
) -> None:
    model = build(replace(config, detector=detector, memory=MemoryConfig(mechanism)))
    tracks = running(model)
    updated = model.track_memory(tracks)
    frozen = tracks.valid & (tracks.scores <= 0.5)
    written = tracks.valid & (tracks.scores > 0.5)
    assert frozen.any()
    assert written.any()
    for name in ("query", "reference", "last_output", *(f"memory.{key}" for key in tracks.memory.tensors())):
        before, after = tracks.tensors()[name], updated.tensors()[name]
        if name.startswith("memory."):
            before, after = (tensor.unflatten(0, tracks.valid.shape) for tensor in (before, after))
        assert torch.equal(after[frozen], before[frozen]), name
        changed = (after[written] != before[written]).reshape(int(written.sum()), -1).any(dim=1)
        if name != "memory.cursor":  # the ring of the window comes round
            assert changed.all(), name


def test_a_frozen_track_still_influences_the_others(config: MemotrConfig, build: Build) -> None:
    model = build(config)
    memory = model.track_memory
    tracks = running(model, used=(4,))
    tracks = replace(tracks, logits=torch.full_like(tracks.logits, 3.0))
    tracks.logits[0, 1] = -3.0
    moved = replace(tracks, output=tracks.output.clone())
    moved.output[0, 1] += 1
    assert not torch.allclose(memory(moved).query[0, 0], memory(tracks).query[0, 0], atol=1e-4)


@pytest.mark.parametrize(("mechanism", "tensor"), [("exponential", "long"), ("window", "items")])
@pytest.mark.parametrize("detach", ["stored", "never"])
def test_gradient_reaches_the_long_memory_only_if_asked(
    config: MemotrConfig, build: Build, mechanism: str, tensor: str, detach: str
) -> None:
    model = build(replace(config, memory=MemoryConfig(mechanism)))
    model.track_memory.memory.detach = detach
    tracks = running(model).detach()
    stored = tracks.memory.tensors()[tensor].requires_grad_()
    total = model.track_memory(tracks).query.sum()
    (gradient,) = torch.autograd.grad(total, stored, allow_unused=True, materialize_grads=True)
    assert gradient.abs().sum().gt(0) == (detach == "never")


@pytest.mark.parametrize("mechanism", ["exponential", "window"])
def test_a_newborn_starts_with_its_own_query_in_a_reused_slot(
    config: MemotrConfig, build: Build, mechanism: str
) -> None:
    model = build(replace(config, memory=MemoryConfig(mechanism)))
    tracks = running(model)
    newborn = torch.zeros_like(tracks.valid)
    newborn[:, 1] = True
    begun = model.track_memory.start(tracks, newborn)
    assert_close(model.track_memory.recall(begun)[newborn], tracks.query[newborn])
    assert torch.equal(begun.last_output[newborn], tracks.output[newborn])
    old = tracks.valid & ~newborn
    assert torch.equal(model.track_memory.recall(begun)[old], model.track_memory.recall(tracks)[old])


def test_without_memory_a_track_recalls_its_output(config: MemotrConfig, build: Build) -> None:
    model = build(replace(config, memory=MemoryConfig()))
    tracks = running(model)
    assert torch.equal(model.track_memory.recall(tracks), tracks.output)


def test_the_exponential_memory_of_a_track_is_a_moving_average_of_confident_outputs(
    config: MemotrConfig, build: Build
) -> None:
    model = build(replace(config, memory=MemoryConfig("exponential", {"decay": 0.25})))
    memory = model.track_memory
    tracks = running(model)
    expected = tracks.memory.tensors()["long"].reshape(2, config.capacity, -1).clone()
    for seed in range(4):
        torch.manual_seed(seed)
        tracks = replace(tracks, output=torch.randn_like(tracks.output), logits=torch.randn_like(tracks.logits))
        for row, slot in tracks.valid.nonzero().tolist():
            if tracks.logits[row, slot].max() > 0:
                expected[row, slot] = 0.75 * expected[row, slot] + 0.25 * tracks.output[row, slot]
        tracks = memory(tracks)
    assert_close(tracks.tensors()["memory.long"][tracks.valid.flatten()], expected[tracks.valid])


def test_a_stream_without_tracks_stays_finite(config: MemotrConfig, build: Build) -> None:
    model = build(config)
    memory = model.track_memory
    updated = memory(running(model, used=(0, 0)))
    assert all(tensor.isfinite().all() for tensor in updated.tensors().values())


@pytest.mark.parametrize("mechanism", ["exponential", pytest.param("window", marks=pytest.mark.slow)])
def test_the_update_can_be_compiled_and_exported(config: MemotrConfig, build: Build, mechanism: str) -> None:
    model = build(replace(config, memory=MemoryConfig(mechanism)))
    memory = model.track_memory
    first, second = running(model), running(model, used=(0, 8))
    with torch.no_grad(), unchecked_annotations():
        expected = memory(second)
        compiled = torch.compile(memory, fullgraph=True, backend="eager")
        compiled(first)
        with torch.compiler.set_stance("fail_on_recompile"):
            assert_same(compiled(second), expected, second.valid)
        exported = torch.export.export(memory, (first,)).module()
        assert_same(exported(second), expected, second.valid)
