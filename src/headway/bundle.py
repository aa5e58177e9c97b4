"""Bundles: a bundle is a folder with a model and its manifest `bundle.json`, which names the files.

`save` writes one and `load` checks one: every file must be there, be a plain file inside the
folder, and have the size and SHA-256 that the manifest gives, before any is opened as a model. The
hashes find damage and mix-ups. They are no signature: whoever can change a file can also change the
manifest.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from headway import config, units
from headway.config import Hertz, NotNegative, Seconds, Struct
from headway.errors import BundleError, ConfigError

MANIFEST = "bundle.json"
SCHEMA = 1
DTYPES = ("float32", "float64", "float16", "int64", "int32", "uint8", "uint16", "bool")


class Tensor(Struct, frozen=True, kw_only=True):
    """An input or output of the ONNX graph, and how its values relate to physical ones.

    `unit` is the unit of its values, among `headway.units.UNITS`; "" is the unit that Headway uses
    for that quantity. `mean` and `std` have one value, or one per element of the last axis, and
    need a tensor of floats: the graph is given (x - mean) / std for an input x, and an output y
    stands for y * std + mean. None means that the graph normalises by itself.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    unit: str = ""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"tensor {self.name}: dtype {self.dtype}, valid: {', '.join(DTYPES)}")
        if any(d < 1 for d in self.shape):
            raise ValueError(f"tensor {self.name}: wanted dimensions >= 1, found {self.shape}")
        if self.unit:
            try:
                units.check(self.unit)
            except ValueError as e:
                raise ValueError(f"tensor {self.name}: {e}") from None
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"tensor {self.name}: mean and std come together")
        if self.mean is not None and not self.floats:
            raise ValueError(
                f"tensor {self.name}: mean and std want a tensor of floats, found {self.dtype}: "
                "normalise inside the graph"
            )
        for key, values in (("mean", self.mean), ("std", self.std)):
            if values is None:
                continue
            if len(values) not in (1, self.shape[-1] if self.shape else 1):
                raise ValueError(
                    f"tensor {self.name}: {key} has {len(values)} values for shape {self.shape}"
                )
            if not np.isfinite(values).all() or (key == "std" and min(values) <= 0.0):
                raise ValueError(f"tensor {self.name}: {key} wants finite values, std > 0")

    @property
    def floats(self) -> bool:
        """Whether its elements are floating-point numbers."""
        return self.dtype.startswith("float")


class Image(Struct, frozen=True, kw_only=True):
    """An image input. The camera named `camera` must give images of `height` x `width` [px]. The
    tensor is (1, h, w, 3) uint8 for rgb8, and (1, h, w) uint16 [mm] for depth_mm; it may also be of
    floats with the same values."""

    camera: str
    input: str  # name of the tensor
    height: Annotated[int, Meta(ge=1)]
    width: Annotated[int, Meta(ge=1)]
    channels: int = 3
    encoding: Literal["rgb8", "depth_mm"] = "rgb8"

    def check(self, tensor: Tensor) -> None:
        """Raises ValueError when shape, dtype or unit of `tensor` do not fit this image."""
        rgb = self.encoding == "rgb8"
        channels, dtype, unit = (3, "uint8", "1") if rgb else (1, "uint16", "mm")
        what = f"image of camera {self.camera} ({self.encoding})"
        if self.channels != channels:
            raise ValueError(f"{what}: wanted channels = {channels}, found {self.channels}")
        shape = (1, self.height, self.width, *((3,) if rgb else ()))
        if tensor.shape != shape or not (tensor.dtype == dtype or tensor.floats):
            raise ValueError(
                f"{what}: wanted its input `{tensor.name}` as {dtype} or floats {shape}, found "
                f"{tensor.dtype} {tensor.shape}"
            )
        if tensor.unit and not tensor.floats and tensor.unit != unit:
            raise ValueError(
                f"{what}: wanted whole numbers with the unit {unit!r}, found {tensor.unit!r}"
            )
        if rgb and tensor.unit not in ("", "1"):
            raise ValueError(f"{what}: wanted no unit (0 to 255), found {tensor.unit!r}")


# The frames that a policy may state, and the axes of its actions: those of the TCP at the chunk's
# start, or those of the robot's base.
FRAMES: dict[str, Literal["tcp", "base"]] = {
    "tcp": "tcp",
    "tcp at the chunk's start": "tcp",
    "tcp commanded at the observation": "tcp",
    "base": "base",
}


