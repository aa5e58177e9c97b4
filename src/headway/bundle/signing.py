"""Sign the bundle in a folder."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from headway.bundle import signature
from headway.bundle.disk import Disk, leftover, remove_all, replace
from headway.bundle.folder import MANIFEST, Bundle, load, no_others
from headway.bundle.keys import PrivateKey
from headway.bundle.signature import SIGNATURE, Statement
from headway.bundle.trust import Signed, trust_of_key
from headway.errors import BundleError, ConfigError


def sign_bundle(
    path: Path,
    key: PrivateKey,
    version: int,
    *,
    expires: datetime | None = None,
    now: datetime | None = None,
) -> Signed:
    """Check the bundle in the folder `path` and sign it as version `version`, usable before
    `expires` (None: always). `now` is the time of signing (None: the computer's clock). A signature
    that is there is replaced. Raises BundleError for a bundle that does not load or has files that
    its manifest does not name, ConfigError for a version or time that cannot be."""
    now = datetime.now(timezone.utc) if now is None else now
    if not 1 <= version <= 2**53:
        raise ConfigError(f"wanted a version of 1 or more, a counter that rises, found {version}")
    if expires is not None and expires <= now:
        raise ConfigError(f"wanted a time of expiry after {now:%Y-%m-%d %H:%M}, found {expires}")
    made = _whole(path)
    statement = Statement(
        bundle=made.manifest.name,
        version=version,
        manifest_sha256=signature.digest((path / MANIFEST).read_bytes()),
        signed=now.astimezone(timezone.utc).replace(microsecond=0),
        expires=None if expires is None else expires.astimezone(timezone.utc),
    )
    return _written(path, signature.sign(statement, key), key, now)


def add_signature(path: Path, key: PrivateKey, *, now: datetime | None = None) -> Signed:
    """Add a signature of `key` to those of the bundle in the folder `path`: the same statement, so
    whoever trusts either key accepts it. Raises BundleError as `sign_bundle`, and where there is no
    signature yet or `key` signed it already."""
    _whole(path)
    file = path / SIGNATURE
    if file.is_symlink() or not file.is_file():
        raise BundleError(f"wanted a signed bundle in {path}, found no {SIGNATURE}: sign it first")
    return _written(path, signature.add(file.read_bytes(), key, str(file)), key, now)


def _whole(path: Path) -> Bundle:
    """The bundle in the folder `path`, which has no file that its manifest does not name."""
    try:
        remove_all(Disk(), leftover(path / SIGNATURE))
    except OSError as e:
        raise BundleError(f"cannot write {path / SIGNATURE}: {e.strerror}") from None
    made = load(path)
    no_others(path, made.manifest)
    return made


def _written(path: Path, envelope: bytes, key: PrivateKey, now: datetime | None) -> Signed:
    """Put the signature in place, and read it back as a robot does."""
    try:
        replace(Disk(), path / SIGNATURE, envelope)
    except OSError as e:
        raise BundleError(f"cannot write {path / SIGNATURE}: {e.strerror}") from None
    found = load(path, trust_of_key(key.public, key.public.name), in_place=False, now=now).signed
    assert found is not None, "a bundle that is loaded with a trust store says who signed it"
    return found
