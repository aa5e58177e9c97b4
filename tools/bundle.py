"""`headway bundle`: make a bundle of an ONNX model that somebody else exported, and a mapping file
that says what its inputs and outputs mean."""

from __future__ import annotations

import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headway import bundle, config
from headway.actions import ActionSpace
from headway.bundle import Image, Manifest, Policy, Provenance, StateInput, Tensor
from headway.config import Hertz, Seconds
from headway.edge.engines.backends import ort
from headway.edge.engines.engine import TensorSpec, open_bundle
from headway.edge.policy.kinds.bundle import BundlePolicy
from headway.errors import ConfigError
from headway.instructions import InstructionSpec

MODEL = "policy.onnx"


class TensorMap(config.Struct, frozen=True, kw_only=True):
    """What a mapping file adds to an input or output of the model: see `headway.bundle.Tensor`.
    `shape` is needed where the model leaves dimensions open other than the first one."""

    shape: tuple[int, ...] | None = None
    unit: str = ""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    between: tuple[float, float] = (-1.0, 1.0)


class Origin(config.Struct, frozen=True, kw_only=True):
    """Where the model comes from, for people: it goes into the bundle's provenance."""

    source: str = ""
    licence: str = ""


class PolicyMap(config.Struct, frozen=True, kw_only=True):
    """A mapping file. Most keys are those of a bundle's section `policy`, see `headway.bundle`.
    `tensors` are additions by the name of an input or output. `files` are further files of the
    model, such as its external data, beside the model."""

    name: str
    rate_hz: Hertz
    actions: ActionSpace
    output: str = "actions"
    ignored_outputs: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()
    state: tuple[StateInput, ...] = ()
    instruction: InstructionSpec | None = None
    stride_s: Seconds | None = None
    tensors: dict[str, TensorMap] = {}  # noqa: RUF012 - msgspec copies defaults
    files: tuple[str, ...] = ()
    origin: Origin = Origin()


def bundle_command(model: Path, mapping: Path | None, out: Path | None) -> int:
    """Write the bundle of `model`, described by the file `mapping`, into the folder `out`. Without
    a mapping, list what the model has and print a mapping to begin with. Returns the exit code.
    Raises ConfigError for a mapping that does not fit, BundleError for a model that does not run.
    """
    console = Console()
    if mapping is None:
        inputs, outputs = _tensors(model, {})
        _list(console, model, inputs, outputs)
        console.print(
            "A mapping to begin with; lines with `guess` are guesses. Save it as a .toml file, "
            "edit it, and give it with --map:\n"
        )
        print(starter(model, inputs, outputs))
        return 0
    known = config.load(mapping, PolicyMap)
    if out is None:
        raise ConfigError("wanted a folder for the bundle, found none: give it with --out DIR")
    made = make_bundle(model, known, mapping, out)
    policy = BundlePolicy(made, open_bundle(made))
    space = policy.actions
    console.print(
        escape(
            f"{out}: policy {policy.name}, {space.space} actions ({space.mode}), "
            f"{space.chunk} x {len(space.names)} every {1.0 / known.rate_hz:.3g} s"
        )
    )
    console.print(escape(f"cameras: {', '.join(policy.cameras) or 'none'}"))
    console.print(escape(f"state: {', '.join(policy.state_names) or 'none'}"))
    return 0


def make_bundle(model: Path, known: PolicyMap, mapping: Path, out: Path) -> bundle.Bundle:
    """Write the bundle into the folder `out` and return it. `known` is the content of the file
    `mapping`, beside which its further files lie. Raises ConfigError and BundleError."""
    shapes = {n: t.shape for n, t in known.tensors.items() if t.shape is not None}
    inputs, outputs = _tensors(model, shapes)
    names = (*inputs, *outputs)
    for name in known.tensors:
        if name not in names:
            raise ConfigError(
                f"{mapping}: `tensors.{name}` is no input or output of {model}: "
                f"{config.suggest(name, names)}"
            )
    keys = tuple(f.name for f in msgspec.structs.fields(Policy))
    policy = Policy(**{k: getattr(known, k) for k in keys})
    try:
        manifest = Manifest(
            kind="policy",
            name=known.name,
            onnx=MODEL,
            inputs=_described(inputs, known),
            outputs=_described(outputs, known),
            provenance=Provenance(
                command=f"headway bundle {model.name} --map {mapping.name}",
                seed=0,
                data=" ".join(filter(None, (known.origin.source, known.origin.licence))),
                date=datetime.date.today().isoformat(),
            ),
            policy=policy,
        )
    except ValueError as e:
        raise ConfigError(f"{mapping}: {e}") from None
    files: dict[str, Path] = {MODEL: model}
    for name in known.files:
        files[PurePosixPath(name).name] = _there(model.parent / name, mapping)
    for name in known.instruction.files if known.instruction is not None else ():
        files[name] = _there(mapping.parent / name, mapping)
    return bundle.save(out, manifest, files)


