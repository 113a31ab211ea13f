"""Frame-by-frame inference, equal to the network on complete windows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core.report import MemoryReport, memory_report
from mnemic_vision.matr.model import Matr
from mnemic_vision.matr.output import MatrOutput
from mnemic_vision.matr.streaming.frame_store import FrameStore
from mnemic_vision.matr.streaming.stream_memory import BLANK, PAD, CurrentWindows, build_stream_memory
from mnemic_vision.matr.streaming.window_reader import WindowReader


class StreamingMatr:
    """Runs streams frame by frame: features in, what `Matr` predicts for the window that ends there out.

    A frame is projected once, also to its query, key and value in the first encoder layer and to its keys and values in
    the start decoder. These are kept while the window or the memory holds the frame. Cost and memory of a frame do not
    depend on how long the stream is: with windows of L frames and M of them in a queue the store holds L + M L frames
    if the lanes store the same stretches, and at most L M L.

    Args:
        model: trained network; it must not change while the engine is in use.
        streams: number of streams that run in step.
        flag_threshold: probability of the flag above which a window is stored.

    Example:
        >>> from mnemic_vision.matr import MatrConfig
        >>> config = MatrConfig(modalities=(6,), num_classes=2, dim=8, ffn_dim=8, encoder_heads=2, window=4, capacity=2)
        >>> engine = StreamingMatr(Matr(config).eval(), streams=3)
        >>> engine.step(torch.zeros(3, 6)).classes.shape
        torch.Size([3, 10, 3])
    """

    @torch.no_grad()
    def __init__(self, model: Matr, streams: int = 1, flag_threshold: float = 0.5) -> None:
        self.model, self.flag_threshold = model.eval(), flag_threshold
        self._reader, self._memory = WindowReader(model), build_stream_memory(model, streams)
        config, device = model.config, model.flag_token.device
        tokens = torch.stack(
            [
                model.project(torch.zeros(1, config.num_features, device=device))[0],
                model.flag_token.new_zeros(config.dim),
            ]
        )  # in the order of PAD and BLANK
        self._store = FrameStore(self._project(tokens), capacity=2 * config.window * streams)
        self._windows = np.full((streams, config.window), PAD, dtype=np.int64)
        self.now = np.full(streams, -1, dtype=np.int64)

    @torch.no_grad()
    def step(self, features: Float[Tensor, "stream feature"]) -> MatrOutput:
        """Return what the network predicts for the windows that end with the given frames."""
        device = self.model.flag_token.device
        rows = self._store.add(self._project(self.model.project(features.to(device)[:, None])[:, 0]))
        self._store.drop(self._windows[:, 0])
        self._windows = np.concatenate([self._windows[:, 1:], rows[:, None]], axis=1)
        self.now = self.now + 1
        current = CurrentWindows(self._store, self._windows, self.now)
        encoded = self._reader.encode(current.read(0))
        flag = self.model.flag_logits(encoded)
        ends = self._reader.decode_ends(encoded)
        output = self._memory.predict(ends, flag, current)
        for stream in output.has_action(self.flag_threshold).nonzero()[:, 0].tolist():
            self._memory.write(stream, current)
        return output

    def reset(self, stream: int) -> None:
        """Begin a new stream in the place of one."""
        self._memory.clear(stream, self._store)
        self._store.drop(self._windows[stream])
        self._windows[stream], self.now[stream] = PAD, -1

    @property
    def num_stored(self) -> int:
        """Frames that the store holds."""
        return self._store.num_used - len((PAD, BLANK))

    def windows_in_memory(self) -> list[int]:
        """Return how many windows each stream has in memory, over all of its lanes."""
        return [int(number) for number in self._memory.num_windows()]

    def report(self) -> MemoryReport:
        """Return the use of the memory of all streams."""
        return memory_report(self._memory.state(self._store))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of all streams as nested plain values and tensors."""
        return {
            "store": self._store.state_dict(),
            "memory": self._memory.state_dict(),
            "windows": torch.from_numpy(self._windows.copy()),
            "now": torch.from_numpy(self.now.copy()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of an engine with the same network and number of streams."""
        self._store.load_state_dict(state["store"])
        self._memory.load_state_dict(state["memory"])
        self._windows, self.now = (state[name].numpy().copy() for name in ("windows", "now"))

    def _project(
        self, tokens: Float[Tensor, "frame dim"]
    ) -> tuple[Float[Tensor, "frame four_dims"], Float[Tensor, "frame _"]]:
        """Return what is stored of frames, for the window and for the memory."""
        return self._reader.project_frames(tokens), self._memory.project_frames(tokens)
