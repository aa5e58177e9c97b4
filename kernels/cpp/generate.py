"""Write the header of the feature spec for C++ and CUDA: `python generate.py OUT.hpp`.

Reads `spec.py` and the field table of `telemetry.py` with nothing but the standard library, since a
build environment has neither NumPy nor this package.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOM = Path(__file__).resolve().parent.parent


def _load(path: str) -> ModuleType:
    where = importlib.util.spec_from_file_location(f"headway_{Path(path).stem}", ROOM / path)
    assert where
    assert where.loader
    module = importlib.util.module_from_spec(where)
    sys.modules[where.name] = module
    where.loader.exec_module(module)
    return module


def _fields() -> dict[str, tuple[int | str, str]]:
    for node in ast.parse((ROOM / "telemetry.py").read_text(encoding="utf-8")).body:
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == "FIELDS"
            and node.value
        ):
            return dict(ast.literal_eval(node.value))
    raise SystemExit(f"wanted a table FIELDS in {ROOM / 'telemetry.py'}, found none")


def header() -> str:
    """The text of the header."""
    spec, params, fields = _load("spec.py"), _load("cuda/params.py"), _fields()

    def enum(prefix: str, names: object) -> str:
        items = [f"{prefix}_{str(n).replace('.', '_')}" for n in names]  # type: ignore[attr-defined]
        return f"enum : int {{ {', '.join(items)}, {prefix}_COUNT }};"

    needs = [sum(1 << spec.MASKS.index(m) for m in f.needs) for f in spec.FEATURES]
    widths = [-1 if w == "J" else max(1, int(w)) for w, _ in fields.values()]
    most = 1 + max(widths)
    masks = [[spec.MASKS.index(m) for m in spec.column_masks(f, most)] for f in fields]
    firsts = [spec.SPLIT.get(f, most) for f in fields]
    lines = [
        "// Generated from kernels/spec.py by kernels/cpp/generate.py. Do not edit.",
        "#pragma once",
        "#include <cstdint>",
        "#ifndef HEADWAY_TABLE  // kernels/cuda/ keeps tables in constant memory",
        "#define HEADWAY_TABLE inline constexpr",
        "#endif",
        "namespace headway::spec {",
        f'inline constexpr char HASH[] = "{spec.spec_hash()}";',
        *(f"inline constexpr double {k} = {v!r};" for k, v in spec.CONSTANTS.items()),
        f"inline constexpr int N_MOTION6 = {len(spec.MOTION6)};",
        f"inline constexpr int N_FORCE6 = {len(spec.FORCE6)};",
        f"inline constexpr int N_GRIP4 = {len(spec.GRIP4)};",
        f"inline constexpr int N_WRENCH5 = {len(spec.WRENCH5)};",
        f"inline constexpr int N_GROUPS = {spec.N_GROUPS};",
        f"inline constexpr int N_PHASES = {spec.N_PHASES}, N_TASKS = {spec.N_TASKS};",
        *(
            f"inline constexpr int AT_{group} = {part.start};"
            for group, part in spec.SLICES.items()
        ),
        "// feature, window channel, mask bit, telemetry field",
        enum("f", spec.NAMES),
        enum("c", spec.CHANNELS),
        enum("m", spec.MASKS),
        enum("t", fields),
        f"HEADWAY_TABLE std::uint32_t NEEDS[] = {{{', '.join(map(str, needs))}}};",
        "// bit N_GROUPS + i is 1 from RATES[i] Hz on",
        f"HEADWAY_TABLE double RATES[] = {{{', '.join(map(repr, spec.MASK_RATES.values()))}}};",
        "// telemetry field -> width (-1: one per joint), mask bit of the first so many "
        "columns, of",
        "// the rest",
        f"HEADWAY_TABLE int WIDTH[] = {{{', '.join(map(str, widths))}}};",
        f"HEADWAY_TABLE int FIRST[] = {{{', '.join(map(str, firsts))}}};",
        f"HEADWAY_TABLE int MASK[] = {{{', '.join(str(m[0]) for m in masks)}}};",
        f"HEADWAY_TABLE int REST[] = {{{', '.join(str(m[-1]) for m in masks)}}};",
        "}  // namespace headway::spec",
        *params.struct(),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(header(), encoding="utf-8")
