"""A codebook, a frozen encoder, a recipe of its own: each trained, compared, drawn and exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from zoo_plugins.architectures.vqvae import Codebook, VectorQuantisedAutoencoder, finest_grid

import zoo as package
from tests.reconstruct.small_model import film_in
from zoo.api.autoencoder import Autoencoder, Step
from zoo.api.codec import FilmCodec
from zoo.base.frame_size import FrameSize
from zoo.base.workspace import Workspace
from zoo.evaluation.evaluate import OWN_CODER, evaluate
from zoo.evaluation.metrics import MetricSet
from zoo.plugins.entry_points import PluginFile
from zoo.plugins.model_building import build
from zoo.plugins.registry import registry
from zoo.reconstruct.decode_film_file import ZooFile
from zoo.testing import conformance

EXAMPLES = Path(__file__).parents[1] / "examples"
FROZEN: type[Autoencoder] = PluginFile(EXAMPLES / "zoo_frozen.py").load().Frozen
DENOISE: type[Autoencoder] = PluginFile(EXAMPLES / "zoo_denoise.py").load().Denoise
ENTROPY: type[Autoencoder] = PluginFile(EXAMPLES / "zoo_entropy.py").load().Entropy
NERV: type[FilmCodec] = PluginFile(EXAMPLES / "zoo_nerv.py").load().Nerv
TINY = ("--preset", "quick", "--size", "64x48", "--latent", "6", "--set", "width=4")
QUICK = (*TINY, "--device", "cpu", "--budget", "6steps")

LEAST = ("--metrics", "psnr")

test_conformance = conformance(VectorQuantisedAutoencoder, FROZEN, DENOISE)
test_conformance_of_slower_ones = pytest.mark.slow(conformance(ENTROPY, NERV))


@pytest.fixture(params=[VectorQuantisedAutoencoder, FROZEN, DENOISE], ids=lambda m: m.name)
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One of the three, known to every command."""
    monkeypatch.setitem(registry().models, request.param.name, request.param)
    monkeypatch.setitem(registry().origins, request.param.name, "a test 0")
    return request.param.name


@pytest.mark.slow
def test_the_whole_way(zoo: Callable, workspace: Path, model: str) -> None:
    film = film_in(workspace, audio=None)
    done = zoo("compare", "--films", film, "--models", model, "--on", "inline", *QUICK, *LEAST)
    assert done.code == 0, done.err
    results = json.loads((workspace / "results" / "results.json").read_text())
    (record,) = (r for r in results["records"] if r["model"] == model)
    assert record["status"] == "ok", record
    bits = {"vqvae": 4 * 10}.get(model, 6 * 8)
    assert record["latent"]["bits"] == bits
    assert zoo("reconstruct", model, "--film", film, "-o", "drawn.mp4").code == 0
    assert zoo("encode", model, "--film", film, "-o", "film.zoo", "--with-decoder").code == 0
    assert zoo("decode", "film.zoo", "-o", "again.mp4").code == 0
    assert Path("again.mp4").stat().st_size > 0
    done = zoo("export", model, "--film", film, "--format", "torch", "-o", "made")
    assert done.code == 0, done.err

    loaded = package.load(model, film=film, device="cpu")
    frames = loaded.film.store.array[:4]
    given = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2) / 255
    latents = torch.export.load("made/encoder.pt2").module()(given.contiguous())
    assert torch.allclose(latents, loaded.encode(frames), atol=1e-3)
    if model == "vqvae":
        codes = loaded.network.encode(given).flatten(1)
        stored = ZooFile.open(Path("film.zoo")).latents.dequantised(slice(0, 4))
        assert torch.equal(stored.flatten(1), codes) and codes.unique().numel() > 1
        (log,) = (workspace / "runs").glob("*/vqvae/*/log.jsonl")
        last = json.loads(log.read_text().splitlines()[-1])
        assert 1 < last["logged"]["autoencoder"]["perplexity"] <= 1024


