"""The mapping file that `headway bundle` prints to begin with: what shapes and names tell of a
model's tensors is filled in and marked as a guess, the rest is left to be filled in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from headway.edge.engines.engine import Declared

UNKNOWN = "..."  # what is to be filled in; `unfinished` finds it
_IMAGES = ("uint8", "uint16", "float16", "float32", "float64")
_WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")


def unfinished(found: Any, path: str = "") -> str | None:
    """The path of the first value in the TOML table `found` that is still UNKNOWN, such as
    `state[0].names[2]`; None where everything is filled in."""
    if found == UNKNOWN:
        return path
    inner: list[tuple[str, Any]] = []
    if isinstance(found, dict):
        inner = [(f"{path}.{key}" if path else str(key), value) for key, value in found.items()]
    elif isinstance(found, list):
        inner = [(f"{path}[{i}]", value) for i, value in enumerate(found)]
    return next((at for key, value in inner if (at := unfinished(value, key)) is not None), None)


def listing(model: Path, inputs: Mapping[str, Declared], outputs: Mapping[str, Declared]) -> str:
    """What `model` has, one tensor a line, as comments of TOML."""
    rows = [
        (what, json.dumps(name), spec.dtype, f"({', '.join(map(str, spec.shape))})")
        for what, tensors in (("input", inputs), ("output", outputs))
        for name, spec in tensors.items()
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = ["  ".join(x.ljust(w) for x, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([f"# {model.name}", *(f"#   {line.rstrip()}" for line in lines)])


def starter(
    model: Path,
    inputs: Mapping[str, Declared],
    outputs: Mapping[str, Declared],
    joints: Sequence[str] | None = None,
) -> str:
    """A mapping file for a model with these tensors, to be edited. `joints`: the names of the
    robot's joints, for guesses; None where it is not known. What cannot be told is UNKNOWN."""
    output = next((n for n in outputs if "action" in n), next(iter(outputs)))
    shape = outputs[output].shape
    rows, columns = (shape[-2] if len(shape) > 2 else 1), (shape[-1] if shape else 1)
    lines = [
        f"name = {json.dumps(model.stem)}",
        "rate_hz = 10.0            # guess: inferences a second",
        f"output = {json.dumps(output)}",
    ]
    others = [n for n in outputs if n != output]
    if others:
        lines.append(f"ignored_outputs = {_texts(others)}")
    if any(_steps(spec) != 1 for spec in inputs.values()):
        lines.append("stride_s = 0.1            # guess: seconds between the moments of an input")
    lines += [
        "",
        "[actions]                 # docs/actions.md explains the keys",
        f"names = {_texts(_columns(columns, joints))}  # {_guess(_columns(columns, joints))}",
        'space = "joint"           # guess: joint or tcp',
        'mode = "absolute"         # guess: absolute, chunk, step or velocity',
        f"chunk = {_size(rows)}",
        "dt_s = 0.1                # guess: seconds between rows",
    ]
    texts: dict[str, Declared] = {}
    for name, spec in inputs.items():
        if open_sizes(spec):
            lines += ["", f"[tensors.{json.dumps(name)}]", *_sizes(spec)]
        picture = _picture(spec)
        if picture is not None:
            lines += ["", *_image(name, spec, picture)]
        elif spec.dtype in _WHOLE:
            texts[name] = spec
        else:
            lines += ["", *_state(name, spec, columns, joints)]
    return "\n".join(lines + _instruction(texts))


def open_sizes(spec: Declared) -> bool:
    """Whether dimensions of `spec` have no size."""
    return not all(isinstance(d, int) for d in spec.shape)


def _sizes(spec: Declared) -> list[str]:
    sizes = ", ".join(_size(d) for d in spec.shape)
    names = ", ".join(str(d) for d in spec.shape if not isinstance(d, int))
    return [f"shape = [{sizes}]  # the model leaves open: {names}"]


def _columns(columns: int | str, joints: Sequence[str] | None) -> list[str]:
    """Names for the columns of the answer."""
    if not isinstance(columns, int):
        return [UNKNOWN]
    if joints is None:
        return [f"joint{k + 1}" for k in range(columns)]
    if columns not in (len(joints), len(joints) + 1):
        return [UNKNOWN] * columns
    return [*joints, "grip"][:columns]


def _numbers(count: int | str, columns: int | str, joints: Sequence[str] | None) -> list[str]:
    """Names for the numbers of an input of state."""
    if not isinstance(count, int):
        return [UNKNOWN]
    if joints is None:
        few = isinstance(columns, int) and count <= columns
        return [f"q.joint{k + 1}" for k in range(count)] if few else [UNKNOWN] * count
    positions = [f"q.{j}" for j in joints]
    for guess in (
        positions, [*positions, "gripper.closed"], [*positions, *(f"dq.{j}" for j in joints)],
    ):  # fmt: skip
        if len(guess) == count:
            return guess
    return [UNKNOWN] * count


