"""The signature of a bundle: `bundle.sig` beside `bundle.json`.

It is an envelope of DSSE v1 (Dead Simple Signing Envelope, github.com/secure-systems-lab/dsse), so
that other programs can check it. What is signed are the very bytes of a small statement, which has
the SHA-256 of the bytes of `bundle.json`; that has the SHA-256 of every file. Nothing is brought
into a canonical form: statement and manifest are parsed after their signature and hash were found
right, from the very bytes for which they were.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from headway.bundle.keys import PrivateKey
from headway.errors import Untrusted

SIGNATURE = "bundle.sig"
LARGEST = 65_536  # bytes of bundle.sig
TYPE = "application/vnd.headway.bundle.v1+json"
MOST = 16  # signatures of one bundle

Time = Annotated[datetime, Meta(tz=True)]


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a signature says: this `bundle.json` (`manifest_sha256`) is version `version`, a counter
    that only rises, of the bundle `bundle`; it was signed at `signed` and may be used before
    `expires`, None: always."""

    bundle: Annotated[str, Meta(min_length=1)]
    version: Annotated[int, Meta(ge=1, le=2**53)]
    manifest_sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    signed: Time
    expires: Time | None = None


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signature (base64) and the id of the key that made it: a hint where to look, not more."""

    keyid: str
    sig: str


class Envelope(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    rename={"type": "payloadType"},
):
    """`bundle.sig`: the statement's bytes (base64), their type, and signatures of both."""

    type: str
    payload: str
    signatures: list[Signature]


def sign(statement: Statement, key: PrivateKey) -> bytes:
    """The envelope of `statement`, signed by `key`, as the bytes of a `bundle.sig`."""
    payload = msgspec.json.encode(statement)
    return _written(payload, [_made(payload, key)])


def add(envelope: bytes, key: PrivateKey, where: str) -> bytes:
    """`envelope` with a further signature by `key` of the same statement. `where` names it in
    errors. Raises Untrusted for what is no envelope, and where `key` signed it already."""
    payload, signatures = opened(envelope, where)
    if any(s.keyid == key.public.id for s in signatures):
        raise Untrusted(f"{where} has a signature of the key {key.public.name} already")
    if len(signatures) >= MOST:
        raise Untrusted(f"{where} has {MOST} signatures, the most that it may have")
    return _written(payload, [*signatures, _made(payload, key)])


def opened(envelope: bytes, where: str) -> tuple[bytes, list[Signature]]:
    """The bytes of the statement in `envelope`, and the signatures, none of which is checked yet.
    `where` names the file in errors. Raises Untrusted for anything that is not exactly an
    envelope."""
    try:
        found = msgspec.json.decode(envelope, type=Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Untrusted(f"{where} is no signature of a bundle: {e}") from None
    if found.type != TYPE:
        raise Untrusted(f"{where}: wanted a payload of type {TYPE}, found {found.type[:80]!r}")
    if not 1 <= len(found.signatures) <= MOST:
        raise Untrusted(f"{where}: wanted 1 to {MOST} signatures, found {len(found.signatures)}")
    if len({s.keyid for s in found.signatures}) < len(found.signatures):
        raise Untrusted(f"{where}: wanted one signature of each key, found two of one")
    return decoded(found.payload, where), found.signatures


def statement_of(payload: bytes, where: str) -> Statement:
    """The statement in `payload`, whose signature was found right. Raises Untrusted."""
    try:
        return msgspec.json.decode(payload, type=Statement)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Untrusted(f"{where}: the statement is signed, but is none: {e}") from None


def decoded(text: str, where: str) -> bytes:
    """The bytes that `text` is in base64. Raises Untrusted for another spelling of them."""
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if base64.b64encode(found).decode() != text:
        raise Untrusted(f"{where}: wanted base64, found {text[:40]!r}")
    return found


def message(payload: bytes) -> bytes:
    """What is signed for `payload`: DSSE's pre-authentication encoding of it and its type."""
    kind = TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _made(payload: bytes, key: PrivateKey) -> Signature:
    made = base64.b64encode(key.sign(message(payload))).decode()
    return Signature(key.public.id, made)


def _written(payload: bytes, signatures: Iterable[Signature]) -> bytes:
    text = base64.b64encode(payload).decode()
    envelope = Envelope(type=TYPE, payload=text, signatures=list(signatures))
    return msgspec.json.format(msgspec.json.encode(envelope), indent=2) + b"\n"
