"""Folders and files that no other user of this computer can change.

A compiled engine is machine code, and a checked bundle stays checked only while nobody changes it:
both are taken from such places alone. `wanted_private` checks a folder, `made_private` makes one,
`open_private` opens a file in one. Root is trusted, since nothing on the computer is safe from it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from headway.errors import Untrusted

_ACL = "system.posix_acl_access"
_LINKS = 40  # that a path may go through, as Linux has it


def wanted_private(folder: Path | str, *, user: int | None = None) -> Path:
    """Check that only `user` (None: the one who runs this process) and root can change what is in
    `folder`, and return its real path, without symbolic links: use that one.

    Every folder on the way is checked too, because whoever can write to one of them can put another
    one in the place of `folder`. Each has to belong to `user` or root. Only they may write to it,
    or a group without other members, as many systems give to each user. A folder with the sticky
    bit, as /tmp, is accepted on the way and not as the last one: there nobody can rename what
    belongs to others. Raises Untrusted, which names the folder to change, and for what is no
    folder."""
    user = os.geteuid() if user is None else user
    rest = list(reversed(Path(os.path.abspath(folder)).parts[1:]))
    path, links = Path("/"), 0
    _check(path, _stat(path, folder), user, on_the_way=True)
    while rest:
        step = path / rest.pop()
        found = _stat(step, folder)
        if stat.S_ISLNK(found.st_mode):
            if found.st_uid not in (user, 0):
                raise Untrusted(
                    f"{step} is a symbolic link of {_owner(found.st_uid)}, who can change where it "
                    "leads: give the folder itself"
                )
            links += 1
            if links > _LINKS:
                raise Untrusted(f"{folder} goes through more than {_LINKS} symbolic links")
            target = Path(os.readlink(step))
            if target.is_absolute():
                path = Path("/")
            rest += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            continue
        if step.name == "..":  # of a link: what it leads up to was checked on the way down
            path = path.parent
            continue
        _check(step, found, user, on_the_way=True)
        path = step
    _check(path, _stat(path, folder), user, on_the_way=False)
    return path


def made_private(folder: Path | str) -> Path:
    """Make `folder` where it is not there, as one that only this user can read and write, and
    return its real path. A folder that is there stays as it is. Raises Untrusted as
    `wanted_private`, and OSError where it cannot be made."""
    path = Path(os.path.abspath(folder))
    missing = [p for p in (path, *path.parents) if not os.path.lexists(p)]
    for part in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process was quicker
            part.mkdir(mode=0o700)
    return wanted_private(path)


def open_private(file: Path | str, *, user: int | None = None) -> BinaryIO:
    """Open `file` for reading. It has to be a plain file of `user` (None: the one who runs this
    process) or root, to which only they can write, in a folder that `wanted_private` accepts.
    Raises Untrusted, and OSError where it cannot be read."""
    user = os.geteuid() if user is None else user
    path = wanted_private(Path(file).parent, user=user) / Path(file).name
    if path.is_symlink():
        raise Untrusted(f"wanted a plain file at {path}, found a symbolic link: copy the file")
    # O_NONBLOCK: to open a named pipe does not wait for its writer
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(number)  # of what was opened, whatever happens to the path
        if not stat.S_ISREG(found.st_mode):
            raise Untrusted(f"wanted a plain file at {path}, found something else")
        check_owner(path, found, user)
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def _stat(path: Path, wanted: Path | str) -> os.stat_result:
    try:
        return os.lstat(path)
    except OSError as e:
        raise Untrusted(f"wanted a private folder at {wanted}: {path}: {e.strerror}") from None


def _check(path: Path, found: os.stat_result, user: int, *, on_the_way: bool) -> None:
    if not stat.S_ISDIR(found.st_mode):
        raise Untrusted(f"wanted a folder at {path}, found something else")
    if on_the_way and found.st_mode & stat.S_ISVTX and found.st_uid in (user, 0):
        return
    check_owner(path, found, user)


def check_owner(path: Path, found: os.stat_result, user: int) -> None:
    """`found` is what `os.lstat` says of `path`. Raises Untrusted where somebody else than `user`
    and root owns it or can write to it; the folders on the way to it are not looked at."""
    if found.st_uid not in (user, 0):
        raise Untrusted(
            f"{path} belongs to {_owner(found.st_uid)}, who can change it: wanted it to belong to "
            f"{_only(user)}: sudo chown {_owner(user)} {path}, or name another place"
        )
    who, mend = "", f"chmod go-w {path}"
    if found.st_mode & stat.S_IWOTH:
        who = "everybody"
    elif found.st_mode & stat.S_IWGRP and not _alone(found.st_gid, user):
        who = "the other members of its group"
    elif found.st_mode & stat.S_IWGRP and _names_others(path):
        who, mend = "those whom its access list names", f"setfacl -b {path}"
    if who:
        raise Untrusted(
            f"{path} can be written by {who}: wanted a place that only {_only(user)} can "
            f"change: {mend}, or name another place"
        )


def _names_others(path: Path) -> bool:
    """Whether `path` has an access list (ACL). Then the group's bits of its mode are the most that
    anybody whom the list names may do, and say nothing of the group."""
    try:
        return bool(os.getxattr(path, _ACL, follow_symlinks=False))
    except (OSError, AttributeError):  # none, a file system without them, not Linux
        return False


def _only(user: int) -> str:
    return "root" if user == 0 else f"{_owner(user)} or root"


def _owner(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"the user {user}"


def _alone(group: int, user: int) -> bool:
    """Whether `user` is the only member of `group`, beside root: so it is where each user has a
    group of the same name, whose folders are often made writable for it."""
    import grp
    import pwd

    try:
        names = set(grp.getgrgid(group).gr_mem)
        names |= {p.pw_name for p in pwd.getpwall() if p.pw_gid == group}
        return names <= {pwd.getpwuid(user).pw_name, "root"}
    except KeyError:  # a group or user without a name: who else has it is not known
        return False
