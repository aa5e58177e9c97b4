"""Write and check the folder of a bundle.

Every file must be there, be a plain file inside the folder, and have the size and SHA-256 that the
manifest gives, before any is opened as a model. The hashes find damage and mix-ups. They are no
signature: whoever can change a file can also change the manifest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from headway import config
from headway.bundle import schema1
from headway.bundle.manifest import SCHEMA, File, Manifest
from headway.errors import BundleError, ConfigError

MANIFEST = "bundle.json"


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
    said = manifest.policy.instruction if manifest.policy is not None else None
    for name in said.files if said is not None else ():
        if name not in manifest.files:
            raise BundleError(
                f"{source}: policy.instruction wants {name}, which is not among the bundle's files "
                f"({', '.join(manifest.files)})"
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
    schema = data.get("schema")
    if schema not in (1, SCHEMA):
        raise BundleError(
            f"{source}: wanted schema {SCHEMA} or 1, found {schema}: use a Headway of that "
            "version, or export the bundle again"
        )
    try:
        if schema == 1:
            data = schema1.upgraded(data)
        return config.decode(data, Manifest, str(source))
    except KeyError as e:
        raise BundleError(f"{source}: wanted the key {e}, found none: add it") from None
    except (TypeError, ValueError, AttributeError) as e:
        raise BundleError(f"{source}: {e}") from None
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
