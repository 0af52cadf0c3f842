"""Checks of a model's import, encoding and decoding; each raises `Broken` with what it observed.

A new process imports the model's module in an empty folder, after the libraries that it uses, and
monitors the import (`import_probe`), so that only what the module itself does is observed.
"""

from __future__ import annotations

import functools
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)

from zoo.api.autoencoder import Autoencoder
from zoo.base.errors import BadInput
from zoo.base.presets_and_budgets import PRESETS
from zoo.base.safe_text import describe_value, one_line
from zoo.conformance.fake_gpu import built, losses_on_gpu, round_trip_on_gpu
from zoo.conformance.fixtures import Broken, Inconclusive, Subject, expect, take_step
from zoo.evaluation.inference import check_latents
from zoo.evaluation.latents import Quantiser
from zoo.evaluation.model_summary import CODER, decoder_tensors, has_coder
from zoo.plugins.model_building import fits_directly, inference_state, latent_spec

SECONDS = 2.0
"""Processor time that a module's own code may take; defining classes takes hundredths."""
FEWEST_CODES = 4
"""Number of distinct whole numbers from which on latents count as codes."""
PATIENCE = 300.0
"""Timeout of the import, in seconds."""


def importing_does_no_work(subject: Subject) -> None:
    """Importing the module is fast: no training, files, network, processes or random numbers."""
    name = subject.architecture.__module__
    module = sys.modules.get(name)
    origin = getattr(module, "__file__", None)
    if name == "__main__" or module is None or origin is None:
        raise Inconclusive(f"{name} is not a module that another process could import")
    report = _imported_in_process(name, origin)
    if not report["found"]:
        raise Inconclusive(f"another process finds no module {name}")
    seen = list(report["seen"])
    if report["seconds"] > SECONDS:
        seen.append(f"computes for {report['seconds']:.1f} s")
    expect(not seen, f"importing {name} {', '.join(seen)}")
    expect(report["error"] is None, f"importing {name} alone fails: {report['error']}")


