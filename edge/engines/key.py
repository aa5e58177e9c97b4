"""Under which key a built engine is kept: everything that makes it another engine.

A plan of TensorRT holds compiled code for one device, chosen by one build of the library. If any
part of the key differs, the engine is not this one, and is built again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from headway import config
from headway.edge.engines.options import EngineOptions, Profile, built_in

_BLOCK = 1 << 20


class EngineKey(config.Struct, frozen=True, kw_only=True):
    """The parts of the key, as text where they are facts of the computer.

    `model`: SHA-256 of the ONNX file and all files of weights that belong to it. `graph`: what
    Headway does to the graph before the library gets it. `kind`: of the engine; `library`: its
    whole version. `sm`, `gpu`, `driver`, `jetpack`: of the computer. `precision`: of the numbers of
    the graph, and what was asked for. `profile`: shapes by input. `options`: what else it is built
    with.
    """

    model: str
    graph: int
    kind: str
    library: str
    sm: str
    gpu: str
    driver: str
    jetpack: str
    precision: str
    profile: dict[str, Profile]
    options: dict[str, object]

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that differ where any part does."""
        plain = json.dumps(msgspec.to_builtins(self), sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()


def model_digest(path: Path, others: Sequence[str] = ()) -> str:
    """SHA-256 of the model at `path` and of the files `others` beside it, which hold weights of it.
    Raises OSError."""
    whole = hashlib.sha256()
    for name in ("", *sorted(others)):
        file = path.parent / name if name else path
        part = hashlib.sha256()
        with file.open("rb") as f:
            while block := f.read(_BLOCK):
                part.update(block)
        # the name too: two files that change places are another model
        whole.update(f"{name}\0{part.hexdigest()}\n".encode())
    return whole.hexdigest()


def options_part(options: EngineOptions) -> dict[str, object]:
    """The builder options of a key; precision and profiles are parts of their own."""
    plain: dict[str, object] = msgspec.json.decode(msgspec.json.encode(built_in(options)))
    return {k: v for k, v in plain.items() if k not in ("precision", "profiles")}


def differences(found: EngineKey, wanted: EngineKey) -> list[str]:
    """In words, in which parts the key `found` is not the one that is `wanted`."""
    said = []
    for field in msgspec.structs.fields(EngineKey):
        a, b = getattr(found, field.name), getattr(wanted, field.name)
        if a == b:
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            said += [
                f"{name} {_short(a.get(name))}, not {_short(b.get(name))}"
                for name in sorted({*a, *b})
                if a.get(name) != b.get(name)
            ]
        else:
            said.append(f"{field.name} {_short(a)}, not {_short(b)}")
    return said


def _short(value: object) -> str:
    if isinstance(value, Profile):
        return f"{value.least}..{value.most}"
    text = str(value)
    return text[:12] if len(text) == 64 else text or "none"
