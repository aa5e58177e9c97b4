"""`headway sign`, `verify`, `install` and `rollback`: bundles on their way from who makes them to
the robot."""

from __future__ import annotations

import os
from pathlib import Path

from headway.bundle.folder import load
from headway.bundle.keys import read_private, read_public
from headway.bundle.signing import add_signature, sign_bundle
from headway.bundle.store import CURRENT, Store, names
from headway.bundle.trust import Signed, read_trust, trust_of_key
from headway.errors import BundleError, ConfigError
from headway.tools.security.places import day, passphrase, trust_folder


def sign_command(
    bundle: Path,
    key: Path,
    version: int | None,
    expires: str | None,
    add: bool,
    passphrase_file: Path | None,
) -> int:
    """Sign the bundle in the folder `bundle`. `headway.cli_security` explains the arguments of all
    commands here, and each returns the exit code. Raises ConfigError, BundleError, Missing."""
    if add and (version is not None or expires is not None):
        raise ConfigError(
            "a signature that is added says the same as those that are there: leave --version and "
            "--expires out"
        )
    if not add and version is None:
        raise ConfigError(
            "wanted --version, a counter that is higher for each version of a bundle, found none"
        )
    secret = read_private(key, passphrase(passphrase_file))
    if version is None:
        signed = add_signature(bundle, secret)
    else:
        signed = sign_bundle(bundle, secret, version, expires=day(expires, "--expires"))
    print(f"{bundle}: {_said(signed)}")
    return 0


def verify_command(bundle: Path, trust: Path | None, key: Path | None) -> int:
    """Check the bundle in the folder `bundle` against a trust store, or one public key. Raises
    BundleError for everything that is wrong with it."""
    if key is not None:
        if trust is not None:
            raise ConfigError("wanted --trust or --key, found both: leave one of them out")
        known = trust_of_key(read_public(key), str(key))
    else:
        known = read_trust(trust_folder(trust))
    made = load(bundle, known, in_place=False)
    assert made.signed is not None
    size = sum(file.size for file in made.manifest.files.values())
    print(f"{bundle}: {_said(made.signed)}")
    print(f"{len(made.manifest.files)} files, {size / 1e6:.1f} MB, all as signed; no others")
    return 0


def install_command(bundle: Path, to: Path, trust: Path | None, keep: int, again: bool) -> int:
    """Install the bundle in the folder `bundle` below `to`. Raises BundleError; then what was
    installed before is still the current one."""
    known = read_trust(trust_folder(trust))
    name = load(bundle, known, in_place=False).manifest.name
    store = Store(to, name)
    before = store.current
    installed, changed = store.install(bundle, known, keep=keep, again=again)
    place = store.folder / CURRENT
    if not changed:
        print(f"{name} version {installed.version} is installed already: {place}")
        return 0
    was = "" if before is None else f", after version {before.version}"
    print(f"installed {name} version {installed.version}{was}: {place}")
    print("a run that works goes on with what it loaded; the next one loads this")
    return 0


def rollback_command(name: str, store: Path, trust: Path | None) -> int:
    """Go back to the last good version of the bundle `name` below `store`. Raises BundleError."""
    if not os.path.isdir(store):
        raise ConfigError(f"wanted a folder of installed bundles at {store}, found none")
    known = Store(store, name)
    if not known.folder.is_dir():
        there = ", ".join(names(store)) or "none"
        raise BundleError(f"wanted the installed bundle {name} in {store}, found {there}")
    before, now, against = known.rollback(read_trust(trust_folder(trust)))
    for line in against:
        print(f"passed over {line}")
    print(f"{name}: from version {before.version} back to {now.version}: {known.folder / CURRENT}")
    return 0


def _said(signed: Signed) -> str:
    said = signed.statement
    end = "" if said.expires is None else f", expires {said.expires:%Y-%m-%d %H:%M} UTC"
    return (
        f"{said.bundle} version {said.version}, signed {said.signed:%Y-%m-%d %H:%M} UTC by "
        f"{signed.by.name} ({signed.by.id[:16]}){end}"
    )
