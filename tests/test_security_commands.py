"""`headway keys`, `sign`, `verify`, `install` and `rollback`, as people use them."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from sign_rig import contents
from test_bundle import FILES, manifest

from headway import bundle, config
from headway.__main__ import main
from headway.bundle import keys
from headway.bundle.keys import PublicKey, make, read_private, read_public
from headway.bundle.trust import Trusted, key_text
from headway.errors import ConfigError, Missing, Untrusted

LONG = "x" * 300  # a name that no file can have
UNKNOWN = "MCowBQYDK2VhAyEA"  # of an algorithm that there is not


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, with a bundle in it."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    bundle.save(tmp_path / "made", manifest(), FILES)
    return tmp_path


class Said:
    """What `headway` prints, and how it ends."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *args: object, code: int = 0) -> str:
        assert main(list(map(str, args))) == code
        said = self._capsys.readouterr()
        return said.err if code else said.out


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(capsys)


def test_from_a_key_to_a_robot_and_back(home: Path, said: Said) -> None:
    """The way that docs/bundle-security.md goes."""
    keys, made, store = home / ".config/headway/keys", home / "made", home / "store"
    assert "id " in said("keys", "make", "factory")
    assert (keys / "factory.pem").stat().st_mode & 0o777 == 0o600
    name = read_public(keys / "factory.pub").id
    assert name in said("keys", "show", keys / "factory.pub")
    assert "wanted a trust store at" in said("verify", made, code=2)
    told = said(
        "keys", "trust", keys / "factory.pub", "--bundles", "he*", "--not-after", "2999-01-01"
    )
    assert f"trusts factory, id {name}, until 2999-01-01" in told
    assert "he*" in said("keys", "list")
    assert "found no bundle.sig" in said("verify", made, code=3)
    sign = ("sign", made, "--key", keys / "factory.pem")
    assert "wanted --version" in said(*sign, code=2)
    assert "head version 6, signed" in said(*sign, "--version", 6, "--expires", "2998-01-01")
    assert "2 files, 0.0 MB, all as signed; no others" in said("verify", made)
    assert "expires 2998-01-01" in said("verify", made, "--key", keys / "factory.pub")
    install = ("install", made, "--to", store)
    assert "installed head version 6: " in said(*install)
    assert "version 6 is installed already" in said(*install)
    said(*sign, "--version", 7)
    assert "installed head version 7, after version 6" in said(*install)
    there = contents(store)
    said(*sign, "--version", 5)
    assert "wanted version 7 of head or a higher one" in said(*install, code=3)
    assert contents(store) == there
    assert "head: from version 7 back to 6" in said("rollback", "head", "--store", store)
    assert "versions of head below 8 are refused" in said("keys", "lowest", "head", 8)
    assert "wanted version 8 or higher of head" in said("verify", made, code=3)
    assert "below 8 are refused" in said("keys", "list")
    said("keys", "lowest", "head", 1)
    assert "trusts factory no more" in said("keys", "untrust", "factory")
    assert "was signed by unknown keys" in said("verify", made, code=3)


