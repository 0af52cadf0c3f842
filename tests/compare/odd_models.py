"""A third-party plugin whose models do to their process what such models may do."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import pydantic
import zoo_plugins.architectures.ae as ae

import zoo
from zoo import hookimpl


class Crashes(ae.PlainAutoencoder):
    """Dies in native code, for no visible reason."""

    name: ClassVar[str] = "crashes"
    summary: ClassVar[str] = "a fault in native code"

    def losses(self, batch: Any, step: Any) -> Any:
        """Never comes back."""
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)


class Exits(ae.PlainAutoencoder):
    """Calls sys.exit."""

    name: ClassVar[str] = "exits"
    summary: ClassVar[str] = "calls sys.exit"

    def losses(self, batch: Any, step: Any) -> Any:
        """Never comes back."""
        sys.exit("I have had enough")


class Greedy(ae.PlainAutoencoder):
    """Wants more memory than there is."""

    name: ClassVar[str] = "greedy"
    summary: ClassVar[str] = "more memory than there is"

    def losses(self, batch: Any, step: Any) -> Any:
        """Raises what Python raises."""
        bytearray(1 << 60)


class Slow(ae.PlainAutoencoder):
    """Learns as the plain one does, slowly, and says whenever a training of it begins."""

    name: ClassVar[str] = "slow"
    summary: ClassVar[str] = "slow"

    class Options(ae.PlainAutoencoder.Options):
        """When, and where to."""

        pause: float = pydantic.Field(0.0, ge=0, description="seconds per step")
        diary: str = pydantic.Field("", description="file that gets a line where training begins")

    options: Options

    def prepare(self, frames: zoo.TrainingFrames) -> None:
        """Called where there is no checkpoint to go on from."""
        if self.options.diary:
            with Path(self.options.diary).open("a") as diary:
                diary.write(f"{os.getpid()}\n")

    def losses(self, batch: Any, step: Any) -> Any:
        """The plain ones, later."""
        time.sleep(self.options.pause)
        return super().losses(batch, step)


@hookimpl
def zoo_models() -> list[type[zoo.Autoencoder]]:
    """All of them."""
    return [Crashes, Exits, Greedy, Slow]
