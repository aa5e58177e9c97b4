"""Whatever is done to a signed bundle is found, and said."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from sign_rig import NOW, Maker

from headway import bundle
from headway.__main__ import main
from headway.bundle.signing import sign_bundle
from headway.errors import BundleError


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


# What somebody may do to a signed bundle, and what is said about it.
def flip(path: Path, name: str, at: int) -> None:
    data = bytearray((path / name).read_bytes())
    data[at] ^= 1
    (path / name).write_bytes(data)


def a_manifest_with_the_hash_of_other_weights(path: Path) -> None:
    (path / "model.onnx").write_bytes(b"weightz")
    other = bundle.save(
        path.parent / "other",
        bundle.load(path.parent / "made2").manifest,
        {"model.onnx": b"weightz", "extra/notes.txt": b"hello"},
    )
    shutil.copy(other.path / "bundle.json", path / "bundle.json")


def the_same_manifest_in_another_spelling(path: Path) -> None:
    table = json.loads((path / "bundle.json").read_text())
    (path / "bundle.json").write_text(json.dumps(table, sort_keys=True))


def a_key_twice_in_the_manifest(path: Path) -> None:
    text = (path / "bundle.json").read_bytes()
    (path / "bundle.json").write_bytes(text.replace(b"{", b'{"name": "other",', 1))


def a_link_to_a_copy(path: Path) -> None:
    shutil.copy(path / "model.onnx", path.parent / "copy")
    (path / "model.onnx").unlink()
    (path / "model.onnx").symlink_to(path.parent / "copy")


def a_linked_folder(path: Path) -> None:
    shutil.move(path / "extra", path.parent / "elsewhere")
    (path / "extra").symlink_to(path.parent / "elsewhere")


def a_linked_manifest(path: Path) -> None:
    shutil.move(path / "bundle.json", path.parent / "copy")
    (path / "bundle.json").symlink_to(path.parent / "copy")


def a_linked_signature(path: Path) -> None:
    shutil.move(path / "bundle.sig", path.parent / "copy")
    (path / "bundle.sig").symlink_to(path.parent / "copy")


def a_pipe_as(name: str) -> Callable[[Path], object]:
    """Whoever opens it to read it waits for ever."""

    def change(path: Path) -> None:
        (path / name).unlink()
        os.mkfifo(path / name)

    return change


def a_folder_as_model(path: Path) -> None:
    (path / "model.onnx").unlink()
    (path / "model.onnx").mkdir()


def a_huge_model(path: Path) -> None:
    with (path / "model.onnx").open("wb") as f:
        f.truncate(1 << 40)  # a terabyte that takes no room, and hours to hash


def lines_of_windows(path: Path) -> None:
    """As of a checkout that changes the ends of lines."""
    text = (path / "bundle.json").read_bytes()
    (path / "bundle.json").write_bytes(text.replace(b"\n", b"\r\n"))


def a_second_payload(path: Path) -> None:
    """Of two that read it, each could take another one."""
    text = (path / "bundle.sig").read_bytes()
    other = (path.parent / "made2" / "bundle.sig").read_bytes()
    payload = json.loads(other)["payload"].encode()
    (path / "bundle.sig").write_bytes(text.rstrip()[:-1] + b',"payload":"' + payload + b'"}')


TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte of the manifest": (
        lambda p: flip(p, "bundle.json", 40),
        "the signature of another bundle.json",
    ),
    "the last byte of the manifest": (
        lambda p: flip(p, "bundle.json", -1),
        "the signature of another bundle.json",
    ),
    "a longer manifest": (
        lambda p: (p / "bundle.json").write_bytes((p / "bundle.json").read_bytes() + b"\n"),
        "the signature of another bundle.json",
    ),
    "the manifest in another spelling": (
        the_same_manifest_in_another_spelling,
        "the signature of another bundle.json",
    ),
    "a key twice in the manifest": (
        a_key_twice_in_the_manifest,
        "the signature of another bundle.json",
    ),
    "model and manifest exchanged": (
        a_manifest_with_the_hash_of_other_weights,
        "the signature of another bundle.json",
    ),
    "the signature of another bundle": (
        lambda p: shutil.copy(p.parent / "made2" / "bundle.sig", p / "bundle.sig"),
        "the signature of another bundle.json (of other, version 1)",
    ),
    "a byte of the model": (lambda p: flip(p, "model.onnx", 3), "model.onnx was altered"),
    "a shorter model": (
        lambda p: (p / "model.onnx").write_bytes(b"weigh"),
        "wants 7 bytes, found 5",
    ),
    "a byte of another file": (
        lambda p: flip(p, "extra/notes.txt", 0),
        "extra/notes.txt was altered",
    ),
    "a file more": (
        lambda p: (p / "extra" / "weights.bin").write_bytes(b"x"),
        "'extra/weights.bin' is not among the files",
    ),
    "a hidden file more": (
        lambda p: (p / ".hidden").write_bytes(b""),
        "'.hidden' is not among the files",
    ),
    "a compiled engine more": (
        lambda p: (p / "model.plan").write_bytes(b"code"),
        "'model.plan' is not among the files",
    ),
    "a link more": (lambda p: (p / "more").symlink_to("/etc"), "'more' is not among the files"),
    "a file less": (lambda p: (p / "extra" / "notes.txt").unlink(), "wanted the file extra/notes"),
    "a file renamed": (
        lambda p: (p / "extra" / "notes.txt").rename(p / "extra" / "note.txt"),
        "'extra/note.txt' is not among the files",
    ),
    "two files exchanged": (
        lambda p: (
            (p / "model.onnx").write_bytes(b"hello"),
            (p / "extra/notes.txt").write_bytes(b"weights"),
        ),
        "extra/notes.txt wants 5 bytes, found 7",
    ),
    "a pipe more": (
        lambda p: os.mkfifo(p / "extra" / "pipe"),
        "'extra/pipe' is not among the files",
    ),
    "a file of another spelling more": (
        lambda p: shutil.copy(p / "model.onnx", p / "Model.onnx"),
        "'Model.onnx' is not among the files",
    ),
    "a huge model": (a_huge_model, "wants 7 bytes, found 1099511627776"),
    "a folder in the place of the model": (a_folder_as_model, "wanted the file model.onnx"),
    "a pipe in the place of the model": (
        a_pipe_as("model.onnx"),
        "wanted the file model.onnx, found none",
    ),
    "a pipe in the place of the manifest": (a_pipe_as("bundle.json"), "as a plain file"),
    "the manifest with a byte order mark": (
        lambda p: (p / "bundle.json").write_bytes(
            b"\xef\xbb\xbf" + (p / "bundle.json").read_bytes()
        ),
        "the signature of another bundle.json",
    ),
    "the manifest with lines of Windows": (
        lines_of_windows,
        "the signature of another bundle.json",
    ),
    "a second payload in the signature": (a_second_payload, "not that of the key factory"),
    "something after the signature": (
        lambda p: (p / "bundle.sig").write_bytes((p / "bundle.sig").read_bytes() + b"{}"),
        "no signature of a bundle",
    ),
    "a link in the place of a file": (a_link_to_a_copy, "goes through a symbolic link"),
    "a link in the place of a folder": (a_linked_folder, "'extra' is not among the files"),
    "a link in the place of the manifest": (a_linked_manifest, "as a plain file"),
    "a link in the place of the signature": (a_linked_signature, "bundle.sig as a plain file"),
    "a pipe in the place of the signature": (a_pipe_as("bundle.sig"), "bundle.sig as a plain file"),
    "no signature": (lambda p: (p / "bundle.sig").unlink(), "wanted a signed bundle"),
    "an empty signature": (
        lambda p: (p / "bundle.sig").write_bytes(b""),
        "no signature of a bundle",
    ),
    "a huge signature": (
        lambda p: (p / "bundle.sig").write_bytes(b" " * 70_000),
        "wanted 65536 bytes at most",
    ),
    "a deep signature": (
        lambda p: (p / "bundle.sig").write_bytes(b"[" * 60_000),
        "no signature of a bundle",
    ),
    "a folder that others can write": (lambda p: p.chmod(0o777), "can be written by everybody"),
    "a file that others can write": (
        lambda p: (p / "model.onnx").chmod(0o666),
        "model.onnx can be written by everybody",
    ),
    "a folder inside that others can write": (
        lambda p: (p / "extra").chmod(0o777),
        "extra can be written by everybody",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_changed_since_is_refused(maker: Maker, what: str) -> None:
    change, message = TAMPERED[what]
    maker.make(name="other", folder="made2")
    path = maker.make()
    change(path)
    with pytest.raises(BundleError, match=re.escape(message)):
        maker.load(path)


# What only says where a bundle lies: it may be looked at and copied from there, but is not run.
PLACES = {what for what in TAMPERED if "others can write" in what}


@pytest.mark.parametrize("what", TAMPERED)
def test_the_command_verify_says_so_too(
    maker: Maker, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, message = TAMPERED[what]
    maker.make(name="other", folder="made2")
    path = maker.make()
    sign_bundle(path, maker.factory, 1)  # by the clock that the command reads
    command = ["verify", str(path), "--trust", str(maker.store)]
    assert main(command) == 0
    change(path)
    capsys.readouterr()
    assert main(command) == (0 if what in PLACES else 3)
    said = capsys.readouterr().err
    assert what in PLACES or message in said


def test_bytes_all_over_manifest_and_signature_count(maker: Maker) -> None:
    path = maker.make()
    for name, step in (("bundle.json", 29), ("bundle.sig", 5)):
        whole = (path / name).read_bytes()
        for at in range(0, len(whole), step):
            changed = bytearray(whole)
            changed[at] ^= 0x20 if chr(whole[at]).isalpha() else 0x01
            (path / name).write_bytes(changed)
            try:
                made = maker.load(path)
            except BundleError:
                continue
            # only spaces between what the envelope says do not count
            assert name == "bundle.sig"
            assert made.signed is not None
            assert msgspec.json.decode(bytes(changed)) == msgspec.json.decode(whole), at
        (path / name).write_bytes(whole)
    maker.load(path)


def test_a_huge_manifest_is_refused_before_it_is_read(maker: Maker) -> None:
    path = maker.make()
    with (path / "bundle.json").open("wb") as f:
        f.truncate(1 << 40)  # a sparse file: a terabyte that takes no room
    for trust in (maker.trust, None):
        with pytest.raises(BundleError, match="wanted 16777216 bytes at most, found more"):
            bundle.load(path, trust, now=NOW)