@functools.cache
def _imported_in_process(name: str, origin: str) -> dict[str, Any]:
    """The probe's report; cached, since several models may come from one module."""
    path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path)
    surroundings = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    libraries = sorted(_libraries(sys.modules[name]))
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "report.json"
        (empty := Path(folder) / "empty").mkdir()
        words = ["-m", "zoo.conformance.import_probe", str(written), name, origin, *libraries]
        try:
            ended = subprocess.run(
                [sys.executable, *words],
                cwd=empty,
                env=surroundings,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            return _unfinished(f"does not end within {PATIENCE:.0f} s")
        if not written.exists():
            said = (ended.stderr.strip() or "nothing").splitlines()[-1]
            return _unfinished(f"ended its process with {ended.returncode}, saying: {said}")
        return json.loads(written.read_text())


def _unfinished(seen: str) -> dict[str, Any]:
    return {"found": True, "seen": [seen], "seconds": 0.0, "error": None}


def _libraries(module: ModuleType) -> set[str]:
    """The modules of other packages used by a module, directly or through its own package."""
    own = module.__name__.partition(".")[0]
    found: set[str] = set()
    waiting, known = [module], {module.__name__}
    while waiting:
        for value in vars(waiting.pop()).values():
            name = value.__name__ if isinstance(value, ModuleType) else _home(value)
            if name in known or name not in sys.modules:
                continue
            known.add(name)
            if name.partition(".")[0] == own:
                waiting.append(sys.modules[name])
            elif name != "__main__":
                found.add(name)
    return found


def _home(value: object) -> str:
    """The `__module__` of a class or function; empty if there is none."""
    name = getattr(value, "__module__", None)
    return name if isinstance(name, str) else ""


NEEDS_A_DRIVER = "hasPrimaryContext"
"""Part of torch's error message for a backward pass on a GPU without a driver."""
LATENT_TOLERANCE = 1e-3
"""How far a latent may move, relative to its spread, when a frame is encoded in a batch."""
PIXELS_THAT_MAY_DIFFER = 1e-3
"""Share of colour values that may differ by one 8-bit level between kernels or batch sizes."""


@torch.inference_mode()
def shapes_and_range(subject: Subject) -> None:
    """Frames of any accepted size come back with the same shape, finite and in [0, 1]."""
    for size in subject.sizes:
        model = subject.build(size).eval()
        for samples in (subject.samples(3, size), subject.samples(1, size), subject.extremes(size)):
            latent = model.encode(samples)
            expect(
                latent.shape[0] == len(samples),
                f"{size}: {len(samples)} samples gave latents of shape {tuple(latent.shape)}",
            )
            expect(latent.isfinite().all(), f"{size}: latents are not finite")
            decoded = model.decode(latent)
            window = (model.window,) if model.window > 1 else ()
            due = (len(samples), *window, 3, size.height, size.width)
            expect(
                decoded.shape == due,
                f"{size}: samples of shape {tuple(samples.shape)} came back as "
                f"{tuple(decoded.shape)} and not as {due}",
            )
            expect(decoded.isfinite().all(), f"{size}: reconstructions are not finite")
            low, high = float(decoded.min()), float(decoded.max())
            expect(low >= 0 and high <= 1, f"{size}: reconstructions span {low:.3f} to {high:.3f}")


@torch.inference_mode()
def latent_as_declared(subject: Subject) -> None:
    """Latents match `latent_spec`: at most 8 bits for each of `latent` numbers per frame."""
    for size in subject.sizes:
        for wanted in subject.latents(size):
            model = subject.build(size, wanted).eval()
            spec = latent_spec(model)
            try:
                check_latents(model, model.encode(subject.samples(2, size)), 2)
            except BadInput as error:
                raise Broken(f"{size}, latent={wanted}: {error}") from None
            given = model.encode(subject.samples(2, size)).dtype
            expect(given.is_floating_point, f"{size}: latents are {given}, and not floats")
            most = 8 * wanted * model.window
            expect(
                spec.bits <= most,
                f"{size}: with latent={wanted} a latent takes {spec.bits} bits; {most} at most",
            )
    _expect_codes_declared(subject)


def _expect_codes_declared(subject: Subject) -> None:
    """Raise `Broken` if latents declared as real are whole: storing them would change them."""
    model = subject.after_training()
    latent = model.encode(torch.cat([subject.samples(8), subject.extremes()])).float()
    values = latent.unique()
    if latent_spec(model).codes is None and len(values) >= FEWEST_CODES:
        expect(
            not torch.equal(values, values.round()),
            f"every number of a latent is whole, {len(values)} of them between {values[0]:g} and "
            f"{values[-1]:g}: codes are declared, by a latent_spec with codes=...; real numbers "
            "are stored on a scale of 256 levels, and come back as others",
        )


def leaves_its_input_as_it_is(subject: Subject) -> None:
    """`encode`, `decode` and `losses` do not modify the frames and latents they are given."""
    model = subject.after_training()
    with torch.inference_mode():
        for frames in (subject.samples(4), subject.extremes()):
            latent = _unchanged(model.encode, frames, "encode changes the frames")
            _unchanged(model.decode, latent.clone(), "decode changes the latents")
    if not fits_directly(subject.architecture):
        model, batch = subject.to_train(), subject.batch(4)
        _unchanged(lambda _: take_step(model, batch), batch.frames, "losses changes the frames")


def _unchanged(call: Callable[[Tensor], Any], given: Tensor, otherwise: str) -> Any:
    """The result of a call; raises `Broken` if it changes its argument."""
    before = given.clone()
    found = call(given)
    expect(torch.equal(given, before), f"{otherwise} that it is given")
    return found


@torch.inference_mode()
def deterministic(subject: Subject) -> None:
    """In evaluation mode, the same frames give the same latents and reconstructions."""
    model = subject.after_training()
    frames, others = subject.samples(4), subject.extremes()
    first, second = model.encode(frames.clone()), model.encode(frames.clone())
    expect(torch.equal(first, second), "encoding the same frames twice gave two latents")
    one, two = model.decode(first.clone()), model.decode(first.clone())
    expect(torch.equal(one, two), "decoding the same latent twice gave two frames")
    model.decode(model.encode(others.clone()))
    again = torch.equal(first, model.encode(frames.clone()))
    expect(again, "after other frames the same ones give another latent: state is kept")


@torch.inference_mode()
def batch_invariant(subject: Subject) -> None:
    """A frame is encoded and decoded alone just as in a batch."""
    model = subject.after_training()
    frames = torch.cat([subject.samples(4), subject.extremes()])
    together = model.encode(frames)
    alone = torch.cat([model.encode(frame[None]) for frame in frames])
    _expect_same_latents(model, together, alone, "in a batch a latent {moved}")
    expect_same_picture(
        model.decode(together),
        torch.cat([model.decode(latent[None]) for latent in together]),
        "a frame decoded in a batch differs from the same frame decoded alone",
    )


@torch.inference_mode()
def reloads_to_the_bit(subject: Subject) -> None:
    """Saved weights, loaded into new instances, give the same reconstructions to the bit."""
    model = subject.after_training()
    frames = subject.samples(2)
    stored = save({name: t.contiguous().clone() for name, t in inference_state(model).items()})
    decoded = []
    for seed in (1, 2):
        again = subject.unfitted(seed=seed).eval()
        again.load_state_dict(load(stored))
        if seed == 2:
            # If a model keeps state from the first frames it encodes, it now differs.
            again.encode(subject.extremes())
        decoded.append(again.decode(again.encode(frames)))
    what = "after saving and loading, the same frames come back differently"
    # Both are loaded instances with the same memory layout; `prepare` may have left another one.
    expect(torch.equal(*decoded), what)
    expect_same_picture(model.decode(model.encode(frames)), decoded[0], what)


@torch.inference_mode()
def comes_back_from_coordinates(subject: Subject) -> None:
    """Latents converted to coordinates and back are unchanged."""
    model = subject.after_training()
    latent = model.encode(subject.samples(4))
    numbers = latent.flatten(1)
    again = model.from_coordinates(model.to_coordinates(numbers))
    expect(
        again.shape == numbers.shape,
        f"latents of shape {tuple(numbers.shape)} come back as {tuple(again.shape)}",
    )
    moved = "by way of coordinates a latent {moved}"
    _expect_same_latents(model, latent, again.view(latent.shape), moved)


@torch.inference_mode()
def draws_from_its_prior(subject: Subject) -> None:
    """Latents from a prior are as declared, and their randomness comes only from the generator."""
    model, count = subject.after_training(), 3
    latents = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)
            latents.append(model.sample_prior(count, torch.Generator().manual_seed(0)))
    if latents[0] is None:
        return
    spec, due = latent_spec(model), (count, *latent_spec(model).shape)
    given = tuple(latents[0].shape) if isinstance(latents[0], Tensor) else type(latents[0]).__name__
    expect(given == due, f"for {count} latents sample_prior gave {given}; {due} is declared")
    numbers = latents[0].float()
    expect(numbers.isfinite().all(), "sample_prior gave latents that are not finite")
    if spec.codes is not None:
        whole = torch.equal(numbers, numbers.round())
        inside = not numbers.numel() or (numbers.min() >= 0 and numbers.max() < spec.codes)
        expect(
            whole and inside,
            f"sample_prior gave {numbers.min():g} to {numbers.max():g}; codes are whole numbers "
            f"from 0 to {spec.codes - 1}",
        )
    expect(
        latents[1] is not None and torch.equal(latents[0], latents[1]),
        "sample_prior gave other latents with the same generator: chance comes from elsewhere",
    )


