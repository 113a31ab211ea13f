import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mnemic_core import (
    LayerStates,
    Mechanism,
    MemoryConfig,
    SegmentMemory,
    TransformerConfig,
    build_transformer,
    list_mechanisms,
)
from mnemic_core.testing import CONTRACT
from mnemic_core.testing import assert_close as close

SEGMENTS = [entry for entry in list_mechanisms() if entry.fits_causal_model]


def transformer(mechanism: Mechanism, **changes: Any) -> SegmentMemory[Any]:
    torch.manual_seed(0)
    sizes = {"dim": 4, "num_layers": 2, "num_heads": 2, "ffn_dim": 8} | changes
    return build_transformer(TransformerConfig(**sizes, memory=MemoryConfig(mechanism.name, dict(mechanism.small))))


every_memory = pytest.mark.parametrize("mechanism", SEGMENTS, ids=lambda mechanism: mechanism.name)


@every_memory
def test_any_memory_continues_streams_after_a_restart(mechanism: Mechanism, tmp_path: Path) -> None:
    model = transformer(mechanism).eval()
    state = model.init_state(2)
    first, second = torch.randn(2, 2, 3, 4)
    with torch.no_grad():
        _, state = model(first, state)
        state.save(tmp_path / "session")
        expected, after = model(second, state)
        resumed, resumed_after = model(second, type(state).load(tmp_path / "session"))
    assert expected.shape == (2, 3, 4)
    assert torch.equal(resumed, expected)
    for name, tensor in after.tensors().items():
        assert torch.equal(resumed_after.tensors()[name], tensor)


@every_memory
def test_any_memory_carries_earlier_segments(mechanism: Mechanism) -> None:
    model = transformer(mechanism).eval()
    first, second = torch.randn(2, 1, 8, 4)
    outputs = []
    for past in (first, -2 * first):
        _, state = model(past, model.init_state(1))
        outputs.append(model(second, state)[0])
    remembers = not torch.allclose(outputs[0], outputs[1], atol=1e-6)
    assert remembers == (mechanism.name != "none")


@every_memory
def test_any_memory_learns(mechanism: Mechanism) -> None:
    model = transformer(mechanism)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    segments, wanted, losses = torch.randn(3, 2, 5, 4), torch.randn(3, 2, 5, 4), []
    for _ in range(6):
        state, loss = model.init_state(2), torch.zeros(())
        for x, y in zip(segments, wanted, strict=True):
            output, state = model(x, state)
            loss = loss + nn.functional.mse_loss(output, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("mechanism", [m for m in SEGMENTS if m.is_causal], ids=lambda mechanism: mechanism.name)
def test_no_token_sees_a_later_one(mechanism: Mechanism) -> None:
    model = transformer(mechanism).eval()
    _, state = model(torch.randn(1, 6, 4), model.init_state(1))
    x = torch.randn(1, 6, 4)
    changed = x.clone()
    changed[:, 4:] = 9.0
    assert_close(model(changed, state)[0][:, :4], model(x, state)[0][:, :4], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rule", CONTRACT)
@pytest.mark.parametrize("name", ["window", "transformer_xl", "slot_attention"])
def test_the_whole_model_keeps_the_rules_of_its_memory(name: str, rule: str) -> None:
    (mechanism,) = (entry for entry in SEGMENTS if entry.name == name)
    CONTRACT[rule](transformer(mechanism))


def test_only_the_chosen_layers_remember() -> None:
    (mechanism,) = (entry for entry in SEGMENTS if entry.name == "window")
    state = transformer(mechanism, memory_layers=(1,)).init_state(1)
    assert isinstance(state, LayerStates)
    assert [type(layer).__name__ for layer in state] == ["NoMemoryState", "RingBuffer"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 6}, r"dim must be a multiple of 2 \* num_heads, got dim=6"),
        ({"memory_layers": (2,)}, r"memory_layers must be in 0\.\.1, got 2"),
    ],
)
def test_impossible_configurations_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_transformer(TransformerConfig(**{"dim": 8, "num_layers": 2, "num_heads": 2, "ffn_dim": 8} | changes))


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        ("elephant", "memory must be one of .*exponential, .*, got 'elephant'"),
        ("product_key", r"one that carries a state \(.*\), got 'product_key', a layer"),
        ("gated_slots", r"one that a causal model can use segment by segment \(.*window.*\), got 'gated_slots'"),
        ("summary_bank", r"one that a causal model can use segment by segment \(.*\), got 'summary_bank'"),
        ("turing", r"one that a causal model can use segment by segment \(.*\), got 'turing'"),
    ],
)
def test_memories_that_do_not_fit_are_refused_with_those_that_do(memory: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformerConfig(memory=MemoryConfig(memory))


def test_a_stack_has_default_lengths() -> None:
    stack = build_transformer(TransformerConfig(dim=8, num_heads=2, memory=MemoryConfig("transformer_xl_stack")))
    assert len(stack.init_state(1)) == 4


def test_layer_states_name_their_classes_and_refuse_foreign_tensors() -> None:
    (mechanism,) = (entry for entry in SEGMENTS if entry.name == "window")
    state = transformer(mechanism).init_state(1)
    again = LayerStates.from_dict(state.to_dict())
    for name, tensor in state.tensors().items():
        close(again.tensors()[name], tensor, name=name)
    older = {re.sub(r":.*\.(\w+):", r":\1.", name): tensor for name, tensor in state.to_dict().items()}
    assert next(iter(older)) == "layers.0:RingBuffer.items"
    assert LayerStates.from_dict(older).tensors().keys() == state.tensors().keys()
    with pytest.raises(ValueError, match="no tensor of LayerStates"):
        LayerStates.from_dict({"items": torch.zeros(1)})
    with pytest.raises(ValueError, match="0 state classes are named 'Elephant'"):
        LayerStates.from_dict({"layers.0:Elephant.items": torch.zeros(1)})
