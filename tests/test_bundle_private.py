"""Machine code, and what is trusted after a check, lie where nobody else can change them."""

from __future__ import annotations

import grp
import os
import pwd
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

from headway.bundle import private
from headway.bundle.private import made_private, open_private, wanted_private
from headway.errors import Untrusted

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return made_private(tmp_path / "engines")


def test_a_folder_of_ours_alone_is_accepted_and_made(place: Path) -> None:
    assert place.stat().st_mode & 0o777 == 0o700
    deep = made_private(place / "a" / "b")
    assert wanted_private(place / "a" / ".." / "a" / "b") == deep
    assert [p.stat().st_mode & 0o777 for p in (deep.parent, deep)] == [0o700, 0o700]
    (place / "engine").write_bytes(b"code")
    with open_private(place / "engine") as file:
        assert file.read() == b"code"


@pytest.mark.parametrize("mode", [0o777, 0o702, 0o1777])
def test_one_that_everybody_can_write_is_not(place: Path, mode: int) -> None:
    place.chmod(mode)
    with pytest.raises(Untrusted, match=r"engines can be written by everybody: .*chmod go-w"):
        wanted_private(place)
    with pytest.raises(Untrusted, match="by everybody"):
        open_private(place / "engine")


def test_neither_is_one_below_a_folder_that_everybody_can_write(place: Path) -> None:
    deep = made_private(place / "a" / "b")
    place.chmod(0o777)
    with pytest.raises(Untrusted, match="engines can be written by everybody"):
        wanted_private(deep)
    place.chmod(0o1777)  # as /tmp: nobody else can rename a/
    assert wanted_private(deep) == deep


def test_of_a_group_only_one_without_other_members(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, members = pwd.getpwuid(os.geteuid()).pw_name, [[]]
    monkeypatch.setattr(grp, "getgrgid", lambda _: SimpleNamespace(gr_mem=members[0]))
    monkeypatch.setattr(
        pwd, "getpwall", lambda: [SimpleNamespace(pw_name=name, pw_gid=place.stat().st_gid)]
    )
    place.chmod(0o770)
    assert wanted_private(place) == place
    members[0] = [name, "somebody"]
    with pytest.raises(Untrusted, match="by the other members of its group"):
        wanted_private(place)
    members[0] = []
    monkeypatch.setattr(
        pwd,
        "getpwall",
        lambda: [SimpleNamespace(pw_name="somebody", pw_gid=place.stat().st_gid)],
    )
    with pytest.raises(Untrusted, match="by the other members of its group"):
        wanted_private(place)


def give(path: Path, user: int, may: int) -> None:
    """Let `user` do `may` (bits as in a mode) with `path` by an access list, as setfacl does."""
    none = 0xFFFFFFFF
    entries = ((0x01, 7, none), (0x02, may, user), (0x04, 0, none), (0x10, may, none),
               (0x20, 0, none))  # owner, a user, group, mask, others  # fmt: skip
    try:
        os.setxattr(
            path, "system.posix_acl_access",
            struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries),
        )  # fmt: skip
    except OSError as e:
        pytest.skip(f"no access lists on this file system: {e.strerror}")


def test_neither_is_one_that_an_access_list_lets_somebody_write(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mode then looks as if our own group alone could."""
    monkeypatch.setattr(private, "_alone", lambda group, user: True)
    file = place / "engine"
    file.write_bytes(b"code")
    give(file, 4321, 4)
    open_private(file).close()  # to read is no harm
    give(file, 4321, 6)
    with pytest.raises(Untrusted, match=r"those whom its access list names.*setfacl -b"):
        open_private(file)
    file.chmod(0o640)  # which takes it from all whom the list names
    open_private(file).close()
    give(place, 4321, 7)
    with pytest.raises(Untrusted, match="engines can be written by those whom"):
        wanted_private(place)


@as_root
@pytest.mark.parametrize("which", ["place", "parent", "file", "link"])
def test_what_belongs_to_somebody_else_is_refused(place: Path, which: str) -> None:
    file, link = place / "engine", place.parent / "link"
    file.write_bytes(b"code")
    link.symlink_to(place)
    changed = {"place": place, "parent": place.parent, "file": file, "link": link}[which]
    os.chown(changed, 4321, -1, follow_symlinks=False)
    with pytest.raises(Untrusted, match=r"of the user 4321|belongs to the user 4321"):
        open_private((link if which == "link" else place) / "engine")


def test_what_belongs_to_us_is_refused_for_another_user(place: Path) -> None:
    if os.geteuid() == 0:
        assert wanted_private(place, user=4321) == place  # root may change everything anyway
    else:
        with pytest.raises(Untrusted, match="who can change it"):
            wanted_private(place, user=os.geteuid() + 1)


def test_links_are_followed_to_the_folder_that_counts(place: Path) -> None:
    link = place.parent / "link"
    link.symlink_to("engines")
    assert wanted_private(link) == place
    again = place / "up"
    again.symlink_to("../link")
    assert wanted_private(again) == place
    place.chmod(0o777)
    with pytest.raises(Untrusted, match="engines can be written by everybody"):
        wanted_private(link)
    place.chmod(0o700)
    here = place / "here"
    here.symlink_to(".")
    place.chmod(0o1777)  # allowed on the way, not as the folder itself
    with pytest.raises(Untrusted, match="engines can be written by everybody"):
        wanted_private(here)


def test_a_ring_of_links_ends(place: Path) -> None:
    (place / "a").symlink_to("b")
    (place / "b").symlink_to("a")
    with pytest.raises(Untrusted, match="more than 40 symbolic links"):
        wanted_private(place / "a")


def test_what_is_no_plain_file_of_ours_is_not_opened(place: Path) -> None:
    file = place / "engine"
    file.write_bytes(b"code")
    file.chmod(0o646)
    with pytest.raises(Untrusted, match="engine can be written by everybody"):
        open_private(file)
    file.chmod(0o600)
    (place / "link").symlink_to(file)
    with pytest.raises(Untrusted, match="found a symbolic link: copy the file"):
        open_private(place / "link")
    os.mkfifo(place / "pipe", 0o600)
    with pytest.raises(Untrusted, match=r"plain file at .*pipe, found something else"):
        open_private(place / "pipe")
    with pytest.raises(FileNotFoundError):
        open_private(place / "nothing")
    with pytest.raises(Untrusted, match="No such file"):
        open_private(place / "nowhere" / "engine")
    with pytest.raises(Untrusted, match=r"wanted a folder at .*engine, found something else"):
        wanted_private(file)