@pytest.mark.parametrize(
    "sides", ["256x144", "96x54", "64x36", "32x32", "50x38", "54x96", "2048x32"]
)
@pytest.mark.parametrize("latent", [2, 6, 11, 16, 50, 200])
def test_a_grid_takes_no_more_bits_than_it_has(sides: str, latent: int) -> None:
    size = FrameSize.parse(sides)
    height, width = finest_grid(size, 8 * latent // 10)
    assert 10 * height * width <= 8 * latent
    if max(size) < 4 * min(size):
        assert 2 * height * width >= 8 * latent // 10, "half of the bits are used, or more"


def test_the_film_preset_has_a_code_for_each_16_pixels() -> None:
    assert finest_grid(FrameSize(256, 144), 160) == (9, 16)


def test_two_halves_of_a_batch_make_the_codebook_of_the_whole() -> None:
    """Running sums that are averaged, as over two processes, are those of one process."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(64, 4, generator=generator)
    whole, one, two = (made(16) for _ in range(3))
    codes = whole.nearest(vectors)
    whole.gather(vectors, codes, 0.9)
    one.gather(vectors[:32], codes[:32], 0.9)
    two.gather(vectors[32:], codes[32:], 0.9)
    for name in ("counts", "sums"):
        mean = (one.get_buffer(name) + two.get_buffer(name)) / 2
        assert torch.allclose(mean, whole.get_buffer(name), atol=1e-6)


def made(codes: int) -> Codebook:
    torch.manual_seed(1)
    return Codebook(codes, 4)


def test_unused_codes_move_to_used_ones_alike_in_all_parts() -> None:
    books = [made(16), made(16)]
    for part, book in enumerate(books):
        book.counts[4:] *= 0.01
        book.sums[4:] *= 0.01
        book.counts[0] = 10.0
        before = book.vectors.clone()
        generator = torch.Generator().manual_seed(3)
        book.revive(0.1, Step(torch.tensor(0.5), 7, generator, part, 2))
        assert torch.allclose(book.vectors[:4], before[:4])
    moved = books[0].vectors[4:]
    assert torch.equal(moved, books[1].vectors[4:])
    near = torch.cdist(moved, before[:4]).amin(dim=1)
    assert (near < before[:4].std()).all()


def test_vectors_that_are_alike_share_a_code_and_gradients_pass() -> None:
    model = build(VectorQuantisedAutoencoder, FrameSize(32, 32), {"latent": 6, "width": 8})
    assert isinstance(model, VectorQuantisedAutoencoder)
    codes = model.encode(torch.rand(2, 3, 32, 32))
    assert torch.equal(codes, codes.round()) and codes.shape == (2, *model.grid)
    again = model.from_coordinates(model.to_coordinates(codes.flatten(1)))
    assert torch.equal(again, codes.flatten(1))


def test_the_frozen_network_stays_as_it_is() -> None:
    torch.manual_seed(0)
    model = build(FROZEN, FrameSize(64, 36), {"latent": 6, "width": 8}).train()
    features = model.get_submodule("features")
    assert not any(module.training for module in features.modules())
    assert not any(p.requires_grad for p in features.parameters())
    before = {name: t.clone() for name, t in features.state_dict().items()}
    latent = model.encode(torch.rand(2, 3, 36, 64))
    assert not latent.requires_grad
    assert all(torch.equal(t, before[name]) for name, t in features.state_dict().items())


def test_denoise_mirrors_and_moves_by_the_step_alone() -> None:
    options = {"latent": 6, "width": 8, "flips": 1.0, "shift": 0}
    model = build(DENOISE, FrameSize(32, 32), options)
    frames = torch.rand(4, 3, 32, 32)
    step = Step(torch.tensor(0.5), 0, torch.Generator().manual_seed(0))
    assert torch.equal(model.augmented(frames, step), frames.flip(3))  # type: ignore[operator]
    whole = build(DENOISE, FrameSize(32, 32), {**options, "flips": 0.5, "shift": 2})
    drawn = [
        whole.augmented(frames[2 * part : 2 * part + 2], of_part(part))  # type: ignore[operator]
        for part in (0, 1)
    ]
    together = whole.augmented(frames, of_part(0, 1))  # type: ignore[operator]
    assert torch.equal(torch.cat(drawn), together)
    assert not torch.equal(together, frames)


def of_part(part: int, parts: int = 2) -> Step:
    return Step(torch.tensor(0.5), 0, torch.Generator().manual_seed(5), part, parts)


def test_a_learned_entropy_model_says_what_its_latents_take(
    zoo: Callable, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry().models, "entropy", ENTROPY)
    monkeypatch.setitem(registry().origins, "entropy", "a test 0")
    film = film_in(workspace, audio=None)
    size = ("--preset", "quick", "--size", "64x48", "--latent", "6", "--device", "cpu")
    done = zoo("train", "entropy", "--film", film, *size, "--budget", "20steps")
    assert done.code == 0, done.err
    loaded = package.load("entropy", film=film, device="cpu")
    metrics = MetricSet.load(torch.device("cpu"), "psnr")
    folder = loaded.trained.folder
    record = evaluate(
        Workspace(workspace), folder, loaded.config, loaded.film, metrics, torch.device("cpu")
    )
    latents = loaded.latents()
    coded = loaded.network.compress(latents.levels.long(), 32)
    assert coded is not None and record.latent is not None
    assert record.latent.coded_bytes == len(coded) / len(loaded.film)
    assert record.latent.bits == 6 * 5
    assert record.unequal_terms == [OWN_CODER]
    again = loaded.network.decompress(coded, len(latents.levels), 32)
    assert torch.equal(again, latents.levels.long())
    needed = sum(p.numel() for p in loaded.network.decoder.parameters())
    assert record.latent.decoder_bytes == 4 * needed + 6 * 32 * (4 + 8)
