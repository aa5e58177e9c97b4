"""Mapping files, which say what the inputs and outputs of an ONNX policy mean, and the bundle that
is made of both; `headway bundle` and `headway export` use them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headway import bundle, config
from headway.actions import ActionSpace
from headway.bundle import Image, Manifest, Noise, Policy, Provenance, StateInput, Tensor, onnx_file
from headway.bundle.onnx_file import OnnxFile
from headway.bundle.tensors import BETWEEN
from headway.config import Hertz, Seconds
from headway.drivers import model as models
from headway.edge.engines.backends import ort
from headway.edge.engines.engine import Declared, TensorSpec
from headway.edge.policy.bundle_inputs import ACTION
from headway.edge.policy.observation import unit_of
from headway.errors import ConfigError, SpecMismatch
from headway.instructions import InstructionSpec
from headway.tools.mapping import UNKNOWN, listing, open_sizes, starter, unfinished

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
    between: tuple[float, float] = BETWEEN


class Origin(config.Struct, frozen=True, kw_only=True):
    """Where the model comes from, for people: it goes into the bundle's provenance."""

    source: str = ""
    licence: str = ""


class PolicyMap(config.Struct, frozen=True, kw_only=True):
    """A mapping file. Most keys are those of a bundle's section `policy`, see `headway.bundle`.
    `tensors` are additions by the name of an input or output. `files` are further files of the
    model, such as its external data, beside the model."""

    name: Annotated[str, Meta(min_length=1)]
    rate_hz: Hertz
    actions: ActionSpace
    output: str = "actions"
    ignored_outputs: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()
    state: tuple[StateInput, ...] = ()
    instruction: InstructionSpec | None = None
    noise: Noise | None = None
    stride_s: Seconds | None = None
    tensors: dict[str, TensorMap] = {}  # noqa: RUF012 - msgspec copies defaults
    files: tuple[str, ...] = ()
    origin: Origin = Origin()


def read_map(mapping: Path) -> PolicyMap:
    """The mapping file `mapping`. Raises ConfigError for one that is not finished."""
    table = config.read_toml(mapping)
    if (at := unfinished(table)) is not None:
        raise ConfigError(
            f'{mapping}: `{at}` wants a value of yours, found "{UNKNOWN}": docs/actions.md '
            "explains [actions], docs/bundle.md the other keys"
        )
    return config.decode(table, PolicyMap, str(mapping))


def new_folder(out: Path | None, overwrite: bool) -> Path:
    """`out`, where there may be a bundle already with `overwrite`. Raises ConfigError."""
    if out is None:
        raise ConfigError("wanted a folder for the bundle, found none: give it with --out DIR")
    if (out / bundle.MANIFEST).is_file() and not overwrite:
        raise ConfigError(
            f"wanted a new folder for the bundle, found a bundle at {out}: name another folder "
            "with --out, or replace that bundle with --overwrite"
        )
    return out


def to_begin_with(model: Path, robot: str | None, then: str = "") -> str:
    """A mapping file of guesses for `model`, on the robot model `robot`. What the command says is
    in its comments, so that the output can go into a file as it is; `then` is the command that
    takes the file [`headway bundle`]. Raises ConfigError."""
    joints = None if robot is None else models.load(robot).joints
    inputs, outputs = ort.declared(_model(model))
    if not any(map(open_sizes, inputs.values())):  # a run then says what the outputs are
        sizes = _tensors(model, {})
        inputs, outputs = (
            {n: Declared(s.shape, s.dtype) for n, s in tensors.items()} for tensors in sizes
        )
    about = [
        listing(model, inputs, outputs),
        '# A mapping to begin with. Lines with `guess` are guesses; fill in what is "...".',
        "# docs/actions.md explains [actions], docs/bundle.md the other keys. Edit it, then:",
        f"#   {then or f'headway bundle {model.name} --map {model.stem}.toml --out DIR'}",
    ]
    return "\n".join([*about, starter(model, inputs, outputs, joints)])


def make_bundle(
    model: Path,
    known: PolicyMap,
    mapping: Path,
    out: Path,
    *,
    command: str = "",
    metrics: Mapping[str, float] | None = None,
) -> bundle.Bundle:
    """Write the bundle into the folder `out` and return it. `known` is the content of the file
    `mapping`, beside which its further files lie. `command` [`headway bundle` with the names of
    both files] and `metrics` go into its provenance. Raises ConfigError and BundleError."""
    shapes = {n: t.shape for n, t in known.tensors.items() if t.shape is not None}
    for name, found in ort.declared(_model(model))[0].items():
        if name not in shapes and open_sizes(found):
            sizes = ", ".join(map(str, found.shape))
            raise ConfigError(
                f"{mapping}: wanted sizes for what {model} leaves open of its input `{name}`, "
                f'({sizes}), found none: add [tensors."{name}"] with shape = [{sizes}] and a '
                "number for each word"
            )
    _check_state(known, mapping)
    inputs, outputs = _tensors(model, shapes)
    tensors = {**inputs, **outputs}
    for name, said in known.tensors.items():
        if name not in tensors:
            raise ConfigError(
                f"{mapping}: `tensors.{name}` is no input or output of {model}: "
                f"{config.suggest(name, tuple(tensors))}"
            )
        if said.shape is not None and said.shape != (has := tensors[name].shape):
            raise ConfigError(
                f"{mapping}: wanted the `shape` that {model} has for `tensors.{name}`, {list(has)},"
                f" found {list(said.shape)}: correct it, or leave it out where the model leaves no "
                "size open"
            )
    keys = tuple(f.name for f in msgspec.structs.fields(Policy))
    try:
        policy = Policy(**{k: getattr(known, k) for k in keys})
        manifest = Manifest(
            kind="policy",
            name=known.name,
            onnx=MODEL,
            inputs=_described(inputs, known),
            outputs=_described(outputs, known),
            provenance=Provenance(
                command=command or f"headway bundle {model.name} --map {mapping.name}",
                seed=0,
                data=" ".join(filter(None, (known.origin.source, known.origin.licence))),
                date=datetime.date.today().isoformat(),
                metrics=dict(metrics or {}),
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


def _check_state(known: PolicyMap, mapping: Path) -> None:
    """Raises ConfigError for a number of the state that the loop does not know on any robot."""
    try:
        for name in (n for part in known.state for n in part.names if not n.startswith(ACTION)):
            unit_of(name)
    except SpecMismatch as e:
        raise ConfigError(f"{mapping}: {e}") from None


def _there(file: Path, mapping: Path) -> Path:
    if not file.is_file():
        raise ConfigError(f"{mapping} names the file {file}, found none there: copy it there")
    return file


def _model(file: Path) -> OnnxFile:
    if not file.is_file():
        raise ConfigError(f"wanted an ONNX model at {file}, found none")
    return onnx_file.check(file)


def _tensors(
    model: Path, shapes: dict[str, tuple[int, ...]]
) -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
    """Inputs and outputs of `model`, whose open dimensions have the sizes of `shapes`."""
    wanted = {n: TensorSpec(s, "") for n, s in shapes.items()}
    engine = ort.open_engine(_model(model), wanted, {})
    inputs, outputs = dict(engine.inputs), dict(engine.outputs)
    engine.close()
    return inputs, outputs


def _described(found: dict[str, TensorSpec], known: PolicyMap) -> tuple[Tensor, ...]:
    made = []
    for name, spec in found.items():
        own: dict[str, Any] = msgspec.structs.asdict(known.tensors.get(name, TensorMap()))
        made.append(Tensor(**{**own, "name": name, "shape": spec.shape, "dtype": spec.dtype}))
    return tuple(made)
