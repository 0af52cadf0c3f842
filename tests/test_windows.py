"""Every verb with models that look at several frames: windows and contexts."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo as package
from tests.films.making import drifting, encode
from zoo.base.workspace import Workspace
from zoo.evaluation.evaluate import evaluate
from zoo.evaluation.inference import samples_of
from zoo.evaluation.metrics import MetricSet
from zoo.plugins.registry import registry
from zoo.reconstruct.decode_film_file import ZooFile, decoded_frames, find_decoder

MODELS = """
    import torch
    import zoo

    zoo_contract = 2


    class Stored(zoo.Autoencoder):
        name = "stored"
        summary = "keeps the frames of a window as they are"
        window = 4

        def __init__(self, size, options):
            super().__init__(size, options)
            self.weight = torch.nn.Parameter(torch.ones(1))

        def latent_spec(self):
            return zoo.LatentSpec((4, 3, self.size.height, self.size.width), codes=256)

        def encode(self, frames):
            return (frames * 255).round()

        def decode(self, latent):
            return latent / 255

        def losses(self, batch, step):
            assert batch.frames.shape[1] == 4 and batch.index.shape[1] == 4
            return {"autoencoder": zoo.Loss({"weight": self.weight.square().sum()})}


    class Between(Stored):
        name = "between"
        summary = "keeps a frame and its neighbours as they are"
        window = 1
        context = (1, 1)

        def latent_spec(self):
            return zoo.LatentSpec((3, 3, self.size.height, self.size.width), codes=256)

        def decode(self, latent):
            return latent[:, 1] / 255

        def losses(self, batch, step):
            assert batch.frames.shape[1] == 3 and batch.index.dim() == 1
            return {"autoencoder": zoo.Loss({"weight": self.weight.square().sum()})}
