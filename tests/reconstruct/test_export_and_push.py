"""Models exported as graphs, and published on the Hugging Face hub."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo as package
from tests.reconstruct.small_model import film_in, train
from zoo.api.autoencoder import Autoencoder
from zoo.base.errors import BadInput, ZooError
from zoo.plugins.registry import registry

FORMATS = [
    "torch",
    pytest.param(
        "onnx",
        marks=pytest.mark.skipif(
            any(importlib.util.find_spec(n) is None for n in ("onnx", "onnxscript", "onnxruntime")),
            reason="the extra `onnx` is not installed",
        ),
    ),
]


@pytest.fixture
def film(zoo: Callable, workspace: Path) -> Path:
    path = film_in(workspace, audio=None)
    train(zoo, path)
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_graphs_do_what_the_networks_do(form: str, zoo: Callable, film: Path) -> None:
    done = zoo("export", "vae", "--film", film, "--format", form, "-o", "made")
    assert done.code == 0, done.err
    assert done.out.count("from the original on 16 frames") == 2
    loaded = package.load("vae", film=film, device="cpu")
    frames = torch.from_numpy(np.array(loaded.film.store.array[5:12])).permute(0, 3, 1, 2) / 255
    latents = run(form, "encoder", frames)
    assert torch.allclose(latents, loaded.encode(frames), atol=1e-4)
    drawn = run(form, "decoder", latents).permute(0, 2, 3, 1).mul(255).round().byte().numpy()
    wanted = loaded.decode(loaded.encode(frames))
    assert (drawn != wanted).mean() < 0.001
    said = json.loads(Path("made/model.json").read_text())
    assert said["latents"]["shape"] == ["batch", 4]
    assert said["frames"]["shape"] == ["batch", 3, 48, 64]


def run(form: str, part: str, given: torch.Tensor) -> torch.Tensor:
    """Run a graph with what is not film-zoo."""
    if form == "torch":
        return torch.export.load(f"made/{part}.pt2").module()(given.contiguous())
    import onnxruntime

    session = onnxruntime.InferenceSession(f"made/{part}.onnx", providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"given": given.numpy()})[0])


def test_what_cannot_be_traced_says_so(
    zoo: Callable, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = registry().models["vae"]

    class Branching(vae):  # type: ignore[misc, valid-type]
        def encode(self, frames: torch.Tensor) -> torch.Tensor:
            found = super().encode(frames)
            return found if float(found.sum()) > 0 else found + 0.0

    monkeypatch.setitem(registry().models, "vae", Branching)
    done = zoo("export", "vae", "--film", film, "-o", "made")
    assert done.code == 1 and "the encoder of vae cannot be traced for torch" in done.err
    assert done.err.count("\n") == 1 and not list(Path("made").glob("*"))


def test_a_format_that_is_not_known(zoo: Callable, film: Path) -> None:
    assert zoo("export", "vae", "--film", film, "--format", "coreml").code == 2


def test_a_dry_run_writes_what_would_be_pushed(
    zoo: Callable, film: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(*words: object, **named: object) -> None:
        raise AssertionError("a dry run reached for the hub")

    monkeypatch.setattr("huggingface_hub.HfApi", reached)
    done = zoo("push", "vae", "--film", film, "--repo", "me/flash", "--dry-run", "-o", "hub")
    assert done.code == 0, done.err
    assert "no licence of flash-" in done.out and " is stated" in done.out
    files = {path.name for path in Path("hub").iterdir()}
    assert files == {"README.md", "run.json", "weights.safetensors", "scale.safetensors"}
    card = Path("hub/README.md").read_text()
    assert card.startswith("---\nlibrary_name: film-zoo\n")
    for said in ('load("hf://me/flash")', "No licence of the film", "| latent | 4 |"):
        assert said in card
    assert str(workspace) not in "".join(p.read_text("latin-1") for p in Path("hub").iterdir())


def test_what_was_published_reconstructs_the_same(zoo: Callable, film: Path) -> None:
    zoo("push", "vae", "--film", film, "--repo", "me/flash", "--dry-run", "-o", "hub")
    here, there = package.load("vae", film=film), package.load(folder="hub")
    frames = np.array(here.film.store.array[:40])
    assert np.array_equal(here.reconstruct(frames), there.reconstruct(frames))
    with pytest.raises(BadInput, match="without a film"):
        there.latents()
    assert np.array_equal(there.latents(film).levels, here.latents().levels)
    Path("hub/scale.safetensors").write_bytes(b"nothing")
    with pytest.raises(BadInput, match="no scale"):
        package.load(folder="hub")


def test_scores_of_the_record_stand_in_the_card(zoo: Callable, film: Path) -> None:
    from zoo.base.records import Record, Summary
    from zoo.base.workspace import Workspace
    from zoo.films.catalogue import Catalogue
    from zoo.reconstruct.hub import card
    from zoo.training.runs import find_runs

    (found,) = (run for run in find_runs(Workspace(film.parent)) if run.model == "vae")
    loaded = package.load("vae", film=film)
    (entry,) = Catalogue.open(Workspace(film.parent)).choose(str(film))
    score = Summary(frames=3, mean=31.25, sd=1, lowest=30, highest=32)
    record = Record.model_construct(scores={"psnr": {"seen": score}})
    object.__setattr__(found, "record", record)
    assert "| psnr | 31.2500 | n/a |" in card(found, loaded.trained, entry, "me/flash")


@pytest.mark.parametrize("repo", ["flash", "../me/flash", "me/fl ash", ""])
def test_a_repository_that_cannot_be(repo: str, zoo: Callable, film: Path) -> None:
    done = zoo("push", "vae", "--film", film, "--repo", repo)
    assert done.code == 2 and done.err.count("\n") == 1


def test_a_hub_that_refuses_is_reported_in_a_line(
    zoo: Callable, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        def create_repo(self, *words: object, **named: object) -> None:
            raise OSError("no network\nhere")

    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    monkeypatch.setattr("huggingface_hub.HfApi", Refusing)
    done = zoo("push", "vae", "--film", film, "--repo", "me/flash")
    assert done.code == 1 and "me/flash cannot be pushed: no network here" in done.err


def test_a_hub_that_cannot_be_reached_is_named(
    zoo: Callable, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    monkeypatch.delenv("ZOO_OFFLINE", raising=False)
    from huggingface_hub import HfApi

    hub = partial(HfApi, endpoint="http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    for words, verb in (
        (("push", "vae", "--film", film, "--repo", "me/flash"), "pushed"),
        (("pull", "me/flash"), "fetched"),
    ):
        done = zoo(*words)
        why = "127.0.0.1 cannot be reached: Connection refused"
        assert done.code == 1
        assert done.err.splitlines()[-1] == f"zoo: me/flash cannot be {verb}: {why}"


def test_a_push_without_a_login_ends_before_anything(
    zoo: Callable, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZOO_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    done = zoo("push", "vae", "--film", film, "--repo", "me/flash")
    assert done.code == 2 and done.out == ""
    assert done.err == "zoo: zoo push needs a login at the hub: `hf auth login`, or set HF_TOKEN\n"


def test_a_graph_that_computes_something_else_is_not_kept(
    film: Path, monkeypatch: pytest.MonkeyPatch, workspace: Path
) -> None:
    from zoo.reconstruct import export_graphs as graphs

    loaded = package.load("vae", film=film, device="cpu")
    assert isinstance(loaded.network, Autoencoder)
    monkeypatch.setattr(graphs, "_read_torch", lambda path: lambda given: given.new_zeros(1) + 9)
    frames = torch.rand(3, 3, 48, 64)
    with pytest.raises(ZooError, match="gives other results"):
        graphs.export_graphs(loaded.trained, frames, workspace / "made", "torch")
    assert not list((workspace / "made").glob("*.pt2"))


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("export", "vae"), ("encoder.pt2", "decoder.pt2", "model.json")),
        (
            ("push", "vae", "--repo", "me/flash", "--dry-run"),
            ("README.md", "run.json", "weights.safetensors", "scale.safetensors"),
        ),
    ],
    ids=["export", "push"],
)
def test_a_file_that_is_a_link_is_replaced(
    words: tuple[str, ...], names: tuple[str, ...], zoo: Callable, film: Path, workspace: Path
) -> None:
    victim = workspace / "victim"
    victim.write_text("precious")
    Path("made").mkdir()
    for name in names:
        Path("made", name).symlink_to(victim)
    done = zoo(*words, "--film", film, "-o", "made", "--overwrite")
    assert done.code == 0, done.err
    assert victim.read_text() == "precious"
    assert not any(Path("made", name).is_symlink() for name in names)
