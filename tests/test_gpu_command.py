"""`python -m benchmarks.gpu`: what it refuses, and the whole script at a tiny size."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.gpu.stages import (
    STAGES,
    read_stage,
    without_folders,
)
from tests.plugin_sources import MODEL, MODELS_HOOK, describe_package
from tests.test_gpu_script import ROOT
from zoo.base.gpu_records import (
    SUMMARY,
    GpuSummary,
    summaries,
)
from zoo.base.records import Record
from zoo.base.untrusted_files import read_json


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no CUDA devices are visible"),
        (("--device", "cpu"), "add --tiny"),
        (("--films", "nowhere"), "takes a folder of films"),
        (("--stages", "smok"), "no stage is called 'smok'"),
        (("--device", "cpu", "--tiny", "--models", "vea"), "no model is called 'vea'"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_exit_code_2(
    words: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import torch

    from benchmarks.gpu.__main__ import main

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu", *words])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


FAILING = """
    def losses(self, batch, step):
        raise RuntimeError("there is no such kernel")
"""


@pytest.mark.slow
def test_the_whole_script_at_a_tiny_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    describe_package(tmp_path, "broken", {"broken": "broken_model"})
    (tmp_path / "broken_model.py").write_text(MODEL.format(name="broken") + FAILING + MODELS_HOOK)
    known = os.environ.get("PYTHONPATH", "")
    folders = [str(tmp_path), str(ROOT), str(ROOT / "plugins"), known]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))
    out = tmp_path / "results" / "gpu" / "trial"
    words = ["--device", "cpu", "--tiny", "--models", "ae,broken", "--minutes", "20"]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *words, "--out", str(out)], cwd=ROOT, check=True
    )

    assert summaries(tmp_path / "results") == [out / SUMMARY]
    summary = read_json(out / SUMMARY, GpuSummary)
    for name in STAGES:
        stage = getattr(summary, name)
        assert stage == read_stage(out, name)
        assert stage.state == "done" and stage.environment, name
    assert summary.machine and summary.smoke and summary.throughput
    assert summary.machine.items[0].result
    assert (summary.machine.items[0].result.matmul_rates["fp32"] or 0) > 0

    ae, broken = summary.smoke.items
    assert ae.state == "done" and ae.result and ae.result.resume
    assert set(ae.result.checks.values()) == {"ok"}
    assert ae.result.checks.keys() == {"step", "train", "resume", "evaluate", "reconstruct"}
    assert ae.result.resume.equal and ae.result.resume.repeatable is None
    assert broken.state == "failed" and broken.result
    assert broken.result.checks["step"] == "RuntimeError: there is no such kernel"
    assert broken.error[-1] == "RuntimeError: there is no such kernel"

    assert {item.state for item in summary.throughput.items if item.name.startswith("ae")} == {
        "done"
    }
    for item in summary.throughput.items:
        if item.result:
            assert (item.result.frames_per_second or 0) > 0
            assert 0 < (item.result.share_of_peak or 0) < 1
    assert summary.workload and summary.workload.items[0].result
    feature = summary.workload.items[0].result
    assert feature.feature_seconds == pytest.approx(1_008_000 / (feature.frames_per_second or 0))
    shares = list(feature.kernels.values())
    assert shares == sorted(shares, reverse=True) and 0.5 < sum(shares) <= 1
    assert any("conv" in name for name in feature.kernels)
    assert summary.media
    media = {item.name: item for item in summary.media.items}
    assert media["ingest, processor"].state == "done"
    assert media["ingest, cuda"].state == "failed" and media["ingest, cuda"].error
    assert summary.films
    assert [item.name for item in summary.films.items] == ["pca", "ae", "x264", "x265"]
    results = [item.result for item in summary.films.items]
    for result in results:
        assert result and result.scores["seen"]["psnr"] and result.coded_bytes
        assert result.record and read_json(out / result.record, Record).model == result.model
    pca, film = results[:2]
    assert pca and pca.strip and film and film.strip and film.steps == 8 and pca.steps is None
    for path in (film.strip, film.video):
        assert path and 0 < (out / path).stat().st_size < 1_500_000
    heights = [Image.open(out / strip).height for strip in (pca.strip, film.strip)]
    assert heights == [2 * 36, 3 * 36]  # the film, the model, the principal components
    reported = (out / "summary.md").read_text()
    assert "A trial of the script" in reported
    assert "](films/ae.webp)" in reported and "](films/ae.mp4)" in reported
    assert f"% `{next(iter(feature.kernels))}`" in reported


def test_what_is_published_names_no_folder_of_this_machine() -> None:
    lines = [f'  File "{ROOT}/zoo/api/step.py", line 3', f"not in {Path.home()}/.cache/film-zoo"]
    assert [without_folders(line) for line in lines] == [
        '  File "zoo/api/step.py", line 3',
        "not in ~/.cache/film-zoo",
    ]
    import torch

    assert without_folders(f'File "{torch.__file__}"') == 'File "torch/__init__.py"'
