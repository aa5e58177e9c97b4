"""A bundle: a model as a folder, `bundle.json` beside the files that it names.

`load` believes nothing: every file must be there, be a plain file inside the folder, and have the
size and SHA-256 that the manifest gives, before anything is opened as a model. The hashes find
damage and mix-ups; they are no signature, since whoever can change a file can change the manifest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec
import numpy as np

from headway import config
from headway.config import Struct
from headway.errors import BundleError, ConfigError

MANIFEST = "bundle.json"
SCHEMA = 1
DTYPES = ("float32", "float64", "float16", "int64", "int32", "uint8", "uint16", "bool")


class Tensor(Struct, frozen=True, kw_only=True):
    """An input or output of the ONNX graph. `mean` and `std` (one value, or one per element of the
    last axis) are applied by whoever fills it; None: the graph does it itself."""

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
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"tensor {self.name}: mean and std come together")
        for key, values in (("mean", self.mean), ("std", self.std)):
            if values is None:
                continue
            if len(values) not in (1, self.shape[-1] if self.shape else 1):
                raise ValueError(
                    f"tensor {self.name}: {key} has {len(values)} values for shape {self.shape}"
                )
            if not np.isfinite(values).all() or (key == "std" and min(values) <= 0.0):
                raise ValueError(f"tensor {self.name}: {key} wants finite values, std > 0")


class Image(Struct, frozen=True, kw_only=True):
    """An image input: from which camera, resized to `height` x `width` [px]."""

    camera: str
    input: str  # name of the tensor
    height: int
    width: int
    channels: int = 3
    encoding: Literal["rgb8", "depth_mm"] = "rgb8"  # uint8 (h, w, 3), uint16 (h, w)


class Policy(Struct, frozen=True, kw_only=True):
    """What an action-chunk policy sees and says."""

    action_names: tuple[str, ...]
    action_units: tuple[str, ...]
    frame: str  # of the actions, such as "base" or "tcp at the chunk's start"
    chunk: int  # actions per inference
    dt_s: float  # between actions
    rate_hz: float  # inferences
    images: tuple[Image, ...] = ()
    state_names: tuple[str, ...] = ()
    instructions: tuple[str, ...] = ()  # vocabulary; the policy is given the index

    def __post_init__(self) -> None:
        if len(self.action_names) != len(self.action_units):
            raise ValueError(
                f"policy: {len(self.action_names)} action names, {len(self.action_units)} units"
            )
        if self.chunk < 1 or not self.dt_s > 0.0 or not self.rate_hz > 0.0:
            raise ValueError(
                f"policy: wanted chunk >= 1, dt_s > 0, rate_hz > 0, found {self.chunk}, "
                f"{self.dt_s}, {self.rate_hz}"
            )


class Pro(Struct, frozen=True, kw_only=True):
    """What a PRO head was trained on. The reward's weights are those of
    gamma * Phi(t+1) - Phi(t) - risk_weight * risk - stability_weight * (1 - stability)."""

    spec_hash: str  # of the feature definition, headway.kernels.spec
    rate_hz: float
    hidden: int
    masks: tuple[str, ...] = ()  # channel groups, in the order of the mask input
    # By output; already applied inside the graph, given for the record.
    temperature: dict[str, float] = msgspec.field(default_factory=dict)
    # Alarm levels by signal, from a calibration split.
    thresholds: dict[str, float] = msgspec.field(default_factory=dict)
    gamma: float = 1.0
    risk_weight: float = 0.0
    stability_weight: float = 0.0

    def __post_init__(self) -> None:
        if not self.rate_hz > 0.0 or self.hidden < 1:
            raise ValueError(
                f"pro: wanted rate_hz > 0 and hidden >= 1, found {self.rate_hz}, {self.hidden}"
            )


class Provenance(Struct, frozen=True, kw_only=True):
    """How the model came to be; enough to make it again."""

    command: str
    seed: int
    data: str
    date: str
    metrics: dict[str, float] = msgspec.field(default_factory=dict)


class File(Struct, frozen=True, kw_only=True):
    sha256: str
    size: int


class Manifest(Struct, frozen=True, kw_only=True):
    """The content of bundle.json. `files` is filled in by `save`."""

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
        for image in self.policy.images if self.policy else ():
            if image.input not in {t.name for t in self.inputs}:
                raise ValueError(f"image of camera {image.camera}: no input is named {image.input}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle: `path` is the folder, `onnx` the model in it."""

    path: Path
    manifest: Manifest

    @property
    def onnx(self) -> Path:
        return self.path / self.manifest.onnx


def load(path: Path | str) -> Bundle:
    """Check a bundle folder. Raises BundleError naming the file and what is wrong with it."""
    path = Path(path)
    if not path.is_dir():
        what = "a file" if path.is_file() else "nothing"
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
    # No link anywhere on the way: it could lead out of the folder, or change after the check.
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
    """A path that stays inside the folder, on every system. Raises BundleError."""
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
    """Write a bundle of `files` (relative path: content, or a file to copy); hashes are computed.

    The folder appears at once or not at all: it is written beside `path`, synced and renamed. A
    bundle that was there is replaced; anything else that is there is left, with a BundleError.
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
        load(fresh)  # what cannot be loaded again is not put there
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
