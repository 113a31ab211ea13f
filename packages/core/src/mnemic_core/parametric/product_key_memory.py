"""Product-key memory: a large table of values with exact search in two small sets of keys."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError, check_at_least
from mnemic_core.grouped_top_k import grouped_top_k
from mnemic_core.layers import build_mlp
from mnemic_core.mechanism import Mechanism
from mnemic_core.parametric.param_groups import memory_param_groups

QueryNorm = Literal["batch", "layer"]

# Values of official options that this class supports; the paper's models use no others.
_OFFICIAL_ONLY: Mapping[str, Any] = {
    "mem_score_softmax": True,
    "mem_modulo_size": -1,
    "mem_use_different_keys": True,
}


@dataclass(frozen=True, eq=False)
class SlotUsage:
    """Use of the slots of a product-key memory; usages of several batches can be added.

    Attributes:
        mass: sum of the read weights of each slot.
    """

    mass: Float[Tensor, " slot"]

    def __add__(self, other: "SlotUsage") -> "SlotUsage":
        """Return the usage of both."""
        return SlotUsage(self.mass + other.mass)

    @property
    def coverage(self) -> float:
        """Share of the slots that were read, 0 to 1."""
        return float((self.mass > 0).double().mean())

    @property
    def kl_from_uniform(self) -> float:
        """KL divergence from uniform use, in nats: 0 to log(slots) if only one is read; NaN if none is."""
        share = self.mass.double() / self.mass.double().sum()
        return math.log(len(share)) - float(torch.special.entr(share).sum())

    def as_dict(self) -> dict[str, float]:
        """Return both statistics by name, for logging."""
        return {"coverage": self.coverage, "kl_from_uniform": self.kl_from_uniform}


class ProductKeyMemory(nn.Module):
    """Recalls the best matching of ``sub_keys**2`` learned values at the cost of two small searches.

    Product-key memory (Lample et al. 2019, arXiv:1907.05242, sections 3.1 and 3.2). The key of slot ``i * n + j`` is
    the concatenation of sub-keys ``i`` and ``j`` of two sets, so its score is a sum of two, and the best ``k`` of all
    ``n**2`` slots are among the pairs of the best ``k`` of each set. Per head, with query halves ``q1, q2``::

        q = W x + b                                 (optionally a deeper network, normalized)
        score(i, j) = q1 . key1_i + q2 . key2_j
        I = top_k(score),   w = softmax(score[I] / temperature)
        y = sum over heads and over s in I of w_s value_s

    All heads share the values but not the keys. Use it as ``x + memory(x)`` instead of or after a feed-forward layer.
    Only the slots that are read get a gradient. The choice among equal scores is that of ``torch.topk``.

    Args:
        dim: width of tokens.
        out_dim: width of values and output; ``dim`` if None.
        sub_keys: keys in each of the two sets of a head.
        num_heads: queries per token.
        k: slots that each head reads, at most ``sub_keys``.
        key_dim: width of queries and keys, even.
        query_norm: normalization of queries, with which more slots are used. ``"batch"`` is the paper's best setting,
            where padding and other rows enter the statistics in training; ``"layer"`` is independent of them.
        query_hidden: widths of hidden layers of the query network; none for a linear query.
        query_bias: whether its layers have a bias.
        unit_query: scale both halves of a query to length 1.
        temperature: of the softmax.
        sparse: give the values sparse gradients, for ``SparseAdam`` or ``SGD``; not with FSDP.

    Example:
        >>> memory = ProductKeyMemory(dim=16, sub_keys=8, num_heads=2, k=4, key_dim=8)
        >>> memory(torch.zeros(3, 5, 16)).shape
        torch.Size([3, 5, 16])
        >>> weights, slots = memory.select(torch.zeros(3, 5, 16))
        >>> slots.shape
        torch.Size([3, 5, 2, 4])
    """

    def __init__(
        self,
        dim: int,
        *,
        out_dim: int | None = None,
        sub_keys: int = 512,
        num_heads: int = 4,
        k: int = 32,
        key_dim: int = 256,
        query_norm: QueryNorm | None = None,
        query_hidden: Sequence[int] = (),
        query_bias: bool = True,
        unit_query: bool = False,
        temperature: float = 1.0,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        out_dim = dim if out_dim is None else out_dim
        check_at_least(1, dim=dim, out_dim=out_dim, num_heads=num_heads, k=k)
        if k > sub_keys:
            raise UserError(f"k must be at most sub_keys, got k={k}, sub_keys={sub_keys}; read fewer or add keys")
        if key_dim < 2 or key_dim % 2:
            raise UserError(f"key_dim must be even and at least 2, it is split into two halves, got {key_dim}")
        if query_norm not in (None, *get_args(QueryNorm)):
            raise UserError(f"query_norm must be one of {', '.join(get_args(QueryNorm))} or None, got {query_norm!r}")
        if not temperature > 0:
            raise UserError(f"temperature must be above 0, got {temperature}")
        self.dim, self.out_dim = dim, out_dim
        self.sub_keys, self.num_heads, self.k, self.key_dim = sub_keys, num_heads, k, key_dim
        self.unit_query, self.temperature, self.sparse = unit_query, temperature, sparse
        norm = {None: None, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}[query_norm]
        self.query_network = build_mlp([dim, *query_hidden, num_heads * key_dim], norm=norm, bias=query_bias)
        self.keys = nn.Parameter(_initial_keys(num_heads, sub_keys, key_dim // 2))
        self.values = nn.Parameter(torch.randn(sub_keys**2, out_dim) * out_dim**-0.5)
        # Ranks (i, j) in the two sorted lists that can belong to the best k sums: all (i + 1)(j + 1) pairs of ranks up
        # to i and j are at least as good. For k = 32, 119 of 1024 pairs remain.
        ranks = [(i, j) for i in range(k) for j in range(k // (i + 1))]
        self.candidate_ranks: Tensor
        self.register_buffer("candidate_ranks", torch.tensor(ranks).T.contiguous(), persistent=False)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch out_dim"]:
        """Return the weighted sum of the values that each token selects."""
        weights, slots = self.select(x)
        bag = self.num_heads * self.k  # heads are summed, so that all of them are one bag
        recalled = F.embedding_bag(
            slots.reshape(-1, bag),
            self.values,
            per_sample_weights=weights.reshape(-1, bag).to(self.values.dtype),
            mode="sum",
            sparse=self.sparse,
        )
        return recalled.to(x.dtype).reshape(*x.shape[:-1], self.out_dim)

    def query(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch head key_dim"]:
        """Return the query of every head before scaling to unit length."""
        flat: Tensor = self.query_network(x.reshape(-1, self.dim))
        return flat.reshape(*x.shape[:-1], self.num_heads, self.key_dim)

    def select(
        self, x: Float[Tensor, "*batch dim"]
    ) -> tuple[Float[Tensor, "*batch head k"], Int[Tensor, "*batch head k"]]:
        """Return the weights that each head reads with, largest first, and their slots."""
        halves = self.query(x).reshape(-1, self.num_heads, 2, self.key_dim // 2)
        if self.unit_query:
            halves = F.normalize(halves, dim=-1)
        scores = halves.permute(1, 2, 0, 3) @ self.keys.mT  # head half token sub_key
        # In half precision most sums would be equal and the choice arbitrary.
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        first, second = self._best_pairs(scores.detach())
        best = scores[:, 0].gather(-1, first) + scores[:, 1].gather(-1, second)
        weights = (best / self.temperature).softmax(-1)  # head token k
        shape = (*x.shape[:-1], self.num_heads, self.k)
        slots = first * self.sub_keys + second  # head token k
        return weights.transpose(0, 1).reshape(shape), slots.transpose(0, 1).reshape(shape)

    @torch.no_grad()
    def usage(self, x: Float[Tensor, "*batch dim"]) -> SlotUsage:
        """Return how the tokens use the slots; in training mode this updates batch normalization."""
        weights, slots = self.select(x)
        mass = weights.new_zeros(len(self.values))
        return SlotUsage(mass.index_add(0, slots.flatten(), weights.flatten()))

    def param_groups(self, lr_scale: float = 10.0, *, lr: float | None = None) -> list[dict[str, Any]]:
        """Return the groups of :func:`memory_param_groups`, by default with the factor of the paper."""
        return memory_param_groups(self, [self.values], lr_scale, lr)

    @classmethod
    def from_official(cls, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> "ProductKeyMemory":
        """Build the layer from a memory of the official code (XLM, ``HashingMemoryProduct``).

        Args:
            config: its ``input_dim``, ``output_dim`` and ``mem_*`` options.
            weights: its state dict.

        Raises:
            UserError: if an option is not supported or a weight unknown.
        """
        for name, only in _OFFICIAL_ONLY.items():
            if config.get(name, only) != only:
                raise UserError(f"{name}={config[name]!r} is not supported, only {only!r}; convert another checkpoint")
        sizes = config["mem_query_layer_sizes"]
        if len(sizes) < 2:
            raise UserError(f"mem_query_layer_sizes must have at least two entries, got {sizes}; a query is projected")
        memory = cls(
            config["input_dim"],
            out_dim=config["output_dim"],
            sub_keys=config["mem_n_keys"],
            num_heads=config["mem_heads"],
            k=config["mem_knn"],
            key_dim=config["mem_k_dim"],
            query_norm="batch" if config["mem_query_batchnorm"] else None,
            query_hidden=sizes[1:-1],
            query_bias=config["mem_query_bias"],
            unit_query=config["mem_normalize_query"],
            temperature=float(config["mem_temperature"]),
        )
        memory.load_state_dict(convert_official(weights))
        return memory

    def _best_pairs(
        self, scores: Float[Tensor, "head 2 token sub_key"]
    ) -> tuple[Int[Tensor, "head token k"], Int[Tensor, "head token k"]]:
        """Return the sub-keys of the best ``k`` pairs."""
        size = self.sub_keys
        # Grouping costs a pass over the scores: it pays for rows that are long compared with k.
        fold = next((fold for fold in (4, 2) if size % fold == 0 and size >= fold * fold * self.k), 1)
        values, indices = grouped_top_k(scores, self.k, fold)
        first_rank, second_rank = self.candidate_ranks
        sums = values[:, 0].index_select(-1, first_rank) + values[:, 1].index_select(-1, second_rank)
        best = sums.topk(self.k).indices
        return indices[:, 0].gather(-1, first_rank[best]), indices[:, 1].gather(-1, second_rank[best])


PRODUCT_KEY = Mechanism(
    name="product_key",
    cls=ProductKeyMemory,
    place="layer",
    paper="Large Memory Layers with Product Keys (NeurIPS 2019)",
    arxiv="1907.05242",
    objective=("knowledge integration",),
    representation="parameter-encoded",
    integration=("associative retrieval",),
    read="exact top-k over product keys, weighted sum",
    write="optimizer",
    forget="none",
    capacity="`sub_keys`**2 vectors",
    cost="O(T h (d d_k + n d_k + k^2 + k d))",
    small={"sub_keys": 4, "num_heads": 2, "k": 2, "key_dim": 4},
)


def convert_official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights (or gradients) of an official product-key memory under our names."""
    converted: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        # A sequence of layers, or a list of length 1 with it, depending on their number.
        layer = re.fullmatch(r"query_proj\.query_mlps\.(?:0\.)?(\d+)\.(\w+)", name)
        if layer:
            converted[f"query_network.{layer[1]}.{layer[2]}"] = tensor
        elif name in ("keys", "values.weight"):
            converted[name.removesuffix(".weight")] = tensor
        else:
            raise UserError(f"unknown weight {name!r} of a product-key memory; expected keys, values and query_mlps")
    return converted


def _initial_keys(num_heads: int, sub_keys: int, width: int) -> Float[Tensor, "head 2 sub_key width"]:
    """Return keys uniform in ``±1/sqrt(width)`` from a fixed seed for each set, as in the official code."""
    sets = [torch.rand(sub_keys, width, generator=torch.Generator().manual_seed(i)) for i in range(2 * num_heads)]
    keys: Tensor = (2 * torch.stack(sets).unflatten(0, (num_heads, 2)) - 1) / math.sqrt(width)
    return keys
