"""Files of weights that a plugin names, and the general autoencoder that is made of two."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from zoo_plugins.references import taef2

from zoo.api.autoencoder import Options
from zoo.base.frame_size import FrameSize
from zoo.base.records import Record, Results
from zoo.base.untrusted_files import read_json
from zoo.plugins.model_building import latent_spec
from zoo.plugins.registry import registry
from zoo.pretrained import PretrainedFile, WeightsUnavailable, pretrained_state

PUBLISHED = Path(__file__).parents[3] / "shared" / "weights"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No network, an empty cache, and no folder of weights."""
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("ZOO_WEIGHTS", raising=False)


def written(folder: Path, name: str, state: object) -> PretrainedFile:
    path = folder / name
    torch.save(state, path)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return PretrainedFile(name, path.as_uri(), digest, len(content))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with random weights of the published layout, in 16 bits, as `ZOO_WEIGHTS`."""
    torch.manual_seed(0)
    folder = tmp_path / "weights"
    folder.mkdir()
    for name, network in (("ENCODER", taef2.encoder()), ("DECODER", taef2.decoder())):
        state = {key: tensor.half() for key, tensor in network.state_dict().items()}
        file = written(folder, getattr(taef2, name).name, state)
        monkeypatch.setattr(taef2, name, file)
    monkeypatch.setenv("ZOO_WEIGHTS", str(folder))
    return folder


def test_a_file_is_taken_from_the_folder_the_cache_or_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    file = written(tmp_path, "a.pth", {"x": torch.arange(3)})

    def found() -> list[int]:
        return [int(value) for value in pretrained_state(file, lines.append)["x"]]

    with pytest.raises(WeightsUnavailable, match=r"a\.pth is not available: not in .*ZOO_OFFLINE"):
        found()
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))
    assert found() == [0, 1, 2] and not lines
    monkeypatch.delenv("ZOO_WEIGHTS")
    monkeypatch.setenv("ZOO_OFFLINE", "0")
    assert found() == [0, 1, 2]
    assert len(lines) == 1 and file.url in lines[0]
    (tmp_path / "a.pth").unlink()
    assert found() == [0, 1, 2] and len(lines) == 1, "it is in the cache now"


def test_only_the_very_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, "a.pth", {"x": torch.arange(3)})
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsUnavailable, match="wrong sha256"):
        pretrained_state(replace(file, sha256="0" * 64))
    with pytest.raises(WeightsUnavailable, match="may have at most 3"):
        pretrained_state(replace(file, size=3))
    monkeypatch.delenv("ZOO_WEIGHTS")
    monkeypatch.setenv("ZOO_OFFLINE", "0")
    for wrong, said in (
        ({"sha256": "0" * 64}, "wrong sha256"),
        ({"size": 3}, "larger than the file"),
    ):
        with pytest.raises(WeightsUnavailable, match=said):
            pretrained_state(replace(file, **wrong), lambda line: None)
    assert not [path for path in Path(os.environ["ZOO_CACHE"]).iterdir() if path.suffix == ".pth"]

    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "made"),)

    pickle = written(tmp_path, "b.pth", Runs())
    with pytest.raises(WeightsUnavailable, match=r"b\.pth is not a state dict"):
        pretrained_state(pickle, lambda line: None)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(("size", "shape"), [("32x32", (32, 4, 4)), ("34x42", (32, 6, 5))])
def test_the_latent_follows_the_frame(size: str, shape: tuple[int, ...], stand_in: Path) -> None:
    frame = FrameSize.parse(size)
    model = taef2.TinyAutoencoder(frame, Options()).eval()
    model.fit(None)  # type: ignore[arg-type]
    frames = torch.rand(2, 3, frame.height, frame.width)
    latent = model.encode(frames)
    assert latent_spec(model).shape == shape == latent.shape[1:]
    assert latent_spec(model).bits == 8 * latent[0].numel()
    assert torch.equal(latent, latent.round()) and 0 <= latent.min() <= latent.max() <= 255
    assert model.decode(latent).shape == frames.shape
    assert not [p for p in model.parameters() if p.requires_grad]


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published weights are not here")
def test_the_published_weights_reconstruct_a_film(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo_plugins.films.embedded_clips import zoo_films

    from zoo.base.workspace import Workspace
    from zoo.films.ingest import open_film

    monkeypatch.setenv("ZOO_WEIGHTS", str(PUBLISHED))
    size = FrameSize(96, 54)
    entry = next(each for each in zoo_films() if each.name == "bigbuckbunny")
    film = open_film(entry, size, Workspace(Path(os.environ["ZOO_CACHE"])))
    frames = torch.tensor(film.store.array[::24][:6].copy()).permute(0, 3, 1, 2) / 255
    model = taef2.TinyAutoencoder(size, Options()).eval()
    model.fit(None)  # type: ignore[arg-type]
    with torch.inference_mode():
        made = model.decode(model.encode(frames))
    psnr = -10 * (made - frames).square().mean(dim=(1, 2, 3)).log10()
    assert psnr.mean() > 24.5


COMPARE = (
    *("compare", "--films", "carphone", "--models", "ae,taef2", "--preset", "quick"),
    *("--size", "32x32", "--latent", 4, "--budget", "2steps", "--metrics", "psnr"),
    *("--device", "cpu", "--on", "inline"),
)


def compared(zoo: Callable, workspace: Path) -> tuple[list[Record], str]:
    done = zoo(*COMPARE)
    assert done.code == 0, done.err + done.out
    report = (workspace / "results/report.md").read_text()
    records = read_json(workspace / "results/results.json", Results).records
    return [record for record in records if record.model == "taef2"], report


@pytest.mark.slow
def test_a_comparison_without_the_weights_says_why(zoo: Callable, workspace: Path) -> None:
    (record,), report = compared(zoo, workspace)
    assert record.status == "failed" and record.role == "reference"
    assert (record.reason or "").startswith("n/a: taef2_encoder.pth is not available: ")
    assert "n/a: taef2_encoder.pth is not available" in report
    assert "failed: n/a" not in report and "Is training on" not in report
    assert not list(workspace.glob("runs/*/taef2")), "no run is left that could not be"


@pytest.mark.slow
def test_the_report_says_whether_training_was_worth_it(
    zoo: Callable, workspace: Path, stand_in: Path
) -> None:
    (record,), report = compared(zoo, workspace)
    assert record.pretrained and record.latent is not None
    assert record.latent.numbers == 32 * 4 * 4
    assert "Is training on carphone worth it, beside taef2" in report
    sizes = {r.model: r.latent for r in read_results(workspace) if r.kind == "codec"}
    assert {size.coded_bytes < 40 for size in sizes.values() if size} == {True}, (
        "codecs have the bytes of the models, not those of the reference"
    )


def read_results(workspace: Path) -> list[Record]:
    return list(read_json(workspace / "results/results.json", Results).records)


def test_it_is_compared_only_where_it_is_named() -> None:
    from zoo.compare.cells import plan_cells
    from zoo.training.settings import Settings

    known = registry()
    assert known.references["taef2"].pretrained
    assert not known.references["pca"].pretrained
    settings = Settings.choose("quick", size="32x32", latent=4, device="cpu")

    class Film:
        name = "film"

    def names(*models: str) -> set[str]:
        chosen = known.choose(",".join(models))
        cells = plan_cells([Film()], chosen, [settings])  # type: ignore[list-item]
        return {cell.architecture.name for cell in cells}

    assert "taef2" not in names("ae") and "pca" in names("ae")
    assert {"taef2", "pca"} <= names("ae", "taef2")
