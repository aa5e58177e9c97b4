"""A checkpoint of LeRobot as a source of `headway export`.

LeRobot runs in its own Python (`--python`), see `inside`. Its graph takes pixels as the camera
gives them and numbers as the data set has them, and normalises by itself; so the mapping only says
which robot's numbers they are. LeRobot's files do not: for the SO-101, whose units LeRobot's own
driver fixes, a mapping is made whole, for another robot one to be filled in.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import onnx
from msgspec import Meta
from numpy.typing import NDArray

import headway
from headway import config
from headway.child import foreign_environment
from headway.drivers import model as models
from headway.errors import BundleError, ConfigError, Missing
from headway.export import graph
from headway.export.command import Made, Options
from headway.export.samples import Sample
from headway.export.sources import Mapped
from headway.export.unroll import unrolled
from headway.tools.mapping import UNKNOWN, unfinished
from headway.tools.policy_map import PolicyMap, read_map

_SO101 = "so101"  # the arm whose units LeRobot's driver fixes: degrees, and per cent of the jaw
_PERCENT = 100.0


class Camera(config.Struct, frozen=True, kw_only=True):
    """An image input of the graph: the name of its camera in the data set, and its size [px]."""

    input: str
    camera: str
    height: Annotated[int, Meta(ge=1)]
    width: Annotated[int, Meta(ge=1)]


class Instruction(config.Struct, frozen=True, kw_only=True):
    """How a text becomes tokens, by the file tokenizer.json: as in `instructions.TokensSpec`."""

    input: str
    mask_input: str
    length: Annotated[int, Meta(ge=1)]
    suffix: str
    pad_id: int


class About(config.Struct, frozen=True, kw_only=True):
    """What `inside` says of a policy: the `kind`; `columns` of its actions and `scale` of each (see
    `parity.compare`); the numbers of its `state` and the input that they go into; `images`;
    `played`, how many rows LeRobot plays before it asks again; `steps`, how many moments it is
    shown; `noise`, the input that is given random numbers, "" for none; `instruction`, None for a
    policy that takes no text; `carried`, of a policy that works in steps, as in `stages.Loop`."""

    kind: str
    columns: int
    state: int
    state_input: str
    images: tuple[Camera, ...]
    played: int
    scale: tuple[float, ...]
    steps: Annotated[int, Meta(ge=1)] = 1
    noise: str = ""
    instruction: Instruction | None = None
    carried: dict[str, str] = {}  # noqa: RUF012 - msgspec copies defaults


def of_checkpoint(path: Path, options: Options, work: Path) -> Made | str:
    """The policy of the checkpoint `path`, or a mapping to be filled in, as text. Raises Missing
    where LeRobot does not run, ConfigError for a checkpoint that cannot be exported."""
    begun = time.perf_counter()
    _run(path, options, work)
    about = config.decode(
        msgspec.json.decode((work / "about.json").read_bytes()), About, "about.json"
    )
    model = _model(about, work)
    with np.load(work / "samples.npz") as found:
        arrays = {name: found[name] for name in found.files}
    what = f"LeRobot's {about.kind} in {path.name}"
    how = f", exported and asked by LeRobot in {time.perf_counter() - begun:.1f} s"
    rows = arrays["actions"].shape[1]
    if options.map is not None:
        known = read_map(options.map)
        file = work / options.map.name  # beside what LeRobot's files gave, such as a tokenizer
        shutil.copyfile(options.map, file)
    else:
        text = mapping(about, rows, options)
        file = work / "policy.toml"
        file.write_text(text)
        table = config.parse_toml(text, "the mapping")
        if unfinished(table) is not None:
            return text
        known = config.decode(table, PolicyMap, "the mapping")
    command = f"headway export {path.name}"
    return Made(
        what, how, model, _Truth(arrays), _samples(arrays), Mapped(file, known, command),
        {"actions": np.array(about.scale)},
    )  # fmt: skip


def _model(about: About, work: Path) -> onnx.ModelProto:
    """The policy as one graph."""
    first = graph.read(work / "first.onnx")
    if not about.carried:
        return first
    with np.load(work / "constants.npz") as found:
        constants = {name: found[name] for name in found.files}
    step, last = (graph.read(work / f"{name}.onnx") for name in ("step", "last"))
    return unrolled(first, step, last, about.carried, constants)


def _samples(arrays: Mapping[str, NDArray[Any]]) -> list[Sample]:
    names = [n for n in arrays if n != "actions"]
    return [{n: arrays[n][k : k + 1] for n in names} for k in range(len(arrays["actions"]))]


class _Truth:
    """What LeRobot answered to the samples that came with it, and to no others."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = arrays

    def __call__(self, sample: Sample) -> Mapping[str, NDArray[Any]]:
        for k, known in enumerate(_samples(self._arrays)):
            if all(np.array_equal(v, sample[n]) for n, v in known.items()):
                return {"actions": self._arrays["actions"][k : k + 1]}
        raise ConfigError(
            "wanted samples that LeRobot answered to, found others: a LeRobot checkpoint is "
            "compared over inputs of its own; leave --observed and --samples out"
        )


