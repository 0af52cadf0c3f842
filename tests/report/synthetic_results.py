"""A comparison that never ran: two films, three models, two references, and hostile names."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from zoo.base.atomic_files import write_json
from zoo.base.records import (
    BatchDependence,
    Cost,
    Environment,
    FailureAnalysis,
    FilmInfo,
    LatentInfo,
    Memory,
    MetricInfo,
    Part,
    Picture,
    PlainFrame,
    RatePoint,
    Record,
    Results,
    Series,
    SeriesRow,
    Slice,
    SpreadWithinShots,
    Summary,
    Takedown,
    Throughput,
    TrainingReceived,
)
from zoo.report.results_folder import FilmSeries, film_stems
from zoo.report.viewer.write import write_film, write_page

HOSTILE_TITLE = "A|B <script>alert(1)</script>\n# not a heading `tick` [red]x[/red] " + "z" * 10_000
HOSTILE_MODEL = "evil|[bold]\n*gan*$x$"
FRAMES = (4, 40, 70, 92, 97)
KINDS: tuple[Literal["typical", "best", "worst"], ...] = (
    *("typical", "best", "worst"),
    *("typical", "worst"),
)
HELD_OUT_FROM = 80

# LPIPS and PSNR on held-out frames: the blurriest model has the best PSNR.
SCORES = {
    "sharp": (0.1004, 23.456),
    "blurry": (0.2504, 26.789),
    HOSTILE_MODEL: (0.1804, 24.001),
    "linear": (0.3004, 27.5),
    "still": (0.7004, 15.0),
}
SHARPNESS = {"sharp": 1.25, "blurry": 0.4, HOSTILE_MODEL: 0.7, "linear": 0.9, "still": 0.1}
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
    interval = None if mean is None else (mean - 0.02, mean + 0.03)
    return Summary(
        frames=20, shots=9, mean=mean, sd=0.01, lowest=mean, highest=mean, interval=interval
    )


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
        shot_starts=[0, 20, 40, 60, 80],
        barcode=f"figures/barcode-{name}.png",
        series=f"series/{name}.json",
        overlaps={"beta" if name == "alpha" else "alpha": 0.0},
    )


def pictures(film_name: str, slug: str) -> list[Picture]:
    return [
        Picture(
            frame=frame,
            time_code=f"00:00:{frame / 25:06.3f}",
            part="held_out" if frame >= HELD_OUT_FROM else "seen",
            kind=kind,
            original=f"figures/frames/{film_name}/original/{frame:06d}.png",
            reconstruction=f"figures/frames/{film_name}/{slug}/{frame:06d}.png",
        )
        for frame, kind in zip(FRAMES, KINDS, strict=True)
    ]


def slices(lpips: float, part: Part) -> list[Slice]:
    """Fifths by brightness; the film's darkest frames are all seen, and twice as bad."""
    return [
        Slice(
            by="brightness",
            lowest=20.0 * fifth,
            highest=20.0 * fifth + 19,
            frames=4,
            scores={"lpips": lpips * (2.0 if fifth == 0 else 1.0)},
        )
        for fifth in range(5)
        if part == "seen" or fifth > 0
    ]


def failure_analysis(model: str, lpips: float) -> FailureAnalysis:
    """Only `blurry` fails: on black frames, within still shots and in company."""
    bad = model == "blurry"

    def plain(name: Literal["black", "grey", "white"], level: int, off: float) -> PlainFrame:
        return PlainFrame(
            name=name,
            level=level,
            reconstructed=(abs(level - off), abs(level - off / 2), abs(level - off)),
            reconstructed_sd=1.0,
            scores={"psnr": 12.34 if off > 25 else 34.56},
        )

    return FailureAnalysis(
        slices={part: slices(lpips, part) for part in ("seen", "held_out")},
        plain=[plain("black", 0, 60.0 if bad else 2.0), plain("grey", 128, 2.0)],
        still_shots=SpreadWithinShots(
            shots=2, source_spread=4.0, reconstructed_spread=1.0, ratio=0.25 if bad else 0.9
        ),
        all_shots=SpreadWithinShots(
            shots=5, source_spread=9.0, reconstructed_spread=8.0, ratio=0.89
        ),
        batch_dependence=BatchDependence(
            frames=8, latent_difference=0.0, levels=9 if bad else 0, differing=0.3 if bad else 0.0
        ),
    )


def takedown(model: str, film_name: str) -> Takedown:
    matched = {"sharp": 0.854, "blurry": 0.0, "linear": 1.0}.get(model, 0.3)
    return Takedown(
        frame_step=1,
        comparable=90,
        matched=matched,
        retrieved=matched / 2,
        found=matched,
        film_matches=matched >= 0.8,
        precision=0.99 if matched else None,
        false_matches={"beta" if film_name == "alpha" else "alpha": matched / 20},
    )


def rate(psnr: float, lpips: float) -> list[RatePoint]:
    return [
        RatePoint(
            bits=bits,
            coded_bytes=16 * bits / 9,
            kilobits_per_second=16 * bits / 9 * 8 * 25 / 1000,
            frames={"seen": 76, "held_out": 20},
            scores={
                "psnr": {"seen": psnr + 1 - worse, "held_out": psnr - worse},
                "lpips": {"seen": lpips - 0.05 + worse / 50, "held_out": lpips + worse / 50},
            },
        )
        for bits, worse in ((8, 0.0), (6, 0.2), (5, 0.5), (4, 1.0), (3, 2.0))
    ]


