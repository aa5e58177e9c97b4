"""A trust store: whose bundles a robot runs.

It is a folder. `keys/NAME.toml` holds a public key, and may say when it counts and for which
bundles; `lowest.toml` has the lowest version that is accepted, by the name of a bundle:

    # keys/factory.toml                      # lowest.toml
    public = "ed25519:BASE64 OF 32 BYTES"    pick_place = 7
    not_before = 2026-01-01T00:00:00Z
    not_after = 2028-01-01T00:00:00Z
    bundles = ["pick_*"]

Nobody but its owner and root may be able to change it, see `headway.bundle.private`.
"""

from __future__ import annotations

import base64
import fnmatch
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headway import config
from headway.bundle import signature
from headway.bundle.keys import PublicKey, checked, wanted_name
from headway.bundle.private import open_private, wanted_private
from headway.bundle.signature import SIGNATURE, Statement
from headway.errors import ConfigError, Untrusted

KEYS, LOWEST = "keys", "lowest.toml"
PREFIX = "ed25519:"
SLACK = timedelta(days=1)  # by which the clocks of the signer and of the robot may differ
_LARGEST = 65_536  # bytes of a file of the store


class KeyFile(config.Struct, frozen=True, kw_only=True):
    """`keys/NAME.toml`: the key; the time in which it counts, for signing and for use; and patterns
    (as of a shell) of the names of bundles that it may sign."""

    public: Annotated[str, Meta(min_length=1)]
    not_before: signature.Time | None = None
    not_after: signature.Time | None = None
    bundles: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True)
class Trusted:
    """A key of a store, and for what it counts."""

    key: PublicKey
    not_before: datetime | None = None
    not_after: datetime | None = None
    bundles: tuple[str, ...] = ("*",)

    def why_not(self, said: Statement, now: datetime) -> str:
        """Why this key's signature of `said` does not count at the time `now`; "" if it does."""
        name = self.key.name
        if not any(fnmatch.fnmatchcase(said.bundle, pattern) for pattern in self.bundles):
            return f"{name} may sign {', '.join(self.bundles) or 'nothing'}, not {said.bundle}"
        if self.not_before is not None and min(now, said.signed) < self.not_before:
            return f"{name} counts from {self.not_before:%Y-%m-%d} on"
        if self.not_after is not None and max(now, said.signed) >= self.not_after:
            return f"{name} counts until {self.not_after:%Y-%m-%d} only"
        return ""


@dataclass(frozen=True, slots=True)
class Signed:
    """What a checked signature says of a bundle, and whose key vouches for it."""

    statement: Statement
    by: PublicKey


@dataclass(frozen=True, slots=True)
class Trust:
    """A trust store that was read: its `keys` by their id, and the `lowest` version by bundle.
    `where` names it in errors."""

    where: str
    keys: Mapping[str, Trusted] = field(default_factory=dict)
    lowest: Mapping[str, int] = field(default_factory=dict)

    def check(self, folder: Path, manifest: bytes, now: datetime | None = None) -> Signed:
        """Check the signature of the bundle in `folder`, whose `bundle.json` has the content
        `manifest`, at the time `now` (None: the computer's clock). Raises Untrusted, which says
        what is wrong and what to do."""
        now = datetime.now(timezone.utc) if now is None else now
        where = str(folder / SIGNATURE)
        payload, signatures = signature.opened(_read(folder / SIGNATURE), where)
        by = self._signers(payload, signatures, where)
        said = signature.statement_of(payload, where)
        if said.manifest_sha256 != signature.digest(manifest):
            raise Untrusted(
                f"{where} is the signature of another bundle.json (of {said.bundle}, version "
                f"{said.version}): one of the two was changed or exchanged; copy the bundle again"
            )
        reasons = [(t, t.why_not(said, now)) for t in by]
        good = next((t for t, why in reasons if not why), None)
        if good is None:
            raise Untrusted(f"{where}: {'; '.join(why for _, why in reasons)}")
        if said.signed > now + SLACK:
            raise Untrusted(
                f"{where} was signed at {said.signed:%Y-%m-%d %H:%M} UTC, and here it is "
                f"{now:%Y-%m-%d %H:%M}: set this computer's clock"
            )
        if said.expires is not None and now >= said.expires:
            raise Untrusted(
                f"{where} has expired at {said.expires:%Y-%m-%d %H:%M} UTC: sign the bundle again, "
                "or install a newer one"
            )
        if said.version < self.lowest.get(said.bundle, 0):
            raise Untrusted(
                f"{where}: wanted version {self.lowest[said.bundle]} or higher of {said.bundle} "
                f"({self.where}), found {said.version}: install a newer one"
            )
        return Signed(said, good.key)

    def _signers(
        self, payload: bytes, signatures: list[signature.Signature], where: str
    ) -> list[Trusted]:
        """The keys of the store that signed `payload`, one at least. Raises Untrusted, also where
        one signature of a key of the store is right and another is not."""
        text = signature.message(payload)
        found = []
        for each in signatures:
            known = self.keys.get(each.keyid)
            if known is None:
                continue
            if not known.key.verifies(signature.decoded(each.sig, where), text):
                raise Untrusted(
                    f"{where}: the signature is not that of the key {known.key.name}, which it "
                    "names: it was changed; copy the bundle again"
                )
            found.append(known)
        if not found:
            ids = ", ".join(repr(s.keyid[:16]) for s in signatures)
            names = ", ".join(t.key.name for t in self.keys.values()) or "no key"
            raise Untrusted(
                f"{where} was signed by unknown keys ({ids}); {self.where} trusts {names}: sign it "
                "by one of them, or add the signer's key by `headway keys trust`"
            )
        return found


