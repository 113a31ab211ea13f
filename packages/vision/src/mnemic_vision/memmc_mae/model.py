"""The MemMC-MAE network: reconstructs the patches of an image from a few of them."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mnemic_core.pretrained import PretrainedModel
from mnemic_vision.memmc_mae.config import EncoderMemory, MemMcMaeConfig
from mnemic_vision.memmc_mae.decoder import Decoder
from mnemic_vision.memmc_mae.encoder import Encoder
from mnemic_vision.memmc_mae.positions import grid_positions
from mnemic_vision.memmc_mae.targets import FeatureTarget, PixelTarget


class MemMcMae(PretrainedModel):
    """Memory-augmented masked autoencoder with multi-level cross-attention (arXiv 2203.11725).

    The encoder sees a quarter of the patches and a memory of learned keys and values in every block; the decoder
    predicts all patches from several levels of the encoder. Trained on normal images, it reconstructs anomalies badly:
    masked ones cannot be guessed, and visible ones are recalled as the normal patterns in memory. An implementation of
    the idea: no code was published.

    Args:
        config: sizes.

    Example:
        >>> config = MemMcMaeConfig(image_size=32, patch_size=8, dim=8, depth=2, num_heads=2, decoder_dim=8,
        ...     decoder_depth=1, decoder_heads=2)
        >>> model = MemMcMae(config).eval()
        >>> patches = model.target(torch.rand(5, 3, 32, 32))
        >>> visible = torch.tensor([[0, 5, 10, 15], [1, 4, 11, 14]]).expand(5, -1, -1)  # two draws of four patches
        >>> model(patches, visible).shape
        torch.Size([5, 2, 16, 192])
    """

    config_class = MemMcMaeConfig
    positions: Tensor

    def __init__(self, config: MemMcMaeConfig) -> None:
        super().__init__()
        self.config = config
        pixels = PixelTarget(config.patch_size, config.channels)
        self.target: PixelTarget | FeatureTarget = pixels if config.features is None else FeatureTarget(config.features)
        self.embed = nn.Linear(self.target.patch_dim, config.dim)
        self.class_token = nn.Parameter(torch.zeros(config.dim))
        self.register_buffer("positions", grid_positions(config.dim, config.grid))
        self.encoder = Encoder(config)
        self.decoder = Decoder(config, self.target.patch_dim)
        self._initialize()

    def forward(
        self,
        patches: Float[Tensor, "batch patch value"],
        visible: Int[Tensor, "batch draw visible"],
        wanted: Int[Tensor, "batch draw query"] | None = None,
    ) -> Float[Tensor, "batch draw query value"]:
        """Return the patches that the network reconstructs.

        Args:
            patches: of `target`.
            visible: places of the visible patches of each draw, in any order.
            wanted: places to reconstruct in each draw; None: all, in order.
        """
        batch, draws, _ = visible.shape
        rows = visible.flatten(0, 1)
        last, levels = self.encode(patches, visible)
        decoded = self.decoder(last, levels, rows, None if wanted is None else wanted.flatten(0, 1))
        split: Tensor = decoded.unflatten(0, (batch, draws))
        return split

    def encode(
        self, patches: Float[Tensor, "batch patch value"], visible: Int[Tensor, "batch draw visible"]
    ) -> tuple[Float[Tensor, "row token dim"], list[Float[Tensor, "row token dim"]]]:
        """Return the encoder's output and its levels, class token and visible patches, for each image and draw."""
        return self.encoder(self._see(patches, visible))  # type: ignore[no-any-return]

    def slot_weights(
        self, patches: Float[Tensor, "batch patch value"], visible: Int[Tensor, "batch draw visible"]
    ) -> Float[Tensor, "batch draw block token slot"]:
        """Return the attention of the class token and of each visible patch to the slots of each block.

        Their sum over slots, 0 to 1, is the share of what a token reads from memory; there are no slots without a
        persistent memory.
        """
        weights: Tensor = self.encoder.slot_weights(self._see(patches, visible)).unflatten(0, visible.shape[:2])
        return weights

    def without_memory(self) -> "MemMcMae":
        """Return a copy whose memory is emptied, all else as trained, to measure what the memory contributes."""
        emptied = MemMcMae(replace(self.config, memory=EncoderMemory("none")))
        kept = emptied.state_dict().keys()
        weights = {name: value for name, value in self.state_dict().items() if name in kept}
        slots = {name: value for name, value in emptied.state_dict().items() if ".attention.memory." in name}
        emptied.load_state_dict(weights | slots)
        return emptied.to(self.positions.device).train(self.training)

    def _see(
        self, patches: Float[Tensor, "batch patch value"], visible: Int[Tensor, "batch draw visible"]
    ) -> Float[Tensor, "row token dim"]:
        """Return the tokens that the encoder sees; each patch is embedded once for all draws."""
        draws, dim = visible.shape[1], self.config.dim
        tokens = self.embed(patches) + self.positions[1:]
        place = visible.flatten(1)[..., None].expand(-1, -1, dim)
        shown = tokens.gather(1, place).unflatten(1, (draws, -1)).flatten(0, 1)
        first = (self.class_token + self.positions[0]).to(shown.dtype).expand(shown.shape[0], 1, -1)
        return torch.cat([first, shown], dim=1)

    def _initialize(self) -> None:
        """Initialize as masked autoencoders: Xavier for linear layers, a small normal for tokens."""
        for part in (self.embed, self.encoder, self.decoder):
            for module in part.modules():
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.class_token, std=0.02)
        nn.init.normal_(self.decoder.mask_token, std=0.02)