def test_a_key_is_exchanged_without_a_gap(home: Path, said: Said) -> None:
    """Bundles with both signatures, then robots with the new key, then bundles with it alone."""
    keys, made = home / ".config/headway/keys", home / "made"
    for name in ("old", "new"):
        said("keys", "make", name)
        said("keys", "trust", keys / f"{name}.pub", "--trust", home / name)
    said("sign", made, "--key", keys / "old.pem", "--version", 1)
    said("verify", made, "--trust", home / "new", code=3)
    said("sign", made, "--key", keys / "new.pem", "--add")
    for name in ("old", "new"):
        assert f"by {name} (" in said("verify", made, "--trust", home / name)
    refused = said("sign", made, "--key", keys / "new.pem", "--add", "--version", 2, code=2)
    assert "leave --version and --expires out" in refused


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("keys", "make", "../x"), 2, "wanted a key's name of letters"),
        (("keys", "make", "factory"), 2, "wanted a new key, found"),
        (("keys", "show", "made/bundle.json"), 2, "wanted a public key as PEM"),
        (("keys", "show", "nothing.pub"), 2, "No such file"),
        (("keys", "show", "large.pub"), 2, "found more than 16384 bytes"),
        (("keys", "show", "zero.pub"), 2, "a point of small order"),
        (("keys", "show", "p256.pub"), 2, "wanted an Ed25519 key in"),
        (("keys", "trust", "k/factory.pub", "--not-after", "soon"), 2, "a day such as 2026-01-31"),
        (
            ("keys", "trust", "k/factory.pub", "--not-before=2027-01-01", "--not-after=2026-01-01"),
            2, "wanted --not-after behind --not-before",
        ),
        (("keys", "trust", "k/factory.pub", "--trust", "t"), 2, "a key named factory already"),
        (
            ("keys", "trust", "k/factory.pub", "--trust", "t", "--name", "b"),
            2, "trusts this key already, as factory",
        ),
        (("keys", "untrust", "other", "--trust", "t"), 2, "wanted the key other in"),
        (("keys", "untrust", "other"), 2, "wanted a trust store at"),
        (("keys", "lowest", "head", "-1", "--trust", "t"), 2, "a version of 0 or more, found"),
        (("sign", "made", "--key", "mine.pub", "--version", "1"), 2, "a private key as PEM"),
        (("sign", "made", "--key", "open.pem", "--version", "1"), 3, "can be read or written by"),
        (("sign", "nothing", "--key", "k/factory.pem", "--version", "1"), 3, "found nothing"),
        (("sign", "made", "--key", "k/factory.pem", "--version", "0"), 2, "version of 1 or more"),
        (("sign", "made", "--key", "k/factory.pem", "--add"), 3, "found no bundle.sig: sign it"),
        (("verify", "made", "--trust", "t", "--key", "k/factory.pub"), 2, "found both"),
        (("install", "made", "--to", "s", "--trust", "t"), 3, "wanted a signed bundle in"),
        (("rollback", "head", "--store", "s", "--trust", "t"), 2, "wanted a folder of installed"),
        (("rollback", "head", "--store", "t", "--trust", "t"), 3, "in t, found none"),
        (("rollback", "\udcff", "--store", "t", "--trust", "t"), 3, "in t, found none"),
        (("rollback", "head", "--store", LONG, "--trust", "t"), 2, "wanted a folder of installed"),
        (("keys", "list", "--trust", LONG), 2, "wanted a trust store at"),
        (("keys", "lowest", "head", "1", "--trust", LONG), 2, "wanted a trust store at"),
        (("verify", "made", "--trust", LONG), 2, "wanted a trust store at"),
        (("install", "made", "--to", LONG, "--trust", "t"), 3, "wanted a signed bundle in"),
        (("keys", "show", "unknown.pub"), 2, "wanted a public key as PEM"),
        (("sign", "made", "--key", "unknown.pem", "--version", "1"), 2, "a private key as PEM"),
        (("keys", "make", "x", "--passphrase-file", "large.pub"), 2, "a passphrase of 1023 byte"),
        (
            ("keys", "trust", "k/factory.pub", "--not-after", "0001-01-01T00:00:00+05:00"),
            2, "a day such as 2026-01-31",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(
    home: Path,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(home)
    make(home / ".config/headway/keys", "factory")
    make(home / "k", "factory")
    shutil.copy(home / "k" / "factory.pem", home / "open.pem")
    (home / "open.pem").chmod(0o644)
    shutil.copy(home / "k" / "factory.pub", home / "mine.pub")
    (home / "mine.pub").chmod(0o600)
    said("keys", "trust", "k/factory.pub", "--trust", "t")
    (home / "large.pub").write_bytes(b"-" * 20_000)
    (home / "zero.pub").write_text(
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA" + "A" * 43 + "=\n-----END PUBLIC KEY-----\n"
    )
    (home / "p256.pub").write_text(OTHER_CURVE)
    for name, words, text in (
        ("unknown.pub", "PUBLIC", UNKNOWN + "A" * 43 + "="),
        ("unknown.pem", "PRIVATE", "MC4CAQAwBQYDK2VhBCIEI" + "A" * 42 + "="),
    ):
        (home / name).write_text(
            f"-----BEGIN {words} KEY-----\n{text}\n-----END {words} KEY-----\n"
        )
        (home / name).chmod(0o600)
    assert message in said(*args, code=code)


OTHER_CURVE = """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
"""


def test_a_key_with_a_passphrase(home: Path, said: Said) -> None:
    (home / "phrase").write_text("correct horse\nand nothing more\n")
    told = said("keys", "make", "mine", "--keys", home / "k", "--passphrase-file", home / "phrase")
    assert "mine.pem  secret, encrypted" in told
    sign = ("sign", home / "made", "--key", home / "k" / "mine.pem", "--version", 1)
    assert "wants a passphrase: see --passphrase-file" in said(*sign, code=2)
    said(*sign, "--passphrase-file", home / "phrase")
    (home / "phrase").write_text("wrong\n")
    assert "with its passphrase, found none" in said(
        *sign, "--passphrase-file", home / "phrase", code=2
    )
    (home / "phrase").write_text("\n")
    assert "found an empty one" in said(
        "keys", "make", "x", "--keys", home / "k", "--passphrase-file", home / "phrase", code=2
    )


def test_keys_of_openssl_are_keys(home: Path, said: Said) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    secret, public = home / "ssl.pem", home / "ssl.pub"
    make_key = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(secret)]
    subprocess.run(make_key, check=True, capture_output=True)
    out = ["openssl", "pkey", "-in", str(secret), "-pubout", "-out", str(public)]
    subprocess.run(out, check=True, capture_output=True)
    secret.chmod(0o600)
    assert read_private(secret).public.raw == read_public(public).raw
    said("sign", home / "made", "--key", secret, "--version", 1)
    assert "by ssl (" in said("verify", home / "made", "--key", public)


def test_a_store_that_somebody_edited_is_read_or_refused(home: Path, said: Said) -> None:
    make(home / "k", "factory")
    trust = ("--trust", home / "t")
    said("keys", "trust", home / "k/factory.pub", *trust)
    file = home / "t" / "keys" / "factory.toml"
    good = file.read_text()
    for text, message in {
        good + "not_aftr = 2026-01-01T00:00:00Z\n": "did you mean `not_after`?",
        good + "not_after = 2026-01-01\n": "not_after",
        good.replace("ed25519:", "rsa:"): "`public` wants ed25519:BASE64",
        good.replace("ed25519:", "ed25519:AA"): "wanted base64",
        'public = "ed25519:AAAA"\n': "wanted 32 bytes of an Ed25519 key, found 3",
        "public = \n": "is not valid TOML",
        'bundles = ["*"]\n': "wanted the key `public`",
    }.items():
        file.write_text(text)
        assert message in said("keys", "list", *trust, code=2)
    file.write_text(good)
    shutil.copy(file, file.with_name("again.toml"))
    assert "holds the same key as again" in said("keys", "list", *trust, code=2)
    file.with_name("again.toml").unlink()
    (home / "t" / "lowest.toml").write_text("head = 'x'\n")
    assert "head" in said("keys", "list", *trust, code=2)
    (home / "t" / "lowest.toml").unlink()
    file.chmod(0o666)
    assert "factory.toml can be written by everybody" in said("keys", "list", *trust, code=3)


def test_without_the_package_it_is_said_which_extra_has_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(Missing, match=r"pip install 'headway\[sign\]'"):
        make(home / "k", "factory")
    bundle.load(home / "made")  # bundles without a signature need nothing


def test_a_private_key_is_read_by_its_owner_alone(home: Path) -> None:
    make(home / "k", "factory")
    (home / "k" / "factory.pem").chmod(0o640)
    with pytest.raises(Untrusted, match="mode 640"):
        read_private(home / "k" / "factory.pem")


def test_half_a_key_is_not_left_behind(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = keys._write_new

    def full(file: Path, text: bytes, mode: int) -> None:
        if file.suffix == ".pub":
            raise OSError(errno.ENOSPC, "No space left on device")
        usual(file, text, mode)

    with monkeypatch.context() as patch:
        patch.setattr(keys, "_write_new", full)
        with pytest.raises(ConfigError, match="No space left on device"):
            make(home / "k", "factory")
    assert list((home / "k").iterdir()) == []
    make(home / "k", "factory")


def test_days_of_any_year_are_toml() -> None:
    at = datetime(987, 6, 5, tzinfo=timezone.utc)
    key = Trusted(PublicKey("old", b"\x09" * 32), not_before=at)
    assert config.parse_toml(key_text(key), "store")["not_before"] == at
