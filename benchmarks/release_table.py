"""Keep the table of a release, small: `python -m benchmarks.release_table NAME`.

Writes `results/releases/NAME.csv`: the means of every record of `results/results.csv` and what they
cost, without spreads and intervals. Run it before `make results` replaces the report.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from zoo.base.atomic_files import atomic_write

RESULTS = Path("results")
WHAT = (
    "trained_on",
    "evaluated_on",
    "tuning_film",
    "part",
    "frames",
    "model",
    "role",
    "options",
    "seed",
    "status",
)
COSTS = ("latent_numbers", "coded_bytes", "decoder_bytes", "trained_frames", "trained_seconds")
SETTINGS = ("device", "device_name", "precision", "torch", "commit")
MATCHED = ("takedown_matched", "takedown_comparable")
_MEAN = "_mean"
_DIGITS = 6


def kept(columns: Iterable[str]) -> list[str]:
    """The columns of a release's table among those of `results.csv`, in its order of meaning."""
    means = [one for one in columns if one.endswith(_MEAN)]
    return [*WHAT, *means, *MATCHED, *COSTS, *SETTINGS]


def short(number: str) -> str:
    """A number with six digits; whole numbers and empty fields as they are."""
    return number if number.isdigit() or not number else f"{float(number):.{_DIGITS}g}"


def table(rows: Iterable[Mapping[str, str]], columns: Iterable[str]) -> list[dict[str, str]]:
    """Return the rows with only these columns, which the results must have."""
    names = list(columns)
    # Text that looks like a number, such as the commit 1234567e8901, stays text.
    text = {*WHAT, *SETTINGS}
    return [
        {name: row[name] if name in text else short(row[name]) for name in names} for row in rows
    ]


def main(words: Sequence[str] | None = None) -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the release, such as 0.1.0")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args(words)
    source = asked.results / "results.csv"
    if not source.is_file():
        sys.exit(f"{source} does not exist: `make results` makes it")
    with source.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns = kept(reader.fieldnames or ())
        if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
            sys.exit(f"{source} has no column {missing[0]}: `zoo report {asked.results}` adds it")
        rows = table(reader, columns)
    out = asked.results / "releases" / f"{asked.name}.csv"
    if out.exists():
        sys.exit(f"{out} already exists; a release's table is written once")
    out.parent.mkdir(exist_ok=True)
    with atomic_write(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    sys.stdout.write(f"wrote {out}: {len(rows)} rows, {out.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
