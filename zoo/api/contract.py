"""Which contract a plugin's module was written for, as its source says; and refusing one."""

from __future__ import annotations

import ast
import functools
from types import MappingProxyType
from typing import NoReturn, TypeVar

from zoo.api import hookspecs

CONTRACT = "zoo_contract"
"""The name in a plugin's module that says which contract it was written for."""
_CHANGED_SINCE = MappingProxyType(
    {
        1: "losses(frames, step) is now losses(batch, step), with batch.frames; docs/plugins.md, "
        "'From contract 1', has the rest (without models, zoo_contract = 2 is all)"
    }
)

_T = TypeVar("_T")


class Refused(ValueError):
    """What a plugin brings is not what it should be; the message says what to change."""


def refuse(message: str) -> NoReturn:
    """Raise Refused: `zoo plugins` prints the message as it is."""
    raise Refused(message)


def names_its_fields(kind: type[_T]) -> type[_T]:
    """Decorate a dataclass of the contract: a keyword that it does not have lists those it has."""
    inner = kind.__init__

    @functools.wraps(inner)
    def checked(self: object, *values: object, **named: object) -> None:
        fields = kind.__dataclass_fields__  # type: ignore[attr-defined]
        for name in named:
            if name not in fields:
                raise TypeError(f"zoo.{kind.__name__} has no {name!r}; it has: {', '.join(fields)}")
        inner(self, *values, **named)

    kind.__init__ = checked  # type: ignore[method-assign]
    return kind


def check_contract(source: str, file: str) -> None:
    """Raise Refused if a module was written for another contract than this one.

    The module is read and not run: one that was written for another contract may well fail on
    import, for a reason that says less. `file` is what its errors of syntax name.
    """
    tree = ast.parse(source, file)
    written_for = _declared_contract(tree)
    if written_for is None and hookspecs.CONTRACT_VERSION > 1 and _is_of_contract_1(tree):
        written_for = 1
    if written_for is None or written_for == hookspecs.CONTRACT_VERSION:
        return
    change = _CHANGED_SINCE.get(
        written_for,
        f"this zoo has {hookspecs.CONTRACT_VERSION}; install a film-zoo that has it, or another "
        "version of the plugin",
    )
    refuse(f"written for contract {written_for}: {change}")


def _declared_contract(tree: ast.Module) -> int | None:
    """The number in the line `zoo_contract = 1` of a module; None if there is none."""
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == CONTRACT:
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if name == CONTRACT:
                pass
            case _:
                continue
        match value:
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=int(number)):
                return number
        refuse(f"{CONTRACT} is a plain number, such as {hookspecs.CONTRACT_VERSION}")
    return None


def _is_of_contract_1(tree: ast.Module) -> bool:
    """Whether a model in a module has a method with the parameters that it had in contract 1."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        takes = {
            method.name: {parameter.arg for parameter in method.args.args}
            for method in node.body
            if isinstance(method, ast.FunctionDef)
        }
        given_film = "film" in takes.get("fit", ()) or "film" in takes.get("prepare", ())
        if "frames" in takes.get("losses", ()) or ("encode" in takes and given_film):
            return True
    return False
