"""However an installation ends, the robot has a whole bundle: the new one, or the last good one."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cut_disk import CutDisk, FullDisk, Meanwhile, PowerCut
from sign_rig import DAY, NOW, Maker, contents

from headway import bundle
from headway.bundle.disk import Disk
from headway.bundle.signing import add_signature, sign_bundle
from headway.bundle.store import Store
from headway.bundle.trust import Trusted
from headway.errors import BundleError, Untrusted


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def store(maker: Maker, disk: Disk | None = None) -> Store:
    return Store(maker.root / "store", "head", disk)


def put(maker: Maker, version: int, weights: bytes = b"", disk: Disk | None = None) -> None:
    """Install that version, whose weights say which it is."""
    path = maker.make(version, folder=f"v{version}", weights=weights or b"weights %d" % version)
    store(maker, disk).install(path, maker.trust, now=NOW)


def current(maker: Maker) -> tuple[int, bytes]:
    """Version and weights of the installed bundle, as a run with this trust store loads it."""
    made = maker.load(maker.root / "store" / "head" / "current")
    assert made.signed is not None
    return made.signed.statement.version, made.onnx.read_bytes()


def cuts(maker: Maker, change: Callable[[Disk], object]) -> Iterator[int]:
    """Do `change` to the store, with the power cut before each call, lucky and not, and once
    without; each time to the store as it is now. After each of them the test looks at it."""
    folder, kept = maker.root / "store", maker.root / "kept"
    if folder.exists():
        folder.rename(kept)
    for lucky in (False, True):
        at, whole = 0, False
        while not whole:
            shutil.rmtree(folder, ignore_errors=True)
            if kept.exists():
                shutil.copytree(kept, folder, symlinks=True)
            disk = CutDisk(at, lucky)
            try:
                change(disk)
                whole = True
            except PowerCut:
                pass
            disk.lose()
            yield at
            at += 1
        assert at > 5  # it did go through the disk


def test_a_power_cut_leaves_the_old_bundle_or_the_new_one(maker: Maker) -> None:
    old, new = maker.make(6, folder="6", weights=b"six"), maker.make(7, folder="7", weights=b"7")
    seen = []

    def install(path: Path, disk: Disk | None = None) -> None:
        store(maker, disk).install(path, maker.trust, now=NOW)

    install(old)
    for _ in cuts(maker, lambda disk: install(new, disk)):
        seen.append(current(maker))
        assert seen[-1] in ((6, b"six"), (7, b"7"))
        if seen[-1][0] == 6:
            install(new)  # a cut one does not stand in the way of the next one
            assert current(maker) == (7, b"7")
        left = {p.name for p in (maker.root / "store" / "head").iterdir()}
        assert {n[:10] for n in left} == {".lock", "current", "0000000006", "0000000007"}
        assert [v.path.name[:10] for v in store(maker).versions()] == ["0000000006", "0000000007"]
    store(maker).rollback(maker.trust, now=NOW)
    assert current(maker) == (6, b"six")
    assert {version for version, _ in seen} == {6, 7}


def test_a_power_cut_in_the_first_installation_leaves_nothing_or_all(maker: Maker) -> None:
    path = maker.make(1)
    for _ in cuts(maker, lambda disk: store(maker, disk).install(path, maker.trust, now=NOW)):
        found = store(maker).current
        if found is None:
            store(maker).install(path, maker.trust, now=NOW)
        assert current(maker) == (1, b"weights")


def test_a_power_cut_while_going_back_leaves_one_of_the_two(maker: Maker) -> None:
    paths = [maker.make(v, folder=str(v), weights=b"%d" % v) for v in (6, 7, 8)]

    for path in paths[:2]:
        store(maker).install(path, maker.trust, now=NOW)
    for _ in cuts(maker, lambda disk: store(maker, disk).rollback(maker.trust, now=NOW)):
        found = current(maker)
        assert found in ((6, b"6"), (7, b"7"))
        if found[0] == 7:
            store(maker).rollback(maker.trust, now=NOW)
        assert current(maker) == (6, b"6")
        store(maker).install(paths[2], maker.trust, now=NOW)
        store(maker).rollback(maker.trust, now=NOW)
        assert current(maker) == (6, b"6")  # 7 was gone back from, so it is no good one


def test_a_power_cut_while_only_the_signature_changes(maker: Maker) -> None:
    path = maker.make(7, expires=NOW + DAY)

    store(maker).install(path, maker.trust, now=NOW)
    sign_bundle(path, maker.factory, 7, now=NOW)
    for _ in cuts(maker, lambda disk: store(maker, disk).install(path, maker.trust, now=NOW)):
        assert current(maker) == (7, b"weights")
        store(maker).install(path, maker.trust, now=NOW)
        made = maker.load(maker.root / "store" / "head" / "current", NOW + 2 * DAY)
        assert made.signed is not None
        assert made.signed.statement.expires is None


KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from headway.bundle.disk import Disk
from headway.bundle.store import Store
from headway.bundle.trust import read_trust

class Killed(Disk):
    left = int(sys.argv[3])
    def __getattribute__(self, name):
        if name in ("make_folder", "write", "link", "rename", "remove", "sync"):
            if Killed.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            Killed.left -= 1
        return super().__getattribute__(name)

root = Path(sys.argv[1])
store = Store(root / "store", "head", Killed())
now = datetime.fromisoformat(sys.argv[4])
store.install(Path(sys.argv[2]), read_trust(root / "trust"), now=now)
"""