def _there(file: Path, mapping: Path) -> Path:
    if not file.is_file():
        raise ConfigError(f"{mapping} names the file {file}, found none there: copy it there")
    return file


def _tensors(
    model: Path, shapes: dict[str, tuple[int, ...]]
) -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
    """Inputs and outputs of `model`, whose open dimensions have the sizes of `shapes`."""
    if not model.is_file():
        raise ConfigError(f"wanted an ONNX model at {model}, found none")
    wanted = {n: TensorSpec(s, "") for n, s in shapes.items()}
    engine = ort.open_engine(model, wanted, {})
    inputs, outputs = dict(engine.inputs), dict(engine.outputs)
    engine.close()
    return inputs, outputs


def _described(found: dict[str, TensorSpec], known: PolicyMap) -> tuple[Tensor, ...]:
    made = []
    for name, spec in found.items():
        own: dict[str, Any] = msgspec.structs.asdict(known.tensors.get(name, TensorMap()))
        made.append(Tensor(**{**own, "name": name, "shape": spec.shape, "dtype": spec.dtype}))
    return tuple(made)


def _list(
    console: Console, model: Path, inputs: dict[str, TensorSpec], outputs: dict[str, TensorSpec]
) -> None:
    table = Table(title=escape(str(model)))
    for column in ("", "name", "type", "shape"):
        table.add_column(column)
    for what, tensors in (("input", inputs), ("output", outputs)):
        for name, spec in tensors.items():
            table.add_row(what, escape(name), spec.dtype, str(spec.shape))
    console.print(table)


def starter(model: Path, inputs: dict[str, TensorSpec], outputs: dict[str, TensorSpec]) -> str:
    """A mapping file for a model with these tensors, to be edited: what can be told from shapes and
    names is filled in and marked as a guess."""
    output = next((n for n in outputs if "action" in n), next(iter(outputs)))
    shape = outputs[output].shape
    rows, columns = (shape[-2] if len(shape) > 2 else 1), shape[-1]
    lines = [
        f'name = "{model.stem}"',
        "rate_hz = 10.0            # guess: inferences a second",
        f'output = "{output}"',
    ]
    others = [n for n in outputs if n != output]
    if others:
        lines.append(f"ignored_outputs = {_texts(others)}")
    lines += [
        "",
        "[actions]                 # docs/bring-your-own.md explains the keys",
        f"names = {_texts([f'joint{k + 1}' for k in range(columns)])}  # guess",
        'space = "joint"           # guess: joint or tcp',
        'mode = "absolute"         # guess: absolute, chunk, step or velocity',
        f"chunk = {rows}",
        "dt_s = 0.1                # guess: seconds between rows",
    ]
    for name, spec in inputs.items():
        lines += ["", *_input(name, spec)]
    return "\n".join(lines)


def _input(name: str, spec: TensorSpec) -> list[str]:
    shape = spec.shape
    if len(shape) in (4, 5) and 3 in (shape[-1], shape[-3]):
        chw = shape[-1] != 3
        height, width = shape[-2:] if chw else shape[-3:-1]
        lines = [
            "[[images]]",
            f'input = "{name}"',
            f'camera = "{name.split(".")[-1].split("/")[-1]}"  # guess',
            f"height = {height}",
            f"width = {width}",
            'fit = "pad"               # guess: exact, stretch, crop or pad',
        ]
        lines += ['layout = "chw"'] if chw else []
        lines += ["scale = 0.00392156862745098  # guess: 1/255"] if spec.dtype[0] == "f" else []
        return lines + ([f"steps = {shape[1]}"] if len(shape) == 5 else [])
    if spec.dtype.startswith("int"):
        return [
            "[instruction]             # guess",
            'kind = "tokens"',
            f'input = "{name}"',
            'tokenizer = "tokenizer.json"',
            f"length = {shape[-1] if shape else 1}",
        ]
    return [
        "[[state]]",
        f'input = "{name}"',
        f"names = {_texts([f'q.joint{k + 1}' for k in range(shape[-1] if shape else 1)])}  # guess",
    ]


def _texts(names: list[str]) -> str:
    return "[" + ", ".join(f'"{n}"' for n in names) + "]"
