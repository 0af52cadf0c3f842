"""Format numbers for people: with no more digits than were measured, and units if needed."""

from __future__ import annotations

from collections.abc import Sequence

NOT_AVAILABLE = "n/a"
NOT_APPLICABLE = "–"


def fixed(value: float | None, digits: int) -> str:
    """Format with `digits` decimals: `24.13`; `n/a` for None."""
    if value is None:
        return NOT_AVAILABLE
    text = f"{value:,.{digits}f}"
    # A tiny negative number must not become minus zero.
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def signed(value: float, digits: int) -> str:
    """Format with a sign: `+0.012`, `−0.012`; zero has none."""
    text = fixed(abs(value), digits)
    if float(text.replace(",", "")) == 0:
        return text
    return ("−" if value < 0 else "+") + text


def spread(value: float, digits: int) -> str:
    """Format a standard deviation as `fixed` does, with more digits if it would become zero."""
    text = fixed(value, digits)
    if value == 0 or float(text.replace(",", "")):
        return text if value else "0"
    return significant(value, 1)


def significant(value: float | None, digits: int = 3) -> str:
    """Format with `digits` significant digits and no exponent: `0.0123`, `1.20`, `12,400`."""
    if value is None:
        return NOT_AVAILABLE
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    after_point = max(0, digits - 1 - int(exponent))
    return f"{float(f'{mantissa}e{exponent}'):,.{after_point}f}"


def scaled(value: float | None, unit: str = "") -> str:
    """Format a count with three digits and a decimal prefix: `945`, `12.3 k`, `1.23 M`, `3.50 MB`.

    A whole count below a thousand is exact and has no decimals.
    """
    if value is None:
        return NOT_AVAILABLE
    # Rounded first: 999,999 is 1.00 M, not 1000 k.
    rounded = float(f"{value:.2e}")
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(rounded) >= factor:
            return f"{significant(rounded / factor)} {prefix}{unit}"
    text = f"{value:.0f}" if value == int(value) else significant(value)
    return f"{text} {unit}".rstrip()


def percent(share: float | None) -> str:
    """Format a share of 1 in whole percent: `85%`; `<1%` and `>99%` if it is not quite 0 or 1."""
    if share is None:
        return NOT_AVAILABLE
    shown = round(100 * share)
    if shown == 0 and share > 0:
        return "<1%"
    return ">99%" if shown == 100 and share < 1 else f"{shown}%"


def whole(value: float | None) -> str:
    """Format a whole number with thousands separators: `12,400`."""
    return NOT_AVAILABLE if value is None else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """Format a frame rate: `25`, `23.98`."""
    return NOT_AVAILABLE if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def duration(seconds: float | None) -> str:
    """Format a duration: `9.6 s`, `4 min 10 s`, `1 h 52 min`."""
    if seconds is None:
        return NOT_AVAILABLE
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    total = round(seconds)
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def counted(number: int, noun: str) -> str:
    """Format a count with its noun: `1 film`, `3 films`."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def verb(number: int, one: str, several: str) -> str:
    """Choose the form of a verb for a number of things."""
    return one if number == 1 else several


def ordinal(number: int) -> str:
    """Format an ordinal number: `1st`, `2nd`, `3rd`, `4th`, `11th`, `22nd`."""
    last = 0 if 10 < number % 100 < 20 else number % 10
    return f"{number:,}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"


def every(step: int) -> str:
    """Say which frames are used: `every frame`, `every other frame`, `every 3rd frame`."""
    if step < 3:
        return "every frame" if step == 1 else "every other frame"
    return f"every {ordinal(step)} frame"


def listed(names: Sequence[str], last: str = "and") -> str:
    """Join names as in a sentence: `a`, `a and b`, `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return ", ".join(names[:-1]) + f" {last} {names[-1]}"


def times(ratio: float) -> str:
    """Format a ratio: `1.8 times`."""
    return f"{significant(ratio, 2)} times"
