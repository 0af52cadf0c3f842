"""What authors of untrusted files may call things, and what must not come of it."""

from __future__ import annotations

import unicodedata

NAMES = {
    "markup": "[bold red]evil[/bold red] [link=file:///etc/passwd]x[/link]",
    "ansi": "\x1b[2J\x1b]0;owned\x07\x1b[31mevil\x9b31m",
    "control": "a\x00b\rc\x08\x08d\x0be\nf\ttab\x7f",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><b>&amp;",
    "markdown": "# h\n\n- *x* _y_ `z` | p | ![i](http://e/x.png) [l](javascript:alert(1)) ~~s~~",
    "path": "../../../etc/passwd",
    "slashes": "/etc\\..\\windows/system32",
    "direction": "abc\u202eexe.gpj\u2066\u200f\ufeff\u200b\U000e0041",
    "long": "n" * 10_000,
    "script": "</script><!--<script>",
    "template": "{{ 7*7 }}{% raw %}${x} $\\frac{1}{0}$",
}


def is_inert(text: str, among: str = "\n") -> bool:
    """Whether there is nothing in a text but letters, and the breaks that belong `among` them."""
    bad = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return not any(unicodedata.category(letter) in bad for letter in set(text) - set(among))