"""
TINY = ("--preset", "quick", "--size", "32x32", "--device", "cpu")
LATENT = ("--latent", "2")


@pytest.fixture(autouse=True)
def with_models(workspace: Path, monkeypatch: pytest.MonkeyPatch, forget_plugins: None) -> None:
    (workspace / "several.py").write_text(textwrap.dedent(MODELS))
    monkeypatch.setenv("ZOO_PLUGINS", "several.py")


def film_in(folder: Path, shots: list[int], name: str = "film", *, uneven: bool = False) -> Path:
    """A film of shots of these lengths, each of a texture of its own that drifts."""
    frames = [each for seed, n in enumerate(shots) for each in drifting(64, 64, n, seed)]
    pts = [n * 2 + (n % 3 == 1) for n in range(len(frames))] if uneven else None
    base = Fraction(1, 50) if uneven else None
    return encode(folder / f"{name}.mp4", frames, pts=pts, time_base=base)


def run(zoo: Callable, *words: object) -> str:
    done = zoo(*words)
    assert done.code == 0, done.err
    return done.out + done.err


def width(model: str) -> tuple[str, ...]:
    return ("--set", "width=4") if model == "clip_ae" else ()


@pytest.mark.parametrize("model", ["stored", "between"])
@pytest.mark.parametrize(
    "shots", [[2], [9, 14], [6, 5, 13, 7]], ids=lambda shots: "-".join(map(str, shots))
)
def test_frames_come_back_as_they_were(
    zoo: Callable, workspace: Path, model: str, shots: list[int]
) -> None:
    film = film_in(workspace, shots, uneven=len(shots) > 2)
    run(zoo, "train", model, "--film", film, *TINY, "--budget", "2steps", "--holdout", "0")
    loaded = package.load(model, film=film, holdout=0)
    frames = np.array(loaded.film.store.array)
    latents = loaded.latents()
    assert latents.frames == len(frames) == sum(shots)
    run(zoo, "encode", model, "--film", film, "--holdout", "0", "-o", "film.zoo")
    run(zoo, "encode", model, "--film", film, "--holdout", "0", "-o", "own.zoo", "--with-decoder")
    for name in ("film.zoo", "own.zoo"):
        file = ZooFile.open(workspace / name)
        trained = find_decoder(file, Workspace(workspace), torch.device("cpu"), print)
        assert np.array_equal(np.stack(list(decoded_frames(file, trained))), frames)
    if len(loaded.film.shots) == 1:
        assert np.array_equal(loaded.reconstruct(frames), frames)
    run(zoo, "decode", "film.zoo", "-o", "again.mp4")
    run(zoo, "reconstruct", model, "--film", film, "--holdout", "0", "-o", "drawn.mp4")


@pytest.mark.parametrize("model", ["clip_ae", "between"])
def test_every_verb(zoo: Callable, workspace: Path, model: str) -> None:
    film = film_in(workspace, [9, 14, 6])
    other = film_in(workspace, [3], "other")
    run(zoo, "films", "add", "--name", "one", film)
    run(zoo, "films", "add", "--name", "two", other)
    run(zoo, "train", model, "--film", "one", *TINY, *LATENT, *width(model), "--budget", "2steps")
    one, two = package.load(model, "one"), package.load(model, "two", trained_on="one", holdout=0)
    metric_set = MetricSet.load(torch.device("cpu"), "psnr,flicker")
    for loaded in (one, two):
        config, device = loaded.config, torch.device("cpu")
        evaluated_on = loaded.film
        record = evaluate(
            Workspace(workspace), loaded.trained.folder, config, evaluated_on, metric_set, device
        )
        assert record.status == "ok" and record.latent is not None
        assert len(loaded.latents().levels) == len(samples_of(evaluated_on, loaded.network))
    of = (model, "--film", "one")
    run(zoo, "reconstruct", *of, "-o", "part.mp4", "--from", "00:00:00.2", "--to", "00:00:00.6")
    run(zoo, "encode", *of, "-o", "film.zoo")
    run(zoo, "info", "film.zoo")
    run(zoo, "walk", *of, "-o", "walk.mp4", "--seconds", "0.5")
    run(
        *(zoo, "interpolate", *of, "--from", "00:00:00", "--to", "00:00:00.8"),
        *("--seconds", "0.5", "-o", "way.mp4"),
    )
    run(zoo, "export", *of, "-o", "graphs")
    said = json.loads((workspace / "graphs" / "model.json").read_text())
    frames = 4 if model == "clip_ae" else 3
    assert said["frames"]["shape"] == ["batch", frames, 3, 32, 32]
    run(zoo, "push", *of, "--repo", "me/mine", "--dry-run")


@pytest.mark.parametrize("model", ["clip_ae", "between"])
def test_ranks_and_accumulation_share_samples(zoo: Callable, workspace: Path, model: str) -> None:
    film = film_in(workspace, [12])
    base = ("train", model, "--film", film, *TINY, *LATENT, *width(model), "--budget", "2steps")
    run(zoo, *base, "--batch", "16", "--recipe", "accumulate=2")
    samples = 3 if model == "clip_ae" else 15
    batch = samples * (4 if model == "clip_ae" else 1)
    refused = zoo(*base, "--batch", batch, "--recipe", "accumulate=2")
    assert refused.code == 2
    assert f"a batch of {samples} samples cannot be cut into 2 equal parts" in refused.err


BROKEN = """
    import torch
    import zoo
    from several import Stored


    class Broken(Stored):
        name = "broken"
        {body}
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("window = 0", "broken: a window must have from 1 to 256 frames; not 0"),
        ("context = (1,)", "broken: a context must be"),
        ("side_multiple = 0", "Broken.side_multiple is 0"),
        ("def latent_spec(self): return {'top': 2}", "broken: latent_spec gave {'top': 2} (dict);"),
        (
            "def losses(self, batch, step): return batch.frames.mean()",
            "broken: losses gave a Tensor",
        ),
        ("def encode(self, frames): return frames[:, 1:] * 255", "broken: for "),
        ("def encode(self, frames): return frames.flatten(0, 1)", "broken: for "),
        ("def encode(self, frames): return frames * 255 + 0.5", "whole numbers from 0 to 255"),
        ("def encode(self, frames): return frames * 0 + 256", "numbers from 256 to 256"),
        ("def encode(self, frames): return frames * float('nan')", "not finite"),
        ("def decode(self, latent): return latent[:, 0] / 255", "broken: decode gave"),
    ],
)
def test_what_breaks_its_word_is_one_line(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    (workspace / "broken.py").write_text(textwrap.dedent(BROKEN).format(body=body))
    monkeypatch.setenv("ZOO_PLUGINS", "several.py,broken.py")
    registry.cache_clear()
    film = film_in(workspace, [6])
    done = zoo("train", "broken", "--film", film, *TINY, "--budget", "2steps")
    if done.code == 0:
        done = zoo("reconstruct", "broken", "--film", film, "-o", "drawn.mp4")
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


class Cubes(package.Autoencoder):
    """Kernels over time as well: three dimensions."""

    name, summary, window = "cubes", "for this test", 4

    def __init__(self, size, options) -> None:
        super().__init__(size, options)
        self.down = torch.nn.Conv3d(3, 4, (3, 3, 3), padding=1)
        self.inward = torch.nn.Linear(4 * 4 * size.pixels, 4 * options.latent)
        self.outward = torch.nn.Linear(4 * options.latent, 4 * 4 * size.pixels)
        self.up = torch.nn.Conv3d(4, 3, (3, 3, 3), padding=1)

    def encode(self, frames):
        return self.inward(self.down(frames.transpose(1, 2)).flatten(1))

    def decode(self, latent):
        shape = (4, 4, self.size.height, self.size.width)
        return self.up(self.outward(latent).unflatten(1, shape)).transpose(1, 2).sigmoid()

    def losses(self, batch, step):
        error = (self.decode(self.encode(batch.frames)) - batch.frames).square().mean()
        return {"autoencoder": package.Loss({"pixel": error})}


def test_kernels_of_three_dimensions_are_trained_and_drawn(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry().models, "cubes", Cubes)
    monkeypatch.setitem(registry().origins, "cubes", "this test")
    film = film_in(workspace, [6])
    run(zoo, "train", "cubes", "--film", film, *TINY, *LATENT, "--budget", "2steps")
    run(zoo, "encode", "cubes", "--film", film, "-o", "own.zoo", "--with-decoder")
    run(zoo, "decode", "own.zoo", "-o", "again.mp4")
