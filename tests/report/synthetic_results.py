"""A comparison that never ran: two films, three models, two references, and hostile names."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image

from zoo.records import (
    Cost,
    Environment,
    FilmInfo,
    LatentInfo,
    MetricInfo,
    Picture,
    Record,
    Results,
    Spent,
    Summary,
    Throughput,
)

HOSTILE_TITLE = "A|B <script>alert(1)</script>\n# not a heading `tick` [red]x[/red] " + "z" * 10_000
HOSTILE_MODEL = "evil|[bold]\n*gan*$x$"
FRAMES = (4, 40, 70, 92, 97)
HELD_OUT_FROM = 80

# LPIPS and PSNR on held-out frames: the blurriest model has the best PSNR.
SCORES = {
    "sharp": (0.1004, 23.456),
    "blurry": (0.2504, 26.789),
    HOSTILE_MODEL: (0.1804, 24.001),
    "linear": (0.3004, 27.5),
    "still": (0.7004, 15.0),
}
REFERENCES = ("linear", "still")

ENVIRONMENT = Environment(
    device="cpu",
    device_name="Test CPU",
    precision="32-true",
    memory_format="contiguous",
    threads=2,
    python="3.11.2",
    torch="2.8.0",
    cuda=None,
    pyav="15.0.0",
    ffmpeg="7.1",
    film_zoo="0.1.0",
    commit="0123456789abcdef with changes",
)


def summary(mean: float | None) -> Summary:
    return Summary(frames=20, mean=mean, sd=0.01, lowest=mean, highest=mean)


def timing(median: float) -> Throughput:
    return Throughput(
        median=median, lower_quartile=median * 0.9, upper_quartile=median * 1.1, repeats=5
    )


def film(name: str, title: str, licence: str | None) -> FilmInfo:
    return FilmInfo(
        name=name,
        title=title,
        licence=licence,
        source="made in a test",
        fingerprint="sha256:" + name[0] * 64,
        size="96x54",
        frames=100,
        fps=25.0,
        shots=5,
        seen_frames=76,
        held_out_frames=20,
        held_out=[(80, 100)],
    )


def pictures(film_name: str, slug: str) -> list[Picture]:
    return [
        Picture(
            frame=frame,
            time_code=f"00:00:{frame / 25:06.3f}",
            part="held_out" if frame >= HELD_OUT_FROM else "seen",
            original=f"figures/frames/{film_name}/original/{frame:06d}.png",
            reconstruction=f"figures/frames/{film_name}/{slug}/{frame:06d}.png",
        )
        for frame in FRAMES
    ]


def record(model: str, film_name: str, worse: float = 0.0, seed: int = 0) -> Record:
    lpips, psnr = SCORES[model]
    reference = model in REFERENCES
    return Record(
        model=model,
        summary=f"what | {model} does",
        role="reference" if reference else "model",
        origin="film-zoo 0.1.0",
        trained_on=film_name,
        watched=film_name,
        seed=seed,
        options={"width": 16},
        status="ok",
        spent=None if reference else Spent(frames=1200, steps=75, epochs=15.8, seconds=30.0),
        parameters=1_234_567,
        latent=LatentInfo(numbers=16, bits=128, coded_bytes=14.24, decoder_bytes=3_499_999),
        scores={
            "psnr": {"seen": summary(psnr + 1 - worse), "held_out": summary(psnr - worse)},
            "lpips": {
                "seen": summary(lpips - 0.05 + worse / 100),
                "held_out": summary(lpips + worse / 100),
            },
        },
        cost=Cost(
            batch=16,
            train=None if reference else timing(312.345),
            encode=timing(1234.5),
            decode=timing(98.76),
        ),
        pictures=pictures(film_name, str(list(SCORES).index(model))),
        environment=ENVIRONMENT,
    )


def failed(model: str, film_name: str) -> Record:
    return Record(
        model=model,
        summary="",
        role="model",
        origin="film-zoo 0.1.0",
        trained_on=film_name,
        watched=film_name,
        seed=0,
        options={},
        status="failed",
        reason="RuntimeError: out | of <memory>",
        environment=ENVIRONMENT,
    )


METRICS = [
    MetricInfo(name="psnr", label="PSNR", unit="dB", better="higher", digits=2, source="MSE"),
    MetricInfo(
        name="ssim",
        label="SSIM",
        unit="",
        better="higher",
        digits=3,
        source="Wang et al., 2004",
        unavailable="no window | fits",
    ),
    MetricInfo(
        name="lpips",
        label="LPIPS (AlexNet)",
        unit="",
        better="lower",
        digits=3,
        source="Zhang et al., 2018",
    ),
]


def comparison() -> Results:
    films = [film("alpha", HOSTILE_TITLE, None), film("beta", "Beta", "CC BY 4.0")]
    records = [record(model, "alpha") for model in reversed(SCORES)]
    records += [record(model, "beta", worse=1.0) for model in SCORES if model != HOSTILE_MODEL]
    records.append(failed(HOSTILE_MODEL, "beta"))
    records[0].scores["psnr"]["seen"] = Summary(
        frames=20, mean=16.0, sd=math.nan, lowest=None, highest=math.inf
    )
    return Results(
        created="2025-01-02T03:04:05Z",
        command="zoo compare --films alpha,beta",
        preset="quick",
        budget="1200 frames",
        batch=16,
        films=films,
        metrics=[metric.model_copy() for metric in METRICS],
        records=records,
    )


def colour(slug: str, frame: int) -> tuple[int, int, int]:
    """A colour of its own for every row and frame, to find them again in a strip."""
    row = 0 if slug == "original" else 1 + int(slug)
    return (20 + 35 * row, 2 * frame, 128)


def put_pictures(results: Results, folder: Path) -> None:
    """Put the pictures that the records name into a results folder, as a comparison does."""
    for one in results.records:
        for picture in one.pictures:
            for name in (picture.original, picture.reconstruction):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    Image.new("RGB", (96, 54), colour(path.parent.name, picture.frame)).save(path)
