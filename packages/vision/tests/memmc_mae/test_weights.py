"""Weights of ViTs and masked autoencoders, against networks built from timm's modules."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae import EncoderMemory, FeatureConfig, MemMcMae, MemMcMaeConfig, stratified_visible
from mnemic_vision.memmc_mae.positions import to_patches
from mnemic_vision.memmc_mae.weights import load_vit

PLAIN = MemMcMaeConfig(
    image_size=32, patch_size=8, dim=16, depth=2, num_heads=2, decoder_dim=8, decoder_depth=2, decoder_heads=2,
    levels="none", memory=EncoderMemory("none"),
)  # fmt: skip
VISIBLE = stratified_visible(1, 16, 4)[0]


class OfficialMae(nn.Module):
    """A masked autoencoder as published (arXiv 2111.06377), put together from the modules of timm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        vit = VisionTransformer(32, 8, embed_dim=16, depth=2, num_heads=2, num_classes=0)
        self.cls_token, self.pos_embed, self.patch_embed = vit.cls_token, vit.pos_embed, vit.patch_embed
        self.blocks, self.norm = vit.blocks, vit.norm
        self.decoder_embed, self.mask_token = nn.Linear(16, 8), nn.Parameter(torch.zeros(1, 1, 8))
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, 17, 8))
        self.decoder_blocks = nn.Sequential(
            *(Block(8, 2, qkv_bias=True, norm_layer=partial(nn.LayerNorm, eps=1e-6)) for _ in range(2))
        )
        self.decoder_norm, self.decoder_pred = nn.LayerNorm(8, 1e-6), nn.Linear(8, 192)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patch_embed(images) + self.pos_embed[:, 1:]
        first = self.cls_token + self.pos_embed[:, :1]
        x = torch.cat([first.expand(len(images), -1, -1), tokens[:, VISIBLE]], dim=1)
        x = self.decoder_embed(self.norm(self.blocks(x)))
        every = self.mask_token.repeat(len(images), 16, 1)
        every[:, VISIBLE] = x[:, 1:]
        x = torch.cat([x[:, :1], every], dim=1) + self.decoder_pos_embed
        return self.decoder_pred(self.decoder_norm(self.decoder_blocks(x)))[:, 1:]


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    save_file(OfficialMae().state_dict(), tmp_path / "mae.safetensors")
    return tmp_path / "mae.safetensors"


def run(model: MemMcMae, images: Tensor) -> Tensor:
    return model.eval()(model.target(images), VISIBLE.expand(len(images), 1, -1))[:, 0]


def normalized(images: Tensor) -> Tensor:
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (images - mean[:, None, None]) / deviation[:, None, None]


def test_without_memory_and_levels_it_is_the_masked_autoencoder(file: Path) -> None:
    model, images = MemMcMae(PLAIN), torch.rand(3, 3, 32, 32)
    assert load_vit(model, file) == []
    assert_close(run(model, images), OfficialMae().eval()(normalized(images)), atol=1e-5, rtol=0)


def test_grey_images_equal_their_color_form(file: Path) -> None:
    color, grey = MemMcMae(PLAIN), MemMcMae(replace(PLAIN, channels=1))
    load_vit(color, file)
    load_vit(grey, file)
    images = torch.rand(2, 1, 32, 32)
    embedded = [model.embed(model.target(each)) for model, each in ((color, images.repeat(1, 3, 1, 1)), (grey, images))]
    assert_close(*embedded, atol=1e-4, rtol=0)


@pytest.mark.parametrize("options", [{"patch_size": 16, "image_size": 64}, {"levels": "all"}])
def test_another_decoder_keeps_the_encoder(file: Path, options: dict[str, Any]) -> None:
    model = MemMcMae(replace(PLAIN, **options))
    unused = load_vit(model, file)
    assert {"decoder_pred.weight", "mask_token"} <= set(unused)
    assert torch.equal(model.encoder.blocks[1].mlp.expand.weight, OfficialMae().blocks[1].mlp.fc1.weight)
    assert torch.equal(model.decoder.norms[-1].weight, OfficialMae().norm.weight)


def test_another_image_size_keeps_all_weights(file: Path) -> None:
    model = MemMcMae(replace(PLAIN, image_size=64))
    assert load_vit(model, file) == []
    assert torch.equal(model.decoder.head.weight, OfficialMae().decoder_pred.weight)


def test_memory_keeps_its_initial_values(file: Path) -> None:
    model = MemMcMae(replace(PLAIN, memory=EncoderMemory("persistent", {"num_slots": 3})))
    before = model.encoder.blocks[0].attention.memory.keys.clone()
    load_vit(model, file)
    assert torch.equal(model.encoder.blocks[0].attention.memory.keys, before)


def test_a_classifier_of_timm_loads_and_its_head_is_named(tmp_path: Path) -> None:
    vit = VisionTransformer(32, 8, embed_dim=16, depth=2, num_heads=2, num_classes=5)
    save_file(vit.state_dict(), tmp_path / "vit.safetensors")
    model, images = MemMcMae(PLAIN), torch.rand(2, 3, 32, 32)
    assert load_vit(model, tmp_path / "vit.safetensors") == ["head.bias", "head.weight"]
    everything = torch.arange(16).expand(2, 1, -1)
    last, _ = model.eval().encoder(model._see(model.target(images), everything))
    assert_close(model.decoder.norms[-1](last), vit.eval().forward_features(normalized(images)), atol=1e-5, rtol=0)


def test_patches_are_embedded_as_by_the_convolution(file: Path) -> None:
    model, images = MemMcMae(PLAIN), torch.rand(2, 3, 32, 32)
    load_vit(model, file)
    assert_close(model.embed(to_patches(images, 8)), OfficialMae().patch_embed(images), atol=1e-4, rtol=0)


@pytest.mark.parametrize("options", [{"dim": 32}, {"depth": 3}])
def test_another_size_of_encoder_is_refused(file: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="does not fit"):
        load_vit(MemMcMae(replace(PLAIN, **options)), file)


def test_features_and_other_files_are_refused(tmp_path: Path, file: Path) -> None:
    features = MemMcMae(replace(PLAIN, features=FeatureConfig("test_efficientnet", num_levels=1, grid=4)))
    with pytest.raises(UserError, match="pixels"):
        load_vit(features, file)
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="class token"):
        load_vit(MemMcMae(PLAIN), tmp_path / "other.safetensors")