@pytest.mark.parametrize("calls", [3, 15, 999])
def test_a_killed_installation_leaves_the_last_good_bundle(maker: Maker, calls: int) -> None:
    put(maker, 6)
    path = maker.make(7, folder="v7", weights=b"weights 7")
    args = [str(maker.root), str(path), str(calls), NOW.isoformat()]
    code = subprocess.run([sys.executable, "-c", KILLED, *args]).returncode
    if calls == 999:
        assert code == 0
        assert current(maker) == (7, b"weights 7")
    else:
        assert code == -signal.SIGKILL
        assert current(maker) == (6, b"weights 6")
        store(maker).install(path, maker.trust, now=NOW)  # the lock ended with the process
        assert current(maker) == (7, b"weights 7")


@pytest.mark.parametrize("at", range(4))
def test_a_full_disk_leaves_the_last_good_bundle_and_no_half_one(maker: Maker, at: int) -> None:
    put(maker, 6)
    there = contents(maker.root / "store")
    with pytest.raises(
        BundleError, match=r"cannot install .*: No space left on device: version 6 is current"
    ):
        put(maker, 7, disk=FullDisk(at))
    assert contents(maker.root / "store") == there


def test_an_older_version_is_refused_and_the_same_one_done_already(maker: Maker) -> None:
    put(maker, 6)
    put(maker, 7)
    with pytest.raises(Untrusted, match=r"wanted version 7 of head or a higher one.* found 6"):
        put(maker, 6)
    with pytest.raises(Untrusted, match="version 7 of head is installed with another content"):
        put(maker, 7, weights=b"weights 7, changed")
    there = contents(maker.root / "store")
    assert not store(maker).install(
        maker.make(7, folder="v7", weights=b"weights 7"), maker.trust, now=NOW
    )[1]
    assert contents(maker.root / "store") == there
    assert current(maker) == (7, b"weights 7")


@pytest.mark.parametrize("what", ["unsigned", "stranger", "expired", "tampered", "lowest"])
def test_what_is_not_trusted_is_not_installed(maker: Maker, what: str) -> None:
    put(maker, 6)
    there = contents(maker.root / "store")
    key = maker.stranger if what == "stranger" else None
    path = maker.make(7, folder="v7", key=key, expires=NOW + DAY)
    if what == "unsigned":
        (path / "bundle.sig").unlink()
    elif what == "tampered":
        (path / "model.onnx").write_bytes(b"weightz")
    elif what == "lowest":
        maker.trust_in(Trusted(maker.factory.public), lowest={"head": 8})
    then = NOW + DAY if what == "expired" else NOW
    with pytest.raises(BundleError):
        store(maker).install(path, maker.trust, now=then)
    assert contents(maker.root / "store") == there


def test_a_bundle_is_installed_from_where_others_can_write(maker: Maker) -> None:
    path = maker.make(1)
    path.chmod(0o777)  # as on a memory stick: the copy is what counts
    store(maker).install(path, maker.trust, now=NOW)
    assert current(maker) == (1, b"weights")


def test_a_damaged_bundle_is_installed_once_more(maker: Maker) -> None:
    put(maker, 6)
    put(maker, 7)
    (maker.root / "store" / "head" / "current" / "model.onnx").write_bytes(b"weights X")
    with pytest.raises(BundleError, match="was altered"):
        current(maker)
    put(maker, 7)
    assert current(maker) == (7, b"weights 7")


def test_what_was_gone_back_from_is_installed_only_when_it_is_said(maker: Maker) -> None:
    put(maker, 6)
    put(maker, 7)
    before, now, against = store(maker).rollback(maker.trust, now=NOW)
    assert (before.version, now.version, against) == (7, 6, [])
    with pytest.raises(Untrusted, match=r"version 7 of head was gone back from: .*--again"):
        put(maker, 7)
    path = maker.make(7, folder="v7", weights=b"weights 7")
    assert store(maker).install(path, maker.trust, again=True, now=NOW)[1]
    assert current(maker) == (7, b"weights 7")
    assert [v.rejected for v in store(maker).versions()] == [False, False]