def cost(reference: bool) -> Cost:
    memory = Memory(allocated=None, reserved=123_456_789)
    return Cost(
        batch=16,
        train=None if reference else timing(312.345),
        encode=timing(1234.5),
        decode=timing(98.76),
        round_trip=timing(91.5),
        encode_one=timing(456.7),
        decode_one=timing(33.33),
        round_trip_one=timing(31.0),
        train_memory=None if reference else memory,
        round_trip_memory=memory,
        encode_multiply_adds=12_345_678,
        decode_multiply_adds=23_456_789,
        train_share_of_peak=None if reference else 0.1234,
        round_trip_share_of_peak=0.0567,
        unavailable={"round_trip_joules": "no meter | here"},
    )


def bare_record(model: str, film_name: str, **fields: Any) -> Record:
    """A record of a model on the film that it was trained on, with nothing in it but `fields`."""
    bare = {
        "summary": "",
        "role": "model",
        "origin": "film-zoo 0.1.0",
        "trained_on": film_name,
        "evaluated_on": film_name,
        "evaluation_fingerprint": "sha256:" + film_name[0] * 64,
        "seed": 0,
        "options": {},
        "status": "ok",
        "environment": ENVIRONMENT,
    }
    return Record(model=model, **bare | fields)


def record(model: str, film_name: str, worse: float = 0.0, seed: int = 0) -> Record:
    lpips, psnr = SCORES[model]
    reference = model in REFERENCES
    return bare_record(
        model,
        film_name,
        summary=f"what | {model} does",
        role="reference" if reference else "model",
        seed=seed,
        options={"width": 16},
        unequal_terms=[],
        tuned_on=[],
        waivers={},
        training=None
        if reference
        else TrainingReceived(frames=1200, steps=75, epochs=15.8, seconds=30.0),
        parameters=1_234_567,
        latent=LatentInfo(numbers=16, bits=128, coded_bytes=14.24, decoder_bytes=3_499_999),
        scores={
            "psnr": {"seen": summary(psnr + 1 - worse), "held_out": summary(psnr - worse)},
            "lpips": {
                "seen": summary(lpips - 0.05 + worse / 100),
                "held_out": summary(lpips + worse / 100),
            },
            "sharpness": {"seen": summary(0.5), "held_out": summary(SHARPNESS[model])},
        },
        run=f"runs/{film_name}/{list(SCORES).index(model)}/{seed}",
        rate=rate(psnr, lpips),
        failure_analysis=failure_analysis(model, lpips),
        takedown=takedown(model, film_name),
        cost=cost(reference),
        pictures=pictures(film_name, str(list(SCORES).index(model))),
    )


def foreign(model: str, trained_on: str, evaluated_on: str, seed: int = 0) -> Record:
    """A model on a film that it was not trained on: 0.3 worse by LPIPS."""
    own = record(model, evaluated_on, seed=seed)
    lpips, psnr = SCORES[model]
    return own.model_copy(
        update={
            "trained_on": trained_on,
            "run": f"runs/{trained_on}/{list(SCORES).index(model)}/{seed}",
            "scores": {
                "lpips": {"other": summary(lpips + 0.3)},
                "psnr": {"other": summary(psnr - 9)},
            },
            "rate": [],
            "takedown": None,
            "cost": None,
            "pictures": [],
        }
    )


def failed(model: str, film_name: str) -> Record:
    why = "RuntimeError: out | of <memory>"
    return bare_record(model, film_name, status="failed", reason=why)


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
        name="sharpness",
        label="sharpness",
        unit="",
        better="one",
        digits=2,
        source="Laplacian",
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
    for model in SCORES:
        records.append(foreign(model, "alpha", "beta"))
        if model != HOSTILE_MODEL:
            records.append(foreign(model, "beta", "alpha"))
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
    """Put what the records name into a results folder, as a comparison does."""
    for one in results.records:
        for picture in one.pictures:
            for name in (picture.original, picture.reconstruction):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    Image.new("RGB", (96, 54), colour(path.parent.name, picture.frame)).save(path)
    for film in results.films:
        if film.barcode:
            (folder / film.barcode).parent.mkdir(parents=True, exist_ok=True)
            Image.radial_gradient("L").convert("RGB").save(folder / film.barcode)
        if film.series:
            write_json(folder / film.series, series(results, film))


def series(results: Results, film: FilmInfo) -> Series:
    """LPIPS of every frame but the first, a ramp up to each model's own number."""
    evaluated_on = [r for r in results.records if r.evaluated_on == film.name and r.status == "ok"]
    return Series(
        film=film.name,
        frames=list(range(film.frames)),
        seconds=[frame / 25 for frame in range(film.frames)],
        rows=[
            SeriesRow(
                run=one.run or "",
                scores={
                    "lpips": [
                        None if frame == 0 else SCORES[one.model][0] * frame / 100
                        for frame in range(film.frames)
                    ]
                },
            )
            for one in evaluated_on
        ],
    )


def write_page_of(results: Results, folder: Path) -> Path:
    """Write the page of a results folder, of all sizes of the latent, and return it."""
    stems = film_stems(results)
    films = [
        write_film(
            *(results, results, film, FilmSeries.read(film, folder)),
            *(folder, folder, stems[film.name]),
        )
        for film in results.films
    ]
    return write_page(results, results, films, folder)
