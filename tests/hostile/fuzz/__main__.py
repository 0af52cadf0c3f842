"""Fuzz one reader by atheris, from a good file on, with memory and time bounded.

Exits with 0 if every input was read or refused in one line. Anything else ends the process with a
traceback, or by libFuzzer's own exit where an input takes too long or too much memory; the input
is then kept in the folder that `--keep` names.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path

import atheris

MEBI = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=20, help="for one input")
    parser.add_argument("--mebibytes", type=int, default=1024, help="for the reader, beside itself")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument(
        "--break", dest="broken", action="store_true", help="to try the fuzz itself"
    )
    words = parser.parse_args()

    with atheris.instrument_imports(include=["zoo"], enable_loader_override=False):
        from tests.hostile.readers import READERS, outcome
    if words.name not in READERS:
        parser.error(f"there is no reader {words.name!r}; there are: {', '.join(READERS)}")
    reader = READERS[words.name]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = folder / reader.file
        corpus = folder / "corpus"
        corpus.mkdir()
        good = reader.seed(folder)
        (corpus / "good").write_bytes(good)
        path.write_bytes(good)
        assert outcome(reader, path) is None, "the good file is refused"
        # Libraries are loaded by now; what comes on top is the reader's.
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = held + 2 * words.mebibytes * MEBI
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

        def one(data: bytes) -> None:
            path.write_bytes(data)
            refused = outcome(reader, path) is not None
            if words.broken and refused:
                raise AssertionError("a defect that was put here")

        options = [
            f"-runs={words.runs}",
            f"-seed={words.seed}",
            f"-timeout={words.seconds}",
            f"-rss_limit_mb={resident + words.mebibytes}",
            f"-max_len={max(4096, 2 * len(good))}",
            f"-artifact_prefix={words.keep}/",
            "-print_final_stats=1",
        ]
        sys.stderr.write(f"resident before: {resident} MiB\n")
        atheris.Setup([sys.argv[0], *options, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
