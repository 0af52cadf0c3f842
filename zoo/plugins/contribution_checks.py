"""Checks of a plugin's contributions: the contract it was written for, names and fields."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from zoo.api import hookspecs
from zoo.base.errors import BadInput
from zoo.base.safe_text import describe_value
from zoo.base.workspace import check_name

if TYPE_CHECKING:
    import pydantic

    from zoo.api.autoencoder import Autoencoder
    from zoo.api.codec import FilmCodec
    from zoo.api.metric import Metric


CONTRACT = "zoo_contract"
"""The variable in a plugin's module that states the contract it was written for."""
_CHANGED_SINCE = MappingProxyType(
    {
        1: "losses(frames, step) is now losses(batch, step), with batch.frames; docs/plugins.md, "
        "'From contract 1', has the rest (without models, zoo_contract = 2 is all)"
    }
)


class Refused(ValueError):
    """A contribution breaks its contract; the message says what to change."""


def refuse(message: str) -> NoReturn:
    """Raise Refused with a message that `zoo plugins` prints as it is."""
    raise Refused(message)


def check_contract(source: str, file: str) -> None:
    """Raise Refused if a module was written for another version of the contract.

    The module is parsed, not run: with another contract, its import may fail with an error that
    explains less. `file` is the name in messages about syntax errors.
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
    """The number in a module's line such as `zoo_contract = 2`; None without such a line."""
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
        refuse(f"{CONTRACT} must be a plain number, such as {hookspecs.CONTRACT_VERSION}")
    return None


def _is_of_contract_1(tree: ast.Module) -> bool:
    """Whether a class in a module has a method with the parameters of contract 1."""
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


def check_contribution(hook: str, thing: Any) -> None:
    """Raise ValueError if an object returned by a hook is not a valid contribution to it."""
    if hook == "zoo_films":
        from zoo.api.film_entry import FilmEntry

        if not isinstance(thing, FilmEntry):
            refuse(f"{describe_value(thing)} is not a zoo.FilmEntry")
        _check_no_word(thing.name)
        return

    from zoo.api.autoencoder import Autoencoder, Options
    from zoo.api.codec import CodecOptions, FilmCodec
    from zoo.api.metric import Metric
    from zoo.api.recipe_and_events import TrainingCallback
    from zoo.api.samples_and_latents import Sampling

    base: type[Metric | Autoencoder | FilmCodec | TrainingCallback]
    base = {"zoo_metrics": Metric, "zoo_training_callbacks": TrainingCallback}.get(
        hook, Autoencoder
    )
    if hook == "zoo_references" and is_codec(thing):
        base = FilmCodec
    if not isinstance(thing, type) and isinstance(thing, base):
        refuse(f"an instance of {type(thing).__name__} is not a class: return the class itself")
    if not (isinstance(thing, type) and issubclass(thing, base)):
        refuse(f"{describe_value(thing)} is not a subclass of zoo.{base.__name__}")
    for attribute in ("name", "label", "source") if base is Metric else ("name", "summary"):
        if not isinstance(getattr(thing, attribute, None), str):
            refuse(f"{thing.__name__} has no {attribute}: it is text, set in the class")
    check_name(thing.name, "plugin")
    _check_no_word(thing.name)
    _check_fields(thing, _FIELDS.get(base.__name__, {}))
    if issubclass(thing, Autoencoder):
        try:
            Sampling.of(thing)
        except BadInput as error:
            refuse(str(error))
    if base in (Autoencoder, FilmCodec):
        _check_options(thing, CodecOptions if base is FilmCodec else Options)
    role = {"zoo_models": "model", "zoo_references": "reference"}.get(hook)
    if role and getattr(thing, "role", None) != role:
        refuse(f"{thing.name} comes through {hook} but its role is not {role!r}")


_SENTENCES = "a tuple of texts", lambda value: _is_tuple(value, str)
_FIELDS: Mapping[str, Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "Autoencoder": {
        "presets": ("options by the name of a preset", lambda v: _is_mapping(v, Mapping)),
        "opposed": (
            "a tuple of pairs of terms",
            lambda v: _is_tuple(v, tuple) and all(_is_tuple(p, str) and len(p) == 2 for p in v),
        ),
        "unequal_terms": _SENTENCES,
        "tuned_on": _SENTENCES,
        "pretrained": ("True or False", lambda v: isinstance(v, bool)),
        "extras": ("names of extras by module", lambda v: _is_mapping(v, str)),
        "waivers": ("reasons by the name of a check", lambda v: _is_mapping(v, str)),
        "side_multiple": ("a whole number from 1", lambda v: type(v) is int and v >= 1),
    },
    "Metric": {
        "unit": ("text", lambda v: isinstance(v, str)),
        "better": ("'higher', 'lower' or 'one'", lambda v: v in ("higher", "lower", "one")),
        "digits": ("a whole number from 0 to 15", lambda v: type(v) is int and 0 <= v <= 15),
        "default": ("True or False", lambda v: isinstance(v, bool)),
        "frame_shape": ("a tuple of whole numbers", lambda v: _is_tuple(v, int)),
    },
    "FilmCodec": {
        "default": ("True or False", lambda v: isinstance(v, bool)),
        "trains": ("True or False", lambda v: isinstance(v, bool)),
        "suffix": (
            "letters and digits",
            lambda v: isinstance(v, str) and v.isascii() and v.isalnum(),
        ),
    },
}
"""Optional fields of a class: what each has to be, in words, and a test of that."""


def _check_fields(thing: type, fields: Mapping[str, tuple[str, Callable[[Any], bool]]]) -> None:
    for name, (wanted, fits) in fields.items():
        value = getattr(thing, name)
        if not fits(value):
            refuse(f"{thing.__name__}.{name} is {describe_value(value)}; it must be {wanted}")


def _check_options(thing: Any, base: type[pydantic.BaseModel]) -> None:
    options = getattr(thing, "Options", base)
    if not (isinstance(options, type) and issubclass(options, base)):
        refuse(
            f"{thing.name}: its Options are {describe_value(options)}, "
            f"not a subclass of zoo.{base.__name__}"
        )
    # `bytes_per_frame` is recorded with a codec's options, so no option may have that name.
    if "bytes_per_frame" in options.model_fields:
        refuse(f"{thing.name}: no option can be called bytes_per_frame")
    for name, field in options.model_fields.items():
        if field.is_required():
            refuse(f"{thing.name}, option {name}: it has no default")


def _is_tuple(value: Any, of: type) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(each, of) for each in value)


def _is_mapping(value: Any, of: type) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(each, of) for key, each in value.items()
    )


def is_codec(thing: Any) -> bool:
    """Whether a plugin's contribution is a film codec."""
    if not isinstance(thing, type):
        return False
    from zoo.api.codec import FilmCodec

    return issubclass(thing, FilmCodec)


def _check_no_word(name: str) -> None:
    if name in ("all", "default"):
        refuse(f"{name!r} stands for several at once and cannot be a name")