def _guess(names: list[str]) -> str:
    return f"fill in {len(names)} names" if UNKNOWN in names else "guess"


class _Picture(NamedTuple):
    """What an input of images is like, by its shape."""

    height: int | str
    width: int | str
    depth: bool  # one channel, or the two bytes of one
    first: bool  # the channels come before the rows
    steps: int | str  # moments


def _picture(spec: Declared) -> _Picture | None:
    """The images that `spec` looks like; None where it looks like none."""
    shape, dtype = spec.shape, spec.dtype
    # Nothing but depth is uint16, and it may have no axis for its channel.
    if dtype == "uint16" and len(shape) == 3 and all(d != 1 for d in shape[1:]):
        return _Picture(shape[1], shape[2], depth=True, first=False, steps=1)
    if len(shape) not in (4, 5) or dtype not in _IMAGES:
        return None
    steps = shape[1] if len(shape) == 5 else 1
    for channels in (3, 1, *((2,) if dtype == "uint8" else ())):
        for first, at, sides in ((False, -1, shape[-3:-1]), (True, -3, shape[-2:])):
            if first and channels == 2:
                continue  # the two bytes of depth are together in memory
            if shape[at] == channels and all(d not in (1, channels) for d in sides):
                return _Picture(sides[0], sides[1], channels != 3, first, steps)
    return None


def _steps(spec: Declared) -> int | str:
    """How many moments the input `spec` is given."""
    picture = _picture(spec)
    if picture is not None:
        return picture.steps
    return spec.shape[1] if len(spec.shape) == 3 and spec.dtype not in _WHOLE else 1


def _image(name: str, spec: Declared, picture: _Picture) -> list[str]:
    lines = [
        "[[images]]",
        f"input = {json.dumps(name)}",
        f"camera = {json.dumps(name.split('.')[-1].split('/')[-1])}  # guess",
        f"height = {_size(picture.height)}",
        f"width = {_size(picture.width)}",
        'fit = "pad"               # guess: exact, stretch, crop or pad',
    ]
    if picture.depth:
        lines.append('encoding = "depth_mm"     # guess: one channel is depth')
    if picture.first:
        lines.append('layout = "chw"')
    if not picture.depth and spec.dtype.startswith("float"):
        lines.append("scale = 0.00392156862745098  # guess: 1/255")
    return lines + ([f"steps = {_size(picture.steps)}"] if picture.steps != 1 else [])


def _state(
    name: str, spec: Declared, columns: int | str, joints: Sequence[str] | None
) -> list[str]:
    steps = _steps(spec)
    sizes = spec.shape[2 if steps != 1 else 1 :]  # behind the batch
    count = math.prod(d for d in sizes if isinstance(d, int))
    names = _numbers("?" if any(isinstance(d, str) for d in sizes) else count, columns, joints)
    lines = [
        "[[state]]                 # docs/bundle.md has the names of all numbers",
        f"input = {json.dumps(name)}",
        f"names = {_texts(names)}  # {_guess(names)}",
    ]
    return lines + ([f"steps = {_size(steps)}"] if steps != 1 else [])


def _instruction(inputs: Mapping[str, Declared]) -> list[str]:
    """The section for inputs of whole numbers: the index of a text, or the tokens of one."""
    masks = [n for n in inputs if "mask" in n.lower()]
    first = next((n for n in inputs if n not in masks), None)
    if first is None:
        return [f"# nothing is known to fill the input {json.dumps(n)} with" for n in masks]
    shape = inputs[first].shape
    lines = ["", "[instruction]             # guess"]
    if all(d == 1 for d in shape):
        lines += [
            'kind = "vocabulary"       # the index of the instruction among these texts',
            f"input = {json.dumps(first)}",
            f"texts = {_texts([UNKNOWN])}",
        ]
        used = [first]
    else:
        lines += [
            'kind = "tokens"',
            f"input = {json.dumps(first)}",
            f"dtype = {json.dumps(inputs[first].dtype)}",
            'tokenizer = "tokenizer.json"  # guess: a file beside this one',
            f"length = {_size(shape[-1])}",
        ]
        if masks:
            lines += [
                f"mask_input = {json.dumps(masks[0])}",
                f"mask_dtype = {json.dumps(inputs[masks[0]].dtype)}",
            ]
        used = [first, *masks[:1]]
    idle = [n for n in inputs if n not in used]
    return lines + [f"# nothing is known to fill the input {json.dumps(n)} with" for n in idle]


def _size(size: int | str) -> str:
    """The size of a dimension as TOML."""
    return str(size) if isinstance(size, int) else json.dumps(UNKNOWN)


def _texts(names: Sequence[str]) -> str:
    return "[" + ", ".join(json.dumps(n) for n in names) + "]"