def _expect_same_latents(model: Autoencoder, one: Tensor, other: Tensor, said: str) -> None:
    """Raise `Broken` unless latents agree: real ones to a tolerance, codes by decoding them."""
    if latent_spec(model).codes is not None:
        # Two entries of a codebook may be equal; then either code is right.
        what = said.format(moved="has other codes, which decode differently")
        expect_same_picture(model.decode(one), model.decode(other), what)
        return
    spread = float(one.float().std()) if one.numel() else 1.0
    moved = float((one - other).abs().max()) if one.numel() else 0.0
    expect(
        moved <= LATENT_TOLERANCE * max(spread, 1e-6),
        f"{said.format(moved=f'moved by {moved:.2g}')}; latents spread by {spread:.2g}",
    )


@torch.no_grad()
def codes_latents_without_loss(subject: Subject) -> None:
    """Its own coder, if any, restores levels exactly, using only weights needed for decoding."""
    model = subject.after_training()
    if not has_coder(model):
        return
    latent = model.encode(torch.cat([subject.samples(8), subject.extremes()]))
    quantiser = Quantiser.of(latent_spec(model), latent.float().flatten(1))
    real = quantiser.quantise(latent.float().flatten(1)).long()
    values = quantiser.codes or 2**quantiser.bits
    generator = torch.Generator().manual_seed(0)
    any_at_all = torch.randint(values, (5, real.shape[1]), generator=generator)
    reached = decoder_tensors(model, latent[:1].clone())
    fresh = subject.unfitted(seed=1)
    for name, tensor in inference_state(model).items():
        needed = name in reached or name.startswith(CODER) or not tensor.is_floating_point()
        fresh.state_dict()[name].copy_(tensor if needed else torch.full_like(tensor, torch.nan))
    fresh.eval()
    for levels in (real, any_at_all, any_at_all[:1], real[:0]):
        stream = model.compress(levels.clone(), values)
        if stream is None:
            continue
        kind = describe_value(stream)
        expect(isinstance(stream, bytes), f"compress gave {kind}; it must give bytes")
        again = fresh.decompress(stream, len(levels), values)
        expect(
            again.shape == levels.shape and torch.equal(again.long(), levels),
            f"{len(levels)} latents come back otherwise from {len(stream)} bytes",
        )


