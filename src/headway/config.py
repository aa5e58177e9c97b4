"""Strict TOML configuration: a file is decoded into typed structs, and whatever does not fit is an
error that names the file, the key and the nearest valid key."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from headway.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:  # the same parser, by the same author, for 3.10
    import tomli as tomllib

S = TypeVar("S")


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every configuration section."""


def load(path: Path | str, kind: type[S]) -> S:
    """Read `path` into `kind` (a `Struct`). Raises ConfigError."""
    return decode(read_toml(path), kind, str(path))


def read_toml(path: Path | str) -> dict[str, Any]:
    """Parse a TOML file. Raises ConfigError when it is missing or not TOML."""
    path = Path(path)
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return table
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        found = f"that folder has {', '.join(near)}" if near else "there is no TOML file there"
        raise ConfigError(f"wanted a configuration at {path}, found none: {found}") from None
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"cannot read {path}: {e}") from None
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{path} is not valid TOML: {e}") from None


def decode(data: Any, kind: type[S], where: str) -> S:
    """Turn plain data into `kind`; `where` names the source in errors. Raises ConfigError."""
    _check_keys(data, kind, where, "")
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as e:
        raise ConfigError(f"{where}: {_in_toml_terms(str(e))}") from None


def _in_toml_terms(message: str) -> str:
    return message.replace("`$.", "key `").replace("`$`", "the file")


def _check_keys(data: Any, kind: Any, where: str, prefix: str) -> None:
    """Unknown keys first, since msgspec names the key but not its neighbours."""
    kind = _without_none(kind)
    if isinstance(data, list):
        inner = [a for a in get_args(kind) if _struct_in(a)]
        for i, item in enumerate(data):
            if inner:
                _check_keys(item, inner[0], where, f"{prefix.rstrip('.')}[{i}].")
        return
    struct = _struct_in(kind)
    if not isinstance(data, dict):
        return
    if struct is None:
        inner = [a for a in get_args(kind) if _struct_in(a)]
        for key, value in data.items() if inner else ():
            _check_keys(value, inner[0], where, f"{prefix}{key}.")
        return
    hints = get_type_hints(struct)
    valid = {f.encode_name: hints[f.name] for f in msgspec.structs.fields(struct)}
    for key, value in data.items():
        if key not in valid:
            near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
            hint = f"did you mean `{prefix}{near[0]}`?" if near else f"valid: {', '.join(valid)}"
            raise ConfigError(f"{where}: unknown key `{prefix}{key}`: {hint}")
        _check_keys(value, valid[key], where, f"{prefix}{key}.")


def _without_none(kind: Any) -> Any:
    """`X` of `X | None`."""
    if get_origin(kind) not in (Union, UnionType):
        return kind
    found = [a for a in get_args(kind) if a is not type(None)]
    return found[0] if len(found) == 1 else kind


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    kind = _without_none(kind)
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None
