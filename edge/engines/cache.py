"""Built engines on disk, which cannot serve a wrong one.

`DIGEST.json` is the record of an engine: its key, the name, size and SHA-256 of its plan, and what
was measured of it. The plan lies beside it under a name of its own content. A record is put in
place by one rename, after its plan has been written and synced: whenever the power goes, there is
either the old engine or the new one. `MODEL.best.json` says which kind of engine was measured to be
fastest for a model.

A plan is machine code that is run, so it is read only from a folder that no other user of the
computer can write to (`headway.bundle.private`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import msgspec

from headway import config
from headway.bundle.disk import Disk, replace
from headway.bundle.private import made_private, open_private, wanted_private
from headway.edge.engines.key import EngineKey, differences
from headway.edge.engines.options import EngineOptions
from headway.errors import BundleError, ConfigError, Untrusted

SCHEMA = 1
Shapes = dict[str, tuple[int, ...]]  # of inputs, by name
_PART = ".part-"
_DIGEST = re.compile(r"[0-9a-f]{64}\.json")


class Parity(config.Struct, frozen=True):
    """How close the engine's outputs were to those of ONNX Runtime on the CPU: the cosine of the
    worst output of the worst sample, the worst ratio of their lengths (shorter by longer), the
    largest difference, and of how many samples."""

    cosine: float
    length: float
    max_abs: float
    samples: int


class Latency(config.Struct, frozen=True):
    """Host to host, of one run [us]."""

    p50_us: float
    p99_us: float


class Record(config.Struct, frozen=True, kw_only=True):
    """The manifest of a built engine. `onnx`: SHA-256 of the ONNX file alone, which names `files`
    of weights beside it, and has `pairs` (inputs of uint16 that the plan has as pairs of uint8) and
    numbers of the precision `numbers`. `options`: what it was built with. `parity`: None where
    there was no device to run it on. `notes`: what TensorRT had to say. `network`: of an engine
    that takes other weights, SHA-256 of the graph without them; `refitted`: SHA-256 of the model
    whose engine was given this one's, "" for an engine that was built."""

    schema: int
    key: EngineKey
    onnx: str
    files: tuple[str, ...]
    pairs: tuple[str, ...]
    numbers: str
    plan: str
    size: int
    sha256: str
    options: EngineOptions
    seconds: float
    layers: int
    parity: Parity | None = None
    latency: Latency | None = None
    notes: tuple[str, ...] = ()
    network: str = ""
    refitted: str = ""


class Best(config.Struct, frozen=True, kw_only=True):
    """Which kind of engine is fastest for a model on a computer, by measurement there, with inputs
    of these `shapes`; {} where an earlier Headway wrote it, which did not say."""

    schema: int
    model: str  # SHA-256
    machine: str
    kind: str
    measured: dict[str, Latency]
    shapes: Shapes = {}  # noqa: RUF012 - msgspec copies defaults


@dataclass(frozen=True, slots=True)
class Built:
    """A built engine: its `record`, and the `plan`, which is what the library loads."""

    record: Record
    plan: bytes


