"""Released weights of T5 1.0 and 1.1, as the files of Hugging Face's transformers hold them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from mnemic_core.deserialize import deserialize
from mnemic_core.errors import UserError
from mnemic_core.loading import load_exactly, read_state_dict, rename
from mnemic_core.tensor_file import check_file
from mnemic_retrieval.t5.config import T5Config
from mnemic_retrieval.t5.model import T5

_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")  # of shared.weight
_RENAMES = (
    (r"^shared\.", "tokens.embedding."),
    (r"^lm_head\.", "tokens.output."),
    (r"\.block\.0\.layer\.0\.SelfAttention\.relative_attention_bias\.", ".relative_bias.table."),
    (r"\.block\.(\d+)\.layer\.\d\.", r".blocks.\1."),
    (r"^(encoder|decoder)\.final_layer_norm\.", r"\1.norm."),
    (r"(blocks\.\d+)\.SelfAttention\.", r"\1.attention."),
    (r"(blocks\.\d+)\.EncDecAttention\.", r"\1.source_attention."),
    (r"attention\.q\.", "attention.query."),
    (r"attention\.k\.", "attention.key."),
    (r"attention\.v\.", "attention.value."),
    (r"attention\.o\.", "attention.output."),
    (r"DenseReluDense\.(wi|wi_1)\.", "ffn.expand."),
    (r"DenseReluDense\.wi_0\.", "ffn.gate."),
    (r"DenseReluDense\.wo\.", "ffn.contract."),
)
# The norms of a block are numbered in the files.
_NORMS = {
    "encoder": ("attention_norm", "ffn_norm"),
    "decoder": ("attention_norm", "source_norm", "ffn_norm"),
}
_ACTIVATIONS = {"relu": "relu", "gated-gelu": "gated_gelu"}
_SIZES = {
    "vocab_size": "vocab_size",
    "d_model": "dim",
    "num_heads": "num_heads",
    "d_kv": "head_dim",
    "d_ff": "ffn_dim",
    "num_layers": "encoder_layers",
}
_OPTIONS = {  # older files lack some of them
    "num_decoder_layers": "decoder_layers",
    "relative_attention_num_buckets": "num_buckets",
    "relative_attention_max_distance": "max_distance",
    "dropout_rate": "dropout",
    "pad_token_id": "pad_id",
    "eos_token_id": "end_id",
}


def load_t5(folder: str | Path) -> T5:
    """Return the network of a downloaded folder (``config.json`` and ``model.safetensors`` or ``pytorch_model.bin``).

    Raises:
        FileNotFoundError: a file is missing.
        UserError: it is no T5, or one of another form, or its weights do not fit.
    """
    folder = Path(folder)
    config = t5_config_from_official(folder / "config.json")
    found = [path for name in ("model.safetensors", "pytorch_model.bin") if (path := folder / name).is_file()]
    if not found:
        raise FileNotFoundError(f"no weights in {folder}: expected model.safetensors or pytorch_model.bin")
    weights = t5_from_official(read_state_dict(found[0]))
    # Files tell whether both layers are one, configs do not: transformers 5 says so of every T5 that it saves.
    model = T5(replace(config, tie_embeddings="tokens.output.weight" not in weights))
    load_exactly(model, weights, found[0])
    return model.eval()


def t5_config_from_official(path: str | Path) -> T5Config:
    """Return the settings in a ``config.json``.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is no configuration of a T5, or one of another form.
    """
    check_file(path)
    try:
        given = deserialize(dict[str, Any], json.loads(Path(path).read_text(encoding="utf-8")), path, "config")
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, UserError) else UserError(f"{path} is not JSON: download it again") from error
    kind, form = given.get("model_type"), given.get("feed_forward_proj", "relu")
    if kind != "t5" or form not in _ACTIVATIONS:
        raise UserError(f"{path} is of a {kind!r} with {form!r}, expected a T5 1.0 or 1.1")
    if missing := [official for official in _SIZES if official not in given]:
        raise UserError(f"{path} lacks {', '.join(missing)}: download it again")
    settings = {ours: given[official] for official, ours in _SIZES.items()}
    settings |= {ours: given[official] for official, ours in _OPTIONS.items() if given.get(official) is not None}
    settings.setdefault("decoder_layers", settings["encoder_layers"])
    is_tied = given.get("tie_word_embeddings", True)
    scale = given.get("scale_decoder_outputs", is_tied)
    content = {**settings, "activation": _ACTIVATIONS[form], "tie_embeddings": is_tied, "scale_outputs": scale}
    config: T5Config = deserialize(T5Config, content, path, "config")
    return config


def t5_from_official(weights: Mapping[str, Shaped[Tensor, "..."]]) -> dict[str, Shaped[Tensor, "..."]]:
    """Return the weights of a `T5` from those of a released file, each once.

    Example:
        >>> import torch
        >>> list(t5_from_official({"decoder.block.1.layer.2.layer_norm.weight": torch.ones(4)}))
        ['decoder.blocks.1.ffn_norm.weight']
    """
    kept = {name: value for name, value in weights.items() if name not in _COPIES}
    shared, output = kept.get("shared.weight"), kept.get("lm_head.weight")
    if shared is not None and output is not None and torch.equal(shared, output):
        del kept["lm_head.weight"]
    return {official_name(name): value for name, value in kept.items()}


def official_name(name: str) -> str:
    """Return our name of a released weight; an unknown one stays as it is, which loading refuses."""
    part, *rest = name.split(".")
    if part in _NORMS and len(rest) == 6 and rest[4] == "layer_norm" and rest[3].isdecimal():
        return f"{part}.blocks.{rest[1]}.{_NORMS[part][int(rest[3])]}.{rest[5]}"
    return rename(name, _RENAMES)
