"""Parity of memory tokens and hierarchical memory with the official code, around a GPT-2 with its official names."""

import copy
import os
from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch import Tensor, nn
from torch.func import functional_call, jacfwd
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_core.slots.hierarchical_memory import HierarchicalMemoryWrapper, HierarchicalState
from mnemic_core.slots.memory_tokens import MemoryTokenWrapper
from mnemic_core.slots.model_adapter import HostModel, ModelAdapter
from mnemic_core.training import split_segments

pytestmark = pytest.mark.golden
FOLDER = Path(__file__).parent.parent / "golden" / "core"


class Conv1D(nn.Module):
    """The linear layer of GPT-2, its weight stored as (in, out)."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(dim, out_dim)), nn.Parameter(torch.zeros(out_dim))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class Block(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.ln_1, self.ln_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.ModuleDict({"c_attn": Conv1D(dim, 3 * dim), "c_proj": Conv1D(dim, dim)})
        self.mlp = nn.ModuleDict({"c_fc": Conv1D(dim, 4 * dim), "c_proj": Conv1D(4 * dim, dim)})

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        heads = self.attn["c_attn"](self.ln_1(x)).unflatten(2, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # batch head time dim
        logits = (query @ key.mT / query.shape[-1] ** 0.5).masked_fill(~allowed[:, None], -torch.inf)
        x = x + self.attn["c_proj"]((logits.softmax(-1) @ value).transpose(1, 2).flatten(2))
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    """GPT-2 under the parameter names of the ``transformers`` package; inputs are embeddings."""

    def __init__(self, config: dict[str, int]) -> None:
        super().__init__()
        dim = config["n_embd"]
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(config["vocab"], dim),
                "wpe": nn.Embedding(config["n_positions"], dim),
                "h": nn.ModuleList(Block(dim, config["n_head"]) for _ in range(config["n_layer"])),
                "ln_f": nn.LayerNorm(dim),
            }
        )
        self.lm_head = nn.Linear(dim, config["vocab"], bias=False)
        self.lm_head.weight = self.transformer["wte"].weight

    def forward(self, embeds: Tensor, padding: Tensor | None, positions: Tensor) -> Tensor:
        allowed = torch.ones(embeds.shape[1], embeds.shape[1], dtype=torch.bool).tril()[None]
        if padding is not None:
            # Padding may come first; it sees itself, so that no row of the softmax is empty.
            allowed = (allowed & ~padding[:, None]) | torch.eye(embeds.shape[1], dtype=torch.bool)
        x = embeds + self.transformer["wpe"](positions)
        for block in self.transformer["h"]:
            x = block(x, allowed)
        return self.transformer["ln_f"](x)


GPT2 = ModelAdapter(
    run=lambda model, embeds, padding, positions: model(embeds, padding, positions),
    embed=lambda model, ids: model.transformer["wte"](ids),
    head=lambda model, hidden: model.lm_head(hidden),
)


def close(case: GoldenCase, name: str, actual: Tensor) -> None:
    assert_close(actual, case.outputs[name], atol=case.tolerance, rtol=1e-4)


Seen = tuple[Tensor, slice, Tensor]  # embeddings of a whole run, where it is known, and the hidden states there


def cases(mechanism: str) -> list[object]:
    found = [case for case in golden_cases("core", FOLDER) if case.info["mechanism"].startswith(mechanism)]
    assert found or "MNEMIC_GOLDEN_DIR" in os.environ
    return [pytest.param(case, id=case.name) for case in found]


def load(wrapper: MemoryTokenWrapper | HierarchicalMemoryWrapper, case: GoldenCase, seen: list[Seen]) -> None:
    """Load the official weights, and restore those that the files lack."""
    missing, unexpected = wrapper.load_state_dict(wrapper.from_official(case.state), strict=False)
    assert not unexpected
    if missing:
        restore_attention_biases(wrapper.model, [name.removeprefix("model.") for name in missing], seen)


def restore_attention_biases(model: Gpt2, names: list[str], seen: list[Seen]) -> None:
    """Find the biases of the attention projections, which are not in the files, from a part of the expected outputs.

    Old GPT-2 checkpoints hold masks under names that end in "attn.bias"; without these the files also lack
    "c_attn.bias" too, though it is not zero. What is known of single runs of the model (never of the last segment,
    the loss or the gradients) gives ten times more equations than there are unknowns: Gauss-Newton in double precision.
    """
    assert all(name.endswith("attn.c_attn.bias") for name in names), names
    double = copy.deepcopy(model).double()

    def residual(flat: Tensor) -> Tensor:
        biases = dict(zip(names, flat.chunk(len(names)), strict=True))
        differences = []
        for embeds, where, expected in seen:
            positions = torch.arange(embeds.shape[1]).expand(embeds.shape[:2])
            hidden = functional_call(double, biases, (embeds.double(), None, positions))[:, where]
            if expected.shape[-1] != hidden.shape[-1]:
                hidden = double.lm_head(hidden)
            differences.append((hidden - expected).flatten())
        return torch.cat(differences)

    flat = torch.zeros(len(names) * 3 * model.lm_head.in_features, dtype=torch.float64)
    with torch.no_grad():
        for _ in range(8):
            # Least norm, because the key's part of a bias shifts all logits of a query alike and cannot be seen.
            jacobian, error = jacfwd(residual)(flat), residual(flat)
            flat = flat - torch.linalg.lstsq(jacobian, error[:, None], rcond=1e-8, driver="gelsd").solution[:, 0]
        assert residual(flat).abs().max() < 1e-5, "no attention bias explains the expected outputs"
        for name, bias in zip(names, flat.chunk(len(names)), strict=True):
            model.get_parameter(name).copy_(bias)


def next_token_loss(logits: Tensor, ids: Tensor) -> Tensor:
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@pytest.mark.parametrize("case", cases("Recurrent Memory Transformer"))
def test_memory_tokens_around_gpt2(case: GoldenCase) -> None:
    config, ids = case.config, case.inputs["input_ids"]
    lengths = [int(case.outputs[f"segment_len.{index}"]) for index in range(config["segments"])]
    wrapper = MemoryTokenWrapper(
        config["n_embd"], host=HostModel(Gpt2(config), GPT2), num_tokens=config["num_mem_tokens"]
    )
    load(wrapper, case, known_of_memory_tokens(case, lengths))

    state, logits = wrapper.init_state(len(ids)), []
    for index, segment in enumerate(ids.split(lengths, dim=1)):
        # Short segments are filled up in front, as batches of them would be; the official code runs them as they are.
        missing = config["segment_size"] - segment.shape[1]
        padding = (torch.arange(config["segment_size"]) < missing).expand(len(ids), -1)
        y, state = wrapper(wrapper.embed(F.pad(segment, (missing, 0))), state, padding=padding)
        logits.append(y[:, missing:])
        close(case, f"logits.{index}", logits[-1])
        close(case, f"memory.{index + 1}", state.memory)
    loss = next_token_loss(torch.cat(logits, dim=1), ids)
    close(case, "loss", loss)
    loss.backward()
    gpt2 = wrapper.model.transformer
    parameters = {"memory": wrapper.initial, "wte": gpt2["wte"].weight}
    parameters |= {f"h{index}.c_attn": block.attn["c_attn"].weight for index, block in enumerate(gpt2["h"])}
    for name in [name for name in case.outputs if name.startswith("grad.")]:
        close(case, name, parameters[name.removeprefix("grad.")].grad)


def known_of_memory_tokens(case: GoldenCase, lengths: list[int]) -> list[Seen]:
    tokens = case.state["memory_cell.model.transformer.wte.weight"][case.inputs["input_ids"]]
    start = case.state["memory_cell.memory"].expand(len(tokens), -1, -1)
    seen, num_tokens = [], start.shape[1]
    for index, x in enumerate(tokens.split(lengths, dim=1)[: max(1, len(lengths) - 1)]):
        memory = start if index == 0 else case.outputs[f"memory.{index}"]
        embeds = torch.cat([memory, x, memory], dim=1)
        seen += [
            (embeds, slice(num_tokens, -num_tokens), case.outputs[f"logits.{index}"]),
            (embeds, slice(-num_tokens, None), case.outputs[f"memory.{index + 1}"]),
        ]
    return seen


@pytest.mark.parametrize("case", cases("Hierarchical Memory Transformer"))
def test_hierarchical_memory_around_gpt2(case: GoldenCase) -> None:
    config, ids = case.config, case.inputs["input_ids"]
    wrapper = HierarchicalMemoryWrapper(
        config["n_embd"],
        host=HostModel(Gpt2(config), GPT2),
        num_bank=config["ltm_context"],
        num_sensory=config["num_prepend"],
        summary_fraction=config["sum_fraction"],
        recall_dim=config["recall_hidden_dim"],
    )
    load(wrapper, case, known_of_hierarchical_memory(case))

    state, logits, offsets = wrapper.init_state(len(ids)), [], []
    for index, segment in enumerate(split_segments(ids, config["segment_size"])[0]):
        x = wrapper.embed(segment)
        query = wrapper.summarize(x)
        close(case, f"summary_query.{index}", query)
        if index:
            close(case, f"recalled.{index}", wrapper.recall(query, state))
            bank = state.bank.ordered()[:, : int(state.bank.count[0])]
            close(case, f"memory_bank_before.{index}", bank)
            offsets.append(segments_back(wrapper, query, state))
        y, state = wrapper(x, state)
        logits.append(y)
    assert torch.cat(offsets).tolist() == case.outputs["history_offsets"].tolist()
    close(case, "logits", torch.cat(logits, dim=1))
    loss = next_token_loss(torch.cat(logits, dim=1), ids)
    close(case, "loss", loss)
    loss.backward()
    parameters = {
        "mem": wrapper.prompt,
        "memory": wrapper.initial,
        "wq": wrapper.query.weight,
        "wk": wrapper.key.weight,
    }
    for name in [name for name in case.outputs if name.startswith("grad.")]:
        close(case, name, parameters[name.removeprefix("grad.")].grad)


def segments_back(wrapper: HierarchicalMemoryWrapper, query: Tensor, state: HierarchicalState) -> Tensor:
    """Return how many segments ago that was which each row recalls most."""
    best = wrapper.recall_weights(query, state)[:, 0].argmax(1)
    return state.bank.age().gather(1, best[:, None])[:, 0] + 1


def known_of_hierarchical_memory(case: GoldenCase) -> list[Seen]:
    size, num_sensory = case.config["segment_size"], case.config["num_prepend"]
    segments = case.state["memory_cell.model.transformer.wte.weight"][case.inputs["input_ids"]].split(size, dim=1)
    prompt, start = (case.state[key].expand(len(segments[0]), -1, -1) for key in ("mem", "memory_cell.memory"))
    logits, seen = case.outputs["logits"].split(size, dim=1), []
    for index, x in enumerate(segments[: max(1, len(segments) - 1)]):
        half = x[:, : round(case.config["sum_fraction"] * x.shape[1])]
        summary = torch.cat([prompt, half, prompt], dim=1)
        recalled = case.outputs[f"recalled.{index}"] if index else start
        sensory = segments[index - 1][:, -num_sensory:] if index else x[:, :0]
        embeds = torch.cat([recalled, sensory, x, recalled], dim=1)
        seen += [
            (summary, slice(-1, None), case.outputs[f"summary_query.{index}"]),
            (embeds, slice(1 + sensory.shape[1], -1), logits[index]),
        ]
    return seen
