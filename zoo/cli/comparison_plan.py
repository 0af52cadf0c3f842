"""Read and write plans: the options of a comparison in a file, `plan.toml`.

A plan names options as the command line does, without the dashes. The command line takes
precedence over the plan, and the plan over defaults.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
import typer
from typer.core import TyperOption

from zoo.base.atomic_files import atomic_write
from zoo.base.errors import BadInput
from zoo.base.safe_text import describe_value, one_line
from zoo.base.untrusted_files import read_bytes
from zoo.plugins.entry_points import as_typed

LARGEST_PLAN = 1 << 20
"""Size limit in bytes."""
NEVER = frozenset({"dry-run", "save-plan", "help"})
"""Options that say what to do with a plan, and cannot be in one."""
FOR_ONCE = frozenset({"overwrite", "overwrite-runs"})
"""Options that replace something: a plan may contain them, but is never written with them."""
LISTS = frozenset({"films", "models", "metrics", "latents"})
"""Options with comma-separated lists, which may be TOML lists in a plan."""
HEADER = "A comparison for film-zoo: `{command}` runs it, and options after it count more."


def apply_plan(context: typer.Context, path: Path) -> None:
    """Make a plan's options the defaults of the command being parsed; raises BadInput."""
    options = _options(context)
    context.default_map = {
        str(options[key].name): _value(path, key, value, options[key], context)
        for key, value in _read(path, options).items()
    }


def _options(context: typer.Context) -> dict[str, TyperOption]:
    """The options of a command, by their first long name."""
    return {
        next(word for word in option.opts if word.startswith("--")).removeprefix("--"): option
        for option in context.command.params
        if isinstance(option, TyperOption)
    }


def _read(path: Path, options: Mapping[str, TyperOption]) -> dict[str, Any]:
    """Read a plan's table; raises BadInput on a key that is not an option."""
    if path.suffix.lower() != ".toml":
        raise BadInput(f"{path}: a plan's name must end in .toml")
    if not path.is_file():
        fault = " is not a file" if path.exists() else ": there is no such file"
        raise BadInput(f"{path}{fault}")
    try:
        table = tomllib.loads(read_bytes(path, LARGEST_PLAN).decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{path} is not TOML: {one_line(str(error), 200)}") from None
    known = [name for name in options if name not in NEVER]
    for key in table:
        if key in NEVER:
            raise BadInput(f"{path}: --{key} belongs on the command line, not in a plan")
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else f"; there are: {', '.join(known)}"
            raise BadInput(f"{path}: a comparison has no option {one_line(key, 60)!r}{hint}")
    return table


def _value(path: Path, key: str, value: Any, option: TyperOption, context: typer.Context) -> Any:
    """Convert a plan's value to what the command line would give; raises BadInput."""
    if option.multiple:
        return _settings(path, key, value)
    if key in LISTS and isinstance(value, list) and value and all(map(_is_word, value)):
        return ",".join(map(str, value))
    flag = option.is_flag
    if isinstance(value, bool) != flag or not (flag or _is_word(value)):
        wanted = "true or false" if flag else "a text or a number"
        wanted += " or a list of them" if key in LISTS else ""
        raise BadInput(f"{path}: {key} must be {wanted}; not {describe_value(value)}")
    if flag:
        return value
    try:
        option.process_value(context, str(value))
    except typer.BadParameter as error:
        raise BadInput(f"{path}: {key}: {one_line(error.message, 200)}") from None
    return str(value)


def _settings(path: Path, key: str, value: Any) -> list[str]:
    """Convert a table of settings, or a list of `name=value` words, to such words."""
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return value
    if isinstance(value, dict):
        words = []
        for name, each in value.items():
            several = each if isinstance(each, list) else [each]
            if not several or not all(_is_word(one) or isinstance(one, bool) for one in several):
                raise BadInput(
                    f"{path}: {key}.{one_line(name, 60)} must be a text, a number, true or false, "
                    f"or a list of these; not {describe_value(each)}"
                )
            words.append(f"{name}={','.join(map(_word, several))}")
        return words
    raise BadInput(
        f"{path}: {key} must be a table, such as {key} = {{ width = 64 }}, or a list of words; "
        f"not {describe_value(value)}"
    )


def _is_word(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def write_plan(context: typer.Context, path: Path) -> None:
    """Write a command's options, from its command line and its plan, as a plan."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(_plan(context, path))


def is_this_plan(context: typer.Context, path: Path) -> bool:
    """Whether a file already contains what `write_plan` would write."""
    try:
        return read_bytes(path, LARGEST_PLAN) == _plan(context, path)
    except (BadInput, OSError):  # missing, not a regular file, not readable or too large
        return False


def _plan(context: typer.Context, path: Path) -> bytes:
    document = tomlkit.document()
    command = one_line(as_typed(["zoo", "compare", path.name]), 2000)
    document.add(tomlkit.comment(HEADER.format(command=command)))
    tables = {}
    for key, option in _options(context).items():
        source = context.get_parameter_source(str(option.name))
        value = context.params.get(str(option.name))
        said = source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP")
        if not said or value is None or key in NEVER | FOR_ONCE:
            continue
        if option.multiple:
            words = [word.partition("=") for word in value]
            tables[key] = {name.strip(): text for name, _, text in words}
        else:
            document[key] = value if isinstance(value, bool | int | float) else str(value)
    # Tables come last, since keys after a table would belong to it.
    document.update(tables)
    return tomlkit.dumps(document).encode()
