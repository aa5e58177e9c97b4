"""`headway keys`: make keys that sign bundles, and say whose bundles a robot trusts."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headway.bundle.disk import Disk, replace
from headway.bundle.keys import PUBLIC, PrivateKey, PublicKey, make, read_public, wanted_name
from headway.bundle.private import made_private, wanted_private
from headway.bundle.trust import KEYS, LOWEST, Trust, Trusted, key_text, read_trust
from headway.errors import ConfigError
from headway.tools.security.places import day, keys_folder, passphrase, trust_folder


def make_command(name: str, keys: Path | None, passphrase_file: Path | None) -> int:
    """Make the key `name`. `headway.cli_security` explains the arguments of all commands here, and
    each returns the exit code. Raises ConfigError, Missing."""
    folder = keys_folder(keys)
    wanted_name(name)
    made: PrivateKey = make(folder, name, passphrase(passphrase_file, twice=True))
    kept = (
        "in the clear: who can read the file can sign" if passphrase_file is None else "encrypted"
    )
    print(f"{folder / name}.pem  secret, {kept}: keep it off the robots")
    print(f"{folder / name}{PUBLIC}  for the robots: headway keys trust {name}{PUBLIC}")
    print(f"id {made.public.id}")
    return 0


def list_command(keys: Path | None, trust: Path | None) -> int:
    """Print the keys in the folder `keys`, and those of the store `trust`, where they are."""
    console = Console()
    folder, store = keys_folder(keys), trust_folder(trust)
    table = Table("name", "id", "counts", "for", title=None, box=None)
    own = sorted(folder.glob(f"*{PUBLIC}")) if os.path.isdir(folder) else []
    for file in own:
        key = read_public(file)
        secret = "own, with secret" if file.with_suffix(".pem").exists() else "own, public half"
        table.add_row(escape(key.name), key.id[:16], secret, "")
    there = os.path.isdir(store) or trust is not None
    known = read_trust(store) if there else Trust(str(store))
    for each in known.keys.values():
        table.add_row(
            escape(each.key.name), each.key.id[:16], _validity(each), escape(" ".join(each.bundles))
        )
    if own or known.keys:
        console.print(table)
    else:
        print(f"no keys in {folder}, none trusted in {store}: headway keys make NAME")
    for bundle, version in sorted(known.lowest.items()):
        print(f"{bundle}: versions below {version} are refused")
    return 0


def show_command(key: Path) -> int:
    """Print the id of the public key in the file `key`, and its entry in a trust store."""
    found = read_public(key)
    print(f"{found.name}: Ed25519, id {found.id}")
    print(key_text(Trusted(found)), end="")
    return 0


def trust_command(
    key: Path,
    name: str | None,
    trust: Path | None,
    valid: tuple[str | None, str | None],
    bundles: tuple[str, ...],
    overwrite: bool,
) -> int:
    """Add the public key in the file `key` to the store `trust`. `valid`: the days from which on it
    counts, and counts no more. Raises ConfigError, Untrusted."""
    found = read_public(key)
    found = PublicKey(found.name if name is None else name, found.raw)
    wanted_name(found.name)
    before, after = day(valid[0], "--not-before"), day(valid[1], "--not-after")
    if before is not None and after is not None and after <= before:
        raise ConfigError(f"wanted --not-after behind --not-before, found {valid[1]}, {valid[0]}")
    store = trust_folder(trust)
    try:
        folder = made_private(store / KEYS)
        known = read_trust(store)
        file = folder / f"{found.name}.toml"
        other = known.keys.get(found.id)
        if other is not None and other.key.name != found.name:
            raise ConfigError(f"{store} trusts this key already, as {other.key.name}")
        if file.exists() and not overwrite:
            raise ConfigError(
                f"{store} trusts a key named {found.name} already: give another --name, or replace "
                "it with --overwrite"
            )
        entry = Trusted(found, before, after, bundles)
        replace(Disk(), file, key_text(entry).encode())
    except OSError as e:
        raise ConfigError(f"cannot write the trust store {store}: {e.strerror}") from None
    read_trust(store)
    print(f"{store} trusts {found.name}, id {found.id}, {_validity(entry)}")
    return 0


def untrust_command(name: str, trust: Path | None) -> int:
    """Remove the key `name` from the store `trust`. Raises ConfigError where it is not there."""
    wanted_name(name)
    folder = wanted_private(_existing(trust))
    file = folder / KEYS / f"{name}.toml"
    if not os.path.lexists(file):
        known = ", ".join(sorted(p.stem for p in file.parent.glob("*.toml"))) or "no key"
        raise ConfigError(f"wanted the key {name} in {folder}, found {known}")
    try:
        file.unlink()
        Disk().sync(file.parent)
    except OSError as e:
        raise ConfigError(f"cannot remove {file}: {e.strerror}") from None
    print(f"{folder} trusts {name} no more: bundles that only it signed are refused")
    return 0


def lowest_command(bundle: str, version: int, trust: Path | None) -> int:
    """Accept no version of `bundle` below `version`, in the store `trust`. Raises ConfigError."""
    if not bundle or version < 0:
        raise ConfigError(f"wanted a bundle and a version of 0 or more, found {bundle!r} {version}")
    known = read_trust(_existing(trust))
    table = {**known.lowest, bundle: version}
    text = "".join(f"{_quoted(name)} = {table[name]}\n" for name in sorted(table))
    try:
        replace(Disk(), Path(known.where) / LOWEST, text.encode())
    except OSError as e:
        raise ConfigError(f"cannot write the trust store {known.where}: {e.strerror}") from None
    read_trust(known.where)
    print(f"{known.where}: versions of {bundle} below {version} are refused")
    return 0


def _existing(trust: Path | None) -> Path:
    store = trust_folder(trust)
    if not os.path.isdir(store):
        raise ConfigError(
            f"wanted a trust store at {store}, found none: headway keys trust KEY.pub"
        )
    return store


def _validity(key: Trusted) -> str:
    begin = "" if key.not_before is None else f"from {key.not_before:%Y-%m-%d} on"
    end = "" if key.not_after is None else f"until {key.not_after:%Y-%m-%d}"
    return " ".join(filter(None, (begin, end))) or "always"


def _quoted(name: str) -> str:
    """`name` as a key of TOML."""
    plain = name.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in plain) + '"'