def test_what_was_gone_back_from_is_known_when_its_files_are_gone(maker: Maker) -> None:
    for version in (5, 6, 7):
        put(maker, version)
    store(maker).rollback(maker.trust, now=NOW)
    put(maker, 8)  # removes version 7, of which there would be too many
    assert [v.version for v in store(maker).versions()] == [5, 6, 8]
    store(maker).rollback(maker.trust, now=NOW)
    with pytest.raises(Untrusted, match=r"version 7 of head was gone back from: .*--again"):
        put(maker, 7)
    path = maker.make(7, folder="v7", weights=b"weights 7")
    store(maker).install(path, maker.trust, again=True, now=NOW)
    assert current(maker) == (7, b"weights 7")
    assert not any(v.rejected for v in store(maker).versions() if v.version == 7)


def test_one_cannot_go_back_to_what_is_not_good(maker: Maker) -> None:
    with pytest.raises(BundleError, match="no bundle of the name head is installed"):
        store(maker).rollback(maker.trust, now=NOW)
    put(maker, 5)
    with pytest.raises(BundleError, match="no version of head before 5 can be gone back to: inst"):
        store(maker).rollback(maker.trust, now=NOW)
    put(maker, 6)
    put(maker, 7)
    older = next(v for v in store(maker).versions() if v.version == 6)
    (older.path / "extra" / "notes.txt").write_bytes(b"hellO")
    before, now, against = store(maker).rollback(maker.trust, now=NOW)
    assert (before.version, now.version) == (7, 5)
    assert len(against) == 1
    assert "notes.txt was altered" in against[0]
    (now.path / "bundle.sig").unlink()
    with pytest.raises(BundleError, match="no version of head before 5"):
        store(maker).rollback(maker.trust, now=NOW)


def test_the_newest_are_kept_and_the_current_one_in_any_case(maker: Maker) -> None:
    for version in (1, 2, 3, 4):
        put(maker, version)
    assert [v.version for v in store(maker).versions()] == [2, 3, 4]
    store(maker).rollback(maker.trust, now=NOW)
    put(maker, 5)  # 4 was gone back from, so it goes before 2 does
    assert [v.version for v in store(maker).versions()] == [2, 3, 5]
    with pytest.raises(BundleError, match="wanted to keep 2 or more"):
        store(maker).install(maker.make(6), maker.trust, keep=1, now=NOW)


def test_a_new_signature_of_the_same_bundle_is_taken(maker: Maker) -> None:
    path = maker.make(7)
    store(maker).install(path, maker.trust, now=NOW)
    add_signature(path, maker.stranger, now=NOW)
    assert store(maker).install(path, maker.trust, now=NOW)[1]
    maker.trust_in(Trusted(maker.stranger.public))  # the key was exchanged for another
    assert current(maker) == (7, b"weights")


def test_two_installations_at_a_time_and_places_that_do_not_fit(maker: Maker) -> None:
    path = maker.make(1)
    inner = Store(maker.root / "store", "head")

    def meanwhile() -> None:
        with pytest.raises(BundleError, match=r"another process installs in .*: wait"):
            inner.install(path, maker.trust, now=NOW)

    store(maker, Meanwhile(meanwhile)).install(path, maker.trust, now=NOW)
    with pytest.raises(BundleError, match="wanted a bundle of the name other, found head"):
        Store(maker.root / "store", "other").install(path, maker.trust, now=NOW)
    for name in ("", ".", "..", "a" * 201):
        with pytest.raises(BundleError, match="shorter name"):
            Store(maker.root / "store", name)
    assert Store(maker.root, "a/../b").folder == maker.root / "a%2F..%2Fb"
    (maker.root / "store" / "head").chmod(0o777)
    with pytest.raises(Untrusted, match="can be written by everybody"):
        store(maker).install(maker.make(2), maker.trust, now=NOW)
    (maker.root / "store" / "head").chmod(0o700)
    link = maker.root / "store" / "head" / "current"
    link.unlink()
    link.symlink_to("../../made")
    with pytest.raises(BundleError, match="which Headway did not install"):
        store(maker).install(maker.make(2), maker.trust, now=NOW)


def test_what_a_run_loads_stays_the_same_while_another_is_installed(maker: Maker) -> None:
    put(maker, 6)
    made = maker.load(maker.root / "store" / "head" / "current")
    put(maker, 7)
    assert made.onnx.read_bytes() == b"weights 6"  # the real path, not that of the link
    assert bundle.load(made.path).manifest == made.manifest
