"""Codecs: which decoders and encoders FFmpeg has here, and whether frames pass through them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction

from zoo.base.workspace import Workspace
from zoo.doctor.finding import Finding, good, problem, warning

DECODERS = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mpeg2video", "prores", "mjpeg")
_QUIET = {"libx265": {"x265-params": "log-level=none"}}
ENCODERS = {
    "libx264": "videos are written with it, and it stands in comparisons",
    "libx265": "it stands in comparisons",
    "libsvtav1": "it stands in comparisons",
    "aac": "sound that cannot be copied is written with it",
}
_FRAMES, _SIDE = 3, 64
_MEND = "`pip install --force-reinstall av` brings a whole FFmpeg"


def codecs(workspace: Workspace) -> Iterator[Finding]:
    """Every codec that film-zoo counts on; encoders of pictures are tried on a few frames."""
    import av

    yield good("codec", f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}")
    missing = [name for name in DECODERS if not _has(name, "r")]
    there = [name for name in DECODERS if name not in missing]
    yield good("codec", f"decodes {', '.join(there)}")
    if missing:
        yield warning("codec", f"no decoder for {', '.join(missing)}", _MEND)
    for name, use in ENCODERS.items():
        if not _has(name, "w"):
            state = problem if name == "libx264" else warning
            yield state("codec", f"no encoder {name}: {use}", _MEND)
            continue
        fault = None if name == "aac" else _fault(name)
        if fault:
            yield problem("codec", f"{name} fails: {fault}", _MEND)
        else:
            yield good("codec", f"encodes with {name}")


def _has(name: str, mode: str) -> bool:
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    try:
        Codec(name, mode)  # type: ignore[arg-type]
    except UnknownCodecError:
        return False
    return True


def _fault(encoder: str) -> str | None:
    """What goes wrong with a few frames through an encoder and back; None if nothing does."""
    import os

    import av
    import numpy as np
    from av.video.stream import VideoStream

    from zoo.base.environment import usual_priority

    os.environ.setdefault("SVT_LOG", "1")
    file = io.BytesIO()
    try:
        with av.open(file, "w", format="mp4") as container:
            stream = container.add_stream(encoder, Fraction(25), options=_QUIET.get(encoder))
            assert isinstance(stream, VideoStream)
            stream.width = stream.height = _SIDE
            stream.pix_fmt = "yuv420p"
            for number in range(_FRAMES):
                grey = np.full((_SIDE, _SIDE, 3), 60 * number, np.uint8)
                frame = av.VideoFrame.from_ndarray(grey, "rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                with usual_priority():
                    container.mux(stream.encode(frame))
            with usual_priority():
                container.mux(stream.encode(None))
        file.seek(0)
        with av.open(file, "r", format="mp4") as container:
            back = sum(1 for _ in container.decode(video=0))
    except (av.FFmpegError, ValueError) as error:
        return " ".join(str(error).split())[:200]
    return None if back == _FRAMES else f"{_FRAMES} frames went in and {back} came out"
