"""Strict TOML configuration: `load` decodes a file into typed structs. Anything that does not fit
raises ConfigError, which names the file, the key, what was found and what was wanted, or the
nearest valid key.

Numbers must be finite unless their type says otherwise. Their bounds are part of their types, so a
section needs no code to check them:

    class LoopConfig(Struct, frozen=True):
        hz: Annotated[float, Meta(ge=1.0, le=10_000.0)] = 500.0
        max_age_s: Positive = 0.02
        force_max: Annotated[float, Meta(gt=0.0), INFINITE]

Bounds are checked when data are decoded, not when a program makes a struct itself.
"""

from __future__ import annotations

import codecs
import difflib
import io
import math
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from headway.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:  # the same parser, by the same author, for 3.10
    import tomli as tomllib

S = TypeVar("S")

# Types of numbers for configuration fields; none of them accepts NaN.
Positive = Annotated[float, Meta(gt=0.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]
AtLeastOne = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Fraction = Annotated[float, Meta(gt=0.0, le=1.0)]
Hertz = Annotated[float, Meta(gt=0.0, le=10_000.0)]
Seconds = Annotated[float, Meta(gt=0.0, le=86_400.0)]  # a time to wait; one day at most
SecondsOrNone = Annotated[float, Meta(ge=0.0, le=86_400.0)]  # 0 means no such time
INFINITE = Meta(extra={"infinite": True})  # add this to the bounds to allow infinity
_LARGEST = 16 << 20  # bytes of a TOML file
_LONGEST = 60  # characters of a found value that a message shows


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every configuration section."""


def load(path: Path | str, kind: type[S]) -> S:
    """Read the TOML file at `path` into a `kind` (a `Struct`). Raises ConfigError."""
    return decode(read_toml(path), kind, str(path))


def read_toml(path: Path | str) -> dict[str, Any]:
    """Parse the TOML file at `path`, with or without a byte order mark. Raises ConfigError when it
    is missing or not TOML."""
    path = Path(path)
    try:
        with path.open("rb") as f:
            raw = f.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise ConfigError(f"{path}: wanted TOML of {_LARGEST} bytes at most, found more")
        text = io.StringIO(raw.decode("utf-8-sig"), newline=None).read()
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        found = f"that folder has {', '.join(near)}" if near else "there is no TOML file there"
        raise ConfigError(f"wanted a configuration at {path}, found none: {found}") from None
    except UnicodeDecodeError as e:
        raise ConfigError(f"{path}: wanted TOML in UTF-8, found {_encoding(e)}") from None
    except OSError as e:
        raise ConfigError(f"cannot read {path}: {e}") from None
    return parse_toml(text, str(path))


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Parse `text` as TOML; `where` names its source in errors. Raises ConfigError."""
    try:
        table: dict[str, Any] = tomllib.loads(text)
        return table
    except RecursionError:
        raise ConfigError(f"{where} is not valid TOML: it has tables or lists too deep") from None
    except ValueError as e:  # a TOMLDecodeError, or a number of thousands of digits
        raise ConfigError(f"{where} is not valid TOML: {e}") from None


def _encoding(e: UnicodeDecodeError) -> str:
    """The end of an error message: what was found instead of UTF-8, and what to do next."""
    if e.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16: save it as UTF-8"
    line = e.object.count(b"\n", 0, e.start) + 1
    return (
        f"the byte 0x{e.object[e.start]:02x} in line {line}, which is none (Latin-1 or a Windows "
        "code page?): save it as UTF-8"
    )


def decode(data: Any, kind: type[S], where: str) -> S:
    """Turn plain data (dicts, lists, numbers, texts) into a `kind`; `where` names their source in
    errors. Raises ConfigError."""
    _check(data, kind, where, "")
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as e:
        raise ConfigError(f"{where}: {_in_toml_terms(str(e), data)}") from None


def at_home(path: Path | str) -> Path:
    """`path`, where a leading "~" is the home folder. Raises ConfigError where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError as e:  # HOME is not set, and this user or the named one is not known
        raise ConfigError(
            f"wanted the home folder that {path} begins with, found none ({e}): give the whole path"
        ) from None


def over(usual: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """`given` over `usual`, table by table: what is not given of a table keeps its usual value."""
    out = dict(usual)
    for key, value in given.items():
        both = isinstance(value, dict) and isinstance(usual.get(key), dict)
        out[key] = over(usual[key], value) if both else value
    return out


def suggest(found: str, valid: Iterable[str], prefix: str = "") -> str:
    """The end of an error message about the word `found`, which is not among `valid`: the most
    similar valid word, with `prefix` before it, or all valid words if none is similar."""
    valid = list(valid)
    near = difflib.get_close_matches(found, valid, n=1, cutoff=0.5)
    return f"did you mean `{prefix}{near[0]}`?" if near else f"valid: {', '.join(valid)}"


def _in_toml_terms(message: str, data: Any) -> str:
    """msgspec's message with the key written as in TOML, and the value that was found there."""
    path = re.search(r"`\$([^`]*)`$", message)
    found = ""
    if path is not None and (value := _at(data, path[1])) is not None:
        found = f", found {_short(value)}"
    return message.replace("`$.", "key `").replace("`$`", "the file") + found


def _at(data: Any, path: str) -> Any:
    """The number or text at a path such as `.key[index].key`; None if there is none."""
    for key, index in re.findall(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]", path):
        if key and isinstance(data, dict):
            data = data.get(key)
        elif index.isdigit() and isinstance(data, list | tuple) and int(index) < len(data):
            data = data[int(index)]
        else:
            return None
    return data if isinstance(data, str | int | float) else None


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _check(data: Any, kind: Any, where: str, key: str) -> None:
    """Raises ConfigError for unknown or missing keys, and for numbers that are not finite or out of
    bounds. msgspec's own messages do not say what was found or which key is similar, and it accepts
    NaN and infinity as floats."""
    _check_tag(data, kind, where, key)
    kind, metas = _plain(kind, data)
    if get_origin(kind) is Literal:
        _check_word(data, get_args(kind), where, key)
    elif isinstance(data, int | float) and not isinstance(data, bool):
        if kind in (int, float):
            _check_number(data, kind, metas, where, key)
    elif isinstance(data, list | tuple):
        inner = get_args(kind)
        for i, item in enumerate(data):
            if inner:
                fixed = len(inner) > i and Ellipsis not in inner
                _check(item, inner[i] if fixed else inner[0], where, f"{key}[{i}]")
    elif isinstance(data, dict):
        prefix = f"{key}." if key else ""
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            valid, required = _keys(kind)
            for name, value in data.items():
                if name == kind.__struct_config__.tag_field:  # which msgspec checks
                    continue
                if name not in valid:
                    hint = suggest(str(name), valid, prefix)
                    raise ConfigError(f"{where}: unknown key `{prefix}{name}`: {hint}")
                _check(value, valid[name], where, f"{prefix}{name}")
            for name in required:
                if name not in data:
                    what = _what(f"{prefix}{name}", valid[name], where)
                    raise ConfigError(f"{where}: wanted {what}, found none: add it")
        elif get_origin(kind) is dict:
            for name, value in data.items():
                _check(value, get_args(kind)[1], where, f"{prefix}{name}")


@cache  # a bundle's manifest asks dozens of times, and it takes a millisecond
def _keys(kind: type[msgspec.Struct]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The keys of the struct `kind` with their types, and those that have to be given."""
    hints = get_type_hints(kind, include_extras=True)
    fields = msgspec.structs.fields(kind)
    required = tuple(f.encode_name for f in fields if f.required)
    return {f.encode_name: hints[f.name] for f in fields}, required


def _check_tag(data: Any, kind: Any, where: str, key: str) -> None:
    """Raises ConfigError for a section that could be one of several kinds, and that does not say
    which, or names none of them."""
    if not isinstance(data, dict) or get_origin(kind) not in (Union, UnionType):
        return
    tags = dict(filter(None, (_tag(k) for k in get_args(kind))))
    for field in set(tags.values()):
        found = data.get(field)
        if found not in list(tags):
            full = f"{key}.{field}" if key else field
            hint = suggest(str(found), map(str, tags))
            raise ConfigError(f"{where}: `{full}` wants a kind, found {_short(found)}: {hint}")


def _tag(kind: Any) -> tuple[Any, str] | None:
    """The tag by which msgspec tells the struct `kind` from others, and the key that has it; None
    for what has no tag."""
    about = getattr(kind, "__struct_config__", None)
    return None if about is None or about.tag_field is None else (about.tag, about.tag_field)


def _what(key: str, kind: Any, where: str) -> str:
    """`key` for a message: "a section [key]" if it is a section of a TOML file, else "the key"."""
    plain = _plain(kind, {})[0]
    section = isinstance(plain, type) and issubclass(plain, msgspec.Struct)
    # bundle.json has no sections, and the items of a list have none either.
    toml = where.endswith(".toml") and "[" not in key
    return f"a section [{key}]" if section and toml else f"the key `{key}`"


def _plain(kind: Any, data: Any) -> tuple[Any, tuple[Meta, ...]]:
    """`kind` without Annotated, and the bounds that Annotated gave; of a union, the member that
    fits `data`."""
    metas: tuple[Meta, ...] = ()
    while True:
        if get_origin(kind) is Annotated:
            metas += tuple(m for m in kind.__metadata__ if isinstance(m, Meta))
            kind = kind.__origin__
        elif get_origin(kind) in (Union, UnionType):
            kind = next((a for a in get_args(kind) if _takes(a, data)), None)
        else:
            return kind, metas


def _takes(kind: Any, data: Any) -> bool:
    """Whether `data` belong to the member `kind` of a union, by their type."""
    kind = _plain(kind, data)[0]
    origin = get_origin(kind) or kind
    if isinstance(data, dict):
        tag = _tag(origin)
        if tag is not None and tag[1] in data:
            return bool(data[tag[1]] == tag[0])
        return isinstance(origin, type) and issubclass(origin, dict | msgspec.Struct)
    if isinstance(data, list | tuple):
        return origin in (list, tuple)
    if origin is Literal:
        return type(data) in {type(word) for word in get_args(kind)}
    if isinstance(data, int | float) and not isinstance(data, bool):
        return origin in (int, float)
    return origin is type(data)


def _check_word(value: Any, valid: tuple[Any, ...], where: str, key: str) -> None:
    """Raises ConfigError for a `value` that is none of the words `valid`."""
    if value in valid and type(value) in {type(word) for word in valid}:
        return
    near = difflib.get_close_matches(str(value), map(str, valid), n=1, cutoff=0.5)
    hint = f": did you mean `{near[0]}`?" if near else ""
    words = ", ".join(map(str, valid))
    raise ConfigError(f"{where}: `{key}` wants one of {words}, found {_short(value)}{hint}")


def _check_number(value: float, kind: type, metas: tuple[Meta, ...], where: str, key: str) -> None:
    bounds = {
        sign: limit
        for meta in metas
        for sign, limit in ((">", meta.gt), (">=", meta.ge), ("<", meta.lt), ("<=", meta.le))
        if limit is not None
    }
    may_be_infinite = any((m.extra or {}).get("infinite") for m in metas)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    inside = {
        ">": lambda x: number > x,
        ">=": lambda x: number >= x,
        "<": lambda x: number < x,
        "<=": lambda x: number <= x,
    }
    finite = math.isfinite(number) or (may_be_infinite and not math.isnan(number))
    if finite and all(inside[sign](limit) for sign, limit in bounds.items()):
        return
    what = "a whole number" if kind is int else "a number" if may_be_infinite else "a finite number"
    limits = " and ".join(f"{sign} {_plain_number(x)}" for sign, x in bounds.items())
    wanted = f"{what} {limits}".strip()
    raise ConfigError(f"{where}: `{key}` wants {wanted}, found {_short(value)}")


def _plain_number(limit: float) -> str:
    return str(limit) if isinstance(limit, int) else f"{limit:g}"
