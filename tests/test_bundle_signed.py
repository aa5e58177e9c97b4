"""A robot that trusts a key runs what that key signed, and nothing that was done to it since."""

from __future__ import annotations

import base64
import errno
import os
import re
from pathlib import Path

import msgspec
import pytest
from sign_rig import (
    DAY,
    NOW,
    Maker,
    envelope,
    put_envelope,
    signed_by,
    statement,
)

from headway import bundle
from headway.bundle.signing import add_signature, sign_bundle
from headway.bundle.trust import Trusted
from headway.errors import BundleError, ConfigError, Untrusted


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def test_what_was_signed_is_loaded_and_says_by_whom(maker: Maker) -> None:
    path = maker.make(7, expires=NOW + DAY)
    made = maker.load(path)
    assert made.signed is not None
    assert made.signed.by == maker.factory.public
    said = made.signed.statement
    assert (said.bundle, said.version, said.signed, said.expires) == ("head", 7, NOW, NOW + DAY)
    assert bundle.load(path).signed is None  # who asks for no signature may still load it


class TestTheEnvelope:
    """What it claims is worth nothing until a key of the store says the same."""

    def test_who_is_not_trusted_is_named_and_refused(self, maker: Maker) -> None:
        path = maker.make(key=maker.stranger)
        with pytest.raises(
            Untrusted, match=f"unknown keys.*{maker.stranger.public.id[:16]}.*trusts factory"
        ):
            maker.load(path)

    def test_the_id_of_a_trusted_key_does_not_help_another(self, maker: Maker) -> None:
        path = maker.make()
        payload = msgspec.json.encode(statement(path))
        put_envelope(path, signed_by(payload, maker.stranger, keyid=maker.factory.public.id))
        with pytest.raises(Untrusted, match="not that of the key factory, which it names"):
            maker.load(path)
        both = maker.trust_in(Trusted(maker.factory.public), Trusted(maker.stranger.public))
        assert len(both.keys) == 2  # trusted both, still each under its own id
        with pytest.raises(Untrusted, match="not that of the key factory, which it names"):
            maker.load(path)

    def test_the_name_of_a_file_in_the_store_is_no_id(self, maker: Maker) -> None:
        path = maker.make(key=maker.stranger)
        key = maker.factory.public
        maker.trust_in(Trusted(type(key)(maker.stranger.public.id, key.raw)))
        with pytest.raises(Untrusted, match="unknown keys"):
            maker.load(path)

    def test_a_second_signature_is_checked_too(self, maker: Maker) -> None:
        path = maker.make()
        add_signature(path, maker.stranger, now=NOW)
        maker.load(path)  # a further signature of a stranger takes nothing away
        maker.trust_in(Trusted(maker.stranger.public))
        made = maker.load(path)
        assert made.signed is not None
        assert made.signed.by.name == "stranger"
        maker.trust_in(Trusted(maker.factory.public), Trusted(maker.stranger.public))
        table = envelope(path)
        table["signatures"][1]["sig"] = table["signatures"][0]["sig"]
        put_envelope(path, table)
        with pytest.raises(Untrusted, match="not that of the key stranger"):
            maker.load(path)
        with pytest.raises(Untrusted, match="has a signature of the key factory already"):
            add_signature(path, maker.factory, now=NOW)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"payloadType": "text/plain"}, "wanted a payload of type"),
            ({"signatures": []}, "wanted 1 to 16 signatures, found 0"),
            ({"payload": "e30"}, "wanted base64"),
            ({"payload": "e3 0="}, "wanted base64"),
            ({"more": 1}, "unknown field"),
            ({"payload": None}, "Expected `str`"),
        ],
    )
    def test_another_form_is_refused(
        self,
        maker: Maker,
        change: dict[str, object],
        message: str,
    ) -> None:
        path = maker.make()
        put_envelope(path, envelope(path) | change)
        with pytest.raises(Untrusted, match=re.escape(message)):
            maker.load(path)

    def test_no_key_counts_twice_and_signatures_have_one_spelling(self, maker: Maker) -> None:
        path = maker.make()
        table = envelope(path)
        put_envelope(path, table | {"signatures": table["signatures"] * 2})
        with pytest.raises(Untrusted, match="found two of one"):
            maker.load(path)
        sig = table["signatures"][0]["sig"]
        for other in (sig + "=", sig[:-3] + "B==", sig[:-2] + "  ", "", sig[4:]):
            table["signatures"][0]["sig"] = other
            put_envelope(path, table)
            with pytest.raises(Untrusted, match=r"wanted base64|not that of the key"):
                maker.load(path)

    def test_the_other_half_of_a_signature_cannot_be_shifted(self, maker: Maker) -> None:
        """S + L verifies where the check of RFC 8032 (5.1.7) that S < L is left out."""
        order = 2**252 + 27742317777372353535851937790883648493
        path = maker.make()
        table = envelope(path)
        raw = base64.b64decode(table["signatures"][0]["sig"])
        shifted = int.from_bytes(raw[32:], "little") + order
        made = raw[:32] + shifted.to_bytes(32, "little")
        table["signatures"][0]["sig"] = base64.b64encode(made).decode()
        put_envelope(path, table)
        with pytest.raises(Untrusted, match="not that of the key factory"):
            maker.load(path)

    def test_a_signature_over_anything_else_is_none(self, maker: Maker) -> None:
        """What a key signed elsewhere, without the type and length before it, does not count."""
        path = maker.make()
        payload = msgspec.json.encode(statement(path))
        table = signed_by(payload, maker.factory)
        table["signatures"][0]["sig"] = base64.b64encode(maker.factory.sign(payload)).decode()
        put_envelope(path, table)
        with pytest.raises(Untrusted, match="not that of the key factory"):
            maker.load(path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"bundle": "other"}, "is about other, and bundle.json names head"),
            ({"version": 0}, "the statement is signed, but is none"),
            ({"version": "7"}, "the statement is signed, but is none"),
            ({"manifest_sha256": "0" * 64}, "the signature of another bundle.json"),
            ({"manifest_sha256": "0" * 63}, "the statement is signed, but is none"),
            ({"signed": "2026-07-01T12:00:00"}, "the statement is signed, but is none"),
            ({"threshold": 2}, "the statement is signed, but is none"),
        ],
    )
    def test_a_statement_that_says_something_else_is_refused(
        self,
        maker: Maker,
        change: dict[str, object],
        message: str,
    ) -> None:
        path = maker.make()
        payload = msgspec.json.encode(statement(path, **change))
        put_envelope(path, signed_by(payload, maker.factory))
        with pytest.raises(Untrusted, match=re.escape(message)):
            maker.load(path)


