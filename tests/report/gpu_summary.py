"""What a run of `make gpu` might leave, made up."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.report.synthetic_results import ENVIRONMENT
from zoo.base.atomic_files import write_json
from zoo.base.gpu_records import (
    SUMMARY,
    FilmResult,
    GpuSummary,
    Item,
    MachineResult,
    MediaResult,
    Resume,
    SmokeResult,
    Stage,
    ThroughputResult,
    WorkloadResult,
)

HERE = ENVIRONMENT.model_copy(
    update={
        "device": "cuda",
        "device_name": "NVIDIA H100 | 80GB",
        "precision": "bf16-mixed",
        "cuda": "12.8",
    }
)


def machine() -> MachineResult:
    return MachineResult(
        capability="9.0",
        memory_bytes=85_899_345_920,
        multiprocessors=132,
        driver="550.54",
        power_limit_watts=700.0,
        graphics_clock_mhz=1980.0,
        cudnn=90100,
        cores=16,
        hardware_decoders=["cuda"],
        matmul_rates={"bf16": 7.5e14, "tf32": 4.1e14, "fp32": None},
        copy_rate=2.4e12,
    )


def smoke(model: str, resume: Resume | None = None, **checks: str) -> SmokeResult:
    return SmokeResult(model=model, checks={"step": "ok", "train": "ok", **checks}, resume=resume)


def throughput(model: str, compiled: bool = False, waits: str | None = None) -> ThroughputResult:
    return ThroughputResult(
        model=model,
        batch=128,
        compiled=compiled,
        precision="bf16-mixed",
        parameters=34_000_000,
        frames_per_second=12_345.0,
        lower_quartile=12_000.0,
        upper_quartile=12_400.0,
        blocks=9,
        peak_memory_bytes=9_870_000_000,
        operations_per_frame=9.0e9,
        share_of_peak=0.147,
        first_step_seconds=31.2 if compiled else 0.8,
        waits=waits,
    )


def workload(seconds: float, share: float) -> WorkloadResult:
    return WorkloadResult(
        batch=128,
        compiled=True,
        precision="bf16-mixed",
        parameters=75_700_000,
        film_frames=1440,
        film_on_device=True,
        seconds=40.0,
        frames_per_second=168_000 * 6 / seconds,
        share_of_peak=share,
        data_stall=0.001,
        feature_seconds=seconds,
    )


def film(model: str, strip: str | None) -> FilmResult:
    return FilmResult(
        model=model,
        film="clip.mp4",
        licence=None,
        size="256x144",
        latent=200,
        film_frames=1440,
        film_seconds=(60.0, 120.0),
        batch=32,
        precision="bf16-mixed",
        steps=2500,
        train_seconds=31.0,
        frames_per_second=2580.0,
        scores={"seen": {"lpips": 0.21, "psnr": 26.1}, "held_out": {"lpips": 0.31, "psnr": None}},
        coded_bytes=171.2,
        record=None,
        strip=strip,
        video=None,
    )


def media_result(task: str, subject: str, **fields: object) -> MediaResult:
    size = {"frames": 512, "size": "256x144"}
    speed = {"seconds": 0.1, "frames_per_second": 5120.0}
    return MediaResult(task=task, subject=subject, **size | speed | fields)


CODEC = {"latent": None, "steps": None, "train_seconds": None, "frames_per_second": None}


def summary() -> GpuSummary:
    """A run in which something of every kind went right and wrong."""
    apart = Resume(steps=8, stopped_at=4, equal=False, repeatable=True, difference=3e-7)
    shaky = Resume(steps=8, stopped_at=4, equal=False, repeatable=False, difference=1e-4)
    lpips, ingest = (
        media_result("metric", "lpips"),
        media_result("ingest", "cuda", source="h264, 1920x1080"),
    )

    def stage(name: str, *items: Item, **fields: object) -> dict[str, object]:
        return {
            "stage": name,
            "state": "done",
            "allowed_seconds": 60.0,
            "environment": HERE,
            "items": list(items),
            **fields,
        }

    def done(name: str, result: object) -> Item:
        return Item(name=name, state="done", seconds=1.0, result=result)

    missing = Item(name="vae | batch 512", state="failed", error=["Traceback", "out of memory"])
    late = [
        Item(name=f"coded_pca, batch {n}", state="cut off", error=["not reached"])
        for n in range(20)
    ]
    cut = Item(name="vae, batch 32", state="cut off")
    return GpuSummary(
        tiny=False,
        began="2026-01-02T03:04:05+00:00",
        minutes=9.0,
        seconds=531.0,
        sources=["clip.mp4"],
        machine=Stage[MachineResult](**stage("machine", done("machine", machine()))),
        smoke=Stage[SmokeResult](
            **stage(
                "smoke",
                done("ae", smoke("ae")),
                done("vae", smoke("vae", apart, step="the loss is nan")),
                done("coded_pca", smoke("coded_pca", shaky)),
                Item(name="hnerv", state="cut off", result=smoke("hnerv"), error=["time was over"]),
                cut,
            )
        ),
        throughput=Stage[ThroughputResult](
            **stage(
                "throughput",
                done("ae", throughput("ae")),
                done("ae, compiled", throughput("ae", True, "aten::item")),
                missing,
                *late,
            )
        ),
        workload=Stage[WorkloadResult](
            **stage(
                "workload",
                done("batch 128", workload(250.0, 0.43)),
                done("batch 32", workload(420.0, 0.2)),
            )
        ),
        media=Stage[MediaResult](
            **stage("media", done("lpips", lpips), done("ingest", ingest), state="failed",
                    error=["Traceback", "no film"])
        ),
        films=Stage[FilmResult](
            **stage(
                "films",
                done("vaegan", film("vaegan", "films/vaegan.webp")),
                done("coded_pca", film("coded_pca", "../../secret.webp")),
                done("x264", film("x264", None).model_copy(update=CODEC)),
            )
        ),
    )  # fmt: skip


def put(results: Path, device: str = "h100") -> Path:
    """Write the run's folder below a results folder."""
    folder = results / "gpu" / device
    (folder / "films").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "films" / "vaegan.webp")
    Image.new("RGB", (8, 8)).save(results / "secret.webp")
    write_json(folder / SUMMARY, summary())
    return folder
