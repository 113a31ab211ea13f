"""Exact search of the best 10 keys: ours against torch's product and topk, the product alone, and faiss.

Keys and queries are unit vectors of width 256. ``scan="bfloat16"`` of ours has the same results as float32; the rounded
product with topk has not. Times are medians of calls that take turns.
"""

import time
from collections.abc import Mapping
from typing import Any, Literal

import faiss
import torch
from common.report import run
from common.timing import time_in_turn
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import check_at_least
from mnemic_core.stores import ExactIndex

DIM, K = 256, 10
SELECTIVITIES = (0.01, 0.0001)


def recall(found: Tensor, best: Tensor) -> float:
    """Return the share of the best keys that were found."""
    return float((best[..., None] == found[:, None]).any(-1).double().mean())


def share(keys: Tensor, scan: Literal["float32", "bfloat16"]) -> ExactIndex:
    """Return an index of the keys themselves: copies would not be in the caches when their turn comes."""
    content = {"dim": DIM, "next_identity": len(keys), "payloads": [{}] * len(keys)}
    return ExactIndex.from_snapshot({"keys": keys, "identities": torch.arange(len(keys))}, content, scan=scan)


def search(keys: Tensor, batch: int, repetitions: int) -> Mapping[str, Any]:
    """Return times, ratios and recalls for one number of queries."""
    query = F.normalize(torch.randn(batch, DIM), dim=1)
    indexes = {scan: share(keys, scan) for scan in ("float32", "bfloat16")}
    rounded = indexes["bfloat16"]._rounded
    flat = faiss.IndexFlatIP(DIM)
    flat.add(keys.numpy())
    calls = {
        **{f"ours, {scan}": lambda index=index: index.search(query, K)[1] for scan, index in indexes.items()},
        "product and topk, float32": lambda: (query @ keys.T).topk(K).indices,
        "product and topk, bfloat16": lambda: (query.bfloat16() @ rounded.T).topk(K).indices,
        "product, float32": lambda: keys @ query.T,
        "product, bfloat16": lambda: rounded @ query.bfloat16().T,
    }
    # Threads of faiss go on waiting for work after a search, which would slow whatever has the next turn.
    of_faiss = {"faiss Flat": lambda: torch.from_numpy(flat.search(query.numpy(), K)[1])}
    best = (query.double() @ keys.double().T).topk(K).indices
    timed = time_in_turn(calls, repetitions) | time_in_turn(of_faiss, repetitions)
    times = {name: found["median_s"] for name, found in timed.items()}
    searches = {name: call for name, call in (calls | of_faiss).items() if not name.startswith("product, ")}
    recalls = {name: recall(call(), best) for name, call in searches.items()}
    ours = min(times[f"ours, {scan}"] for scan in indexes)
    return {
        "queries": batch,
        "ms": {name: round(1000 * seconds, 2) for name, seconds in times.items()},
        "recall": {name: round(value, 4) for name, value in recalls.items()},
        "ours, float32, over its product": round(times["ours, float32"] / times["product, float32"], 2),
        "ours, bfloat16, over its product": round(times["ours, bfloat16"] / times["product, bfloat16"], 2),
        "faster than product and topk": round(times["product and topk, float32"] / ours, 1),
        "faster than faiss Flat": round(times["faiss Flat"] / ours, 1),
    }


def filtered(keys: Tensor, repetitions: int) -> Mapping[str, Any]:
    """Return times of one query among a share of the keys, relative to all of them, and the recall."""
    index, query = ExactIndex(DIM), F.normalize(torch.randn(1, DIM), dim=1)
    index.add(keys)
    masks = {share: torch.rand(len(keys)) < share for share in SELECTIVITIES}
    calls = {
        "all": lambda: index.search(query, K),
        **{str(share): lambda mask=mask: index.search(query, K, allowed=mask) for share, mask in masks.items()},
    }
    times = time_in_turn(calls, repetitions)
    scores = query.double() @ keys.double().T
    found = {}
    for share, mask in masks.items():
        best = scores.masked_fill(~mask, -torch.inf).topk(min(K, int(mask.sum()))).indices
        found[str(share)] = {
            "share of the time of all": round(times[str(share)]["median_s"] / times["all"]["median_s"], 3),
            "recall": recall(index.search(query, K, allowed=mask)[1], best),
        }
    return found


def measure(keys: int, queries: tuple[int, ...], repetitions: int) -> dict[str, Any]:
    """Return all measurements for one number of keys."""
    vectors = F.normalize(torch.randn(keys, DIM), dim=1)
    index, begun = ExactIndex(DIM), time.perf_counter()
    index.add(vectors)
    return {
        "keys": keys,
        "build_s": round(time.perf_counter() - begun, 3),
        "bytes": {"float32": vectors.nbytes, "bfloat16 scan besides": vectors.nbytes // 2},
        "searches": [search(vectors, batch, repetitions) for batch in queries],
        "filtered": filtered(vectors, repetitions),
    }


def exact_search(
    keys: tuple[int, ...] = (100_000, 200_000, 1_000_000),
    queries: tuple[int, ...] = (1, 64, 512),
    repetitions: int = 7,
) -> dict[str, Any]:
    """Time searches.

    Args:
        keys: numbers of keys.
        queries: numbers of queries in a call.
        repetitions: turns of each.
    """
    check_at_least(K, keys=min(keys))
    torch.manual_seed(0)
    return {"dim": DIM, "k": K, "sizes": [measure(number, queries, repetitions) for number in keys]}


if __name__ == "__main__":
    run(exact_search, packages=("faiss-cpu",))
