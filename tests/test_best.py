"""Our own model beyond the contract: its first weights, and how it looks for latents."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from zoo_plugins.refinement import refined
from zoo_plugins.warped_components import WarpedComponents, warped

import zoo
from zoo import FrameSize
from zoo.conformance.subject import scene, scene_as_film
from zoo.evaluation.watch import film_batch
from zoo.films.in_memory import film_of
from zoo.plugins import registry

SIZE = FrameSize(64, 36)


def build(name: str = "best", **options: object) -> zoo.Autoencoder:
    torch.manual_seed(0)
    architecture = registry().architecture(name)
    quick = architecture.presets.get("quick", {})
    return architecture.build(SIZE, {"latent": 6, **quick, **options})


def errors(model: zoo.Autoencoder, frames: Tensor) -> Tensor:
    """Mean squared error a frame (B,)."""
    with torch.inference_mode():
        drawn = model.decode(model.encode(frames))
        return (drawn - frames).square().mean(dim=(1, 2, 3))


class Pixels(nn.Module):
    """The error of a drawing whose numbers are the frame's values, each at a scale of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([10.0, 1.0, 0.1]))

    def drawn(self, latent: Tensor) -> Tensor:
        return (self.scale * latent).unflatten(1, (3, 1, 1))

    def forward(self, latent: Tensor, frames: Tensor) -> Tensor:
        return (self.drawn(latent) - frames).square().mean(dim=(1, 2, 3))

    def curvature(self) -> Tensor:
        return 2 / 3 * self.scale.detach().square()


FRAMES = torch.tensor([[0.1, 0.5, 0.3], [0.9, 0.2, 0.4]]).view(2, 3, 1, 1)


def test_it_starts_from_the_principal_components() -> None:
    film, frames = scene_as_film(SIZE), scene(48, SIZE)
    model, pca = build(warps=0, refine=0), build("pca")
    before = errors(model, frames).mean()
    model.prepare(film)
    pca.fit(film)
    start = errors(model, frames).mean()
    assert start < 0.2 * before
    assert float(start) == pytest.approx(float(errors(pca, frames).mean()), abs=1e-3)


def test_warped_frames_teach_the_components_of_what_the_film_does_not_show() -> None:
    film = scene_as_film(SIZE)
    chance = torch.randn(40, 4, generator=torch.Generator().manual_seed(1))
    unseen = warped(scene(40, SIZE), chance)
    plain, widened = WarpedComponents(SIZE, 6, 0.0), WarpedComponents(SIZE, 6, 0.5)
    plain.fit(film)
    widened.fit(film)
    assert errors(widened, unseen).mean() < 0.8 * errors(plain, unseen).mean()
    again = WarpedComponents(SIZE, 6, 0.5)
    again.fit(film)
    assert torch.equal(widened.components, again.components)


def test_errors_are_measured_against_those_of_the_linear_picture() -> None:
    frames = scene(48, SIZE)
    films = [
        film_of((contrast * 255 * frames).round().byte().permute(0, 2, 3, 1).contiguous().numpy())
        for contrast in (1.0, 0.25)
    ]
    models = [build(warps=0, refine=0).eval() for _ in films]
    for model, film in zip(models, films, strict=True):
        model.prepare(film)
    plain, faint = (float(model.typical_error) for model in models)  # type: ignore[arg-type]
    assert faint == pytest.approx(0.25 * plain, rel=0.1)
    seen = film_batch(films[0], films[0].split.seen.tolist(), torch.device("cpu"))
    typical = errors(models[0], seen).log().mean().exp().sqrt()
    assert plain == pytest.approx(float(typical), rel=0.1)


def test_a_warp_enlarges_moves_and_mirrors() -> None:
    frames = scene(3, SIZE)
    still = torch.tensor([[0.0, 0, 0, 1]])
    assert torch.allclose(warped(frames, still.expand(3, -1)), frames, atol=1e-5)
    mirroring = torch.tensor([[0.0, 0, 0, -1]])
    assert torch.allclose(warped(frames, mirroring.expand(3, -1)), frames.flip(-1), atol=1e-5)
    # Twice 0.3 of half of 64 pixels is 19.2.
    moved = warped(frames, torch.tensor([[0.0, 2 / 0.3 * 16 / 64, 0, 1]]).expand(3, -1))
    assert torch.allclose(moved[..., :-16], frames[..., 16:], atol=1e-4)


def test_latents_move_to_where_the_error_is_least() -> None:
    drawing, start = Pixels(), torch.zeros(2, 3)
    with torch.inference_mode():
        found = refined(drawing, start, [FRAMES], drawing.curvature(), 20)
        alone = refined(drawing, start[1:], [FRAMES[1:]], drawing.curvature(), 20)
        assert torch.allclose(drawing.drawn(found), FRAMES, atol=1e-3)
    assert torch.equal(found[1:], alone)
    assert drawing.scale.grad is None


def test_weights_that_were_made_in_inference_mode_are_no_hindrance() -> None:
    with torch.inference_mode():
        drawing = Pixels()
        found = refined(drawing, torch.zeros(2, 3), [FRAMES], drawing.curvature(), 20)
        assert torch.allclose(drawing.drawn(found), FRAMES, atol=1e-3)


def test_no_frame_is_worse_for_steps_that_are_far_too_long() -> None:
    drawing, start = Pixels(), torch.zeros(2, 3)
    found = refined(drawing, start, [FRAMES], drawing.curvature() / 50, 6)
    with torch.no_grad():
        before, after = (drawing(latent, FRAMES) for latent in (start, found))
    assert (after < 0.9 * before).all()


def test_numbers_without_curvature_stay() -> None:
    drawing = Pixels()
    curvature = drawing.curvature() * torch.tensor([1, 0, 1])
    found = refined(drawing, torch.zeros(2, 3), [FRAMES], curvature, 8)
    assert (found[:, 1] == 0).all()
    assert (found[:, 0] > 0).all()


def test_refined_latents_draw_every_frame_nearer() -> None:
    model = build().eval()
    model.prepare(scene_as_film(SIZE))
    # A network that has learnt something: what it adds depends on the latent.
    with torch.no_grad():
        for weights in model.drawing.redraw.up[0].parameters():  # type: ignore[union-attr, index]
            weights.mul_(30)
    frames = scene(5, SIZE).flip(-1)
    coordinates = build(refine=0).eval()
    coordinates.load_state_dict(model.state_dict())
    before, after = errors(coordinates, frames), errors(model, frames)
    assert (after < before).all()
    assert after.mean() < 0.98 * before.mean()


def test_a_refined_latent_is_its_frames_alone() -> None:
    model = build().eval()
    model.prepare(scene_as_film(SIZE))
    frames = scene(7, SIZE)
    with torch.inference_mode():
        together = model.encode(frames)
        assert torch.equal(together, model.encode(frames))
        alone = torch.cat([model.encode(frame[None]) for frame in frames])
    # To the bit: steps by features make much of the least difference in rounding.
    assert torch.equal(together, alone)
    assert all(weights.grad is None for weights in model.parameters())