@torch.inference_mode()
def decodes_from_the_latent_alone(subject: Subject) -> None:
    """A new instance with the same weights decodes latents it never encoded to the same frames."""
    model = subject.after_training()
    frames = subject.samples(8)
    latent = model.encode(frames[:2])
    decoded = model.decode(latent)
    fresh = subject.unfitted(seed=1)
    fresh.load_state_dict(inference_state(model))
    fresh.eval().encode(frames[6:])
    # Only the numbers: a tensor can carry more, in attributes or as a subclass.
    numbers = torch.tensor(latent.tolist(), dtype=latent.dtype).reshape(latent.shape)
    # This tensor is contiguous, while an encoder's output may be strided. Then other kernels run
    # and round differently, so reconstructions are compared, and not to the bit.
    expect_same_picture(
        decoded,
        fresh.decode(numbers),
        "decoding depends on more than the latent and the weights",
    )


def works_on_a_gpu(subject: Subject) -> None:
    """On a simulated GPU (preset film), losses, latents and frames stay on it without syncs."""
    architecture, film = subject.architecture, PRESETS["film"]
    options = {"latent": film.latent, **architecture.presets.get(film.name, {})}
    try:
        if not fits_directly(architecture):
            losses, copies = losses_on_gpu(built(architecture, film.size, options))
            expect(
                not copies,
                f"on a simulated GPU: losses copies {copies} tensors from the host in every step, "
                "and waits for each: make constants buffers, or by torch.full and the like",
            )
            for player, loss in losses.items():
                for term, value in loss.terms.items():
                    _expect_on_gpu(f"the term {player}.{term}", value)
        latent, decoded = round_trip_on_gpu(built(architecture, film.size, options))
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise Broken(
            f"on a simulated GPU: it waits to read a number or a shape ({error.func}), as "
            ".item(), float(tensor), `if tensor:` and tensor[mask] do; torch.where does not"
        ) from None
    except RuntimeError as error:
        if NEEDS_A_DRIVER not in str(error):
            raise Broken(one_line(f"on a simulated GPU: {error}", 300)) from None
        # An encoder that computes gradients cannot run without a driver.
        return
    _expect_on_gpu("the latent", latent)
    _expect_on_gpu("the reconstruction", decoded)


def _expect_on_gpu(what: str, value: Tensor) -> None:
    expect(value.device.type == "cuda", f"{what} is on the {value.device.type} and not on the GPU")


def expect_same_picture(one: Tensor, other: Tensor, what: str) -> None:
    """Raise `Broken` unless frames (B, 3, H, W) in [0, 1] agree up to a kernel's rounding.

    In 8 bits, no value may differ by more than one level, and only few values may differ.
    """
    apart = ((one.clamp(0, 1) * 255).round() - (other.clamp(0, 1) * 255).round()).abs()
    share = float((apart > 0).float().mean())
    expect(
        apart.max() <= 1 and share <= PIXELS_THAT_MAY_DIFFER,
        f"{what}: {share:.2%} of the values, by up to {int(apart.max())} of 255 levels",
    )


CHECKS: tuple[Callable[[Subject], None], ...] = (
    importing_does_no_work,
    shapes_and_range,
    latent_as_declared,
    leaves_its_input_as_it_is,
    deterministic,
    batch_invariant,
    reloads_to_the_bit,
    decodes_from_the_latent_alone,
    comes_back_from_coordinates,
    draws_from_its_prior,
    codes_latents_without_loss,
    works_on_a_gpu,
)
