"""How long a film must be for a model to pay against a codec, with known answers."""

from __future__ import annotations

import math

import pytest

from tests.report.synthetic_results import METRICS, comparison, record
from zoo.base.records import DecoderPoint, LatentInfo, Record, Results
from zoo.report.rate_distortion import Curve, CurvePoint, curves
from zoo.report.worth_of_training import Bounds, codec_bytes, film_lengths, pays_from

FRAMES = 100
CODEC = Curve(
    "c", "reference", True, tuple(CurvePoint(b, v, None, None) for b, v in ((50, 20), (200, 30)))
)


def model(latents: float, *decoders: tuple[int, float]) -> Curve:
    """A model whose decoders take so many bytes and reach so much quality."""
    points = tuple(
        CurvePoint(latents + size / FRAMES, value, None, None, latents) for size, value in decoders
    )
    return Curve("m", "model", False, points, points)


@pytest.mark.parametrize(
    ("value", "lowest", "highest"),
    [(20, 50, 50), (25, 100, 100), (30, 200, 200), (31, 200, math.inf), (19, 0, 50)],
)
def test_bytes_of_a_codec_at_a_quality(value: float, lowest: float, highest: float) -> None:
    found = codec_bytes(CODEC.points, value, "higher")
    assert (found.lowest, found.highest) == (pytest.approx(lowest), pytest.approx(highest))


def test_where_lower_is_better_too() -> None:
    front = [CurvePoint(b, v, None, None) for b, v in ((50, 0.4), (200, 0.2))]
    assert codec_bytes(front, 0.3, "lower").lowest == pytest.approx(100)
    assert codec_bytes(front, 0.1, "lower") == Bounds(200, math.inf)
    assert codec_bytes(front, 0.5, "lower") == Bounds(0, 50)


@pytest.mark.parametrize(
    ("latents", "decoders", "lowest", "highest"),
    [
        # 60,000 bytes at 60 bytes saved per frame.
        (40, [(60_000, 25)], 1000, 1000),
        # A smaller decoder counts where it is first, though it is worse: 15,000 at 47.1 saved.
        (40, [(60_000, 25), (15_000, 24)], 15_000 / (87.0550563 - 40), 15_000 / (87.0550563 - 40)),
        (40, [(60_000, 25), (15_000, 19)], 1000, 1000),
        # A codec that is as good in fewer bytes than the latents.
        (120, [(60_000, 25)], math.inf, math.inf),
        (40, [(60_000, 19)], 6000, math.inf),
        (60, [(60_000, 19)], math.inf, math.inf),
        # No point of the codec is as good: it takes more than 200 bytes, or who knows.
        (40, [(60_000, 31)], 0, 375),
        (300, [(60_000, 31)], 0, math.inf),
    ],
)
def test_frames_until_a_model_pays(
    latents: float, decoders: list[tuple[int, float]], lowest: float, highest: float
) -> None:
    found = pays_from(model(latents, *decoders), CODEC, FRAMES, "higher")
    assert (found.lowest, found.highest) == (pytest.approx(lowest), pytest.approx(highest))


def with_codecs(**psnr: float) -> Results:
    """Results of one model on a film of 60 frames, beside codecs of so much quality."""
    results = comparison()
    results.films, results.metrics = results.films[:1], METRICS[:1]
    results.records = [record("sharp", "alpha")]
    for name, value in psnr.items():
        codec = record("linear", "alpha")
        codec.model, codec.kind, codec.rate = name, "codec", []
        codec.latent = LatentInfo(numbers=None, bits=None, coded_bytes=50, decoder_bytes=None)
        codec.scores["psnr"]["seen"].mean = value
        results.records.append(codec)
    return results


def first(results: Results) -> Record:
    return results.records[0]


def test_sentences_name_every_codec() -> None:
    quality = first(with_codecs()).rate[0].scores["psnr"]["seen"]
    assert quality is not None
    results = with_codecs(equal=quality, better=quality + 1, worse=quality - 1)
    latents = first(results).rate[0].coded_bytes
    assert latents is not None
    # 3,499,999 bytes of decoder.
    seconds = 3_499_999 / (50 - latents) / 25
    said, line = film_lengths(results, results.films[0])
    assert "equal PSNR" in said and "25 frames/s and 32 bits per weight if" in said
    about = f"{int(seconds // 3600)} h {round(seconds / 60) % 60} min"
    assert line == (
        f"sharp: against equal from {about}, against better not before {about} and against worse "
        f"from {about} at the latest."
    )


def test_a_rounded_decoder_is_a_point_of_the_second_curve_and_may_pay_first() -> None:
    results = with_codecs(equal=1.0)
    one, film = first(results), results.films[0]
    quality, latents = one.rate[0].scores["psnr"]["seen"], one.rate[0].coded_bytes
    assert quality is not None and latents is not None
    results.records[1].scores["psnr"]["seen"].mean = quality - 0.5
    one.rounded_decoders = [
        DecoderPoint(weight_bits=bits, decoder_bytes=size, scores={"psnr": {"seen": quality - off}})
        for bits, size, off in ((16, 1_750_000, 0.25), (8, 900_000, 0.5))
    ]
    sharp, _ = curves(results, film, METRICS[0])
    assert [(p.bytes_per_frame, p.value) for p in sharp.with_decoder] == [
        (pytest.approx(latents + size / film.frames), pytest.approx(quality - off))
        for size, off in ((900_000, 0.5), (1_750_000, 0.25), (3_499_999, 0))
    ]
    said, line = film_lengths(results, film)
    assert "32, 16 or 8 bits per weight, whichever needs the shortest film" in said
    seconds = 900_000 / (50 - latents) / 25
    assert (
        line
        == f"sharp: against equal from {int(seconds // 60)} min {round(seconds) % 60} s at the "
        "latest."
    )


def test_without_a_codec_or_a_decoder_there_is_nothing_to_say() -> None:
    results = with_codecs()
    assert film_lengths(results, results.films[0]) == []
    results = with_codecs(equal=1.0)
    latent = first(results).latent
    assert latent is not None
    latent.decoder_bytes = None
    assert film_lengths(results, results.films[0]) == []