def _run(path: Path, options: Options, work: Path) -> None:
    """Let `inside` write its files into `work`. Raises Missing and ConfigError."""
    python = str(options.python or sys.executable)
    if options.observed or options.samples is not None:
        raise ConfigError(
            "wanted neither --observed nor --samples for a LeRobot checkpoint, which is compared "
            "with LeRobot over inputs drawn from its statistics: leave them out"
        )
    if options.exporter == "dynamo":
        raise ConfigError(
            "wanted --exporter torchscript for a LeRobot checkpoint, found dynamo: leave it out"
        )
    if not 0.0 < options.fps < math.inf:
        raise ConfigError(
            f"wanted --fps above 0, found {options.fps:g}: give the data set's frames a second"
        )
    with tempfile.TemporaryDirectory(prefix="headway-lerobot-") as folder:
        Path(folder, "headway").symlink_to(Path(headway.__file__).parent)
        environment = foreign_environment(folder) | {
            "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
        }  # fmt: skip
        count = min(options.count, 4)
        try:
            done = subprocess.run(
                [
                    python, "-W", "ignore", "-m", "headway.export.lerobot.inside",
                    str(path.resolve()), str(work), str(count),
                ],
                capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment,
                check=False,
            )  # fmt: skip
        except OSError as e:
            raise ConfigError(f"wanted a Python at {python}, found none that runs: {e}") from None
    if done.returncode == 0:
        return
    lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
    if "No module named" in lines[-1]:
        raise Missing(
            f"exporting a LeRobot checkpoint wants LeRobot, torch and onnx in {python}: "
            f"{lines[-1]}; name the Python of LeRobot's environment with --python (in this "
            "repository `make peers-lerobot` makes .venv-lerobot)"
        )
    if done.returncode == 2:
        raise ConfigError(f"{path}: {lines[-1]}")
    raise BundleError(f"{path}: LeRobot could not load or export it: " + " | ".join(lines[-3:]))


def mapping(about: About, rows: int, options: Options) -> str:
    """The mapping file of a policy, whose answers have `rows`. What is not known on the robot that
    `options` name is to be filled in."""
    joints, grip, known = _columns(about, options.robot)
    names = [*joints, *(["grip"] if grip else [])]
    degrees = ["deg" if known else UNKNOWN] * len(joints)
    units = [*degrees, *(["%" if known else UNKNOWN] if grip else [])]
    # LeRobot asks again when the rows are played, and the arm waits for the answer. Headway plays
    # on while the policy computes, so it wants rows left over: half a chunk.
    played = min(about.played, max(rows // 2, 1))
    lines = [
        f"# A LeRobot policy of the kind {about.kind}, written by `headway export` from its files.",
        *([] if known else ['# Fill in what is "...", then give this file with --map.']),
        f"name = {_toml(f'lerobot_{about.kind}')}",
        f"rate_hz = {options.fps / played!r}  # every {played} rows of {rows}",
        "[actions]",
        f"names = {_toml(names)}",
        'space = "joint"',
        'mode = "absolute"',
        f"units = {_toml(units)}",
        f"chunk = {rows}",
        f"dt_s = {1.0 / options.fps!r}",
    ]
    if about.steps > 1:
        lines.insert(3, f"stride_s = {1.0 / options.fps!r}  # between {about.steps} moments")
    moments = [f"steps = {about.steps}"] if about.steps > 1 else []
    if grip:
        lines += ['grip = "normalised"', "grip_open = 1.0", "grip_closed = 0.0"]
    state = [f"q.{j}" for j in joints]
    if about.noise:
        lines += ["[noise]", f"input = {_toml(about.noise)}", 'code = ""', 'latent = ""']
    if (text := about.instruction) is not None:
        lines += [
            "[instruction]", 'kind = "tokens"', 'tokenizer = "tokenizer.json"',
            f"length = {text.length}", f"input = {_toml(text.input)}",
            f"mask_input = {_toml(text.mask_input)}", f"suffix = {_toml(text.suffix)}",
            f"pad_id = {text.pad_id}",
        ]  # fmt: skip
    lines += ["[[state]]", f"input = {_toml(about.state_input)}", *moments]
    if about.state == len(names) and known:
        lines.append(f"names = {_toml([*state, *(['gripper.closed'] if grip else [])])}")
        lines.append(f"units = {_toml(units)}")
        if grip:  # the jaw counts from closed to open: 100 - closed [%]
            lines.append(f"scale = {_toml([1.0] * len(joints) + [-1.0])}")
            lines.append(f"offset = {_toml([0.0] * len(joints) + [_PERCENT])}")
    else:
        lines.append(f"names = {_toml([UNKNOWN] * about.state)}")
    for image in about.images:
        lines += [
            "[[images]]",
            f"input = {_toml(image.input)}",
            f"camera = {_toml(image.camera)}",
            f"height = {image.height}",
            f"width = {image.width}",
            'fit = "exact"  # stretch, crop or pad for a camera of another size',
            *moments,
        ]
    return "\n".join(lines) + "\n"


def _columns(about: About, robot: str | None) -> tuple[list[str], bool, bool]:
    """The joints that the columns are, whether the last column is the jaw, and whether the units
    are known too. Raises ConfigError for a robot with another number of joints."""
    if robot is None:
        return [UNKNOWN] * about.columns, False, False
    joints = list(models.load(robot).joints)
    if about.columns not in (len(joints), len(joints) + 1):
        raise ConfigError(
            f"wanted a robot with {about.columns} joints, or one less and a gripper, for the "
            f"policy's actions, found {robot} with {len(joints)}: name another --robot, or give a "
            "mapping with --map"
        )
    return joints, about.columns > len(joints), Path(robot).stem == _SO101


def _toml(value: Any) -> str:
    return json.dumps(value)  # strings and lists of JSON are those of TOML
