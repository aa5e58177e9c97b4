"""Ed25519 keys (RFC 8032), in the PEM files that OpenSSL writes and reads too.

A private key is PKCS #8 in a file that only its owner can read, encrypted where there is a
passphrase; a public key is SubjectPublicKeyInfo. A key's `id` is the SHA-256 of its 32 bytes in
hexadecimal digits: it follows from the key and cannot be chosen.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway.errors import ConfigError, Missing, Untrusted

PRIVATE, PUBLIC = ".pem", ".pub"
LARGEST = 16_384  # bytes of a key's file; one has about 120
LONGEST = 1023  # bytes of a passphrase, as OpenSSL has it
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Points of small order, without their sign bit: under one of them some signatures fit any message.
# They are those that libsodium refuses (ed25519_ref10.c, ge25519_has_small_order).
_SMALL_ORDER = frozenset(
    bytes.fromhex(point)
    for point in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key of 32 bytes and the name that people know it by."""

    name: str
    raw: bytes

    @property
    def id(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` (64 bytes) is this key's of exactly `message`."""
        key = _ed25519().Ed25519PublicKey.from_public_bytes(self.raw)
        try:
            key.verify(signature, message)
        except _invalid_signature():
            return False
        return True


class PrivateKey:
    """A private key, which signs. `public` is its public half."""

    def __init__(self, name: str, key: Any) -> None:
        self._key = key
        self.public = PublicKey(name, key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """The signature (64 bytes) of `message`."""
        return bytes(self._key.sign(message))


def make(folder: Path, name: str, passphrase: bytes | None = None) -> PrivateKey:
    """Make a key, write NAME.pem and NAME.pub into `folder`, which is made too, and return it. The
    private half is encrypted by `passphrase`, None for none. A key that is there is not replaced.
    Raises ConfigError, and Missing without the package cryptography."""
    wanted_name(name)
    secret, public = folder / f"{name}{PRIVATE}", folder / f"{name}{PUBLIC}"
    for file in (secret, public):
        if os.path.lexists(file):
            raise ConfigError(f"wanted a new key, found {file}: choose another name, or move it")
    serial = _serialization()
    lock = serial.NoEncryption()
    if passphrase is not None:
        if not passphrase:
            raise ConfigError("wanted a passphrase, found an empty one: give one, or none at all")
        if len(passphrase) > LONGEST:
            raise ConfigError(
                f"wanted a passphrase of {LONGEST} bytes at most, found {len(passphrase)}: give a "
                "shorter one"
            )
        lock = serial.BestAvailableEncryption(passphrase)
    key = _ed25519().Ed25519PrivateKey.generate()
    text = key.private_bytes(serial.Encoding.PEM, serial.PrivateFormat.PKCS8, lock)
    open_text = key.public_key().public_bytes(
        serial.Encoding.PEM, serial.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(secret, text, 0o600)
        try:
            _write_new(public, open_text, 0o644)
        except OSError:
            with contextlib.suppress(OSError):
                secret.unlink()  # half a key would keep the whole one from being made
            raise
    except OSError as e:
        raise ConfigError(f"cannot write the key {secret}: {e.strerror}") from None
    return PrivateKey(name, key)


def read_private(file: Path, passphrase: bytes | None = None) -> PrivateKey:
    """The private key in the PEM file `file`, which nobody but its owner may be able to read.
    Raises ConfigError for a file that is none or wants another passphrase, Untrusted for one that
    others can read, and Missing without the package cryptography."""
    serial = _serialization()
    text = _read(file, "a private key")
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        raise Untrusted(
            f"{file} can be read or written by others (mode {mode:03o}): chmod 600 {file}, and "
            "make a new key if somebody may have copied it"
        )
    try:
        key = serial.load_pem_private_key(text, passphrase)
    except TypeError:  # a passphrase is missing, or one is given and not needed
        what = "a passphrase" if passphrase is None else "no passphrase"
        raise ConfigError(f"the key {file} wants {what}: see --passphrase-file") from None
    except Exception as e:  # ValueError, UnsupportedAlgorithm, InternalError of OpenSSL
        raise ConfigError(
            f"wanted a private key as PEM in {file}, with its passphrase, found none: {_line(e)}"
        ) from None
    if not isinstance(key, _ed25519().Ed25519PrivateKey):
        raise ConfigError(f"wanted an Ed25519 key in {file}, found {type(key).__name__}")
    return PrivateKey(file.stem, key)


def read_public(file: Path) -> PublicKey:
    """The public key in the PEM file `file`, named as the file. Raises ConfigError for what is
    none, Missing without the package cryptography."""
    serial = _serialization()
    text = _read(file, "a public key")
    try:
        key = serial.load_pem_public_key(text)
    except Exception as e:  # as above
        raise ConfigError(f"wanted a public key as PEM in {file}, found none: {_line(e)}") from None
    if not isinstance(key, _ed25519().Ed25519PublicKey):
        raise ConfigError(f"wanted an Ed25519 key in {file}, found {type(key).__name__}")
    return checked(PublicKey(file.stem, key.public_bytes_raw()), str(file))


def checked(key: PublicKey, where: str) -> PublicKey:
    """`key`, if it is one. `where` names its place in errors. Raises ConfigError for other than 32
    bytes, and for points under which forged signatures fit."""
    if len(key.raw) != 32:
        raise ConfigError(f"{where}: wanted 32 bytes of an Ed25519 key, found {len(key.raw)}")
    if bytes([*key.raw[:31], key.raw[31] & 0x7F]) in _SMALL_ORDER:
        raise ConfigError(
            f"{where}: this key is a point of small order, under which anybody can sign: make "
            "one by `headway keys make`"
        )
    return key


def wanted_name(name: str) -> None:
    """Raises ConfigError for a name of a key that is no plain file name."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"wanted a key's name of letters, digits and . _ - (64 at most), found {name!r}"
        )


def _read(file: Path, what: str) -> bytes:
    try:
        with file.open("rb") as f:
            text = f.read(LARGEST + 1)
    except OSError as e:
        raise ConfigError(f"wanted {what} at {file}: {e.strerror}") from None
    if len(text) > LARGEST:
        raise ConfigError(f"wanted {what} in {file}, found more than {LARGEST} bytes")
    return text


def _write_new(file: Path, text: bytes, mode: int) -> None:
    number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(number, "wb") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            file.unlink()
        raise


def _line(e: Exception) -> str:
    return (str(e).strip() or type(e).__name__).splitlines()[0]


def _ed25519() -> Any:
    _serialization()
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return ed25519


def _invalid_signature() -> type[Exception]:
    from cryptography.exceptions import InvalidSignature

    kind: type[Exception] = InvalidSignature
    return kind


def _serialization() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as e:
        raise Missing(
            f"signatures want the package cryptography: pip install 'headway[sign]' ({e})"
        ) from None
    return serialization
