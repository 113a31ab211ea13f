"""Searches at full size find exactly what a scan of everything finds."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.buffers.neighbour_attention import NeighbourAttention, NeighbourState
from mnemic_core.parametric import ProductKeyMemory

pytestmark = pytest.mark.slow
SEEDS = (0, 1, 2)
DIM, NEEDLES, GROUP, K = 64, 256, 16, 4


def stored_among_random_pairs(attention: NeighbourAttention, needles: Tensor, total: int) -> NeighbourState:
    """Fill a memory with random pairs and, in groups all over it, the needles as the layer itself stores them."""
    state = attention.init_state(1)
    for group in needles.split(GROUP, dim=1):
        _, state = attention(group, state)
        keys, values = torch.randn(2, 1, total // NEEDLES * GROUP - GROUP, 1, 1, DIM)
        hay = torch.cat([F.normalize(keys, dim=-1), values], dim=2)
        state = NeighbourState(state.pairs.append(hay))
    return state


def share_found(attention: NeighbourAttention, queries: Tensor, state: NeighbourState) -> float:
    """Return the share of needles whose own slot is the first of those retrieved."""
    found, needle = attention.neighbours(queries, state), torch.arange(NEEDLES)
    slots = needle // GROUP * GROUP * (state.pairs.capacity // NEEDLES) + needle % GROUP
    return float((found.valid[0, 0, :, 0] & (found.slot[0, 0, :, 0] == slots)).double().mean())


def difference_from_scan(attention: NeighbourAttention, queries: Tensor, state: NeighbourState) -> float:
    """Return how much the retrieved scores differ from the largest of all products."""
    query = F.normalize(attention.query(queries[0]), dim=-1)
    best = (query @ state.pairs.items[0, :, 0, 0].T).topk(K).values
    keys = attention.neighbours(queries, state).pairs[0, 0, :, :, 0]
    return float(((keys @ query[..., None])[..., 0] - best).abs().max())


@pytest.mark.parametrize("total", [65_536, 262_144])
@torch.no_grad()
def test_needles_are_found_among_all_stored_tokens(total: int, record: Callable) -> None:
    shares, cleared, differences = [], [], []
    for seed in SEEDS:
        torch.manual_seed(seed)
        attention = NeighbourAttention(DIM, num_heads=1, capacity=total, window=0, k=K)
        attention.query.weight.copy_(attention.key_value.weight[:DIM])  # a token asks for what it would store
        needles = torch.randn(1, NEEDLES, DIM)
        state = stored_among_random_pairs(attention, needles, total)
        queries = needles + 0.5 * torch.randn_like(needles)  # near what was stored, not equal to it
        shares.append(share_found(attention, queries, state))
        differences.append(difference_from_scan(attention, queries, state))
        cleared.append(share_found(attention, queries, attention.reset(state, torch.tensor([True]))))
    record(
        f"needle_neighbours_{total}",
        what=f"{NEEDLES} needles among {total:,} stored tokens, asked for by noisy copies",
        task="needle",
        model="neighbours",
        sizes={"dim": DIM, "stored": total, "needles": NEEDLES, "k": K},
        steps=0,
        seeds=list(SEEDS),
        accuracy=shares,
        solved=shares.count(1.0),
        control={"memory cleared": cleared},
        largest_difference=max(differences),
    )
    assert shares == [1.0] * len(SEEDS)
    assert cleared == [0.0] * len(SEEDS)
    assert max(differences) < 1e-5


def scan(memory: ProductKeyMemory, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the best slots of each head and the output, from the scores of all slots."""
    halves = memory.query(x).chunk(2, dim=-1)
    left, right = (torch.einsum("thd,hnd->thn", half, memory.keys[:, i]) for i, half in enumerate(halves))
    best = (left[..., :, None] + right[..., None, :]).flatten(2).topk(memory.k)
    return best.indices, (best.values.softmax(-1)[..., None] * memory.values[best.indices]).sum((1, 2))


@pytest.mark.parametrize("sub_keys", [16, 64, 256])
@torch.no_grad()
def test_product_keys_equal_a_scan_of_all_slots(sub_keys: int, record: Callable) -> None:
    shares, differences = [], []
    for seed in SEEDS:
        torch.manual_seed(seed)
        # In double precision, so that no two scores are equal.
        memory = ProductKeyMemory(DIM, sub_keys=sub_keys, num_heads=4, k=16, key_dim=32).double()
        x = torch.randn(64, DIM, dtype=torch.float64)
        slots, output = scan(memory, x)
        shares.append(float((memory.select(x)[1] == slots).double().mean()))
        differences.append(float((memory(x) - output).abs().max()))
    record(
        f"scan_product_keys_{sub_keys**2:05}",
        what=f"the same 16 of {sub_keys**2:,} slots as a scan of all",
        task="top-k of all products",
        model="product_key",
        sizes={"slots": sub_keys**2, "heads": 4, "k": 16, "tokens": 64},
        steps=0,
        seeds=list(SEEDS),
        accuracy=shares,
        solved=shares.count(1.0),
        control={},
        largest_difference=max(differences),
    )
    assert shares == [1.0] * len(SEEDS)
    assert max(differences) < 1e-12