class TestTime:
    def test_a_bundle_expires(self, maker: Maker) -> None:
        path = maker.make(expires=NOW + DAY)
        maker.load(path, NOW + DAY * 0.99)
        with pytest.raises(Untrusted, match="has expired at 2026-07-02 12:00 UTC"):
            maker.load(path, NOW + DAY)
        with pytest.raises(ConfigError, match="time of expiry after"):
            sign_bundle(path, maker.factory, 1, expires=NOW, now=NOW)

    def test_a_computer_whose_clock_stands_in_the_past_is_told(self, maker: Maker) -> None:
        path = maker.make(expires=NOW + DAY)
        maker.load(path, NOW - DAY)  # the two clocks may differ by as much
        with pytest.raises(Untrusted, match="set this computer's clock"):
            maker.load(path, NOW - 2 * DAY)

    def test_a_key_counts_in_its_time_only(self, maker: Maker) -> None:
        path = maker.make()
        key = maker.factory.public
        maker.trust_in(Trusted(key, not_before=NOW - DAY, not_after=NOW + DAY))
        maker.load(path)
        with pytest.raises(Untrusted, match="factory counts until 2026-07-02 only"):
            maker.load(path, NOW + DAY)
        maker.trust_in(Trusted(key, not_before=NOW + DAY))  # signed before, and used in it
        with pytest.raises(Untrusted, match="factory counts from 2026-07-02 on"):
            maker.load(path, NOW + 2 * DAY)


def test_a_key_counts_for_its_bundles_only(maker: Maker) -> None:
    path = maker.make()
    maker.trust_in(Trusted(maker.factory.public, bundles=("pick_*", "he?d")))
    maker.load(path)
    maker.trust_in(Trusted(maker.factory.public, bundles=("pick_*",)))
    with pytest.raises(Untrusted, match=r"factory may sign pick_\*, not head"):
        maker.load(path)


def test_versions_below_the_lowest_are_refused(maker: Maker) -> None:
    path = maker.make(6)
    maker.trust_in(Trusted(maker.factory.public), lowest={"head": 6, "other": 9})
    maker.load(path)
    maker.trust_in(Trusted(maker.factory.public), lowest={"head": 7})
    with pytest.raises(Untrusted, match=r"wanted version 7 or higher of head .*found 6"):
        maker.load(path)


def test_only_what_is_whole_is_signed(maker: Maker) -> None:
    path = maker.make()
    (path / "more.bin").write_bytes(b"x")
    with pytest.raises(Untrusted, match=r"'more.bin' is not among the files"):
        sign_bundle(path, maker.factory, 2, now=NOW)
    (path / "more.bin").unlink()
    (path / ".bundle.sig.new").write_bytes(b"half")  # of a power cut while it was signed
    sign_bundle(path, maker.factory, 2, now=NOW)
    maker.load(path)
    (path / "model.onnx").write_bytes(b"weightz")
    with pytest.raises(BundleError, match=r"model\.onnx was altered"):
        sign_bundle(path, maker.factory, 3, now=NOW)
    with pytest.raises(ConfigError, match="version of 1 or more"):
        sign_bundle(path, maker.factory, 0, now=NOW)


def test_a_folder_that_cannot_be_listed_may_hold_anything(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, usual = maker.make(), os.scandir

    def closed(folder: str) -> object:
        if Path(folder).name == "extra":
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return usual(folder)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(BundleError, match=r"made/extra of a bundle is not readable: Permission"):
        maker.load(path)