class Policy(Struct, frozen=True, kw_only=True):
    """The inputs and outputs of an action-chunk policy. Actions are motions relative to the TCP
    pose at the chunk's start, in the axes of `frame` (a key of `FRAMES`)."""

    action_names: tuple[str, ...]
    action_units: tuple[str, ...]  # as `headway.edge.motion.actions` lists them
    frame: str
    chunk: Annotated[int, Meta(ge=1, le=4096)]  # actions per inference
    dt_s: Seconds  # between actions
    rate_hz: Hertz  # inferences per second
    images: tuple[Image, ...] = ()
    state_names: tuple[str, ...] = ()
    instructions: tuple[str, ...] = ()  # the policy gets the index in this vocabulary

    def __post_init__(self) -> None:
        if len(self.action_names) != len(self.action_units):
            raise ValueError(
                f"policy: {len(self.action_names)} action names, {len(self.action_units)} units"
            )
        if self.frame not in FRAMES:
            raise ValueError(
                f"policy: frame wants {', '.join(map(repr, FRAMES))}, found {self.frame!r}: "
                f"{config.suggest(self.frame, FRAMES)}"
            )

    @property
    def axes(self) -> Literal["tcp", "base"]:
        """The axes of the actions: "tcp" or "base"."""
        return FRAMES[self.frame]


class Pro(Struct, frozen=True, kw_only=True):
    """What a PRO head was trained on. The reward is
    gamma * Phi(t+1) - Phi(t) - risk_weight * risk - stability_weight * (1 - stability)."""

    spec_hash: str  # hash of the definition of the features, see headway.kernels.spec
    rate_hz: Hertz
    hidden: Annotated[int, Meta(ge=1)]
    masks: tuple[str, ...] = ()  # channel groups, in the order of the mask input
    tasks: tuple[str, ...] = ()  # names of the tasks that it knows; telemetry has the index
    # By output. The graph already applies these; they are stated for information only.
    temperature: dict[str, float] = msgspec.field(default_factory=dict)
    # Alarm levels by signal at which the metrics in `provenance` were counted, for information
    # only: a run takes its levels from a calibration, see headway.edge.pro.risk.
    thresholds: dict[str, float] = msgspec.field(default_factory=dict)
    gamma: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0
    risk_weight: NotNegative = 0.0
    stability_weight: NotNegative = 0.0

    def __post_init__(self) -> None:
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"pro: wanted tasks with distinct names, found {self.tasks}")

    def task_index(self, name: str) -> float:
        """What telemetry says of the task `name`, in the column `task`: its place in `tasks`, NaN
        for a task that the head does not know."""
        return float(self.tasks.index(name)) if name in self.tasks else math.nan


class Provenance(Struct, frozen=True, kw_only=True):
    """How the model was made, in enough detail to make it again."""

    command: str
    seed: int
    data: str
    date: str
    metrics: dict[str, float] = msgspec.field(default_factory=dict)


class File(Struct, frozen=True, kw_only=True):
    """SHA-256 checksum and size [bytes] that a file of the bundle must have."""

    sha256: str
    size: int


