"""A signed bundle, the keys that sign it, and the robot that trusts one of them."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_bundle import FILES, manifest

from headway import bundle
from headway.bundle import signature
from headway.bundle.keys import PrivateKey, make
from headway.bundle.signing import sign_bundle
from headway.bundle.trust import KEYS, Trust, Trusted, key_text, read_trust

pytest.importorskip("cryptography", reason="signatures want it: pip install 'headway[sign]'")

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=timezone.utc)
DAY = timedelta(days=1)


@dataclass
class Maker:
    """Who makes bundles of the name `head`, and the robot that trusts the key `factory`."""

    root: Path

    def __post_init__(self) -> None:
        self.root.chmod(0o700)
        self.factory = make(self.root / "keys", "factory")
        self.stranger = make(self.root / "keys", "stranger")
        self.store = self.root / "trust"
        self.trust_in(Trusted(self.factory.public))

    def trust_in(self, *keys: Trusted, lowest: dict[str, int] | None = None) -> Trust:
        """A trust store on the disk with these keys, read."""
        (self.store / KEYS).mkdir(parents=True, exist_ok=True)
        for file in (self.store / KEYS).iterdir():
            file.unlink()
        for key in keys:
            (self.store / KEYS / f"{key.key.name}.toml").write_text(key_text(key))
        text = "".join(f'"{k}" = {v}\n' for k, v in (lowest or {}).items())
        (self.store / "lowest.toml").write_text(text)
        self.trust = read_trust(self.store)
        return self.trust

    def make(
        self,
        version: int = 1,
        *,
        name: str = "head",
        folder: str = "made",
        weights: bytes = b"weights",
        key: PrivateKey | None = None,
        expires: datetime | None = None,
    ) -> Path:
        """A signed bundle in a folder of its own."""
        files = {**FILES, "model.onnx": weights}
        path = bundle.save(self.root / folder, manifest(name=name), files).path
        sign_bundle(path, key or self.factory, version, expires=expires, now=NOW)
        return path

    def load(self, path: Path, now: datetime = NOW) -> bundle.Bundle:
        return bundle.load(path, self.trust, now=now)


def envelope(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((path / "bundle.sig").read_bytes())
    return found


def put_envelope(path: Path, table: dict[str, Any]) -> None:
    (path / "bundle.sig").write_bytes(msgspec.json.encode(table))


def signed_by(payload: bytes, key: PrivateKey, *, keyid: str = "") -> dict[str, Any]:
    """An envelope of any `payload`, signed rightly; `keyid`: the id that it claims."""
    made = base64.b64encode(key.sign(signature.message(payload))).decode()
    return {
        "payloadType": signature.TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": keyid or key.public.id, "sig": made}],
    }


def statement(path: Path, **changes: Any) -> dict[str, Any]:
    """The statement that the bundle in `path` should have, as plain data."""
    return {
        "bundle": "head",
        "version": 1,
        "manifest_sha256": hashlib.sha256((path / "bundle.json").read_bytes()).hexdigest(),
        "signed": NOW.isoformat(),
        **changes,
    }


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, links by where they lead."""
    return {
        str(p.relative_to(folder)): os.readlink(p).encode() if p.is_symlink() else p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_symlink() or p.is_file()
    }
