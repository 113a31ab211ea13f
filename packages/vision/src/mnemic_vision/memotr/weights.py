"""Import of official weights: released MeMOTR checkpoints and COCO-pretrained detectors."""

from pathlib import Path

import torch
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.loading import check_finite, load_exactly, name_some, read_state_dict, rename
from mnemic_vision.memotr.config import MemotrConfig
from mnemic_vision.memotr.model import Memotr

# From official names to ours; all matching patterns are applied, in order.
RENAMES = (
    (r"^det_anchor$", "detect_queries.anchors"),
    (r"^det_query_embed$", "detect_queries.content"),
    (r"^backbone\.backbone\.backbone\.", "backbone.body."),
    (r"^feature_projs\.", "projections."),
    (r"^transformer\.level_embed$", "encoder.level_embed"),
    (r"^transformer\.reference_points\.", "detect_queries.reference_points."),
    (r"^transformer\.(encoder|decoder)\.", r"\1."),
    (r"^(encoder\.layers\.\d+\.)self_attn\.", r"\1attention."),
    (r"^(encoder\.layers\.\d+\.)norm1\.", r"\1attention_norm."),
    (r"^(encoder\.layers\.\d+\.)norm2\.", r"\1ffn.norm."),
    (r"^(decoder\.layers\.\d+\.)self_attn\.", r"\1self_attention."),
    (r"^(decoder\.layers\.\d+\.)cross_attn\.", r"\1cross_attention."),
    (r"^(decoder\.layers\.\d+\.)norm2\.", r"\1self_attention_norm."),
    (r"^(decoder\.layers\.\d+\.)norm1\.", r"\1cross_attention_norm."),
    (r"^(decoder\.layers\.\d+\.)norm3\.", r"\1ffn.norm."),
    (r"^((?:en|de)coder\.layers\.\d+\.)(linear[12])\.", r"\1ffn.\2."),
    (r"^decoder\.query_scale\.", "decoder.positions.scale."),
    (r"^decoder\.ref_point_head\.", "decoder.positions.head."),
    (r"^(?:decoder\.)?bbox_embed\.", "decoder.box_heads."),
    (r"^class_embed\.", "class_heads."),
    (r"^query_updater\.confidence_weight_net\.0\.", "track_memory.channel_gate."),
    (r"^query_updater\.short_memory_fusion\.", "track_memory.short_term."),
    (r"^query_updater\.memory_attn\.", "track_memory.attention."),
    (r"^query_updater\.memory_norm\.", "track_memory.attention_norm."),
    (r"^query_updater\.memory_ffn\.", "track_memory.attention_ffn."),
    (r"^query_updater\.query_feat_norm\.", "track_memory.query_norm."),
    (r"^query_updater\.query_feat_ffn\.", "track_memory.query_ffn."),
    (r"^query_updater\.query_pos_head\.", "track_memory.position_head."),
    (r"^query_updater\.linear_pos1\.", "track_memory.position_update.layers.0."),
    (r"^query_updater\.linear_pos2\.", "track_memory.position_update.layers.1."),
    (r"^query_updater\.norm_pos\.", "track_memory.position_norm."),
)
DETECTOR_RENAMES = (
    (r"^tgt_embed\.weight$", "det_query_embed"),
    (r"^refpoint_embed\.weight$", "det_anchor"),
    (r"^query_embed\.weight$", "det_query_embed"),
    (r"^backbone\.0\.body\.", "backbone.backbone.backbone."),
    (r"^input_proj\.", "feature_projs."),
)
# Rows of COCO's 91 classes to start from, by number of classes (row 1 is person); BDD100K's eight have no counterpart.
COCO_ROWS = {1: slice(1, 2), 2: slice(1, 3), 3: slice(1, 4)}


def convert_official(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return official MeMOTR weights under our names.

    The official state dict lists the box heads twice, under ``bbox_embed`` and ``transformer.decoder.bbox_embed``.

    Raises:
        UserError: if the two copies differ.
    """
    converted: dict[str, Tensor] = {}
    for key, value in weights.items():
        name = rename(key, RENAMES)
        if name in converted and not torch.equal(converted[name], value):
            raise UserError(f"{key} and its other copy in the checkpoint differ: expected one shared module")
        converted[name] = value
    return converted


def load_official(model: Memotr, path: str | Path) -> None:
    """Load a released MeMOTR checkpoint (a ``torch.save`` file whose key ``model`` is the state dict).

    Raises:
        UserError: if weights are missing, left over or of another shape; the message names them.
    """
    load_exactly(model, convert_official(read_state_dict(path)), path)


def import_detector(model: Memotr, path: str | Path) -> list[str]:
    """Load a COCO-pretrained DAB-Deformable-DETR or Deformable-DETR; return the names of parameters that it lacks.

    DAB-DETR embeds boxes in the order y, x, width, height and we in x, y, width, height, so the first two blocks of
    columns of the layer that reads them are swapped. (The official code loads them unchanged, so that its fine-tuning
    starts with x and y exchanged.)

    Raises:
        UserError: if the file has weights that this network does not have; the message names them.
    """
    given = {rename(rename(key, DETECTOR_RENAMES), RENAMES): value for key, value in read_state_dict(path).items()}
    given = _person_rows(given, model.config)
    wanted = model.state_dict()
    leftover = sorted(key for key in given if key not in wanted)
    if leftover:
        raise UserError(
            f"{path} is not a detector of this kind (left over {name_some(leftover)}): check detector and sizes"
        )
    # With another number of queries they keep their random values, as in the official code; all else must fit.
    optional = {"detect_queries.content", "detect_queries.anchors"}
    wrong = sorted(key for key in given if given[key].shape != wanted[key].shape and key not in optional)
    if wrong:
        raise UserError(f"{path} has other sizes than this model ({name_some(wrong)}): check dim, ffn_dim and layers")
    first = "decoder.positions.head.layers.0.weight"
    if first in given:
        quarter = model.config.dim // 2
        y, x, size = given[first].split([quarter, quarter, 2 * quarter], dim=1)
        given[first] = torch.cat([x, y, size], dim=1)
    fitting = {key: value for key, value in given.items() if value.shape == wanted[key].shape}
    check_finite(model, fitting, path)
    model.load_state_dict(fitting, strict=False)
    return sorted(wanted.keys() - fitting.keys())


def _person_rows(given: dict[str, Tensor], config: MemotrConfig) -> dict[str, Tensor]:
    rows = COCO_ROWS.get(config.num_classes)
    heads = [key for key in given if key.startswith("class_heads.")]
    kept = {key: value for key, value in given.items() if key not in heads}
    return kept if rows is None else kept | {key: given[key][rows] for key in heads if given[key].ndim}