class Cache:
    """The engines in `folder`; `disk` does all changes."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self.folder = folder
        self._disk = Disk() if disk is None else disk

    def find(self, key: EngineKey) -> Built | None:
        """The engine of that key; None where none was built. Raises BundleError for one that is
        damaged, Untrusted where others can write to the folder."""
        record = self._record(self.folder / f"{key.digest}.json")
        if record is None:
            return None
        path = self.folder / f"{key.digest}.json"
        if record.key != key:
            raise BundleError(
                f"{path} is the record of another engine ({'; '.join(differences(record.key, key))}"
                "): delete it, and run `headway build` again"
            )
        if "/" in record.plan or record.plan in ("", ".", ".."):
            raise BundleError(f"{path}: wanted the name of a file beside it, found {record.plan!r}")
        try:
            with open_private(self.folder / record.plan) as f:
                plan = f.read(record.size + 1)
        except OSError as e:
            raise _damaged(self.folder / record.plan, f"it cannot be read ({e.strerror})") from None
        if len(plan) != record.size:
            more = "more than " if len(plan) > record.size else ""
            raise _damaged(
                self.folder / record.plan,
                f"wanted {record.size} bytes, found {more}{min(len(plan), record.size)}",
            )
        found = hashlib.sha256(plan).hexdigest()
        if found != record.sha256:
            raise _damaged(
                self.folder / record.plan,
                f"wanted SHA-256 {record.sha256[:12]}, found {found[:12]}",
            )
        return Built(record, plan)

    def records(self) -> tuple[list[Record], list[BundleError]]:
        """The records of all engines here, and what is wrong with those that cannot be read. Raises
        Untrusted."""
        found: list[Record] = []
        damaged: list[BundleError] = []
        if not self.folder.is_dir():
            return found, damaged
        wanted_private(self.folder)
        for path in sorted(self.folder.glob("*.json")):
            if _DIGEST.fullmatch(path.name) is None:
                continue
            try:
                record = self._record(path)
            except Untrusted:
                raise
            except BundleError as e:
                damaged.append(e)
            else:
                found += [] if record is None else [record]
        return found, damaged

    def store(self, record: Record, plan: bytes) -> Record:
        """Write an engine; `plan`, `size` and `sha256` of the record are filled in. An engine of
        the same key is replaced. Raises BundleError where it cannot be written, such as on a full
        disk, which leaves what was there; Untrusted where others can write to the folder."""
        digest = record.key.digest
        sha256 = hashlib.sha256(plan).hexdigest()
        name = f"{digest[:16]}-{sha256[:16]}.plan"
        full = msgspec.structs.replace(record, plan=name, size=len(plan), sha256=sha256)
        before = None
        with contextlib.suppress(BundleError):
            before = self._record(self.folder / f"{digest}.json")
        self._write(name, plan)
        self._write(f"{digest}.json", _json(full))
        if before is not None and before.plan != name:
            with contextlib.suppress(OSError):
                self._disk.remove(self.folder / before.plan)
        return full

    def update(self, record: Record) -> None:
        """Write the record of an engine that is here again. Raises as `store`."""
        self._write(f"{record.key.digest}.json", _json(record))

    def remove(self, key: EngineKey) -> None:
        """Remove the engine of that key, whatever is left of it."""
        for path in (
            self.folder / f"{key.digest}.json", *self.folder.glob(f"{key.digest[:16]}-*.plan"),
        ):  # fmt: skip
            with contextlib.suppress(OSError):
                self._disk.remove(path)

    def best(self, model: str) -> Best | None:
        """What was measured for the model with that SHA-256; None where nothing was. Raises
        BundleError for a damaged file, Untrusted where others can write to the folder."""
        path = self.folder / f"{model}.best.json"
        return _decoded(path, Best)

    def write_best(self, best: Best) -> None:
        """Raises as `store`."""
        self._write(f"{best.model}.best.json", _json(best))

    def read(self, name: str) -> bytes:
        """The content of a file here; empty where there is none. Raises Untrusted."""
        if not self.folder.is_dir():
            return b""
        try:
            with open_private(self.folder / name) as f:
                return f.read()
        except OSError:
            return b""

    def write(self, name: str, content: bytes) -> None:
        """Raises as `store`."""
        self._write(name, content)

    def _record(self, path: Path) -> Record | None:
        record = _decoded(path, Record)
        if record is not None and record.schema != SCHEMA:
            raise BundleError(
                f"{path}: wanted schema {SCHEMA}, found {record.schema}: build it with this Headway"
            )
        return record

    def _write(self, name: str, content: bytes) -> None:
        # two that build at a time write to different files first
        part = self.folder / f"{_PART}{os.getpid()}-{secrets.token_hex(4)}"
        try:
            made_private(self.folder)
            self._sweep()
            try:
                replace(self._disk, self.folder / name, content, part)
            except BaseException:
                with contextlib.suppress(OSError):
                    self._disk.remove(part)
                raise
        except OSError as e:
            raise BundleError(
                f"cannot write the engine to {self.folder}: {e.strerror or e}: make room or give "
                "yourself the right to write there, or name another folder with --cache"
            ) from None

    def _sweep(self) -> None:
        """Remove what writers have left that are no more."""
        for part in self.folder.glob(f"{_PART}*"):
            writer = part.name.removeprefix(_PART).partition("-")[0]
            if (
                writer.isdigit()
                and not Path("/proc", writer).exists()
                and Path("/proc/self").exists()
            ):
                with contextlib.suppress(OSError):
                    self._disk.remove(part)


def _decoded(path: Path, kind: type[config.S]) -> config.S | None:
    if not path.parent.is_dir():
        return None
    try:
        with open_private(path) as f:
            data = msgspec.json.decode(f.read())
        return config.decode(data, kind, str(path))
    except FileNotFoundError:
        return None
    except OSError as e:
        raise _damaged(path, f"it cannot be read ({e.strerror})") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise _damaged(path, f"it is no JSON ({e})") from None
    except ConfigError as e:
        raise _damaged(path, str(e)) from None


def _damaged(path: Path, why: str) -> BundleError:
    return BundleError(f"the engine {path} is damaged: {why}: run `headway build` again")


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
