"""Write and check the folder of a bundle.

Every file must be there, be a plain file inside the folder, and have the size and SHA-256 that the
manifest gives, before any is opened as a model. The hashes find damage and mix-ups; whoever can
change a file can also change the manifest, unless it is signed and a trust store is asked
(`headway.bundle.trust`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from headway import config
from headway.bundle import schema1
from headway.bundle.manifest import SCHEMA, File, Manifest
from headway.bundle.private import check_owner, wanted_private
from headway.bundle.signature import SIGNATURE
from headway.bundle.trust import Signed, Trust
from headway.errors import BundleError, ConfigError, Untrusted
from headway.files import sync, take_place

MANIFEST = "bundle.json"
_OWN = (MANIFEST, SIGNATURE)  # files that have to do with the folder, not with the model
LARGEST = 16 << 20  # bytes of bundle.json


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle: `path` is its folder, `onnx` the path of the model in it, `signed` what its
    signature says; None where no trust store was asked."""

    path: Path
    manifest: Manifest
    signed: Signed | None = None

    @property
    def onnx(self) -> Path:
        return self.path / self.manifest.onnx


def load(
    path: Path | str,
    trust: Trust | None = None,
    *,
    in_place: bool = True,
    now: datetime | None = None,
) -> Bundle:
    """Check the bundle in the folder `path` and return it. Raises BundleError, which names the file
    and what is wrong with it.

    With `trust`, the bundle has to be signed by a key of it, to hold no file that the manifest does
    not name, and to lie where only this user and root can change it; then `path` of the bundle is
    its real path. `in_place`: False for a bundle that is only looked at or copied, which may lie
    anywhere. `now`: the time at which the signature has to count (None: the computer's clock).
    Raises Untrusted."""
    path = Path(path)
    if not os.path.isdir(path):  # unlike Path.is_dir, it accepts names that are too long
        what = "a file" if os.path.isfile(path) else "nothing"
        raise BundleError(
            f"wanted a bundle folder at {path}, found {what}: give the folder that holds {MANIFEST}"
        )
    private = trust is not None and in_place
    path = wanted_private(path) if private else path
    source = path / MANIFEST
    if os.path.islink(source) or not os.path.isfile(source):
        raise BundleError(f"wanted {MANIFEST} as a plain file in {path}, found none there")
    text = _text(source)
    signed = None if trust is None else trust.check(path, text, now)
    manifest = _manifest(source, text)
    if signed is not None and signed.statement.bundle != manifest.name:
        raise Untrusted(
            f"{path / SIGNATURE} is about {signed.statement.bundle}, and {MANIFEST} names "
            f"{manifest.name}: sign the bundle again"
        )
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
    if signed is not None:
        no_others(path, manifest)
    for name, want in manifest.files.items():
        try:
            _check(path, name, want, private)
        except OSError as e:  # noqa: PERF203 - a name too long, a file that nobody may read
            raise _unreadable(f"bundle {path}: {name}", e) from None
    return Bundle(path, manifest, signed)


def no_others(path: Path, manifest: Manifest) -> None:
    """Raises Untrusted for anything in the folder `path` that `manifest` does not name: a model
    could read it, and no signature covers it. Raises BundleError for a folder in it that this user
    may not list."""
    named = {MANIFEST, SIGNATURE, *manifest.files}

    def closed(e: OSError) -> None:
        raise _unreadable(f"the folder {e.filename} of a bundle", e)

    for folder, folders, files in os.walk(path, onerror=closed):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*links, *files):
            found = os.path.relpath(os.path.join(folder, name), path)
            if found not in named:
                raise Untrusted(
                    f"bundle {path}: {found!r} is not among the files that {MANIFEST} names, so no "
                    "signature covers it: remove it, or make the bundle again with it"
                )


def _text(source: Path) -> bytes:
    """The content of `bundle.json`. Raises BundleError."""
    try:
        with source.open("rb") as f:
            text = f.read(LARGEST + 1)
    except OSError as e:
        raise _unreadable(str(source), e) from None
    if len(text) > LARGEST:
        raise BundleError(f"{source}: wanted {LARGEST} bytes at most, found more")
    return text


def _unreadable(what: str, e: OSError) -> BundleError:
    """The error of `what`, which raised `e` when it was read. Raises `e` itself where nothing is
    wrong with the bundle."""
    if e.errno in (errno.EMFILE, errno.ENFILE):
        raise e
    return BundleError(f"{what} is not readable: {e.strerror}: copy it again, or let this user in")


def _manifest(source: Path, text: bytes) -> Manifest:
    try:
        data: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
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


def _check(root: Path, name: str, want: File, private: bool) -> None:
    """Raises BundleError unless the file `name` is what the manifest says; and with `private`,
    Untrusted where others can change it."""
    file = root / _relative(name)
    # Links are refused: they could lead out of the folder, or be changed after the check.
    part = root
    for step in PurePosixPath(name).parts:
        part = part / step
        if part.is_symlink():
            raise BundleError(f"bundle {root}: {name} goes through a symbolic link: copy the file")
        if private and part.exists():
            check_owner(part, part.lstat(), os.geteuid())
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
    if odd or pure.is_absolute() or ".." in pure.parts or name in (".", *_OWN):
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


def save(
    path: Path | str,
    manifest: Manifest,
    files: Mapping[str, bytes | Path],
    accept: Callable[[Bundle], None] = lambda made: None,
) -> Bundle:
    """Write a bundle into the folder `path` and return it. `files` maps relative paths to contents,
    or to files to copy; sizes and hashes are added to `manifest`.

    The folder is written beside `path`, synced and then renamed, so that it is never there in part.
    `accept` is called with the bundle before that; what it raises keeps it from being put in place.
    It replaces a bundle at `path`. Raises BundleError when something else is there, or when the
    bundle cannot be written or would not load.
    """
    path = Path(path)
    if manifest.onnx not in files:
        raise BundleError(f"bundle {path}: model {manifest.onnx} is not among {sorted(files)}")
    with _beside(path) as work:
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
            sync(target)
            table[name] = File(sha256=_sha256(target), size=target.stat().st_size)
        full = msgspec.structs.replace(manifest, schema=SCHEMA, files=table)
        text = msgspec.json.format(msgspec.json.encode(full), indent=2)
        (fresh / MANIFEST).write_bytes(text + b"\n")
        sync(fresh / MANIFEST)
        accept(load(fresh))  # a bundle that does not load is not put in place
        take_place(fresh, path, work / "old")
    return load(path)


def check_place(path: Path) -> None:
    """Raises BundleError where `save` could not write a bundle at `path`, for what would find that
    out only after hours of work. Leaves nothing behind."""
    missing = [p for p in path.absolute().parents if not os.path.lexists(p)]
    try:
        with _beside(path):
            pass
    finally:
        for folder in missing:  # the inner ones come first
            with contextlib.suppress(OSError):
                folder.rmdir()


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, where a bundle is made that is to be put there; it is removed
    afterwards. Raises BundleError where something else than a bundle is at `path`, or for what
    cannot be written."""
    try:
        if path.exists() and not (path / MANIFEST).is_file():
            raise BundleError(f"wanted to write a bundle at {path}, found something else there")
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as e:
        raise BundleError(
            f"cannot write the bundle {path}: {e}: choose another place, or make this one writable"
        ) from None
