"""The commands of signed bundles: `headway keys COMMAND`, `sign`, `verify`, `install`, `rollback`.

Each function in `KEY_COMMANDS` and `SECURITY_COMMANDS` is a command, as those of `headway.cli` are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tyro


def make(
    name: tyro.conf.Positional[str], keys: Path | None = None, passphrase_file: Path | None = None
) -> int:
    """Make a key that signs bundles: NAME.pem, which is secret, and NAME.pub for the robots.

    Args:
        name: of the key, such as the team's, the robot's or the year's.
        keys: folder of your keys [~/.config/headway/keys].
        passphrase_file: file whose first line encrypts the secret half; - asks for it.
    """
    from headway.tools.security.keys import make_command

    return make_command(name, keys, passphrase_file)


def list_(keys: Path | None = None, trust: Path | None = None) -> int:
    """List your own keys and those of a trust store, with their ids and validity.

    Args:
        keys: folder of your keys [~/.config/headway/keys].
        trust: trust store [~/.config/headway/trust].
    """
    from headway.tools.security.keys import list_command

    return list_command(keys, trust)


def show(key: tyro.conf.Positional[Path]) -> int:
    """Show a public key: its id, and the line that a trust store holds.

    Args:
        key: NAME.pub, as `headway keys make` or OpenSSL wrote it.
    """
    from headway.tools.security.keys import show_command

    return show_command(key)


def trust(
    key: tyro.conf.Positional[Path],
    name: str | None = None,
    trust: Path | None = None,
    not_before: str | None = None,
    not_after: str | None = None,
    bundles: tuple[str, ...] = ("*",),
    overwrite: bool = False,
) -> int:
    """Trust a public key: its bundles may be installed and run. Compare its id first.

    Args:
        key: NAME.pub of the signer.
        name: the name of the key in the store [that of its file].
        trust: trust store [~/.config/headway/trust]; it is made if it is not there.
        not_before: the day from which on it counts (2026-01-31).
        not_after: the day from which on it counts no more.
        bundles: patterns of the names of bundles that it may sign, such as pick_*.
        overwrite: replace a key of that name.
    """
    from headway.tools.security.keys import trust_command

    return trust_command(key, name, trust, (not_before, not_after), bundles, overwrite)


def untrust(name: tyro.conf.Positional[str], trust: Path | None = None) -> int:
    """Remove a key from a trust store: its bundles are refused from now on.

    Args:
        name: of the key in the store.
        trust: trust store [~/.config/headway/trust].
    """
    from headway.tools.security.keys import untrust_command

    return untrust_command(name, trust)


def lowest(
    bundle: tyro.conf.Positional[str],
    version: tyro.conf.Positional[int],
    trust: Path | None = None,
) -> int:
    """Refuse versions of a bundle below this one, for one that was found to be unsafe.

    Args:
        bundle: name of the bundle.
        version: the lowest version that is accepted.
        trust: trust store [~/.config/headway/trust].
    """
    from headway.tools.security.keys import lowest_command

    return lowest_command(bundle, version, trust)


def sign(
    bundle: tyro.conf.Positional[Path],
    key: Path,
    version: int | None = None,
    expires: str | None = None,
    add: bool = False,
    passphrase_file: Path | None = None,
) -> int:
    """Sign a bundle, so that robots can tell who made it and that nobody changed it.

    Args:
        bundle: bundle folder.
        key: secret key, NAME.pem.
        version: counter of this bundle's versions; robots refuse to go back to a lower one.
        expires: the day from which on robots refuse it (2027-01-31) [never].
        add: instead, add a signature of a further key to those that it has.
        passphrase_file: file whose first line is the key's passphrase; - asks for it.
    """
    from headway.tools.security.bundles import sign_command

    return sign_command(bundle, key, version, expires, add, passphrase_file)


def verify(
    bundle: tyro.conf.Positional[Path], trust: Path | None = None, key: Path | None = None
) -> int:
    """Check that a bundle is whole and signed by somebody whom a trust store names.

    Args:
        bundle: bundle folder.
        trust: trust store [~/.config/headway/trust].
        key: instead of a store, trust this public key (NAME.pub) alone.
    """
    from headway.tools.security.bundles import verify_command

    return verify_command(bundle, trust, key)


def install(
    bundle: tyro.conf.Positional[Path],
    to: Path,
    trust: Path | None = None,
    keep: int = 3,
    again: bool = False,
) -> int:
    """Install a signed bundle on this robot: whole or not at all, also when the power fails.

    Args:
        bundle: bundle folder.
        to: folder of the installed bundles; runs name TO/NAME/current.
        trust: trust store [~/.config/headway/trust].
        keep: installed versions to keep, with the new one.
        again: install a version from which `headway rollback` went back.
    """
    from headway.tools.security.bundles import install_command

    return install_command(bundle, to, trust, keep, again)


def rollback(name: tyro.conf.Positional[str], store: Path, trust: Path | None = None) -> int:
    """Go back to the last good version of an installed bundle.

    Args:
        name: name of the bundle.
        store: folder of the installed bundles, as `headway install --to` was given.
        trust: trust store [~/.config/headway/trust].
    """
    from headway.tools.security.bundles import rollback_command

    return rollback_command(name, store, trust)


KEY_COMMANDS: dict[str, Callable[..., int]] = {
    "make": make,
    "list": list_,
    "show": show,
    "trust": trust,
    "untrust": untrust,
    "lowest": lowest,
}
SECURITY_COMMANDS: dict[str, Callable[..., int]] = {
    "sign": sign,
    "verify": verify,
    "install": install,
    "rollback": rollback,
}
