"""A film as the weights of a small network that decodes the time of a frame into the frame.

After Chen et al., NeRV: Neural representations for videos, 2021: the network is the code. Its
weights are stored in 8 bits each; how wide it is follows from the bytes that it may have. It saves
its state every hundred steps, so that an interrupted coding resumes. Try it:

    zoo plugins check examples/zoo_nerv.py
    ZOO_PLUGINS=examples/zoo_nerv.py zoo compare --films bikes --models ae,nerv --preset quick
"""

from __future__ import annotations

import bisect
import math
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional

import zoo

zoo_contract = 2

FREQUENCIES = 8
STEPS_BETWEEN_SAVES = 100


class Decoder(nn.Sequential):
    """Times (B,) in [0, 1] to frames (B, 3, H, W) in [0, 1]."""

    def __init__(self, size: zoo.FrameSize, width: int) -> None:
        self.size = size
        self.grid = math.ceil(size.height / 8), math.ceil(size.width / 8)
        super().__init__(
            nn.Linear(2 * FREQUENCIES, width),
            nn.GELU(),
            nn.Linear(width, width * self.grid[0] * self.grid[1] // 4),
            nn.Unflatten(1, (width // 4, *self.grid)),
            nn.GELU(),
            nn.Conv2d(width // 4, width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.GELU(),
            nn.Conv2d(width // 4, 48, 3, padding=1),
            nn.PixelShuffle(4),
        )

    def forward(self, moments: Tensor) -> Tensor:
        """Sines and cosines of the moment, and what the layers make of them."""
        angles = moments[:, None] * math.pi * 1.25 ** (4 * torch.arange(FREQUENCIES))
        frames = super().forward(torch.cat([angles.sin(), angles.cos()], dim=1))
        return frames[:, :, : self.size.height, : self.size.width].sigmoid()


class Nerv(zoo.FilmCodec):
    """A network that is trained on one film and shipped as 8-bit weights."""

    name = "nerv"
    summary = "NeRV: the weights of a network that decodes every frame"
    default = False
    trains = True

    class Options(zoo.CodecOptions):
        """How it learns."""

        lr: float = pydantic.Field(3e-3, gt=0, description="learning rate")

    def code(self, film: zoo.Film, terms: zoo.CodingTerms) -> zoo.CodedFilm:
        """Train the widest network whose weights fit."""
        width = self._width(terms.bytes_per_frame * len(film))
        torch.manual_seed(terms.seed)
        network = Decoder(self.size, width)
        optimizer = torch.optim.Adam(network.parameters(), self.options.lr)
        began, number = time.monotonic(), self._restore(network, optimizer, terms.load())
        steps = terms.budget.steps(len(film), terms.batch)
        while number < steps if steps else time.monotonic() - began < terms.budget.amount:
            # Chance follows from the seed and the step, so that a resumed coding goes on the same.
            which = np.random.default_rng((terms.seed, number)).integers(
                len(film), size=terms.batch
            )
            frames = torch.from_numpy(film.store.array[which]).permute(0, 3, 1, 2) / 255
            loss = functional.mse_loss(network(torch.from_numpy(which) / len(film)), frames)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            number += 1
            if number % STEPS_BETWEEN_SAVES == 0 or number == steps:
                terms.say(f"step {number}: squared error {loss.item():.5f}")
                terms.save(self._state(network, optimizer, number))
        stream = len(film).to_bytes(4, "big") + width.to_bytes(2, "big") + _stored(network)
        spent = len(stream) / len(film) / terms.bytes_per_frame
        return zoo.CodedFilm(
            stream, note="" if abs(spent - 1) <= 0.03 else "widths are whole numbers"
        )

    def decode(self, stream: bytes) -> Iterator[npt.NDArray[np.uint8]]:
        """Decode every frame with the network that the stream holds."""
        count, width = int.from_bytes(stream[:4], "big"), int.from_bytes(stream[4:6], "big")
        network = Decoder(self.size, width)
        _load(network, stream[6:])
        for number in range(count):
            with torch.no_grad():
                frame = network(torch.tensor([number / count]))[0]
            yield (frame.permute(1, 2, 0) * 255).round().byte().numpy()

    def _width(self, allowed: float) -> int:
        """The widest network, in fours, whose stream takes no more bytes; 4 at least."""

        def taken(width: int) -> int:
            with torch.device("meta"):
                tensors = Decoder(self.size, width).state_dict().values()
            return 6 + sum(8 + tensor.numel() for tensor in tensors)

        return 4 * max(1, bisect.bisect_right(range(1, 1024), allowed, key=lambda w: taken(4 * w)))

    @staticmethod
    def _state(
        network: Decoder, optimizer: torch.optim.Optimizer, number: int
    ) -> dict[str, Tensor]:
        moments = optimizer.state_dict()["state"]
        state = {f"moments.{i}.{key}": t for i, each in moments.items() for key, t in each.items()}
        return {**network.state_dict(prefix="network."), **state, "number": torch.tensor(number)}

    @staticmethod
    def _restore(
        network: Decoder, optimizer: torch.optim.Optimizer, state: dict[str, Tensor] | None
    ) -> int:
        """Load a saved state, if there is one; returns the number of steps that were taken."""
        if state is None:
            return 0
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in state.items():
            group, _, rest = name.partition(".")
            if group == "moments":
                index, _, key = rest.partition(".")
                moments.setdefault(int(index), {})[key] = tensor
        weights = {k.removeprefix("network."): t for k, t in state.items() if "network." in k}
        network.load_state_dict(weights)
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        return int(state["number"])


def _stored(network: nn.Module) -> bytes:
    """All weights in 8 bits: of each tensor its lowest value and its step, then the levels."""
    parts = []
    for tensor in network.state_dict().values():
        lowest, highest = (float(end) for end in tensor.aminmax())
        step = (highest - lowest) / 255 or 1.0
        levels = ((tensor - lowest) / step).round().byte()
        parts.append(np.array([lowest, step], "<f4").tobytes() + levels.numpy().tobytes())
    return b"".join(parts)


def _load(network: nn.Module, stored: bytes) -> None:
    """Set the weights that `_stored` wrote."""
    for tensor in network.state_dict().values():
        lowest, step = np.frombuffer(stored[:8], "<f4")
        levels = np.frombuffer(stored[8 : 8 + tensor.numel()], np.uint8).astype(np.float32)
        tensor.copy_(torch.from_numpy(levels * step + lowest).view(tensor.shape))
        stored = stored[8 + tensor.numel() :]


@zoo.hookimpl
def zoo_references() -> list[type[zoo.FilmCodec]]:
    """Return the codec."""
    return [Nerv]
