"""The entries of the catalogue: what each mechanism is, does and follows. A new mechanism is one file and one entry."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mnemic_core.buffers.gated_fifo import GatedFifoMemory
from mnemic_core.buffers.neighbour_attention import NeighbourAttention
from mnemic_core.buffers.segment_memory import RelativeSegmentAttention, SegmentMemoryStack
from mnemic_core.buffers.segment_queue import SegmentQueue
from mnemic_core.buffers.summary_bank import SummaryBank
from mnemic_core.buffers.window_memory import WindowMemory
from mnemic_core.layers import CausalAttention
from mnemic_core.mechanism import Mechanism
from mnemic_core.parametric.persistent_keys import PersistentAttention
from mnemic_core.parametric.product_key_memory import ProductKeyMemory
from mnemic_core.selection.uncertainty import select_certain_tokens
from mnemic_core.slots.exponential_memory import ExponentialMemory
from mnemic_core.slots.gated_slot_encoder import GatedSlotConfig, GatedSlotEncoder
from mnemic_core.slots.hierarchical_memory import HierarchicalMemoryWrapper
from mnemic_core.slots.memory_tokens import MemoryTokenWrapper
from mnemic_core.slots.model_adapter import ModelAdapter
from mnemic_core.slots.no_memory import NoMemory
from mnemic_core.slots.slot_attention_memory import SlotAttentionMemory
from mnemic_core.slots.surprise_memory import SurpriseMemory
from mnemic_core.stores.exact_index import ExactIndex


def _attend(model: CausalAttention, embeds: Tensor, padding: Tensor | None, positions: Tensor) -> Tensor:
    hidden: Tensor = embeds + model(embeds, padding)
    return hidden


def _wrapped() -> dict[str, Any]:
    """Return the smallest model that memory can be wrapped around."""
    return {"model": CausalAttention(4, 2), "adapter": ModelAdapter(run=_attend), "dim": 4, "initial_std": 1.0}


def _small_memory_tokens() -> Mapping[str, Any]:
    return {**_wrapped(), "num_tokens": 2}


def _small_hierarchical() -> Mapping[str, Any]:
    return {**_wrapped(), "num_bank": 3, "num_sensory": 2, "recall_dim": 3}


MECHANISMS = (
    Mechanism(
        name="exponential",
        cls=ExponentialMemory,
        place="beside",
        paper="MeMOTR: Long-Term Memory-Augmented Transformer for Multi-Object Tracking (ICCV 2023)",
        arxiv="2307.15700",
        objective=("context extension", "adaptation"),
        representation="state-based",
        integration=("attention fusion", "gated control"),
        read="the vector of the row",
        write="exponential average",
        forget="by a constant share with every write",
        capacity="1 vector",
        cost="O(T d)",
        bytes_per_row="4 * dim + 8",
        detach=("stored", "never"),
        small={"dim": 4, "decay": 0.3},
    ),
    Mechanism(
        name="window",
        cls=WindowMemory,
        place="beside",
        paper="Transformer-XL: Attentive Language Models beyond a Fixed-Length Context (ACL 2019), its memory alone",
        arxiv="1901.02860",
        objective=("context extension",),
        representation="state-based",
        integration=("attention fusion",),
        read="scaled dot-product attention",
        write="append",
        forget="first in, first out",
        capacity="`capacity` vectors",
        cost="O(T M d)",
        bytes_per_row="4 * capacity * dim + 16",
        detach=("stored", "never"),
        small={"dim": 4, "capacity": 3},
    ),
    Mechanism(
        name="none",
        cls=NoMemory,
        place="beside",
        paper="the ablation without memory",
        arxiv=None,
        objective=("ablation",),
        representation="none",
        integration=("none",),
        read="the query itself",
        write="nothing",
        forget="everything, at once",
        capacity="0",
        cost="0",
        bytes_per_row="8",
        detach=("stored",),
        small={"dim": 4},
    ),
    Mechanism(
        name="transformer_xl",
        cls=RelativeSegmentAttention,
        place="attention",
        paper="Transformer-XL: Attentive Language Models beyond a Fixed-Length Context (ACL 2019)",
        arxiv="1901.02860",
        objective=("context extension",),
        representation="state-based",
        integration=("attention fusion",),
        read="softmax attention over memory and segment with relative positions",
        write="append the layer's inputs",
        forget="first in, first out",
        capacity="`capacity` vectors",
        cost="O(T (T + M) d)",
        bytes_per_row="4 * capacity * dim + 8",
        detach=("stored", "never"),
        small={"dim": 4, "capacity": 3, "num_heads": 2},
    ),
    Mechanism(
        name="transformer_xl_stack",
        cls=SegmentMemoryStack,
        place="stack",
        paper="Do Transformers Need Deep Long-Range Memory? (ACL 2020), per-layer lengths for Transformer-XL",
        arxiv="2007.03356",
        objective=("context extension",),
        representation="state-based",
        integration=("attention fusion",),
        read="softmax attention over each layer's own memory with relative positions",
        write="append each layer's inputs",
        forget="first in, first out, in each layer",
        capacity="`sum(memory_lengths)` vectors",
        cost="O(T (T + M) d) a layer",
        bytes_per_row="sum(4 * length * dim + 8 for length in memory_lengths)",
        detach=("stored", "never"),
        small={"dim": 4, "memory_lengths": (3, 0, 2), "num_heads": 2},
    ),
    Mechanism(
        name="neighbours",
        cls=NeighbourAttention,
        place="attention",
        paper="Memorizing Transformers (ICLR 2022)",
        arxiv="2203.08913",
        objective=("context extension", "knowledge integration"),
        representation="hybrid",
        integration=("associative retrieval", "gated control", "attention fusion"),
        read="top-k keys, then attention beside the local one",
        write="append what leaves the window",
        forget="first in, first out",
        capacity="`capacity` + `window` key-value pairs per head",
        cost="O(T (T + W + M) d), the search included",
        bytes_per_row="8 * (capacity + window) * dim + 16",
        detach=("stored", "never"),
        small={"dim": 4, "num_heads": 2, "capacity": 6, "window": 3, "k": 2},
    ),
    Mechanism(
        name="gated_fifo",
        cls=GatedFifoMemory,
        place="attention",
        paper="Recurrent Memory-Augmented Transformers with Chunked Attention for Long-Context Language Modeling, "
        "our reading",
        arxiv="2507.00453",
        objective=("context extension",),
        representation="state-based",
        integration=("attention fusion", "gated control"),
        read="third attention path",
        write="gated mean of each chunk",
        forget="gate, first in, first out",
        capacity="`capacity` vectors",
        cost="O(T (T + K) d)",
        bytes_per_row="4 * capacity * dim + 16",
        detach=("never",),
        small={"dim": 4, "num_heads": 2, "capacity": 3, "chunk_length": 2},
    ),
    Mechanism(
        name="segment_queue",
        cls=SegmentQueue,
        place="beside",
        paper="Online Temporal Action Localization with Memory-Augmented Transformer (ECCV 2024)",
        arxiv="2408.02957",
        objective=("context extension",),
        representation="state-based",
        integration=("attention fusion",),
        read="scaled dot-product attention",
        write="append the segment if flagged",
        forget="first in, first out",
        capacity="`capacity` segments of `segment_length / stride` frames",
        cost="O(T K S d)",
        bytes_per_row="4 * capacity * ceil(segment_length / stride) * dim + 16 * capacity + 40",
        detach=("stored", "never"),
        small={"dim": 4, "capacity": 2, "segment_length": 4},
    ),
    Mechanism(
        name="summary_bank",
        cls=SummaryBank,
        place="attention",
        paper="Streaming Transformer-based Acoustic Models Using Self-attention with Augmented Memory (2020), with "
        "Shiftable Context (ICML 2023, arXiv 2307.01377)",
        arxiv="2005.08042",
        objective=("context extension",),
        representation="state-based",
        integration=("attention fusion",),
        read="extra keys and values",
        write="attention of a mean query",
        forget="first in, first out",
        capacity="`capacity` summaries",
        cost="O(T (T + K) d)",
        bytes_per_row="4 * capacity * dim + 16",
        detach=("never", "stored"),
        # Suppression may hide the whole bank of an untrained network from the gradient probe.
        small={"dim": 4, "num_heads": 2, "capacity": 3, "max_distance": 2, "suppression": None},
        is_causal=False,
    ),
    Mechanism(
        name="slot_attention",
        cls=SlotAttentionMemory,
        place="beside",
        paper="Memformer: A Memory-Augmented Transformer for Sequence Modeling (2020), slot attention",
        arxiv="2010.06891",
        objective=("context extension",),
        representation="state-based",
        integration=("attention fusion",),
        read="cross-attention of tokens over slots",
        write="attention of each slot over itself and the tokens, normalised",
        forget="each write pulls a slot towards its learned start",
        capacity="`num_slots` vectors",
        cost="O(T K d)",
        bytes_per_row="4 * num_slots * dim + 8",
        detach=("never",),
        small={"dim": 4, "num_slots": 3, "num_heads": 2},
    ),
    Mechanism(
        name="gated_slots",
        cls=GatedSlotEncoder,
        place="stack",
        paper="Stateful Memory-Augmented Transformers for Efficient Dialogue Modeling (MemBART, 2022), encoder",
        arxiv="2209.07634",
        objective=("context extension",),
        representation="state-based",
        integration=("attention fusion", "gated control"),
        read="joint attention of tokens over slots and tokens in every layer",
        write="stream of slots through every layer, then a gate",
        forget="one gate for each slot",
        capacity="`num_slots` vectors",
        cost="O((T + K)^2 d) a layer",
        bytes_per_row="4 * config.num_slots * config.dim + 8",
        detach=("never",),
        small={
            "config": GatedSlotConfig(
                dim=4, num_slots=3, num_heads=2, ffn_dim=6, num_layers=2, max_length=8, dropout=0.0
            )
        },
        is_causal=False,
    ),
    Mechanism(
        name="memory_tokens",
        cls=MemoryTokenWrapper,
        place="model",
        paper="Recurrent Memory Transformer (NeurIPS 2022)",
        arxiv="2207.06881",
        objective=("context extension", "reasoning"),
        representation="state-based",
        integration=("attention fusion",),
        read="the wrapped model attends to the memory tokens",
        write="its hidden states at the memory tokens",
        forget="rewritten with every segment",
        capacity="`num_tokens` vectors",
        cost="the model on T + 2 K tokens",
        bytes_per_row="4 * num_tokens * dim + 8",
        detach=("never", "stored"),
        small=_small_memory_tokens,
    ),
    Mechanism(
        name="hierarchical",
        cls=HierarchicalMemoryWrapper,
        place="model",
        paper="HMT: Hierarchical Memory Transformer for Efficient Long Context Language Processing (NAACL 2025)",
        arxiv="2405.06067",
        objective=("context extension",),
        representation="state-based",
        integration=("attention fusion", "associative retrieval"),
        read="attention of the segment's summary over the bank; latest tokens word for word",
        write="append the last hidden state",
        forget="first in, first out",
        capacity="`num_bank` vectors and `num_sensory` tokens",
        cost="the model on T / 2 and on T + K tokens, O(N d)",
        bytes_per_row="4 * (num_bank + num_sensory) * dim + 32",
        detach=("never", "stored"),
        small=_small_hierarchical,
        is_causal=False,  # half of the segment asks the bank, and what it recalls stands before the first token
    ),
    Mechanism(
        name="surprise",
        cls=SurpriseMemory,
        place="beside",
        paper="Titans: Learning to Memorize at Test Time (2025), our reading of its family",
        arxiv="2501.00663",
        objective=("adaptation", "context extension"),
        representation="hybrid",
        integration=("gated control", "associative retrieval"),
        read="a forward pass of the network that is the memory",
        write="gradient step on the recall error, with momentum",
        forget="weight decay, gated by the token",
        capacity="`depth` matrices of `dim` x `dim`",
        cost="O(T d^2)",
        bytes_per_row="12 * depth * dim**2 + 8",
        detach=("never", "stored"),
        small={"dim": 4, "chunk_length": 3},
    ),
    Mechanism(
        name="product_key",
        cls=ProductKeyMemory,
        place="layer",
        paper="Large Memory Layers with Product Keys (NeurIPS 2019)",
        arxiv="1907.05242",
        objective=("knowledge integration",),
        representation="parameter-encoded",
        integration=("associative retrieval",),
        read="exact top-k over product keys, weighted sum",
        write="optimiser",
        forget="none",
        capacity="`sub_keys`**2 vectors",
        cost="O(T h (d d_k + n d_k + k^2 + k d))",
        detach=(),
        small={"dim": 4, "sub_keys": 4, "num_heads": 2, "k": 2, "key_dim": 4},
    ),
    Mechanism(
        name="persistent",
        cls=PersistentAttention,
        place="layer",
        paper="MemMC-MAE, memory-augmented self-attention",
        arxiv="2203.11725",
        objective=("knowledge integration",),
        representation="parameter-encoded",
        integration=("attention fusion",),
        read="attention over tokens and learned slots",
        write="optimiser",
        forget="none",
        capacity="`num_slots` pairs",
        cost="O(T (T + K) d)",
        detach=(),
        small={"dim": 4, "num_heads": 2, "num_slots": 3},
    ),
    Mechanism(
        name="exact_index",
        cls=ExactIndex,
        place="store",
        paper="the external index of retrieval systems such as EMAT and MuRAG",
        arxiv=None,
        objective=("knowledge integration",),
        representation="explicit",
        integration=("associative retrieval",),
        read="exact top-k inner products",
        write="add entries with payloads",
        forget="remove entries",
        capacity="unbounded",
        cost="O(N d) a query",
        detach=(),
        small={"dim": 4},
    ),
    Mechanism(
        name="certain_tokens",
        cls=select_certain_tokens,
        place="selector",
        paper="Uncertainty Guided Global Memory Improves Multi-Hop Question Answering (EMNLP 2023)",
        arxiv="2311.18151",
        objective=("context extension", "reasoning"),
        representation="explicit",
        integration=("attention fusion",),
        read="put in front of every segment",
        write="tokens chosen by the entropy of their prediction",
        forget="rebuilt with every reading of the document",
        capacity="`limit` token ids",
        cost="O(T V)",
        detach=(),
    ),
)
"""Every mechanism: recurrent memories first, then what stands alone."""