class Manifest(Struct, frozen=True, kw_only=True):
    """The content of bundle.json. `save` fills in `files`, by relative path."""

    kind: Literal["policy", "pro"]
    name: str
    onnx: str  # relative path of the model
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    provenance: Provenance
    policy: Policy | None = None
    pro: Pro | None = None
    schema: int = SCHEMA
    files: dict[str, File] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        has = {"policy": self.policy is not None, "pro": self.pro is not None}
        if has != {k: k == self.kind for k in has}:
            found = ", ".join(k for k, there in has.items() if there) or "neither"
            raise ValueError(
                f"a bundle of kind {self.kind} wants the section `{self.kind}` alone, found {found}"
            )
        names = [t.name for t in (*self.inputs, *self.outputs)]
        if len(set(names)) != len(names) or not self.inputs or not self.outputs:
            raise ValueError(f"wanted inputs and outputs with distinct names, found {names}")
        inputs = {t.name: t for t in self.inputs}
        images = self.policy.images if self.policy else ()
        for image in images:
            if image.input not in inputs:
                raise ValueError(f"image of camera {image.camera}: no input is named {image.input}")
            image.check(inputs[image.input])
        twice = [i.input for i in images if [j.input for j in images].count(i.input) > 1]
        if twice:
            raise ValueError(f"two images want to be the input {twice[0]}: give each its own")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle: `path` is its folder, `onnx` the path of the model in it."""

    path: Path
    manifest: Manifest

    @property
    def onnx(self) -> Path:
        return self.path / self.manifest.onnx


def load(path: Path | str) -> Bundle:
    """Check the bundle in the folder `path` and return it. Raises BundleError, which names the file
    and what is wrong with it."""
    path = Path(path)
    if not os.path.isdir(path):  # unlike Path.is_dir, it accepts names that are too long
        what = "a file" if os.path.isfile(path) else "nothing"
        raise BundleError(
            f"wanted a bundle folder at {path}, found {what}: give the folder that holds {MANIFEST}"
        )
    source = path / MANIFEST
    if source.is_symlink() or not source.is_file():
        raise BundleError(f"wanted {MANIFEST} as a plain file in {path}, found none there")
    manifest = _manifest(source)
    if manifest.onnx not in manifest.files:
        raise BundleError(
            f"{source}: model {manifest.onnx} is not among its files ({', '.join(manifest.files)})"
        )
    for name, want in manifest.files.items():
        _check(path, name, want)
    return Bundle(path, manifest)


def _manifest(source: Path) -> Manifest:
    try:
        data: Any = msgspec.json.decode(source.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise BundleError(f"{source} is not readable as JSON: {e}") from None
    if not isinstance(data, dict):
        raise BundleError(f"{source}: wanted an object, found {type(data).__name__}")
    if data.get("schema") != SCHEMA:
        raise BundleError(
            f"{source}: wanted schema {SCHEMA}, found {data.get('schema')}: use a Headway of that "
            "version, or export the bundle again"
        )
    try:
        return config.decode(data, Manifest, str(source))
    except ConfigError as e:
        raise BundleError(str(e)) from None


def _check(root: Path, name: str, want: File) -> None:
    file = root / _relative(name)
    # Links are refused: they could lead out of the folder, or be changed after the check.
    part = root
    for step in PurePosixPath(name).parts:
        part = part / step
        if part.is_symlink():
            raise BundleError(f"bundle {root}: {name} goes through a symbolic link: copy the file")
    if not file.is_file():
        raise BundleError(f"bundle {root}: wanted the file {name}, found none: copy it again")
    size = file.stat().st_size
    if size != want.size:
        raise BundleError(
            f"bundle {root}: {name} wants {want.size} bytes, found {size}: copy the bundle again"
        )
    found = _sha256(file)
    if found != want.sha256:
        raise BundleError(
            f"bundle {root}: {name} was altered: wanted SHA-256 {want.sha256[:12]}, found "
            f"{found[:12]}: copy or export the bundle again"
        )


def _relative(name: str) -> PurePosixPath:
    """`name` as a relative path that stays inside the folder on every system. Raises
    BundleError."""
    pure = PurePosixPath(name)
    odd = not name or "\\" in name or "\0" in name or ":" in name or str(pure) != name
    if odd or pure.is_absolute() or ".." in pure.parts or name in (".", MANIFEST):
        raise BundleError(
            f"bundle file {name!r}: wanted a plain relative path inside the folder, such as "
            "model.onnx"
        )
    return pure


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def save(path: Path | str, manifest: Manifest, files: Mapping[str, bytes | Path]) -> Bundle:
    """Write a bundle into the folder `path` and return it. `files` maps relative paths to contents,
    or to files to copy; sizes and hashes are added to `manifest`.

    The folder is written beside `path`, synced and then renamed, so that it is never there in part.
    It replaces a bundle at `path`. Raises BundleError when something else is there, or when the
    bundle cannot be written or would not load.
    """
    path = Path(path)
    if path.exists() and not (path / MANIFEST).is_file():
        raise BundleError(f"wanted to write a bundle at {path}, found something else there")
    if manifest.onnx not in files:
        raise BundleError(f"bundle {path}: model {manifest.onnx} is not among {sorted(files)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        fresh = work / "new"
        fresh.mkdir()
        table = {}
        for name, content in sorted(files.items()):
            target = fresh / _relative(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)
            _sync(target)
            table[name] = File(sha256=_sha256(target), size=target.stat().st_size)
        full = msgspec.structs.replace(manifest, schema=SCHEMA, files=table)
        text = msgspec.json.format(msgspec.json.encode(full), indent=2)
        (fresh / MANIFEST).write_bytes(text + b"\n")
        _sync(fresh / MANIFEST)
        load(fresh)  # a bundle that does not load is not put in place
        old = work / "old"
        if path.exists():
            path.rename(old)
        try:
            fresh.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    except OSError as e:
        raise BundleError(f"cannot write the bundle {path}: {e}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return load(path)


def _sync(file: Path) -> None:
    with file.open("rb") as f:
        os.fsync(f.fileno())