def trust_of_key(key: PublicKey, where: str) -> Trust:
    """Trust in one key for everything; `where` names it in errors."""
    return Trust(where, {key.id: Trusted(key)})


def read_trust(folder: Path | str) -> Trust:
    """Read the trust store in `folder`. Raises ConfigError for one that is not there or has a file
    that does not fit, Untrusted where others can change it."""
    folder = Path(folder)
    if not os.path.isdir(folder):  # unlike Path.is_dir, it accepts names that are too long
        raise ConfigError(
            f"wanted a trust store at {folder}, found none: make one by `headway keys trust "
            f"KEY.pub --trust {folder}`"
        )
    folder = wanted_private(folder)
    keys: dict[str, Trusted] = {}
    for file in sorted((folder / KEYS).glob("*.toml")):
        made = _key(file)
        if (other := keys.get(made.key.id)) is not None:
            raise ConfigError(f"{file} holds the same key as {other.key.name}: remove one of them")
        keys[made.key.id] = made
    lowest: dict[str, int] = {}
    if os.path.lexists(folder / LOWEST):
        lowest = config.decode(_toml(folder / LOWEST), dict[str, int], str(folder / LOWEST))
    return Trust(str(folder), keys, lowest)


def store_of(path: Path | str | None) -> Trust | None:
    """The trust store that a run names; None for none ("" or None). Raises as `read_trust`."""
    return read_trust(path) if path else None


def vouched(what: str, signed: Signed | None) -> dict[str, str]:
    """Metadata of a recording that ran a bundle as its `what`: version, and whose key vouched for
    it; nothing where no trust store was asked."""
    if signed is None:
        return {}
    return {
        f"{what}_version": str(signed.statement.version),
        f"{what}_signed_by": f"{signed.by.name} {signed.by.id}",
    }


def key_text(key: Trusted) -> str:
    """The content of the file of `key` in a store."""
    lines = [f'public = "{PREFIX}{base64.b64encode(key.key.raw).decode()}"']
    for name in ("not_before", "not_after"):
        at = getattr(key, name)
        if at is not None:
            at = at.astimezone(timezone.utc).replace(microsecond=0, tzinfo=None)
            lines.append(f"{name} = {at.isoformat()}Z")  # strftime writes the year 987 in 3 digits
    lines.append(f"bundles = {msgspec.json.encode(key.bundles).decode()}")
    return "\n".join(lines) + "\n"


def _key(file: Path) -> Trusted:
    wanted_name(file.stem)
    found = config.decode(_toml(file), KeyFile, str(file))
    if not found.public.startswith(PREFIX):
        raise ConfigError(f"{file}: `public` wants {PREFIX}BASE64, found {found.public[:20]!r}")
    try:
        raw = signature.decoded(found.public[len(PREFIX) :], str(file))
    except Untrusted as e:
        raise ConfigError(str(e)) from None
    key = checked(PublicKey(file.stem, raw), str(file))
    return Trusted(key, found.not_before, found.not_after, found.bundles)


def _toml(file: Path) -> Any:
    try:
        with open_private(file) as f:
            text = f.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise ConfigError(f"{file}: wanted {_LARGEST} bytes at most, found more")
        return config.parse_toml(text.decode(), str(file))
    except OSError as e:
        raise ConfigError(f"cannot read {file}: {e.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: wanted TOML in UTF-8") from None


def _read(file: Path) -> bytes:
    """The content of the signature `file`. Raises Untrusted where there is none."""
    try:
        number = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise Untrusted(
            f"wanted a signed bundle in {file.parent}, found no {SIGNATURE}: sign it where it is "
            "made, by `headway sign`"
        ) from None
    except OSError as e:
        raise Untrusted(f"wanted {file} as a plain file: {e.strerror}") from None
    with os.fdopen(number, "rb") as f:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise Untrusted(f"wanted {file} as a plain file, found something else")
        text = f.read(signature.LARGEST + 1)
    if len(text) > signature.LARGEST:
        raise Untrusted(f"{file}: wanted {signature.LARGEST} bytes at most, found more")
    return text
