"""Installed bundles of a robot, with the last good one to go back to.

    STORE/pick_place/
        0000000006-3f1c9a2b7d40/    version 6; the rest is from the SHA-256 of its bundle.json
        0000000007-a91be2040f13/    version 7
        current -> 0000000007-a91be2040f13

Run configurations name `STORE/pick_place/current`. A bundle is copied into a folder beside the
others, synced, checked there, renamed, and only then `current` is exchanged, by one rename: it
leads to a whole, checked bundle at any moment, also after a power cut.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from headway.bundle.disk import Disk, remove_all, replace
from headway.bundle.folder import MANIFEST, Bundle, load
from headway.bundle.private import made_private, wanted_private
from headway.bundle.signature import SIGNATURE
from headway.bundle.trust import Signed, Trust
from headway.errors import BundleError, Untrusted

CURRENT = "current"
KEEP = 3  # installed versions of a bundle
_NEW, _OLD, _LINK, _LOCK, _REJECTED = ".new", ".old", ".current", ".lock", ".rejected-"
_FOLDER = re.compile(r"(\d{10,16})-([0-9a-f]{12})")


@dataclass(frozen=True, slots=True, order=True)
class Installed:
    """An installed version of a bundle: its counter, the start of the SHA-256 of its manifest, and
    its folder. `rejected`: somebody went back from it to an older one, which stays known when its
    files are removed."""

    version: int
    manifest: str
    path: Path
    rejected: bool = False


class Store:
    """The installed bundles of the name `name` below the folder `root`; `disk` does all changes.
    Nobody but this user and root may be able to change them."""

    def __init__(self, root: Path, name: str, disk: Disk | None = None) -> None:
        folder = quote(name, safe="", errors="surrogateescape")
        if folder in ("", ".", "..") or len(folder) > 200:
            raise BundleError(f"wanted a bundle with a shorter name, or one at all, found {name!r}")
        self.name = name
        self.folder = root / folder
        self._disk = Disk() if disk is None else disk

    @property
    def current(self) -> Installed | None:
        """What `current` leads to; None before the first one is installed."""
        link = self.folder / CURRENT
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            return None
        except OSError as e:
            raise BundleError(f"wanted a symbolic link at {link}: {e.strerror}") from None
        return self._named(target, f"{link} leads to")

    def versions(self) -> list[Installed]:
        """What is installed, the oldest first."""
        if not self.folder.is_dir():
            return []
        found = [p.name for p in self.folder.iterdir() if _FOLDER.fullmatch(p.name)]
        return sorted(self._named(name, f"{self.folder} has") for name in found)

    def install(
        self,
        source: Path,
        trust: Trust,
        *,
        keep: int = KEEP,
        again: bool = False,
        now: datetime | None = None,
    ) -> tuple[Installed, bool]:
        """Install the bundle in the folder `source`, which `trust` has to vouch for at the time
        `now` (None: the computer's clock), and make it the current one. Returns it, and whether
        anything was changed. Older ones are removed, except for the newest `keep`.

        Raises Untrusted for a bundle that `load` refuses, that is older than the current one, has
        the same version and another content, or was gone back from, unless `again`; BundleError for
        one of another name, and where it cannot be written. Then the current one stays."""
        if keep < 2:
            raise BundleError(f"wanted to keep 2 or more, one to go back to, found {keep}")
        made = load(source, trust, in_place=False, now=now)
        if made.manifest.name != self.name:
            raise BundleError(
                f"wanted a bundle of the name {self.name}, found {made.manifest.name} in {source}"
            )
        target = self._target(made)
        with self._locked():
            before = self.current
            fresh = before is None or before.path != target.path or not _whole(target.path)
            self._not_older(target, again)
            changed = fresh or target.rejected
            try:
                if fresh:
                    self._put(made, target, trust, now)
                else:
                    changed |= self._signed_anew(made, target, trust, now)
                if fresh or target.rejected:
                    self._switch(target)
            except (OSError, BundleError) as e:
                with contextlib.suppress(OSError):  # it takes room, which may be what is missing
                    remove_all(self._disk, self.folder / _NEW)
                if isinstance(e, BundleError):
                    raise
                raise BundleError(
                    f"cannot install {source} in {self.folder}: {e.strerror or e}: {self._still()}"
                ) from None
            with contextlib.suppress(OSError):  # the next installation tries again
                self._remove_but(keep)
        return target, changed

    def rollback(
        self, trust: Trust, *, now: datetime | None = None
    ) -> tuple[Installed, Installed, list[str]]:
        """Go back to the newest older bundle that was not gone back from before and for which
        `trust` vouches at the time `now`. Returns the one before, the one now, and what spoke
        against others. Raises BundleError where there is none; then nothing changes."""
        if not self.folder.is_dir():
            raise BundleError(f"no bundle of the name {self.name} is installed in {self.folder}")
        against: list[str] = []
        with self._locked():
            before = self.current
            if before is None:
                raise BundleError(f"no bundle {self.name} is installed in {self.folder}")
            for older in reversed([v for v in self.versions() if v < before and not v.rejected]):
                try:
                    load(older.path, trust, now=now)
                except BundleError as e:
                    against.append(f"version {older.version}: {e}")
                    continue
                try:
                    mark = self.folder / f"{_REJECTED}{before.path.name}"
                    if not before.rejected:
                        self._disk.write(mark, b"")
                        self._disk.sync(self.folder)
                    self._switch(older)
                except OSError as e:
                    raise BundleError(
                        f"cannot go back to {older.path}: {e.strerror}: {self._still()}"
                    ) from None
                return before, older, against
        why = f": {'; '.join(against)}" if against else ""
        raise BundleError(
            f"no version of {self.name} before {before.version} can be gone back to{why}: install "
            "one that is signed"
        )

    def _named(self, folder: str, where: str) -> Installed:
        match = _FOLDER.fullmatch(folder)
        if match is None:
            raise BundleError(
                f"{where} {folder!r}, which Headway did not install: wanted VERSION-HASH"
            )
        rejected = os.path.lexists(self.folder / f"{_REJECTED}{folder}")
        return Installed(int(match[1]), match[2], self.folder / folder, rejected)

    def _target(self, made: Bundle) -> Installed:
        """Where the checked bundle `made` is to be."""
        said = _signed(made).statement
        name = f"{said.version:010d}-{said.manifest_sha256[:12]}"
        return self._named(name, "wanted")

    def _not_older(self, target: Installed, again: bool) -> None:
        """Raises Untrusted where `target` may not follow on what is installed."""
        before = self.current
        if before is not None and target.version < before.version:
            raise Untrusted(
                f"wanted version {before.version} of {self.name} or a higher one, which is "
                f"installed, found {target.version}: sign it again with a higher version, or "
                "`headway rollback` to what was installed before"
            )
        for other in self.versions():
            if other.version == target.version and other.path != target.path:
                raise Untrusted(
                    f"version {target.version} of {self.name} is installed with another content "
                    f"({other.path.name}): sign this one with a higher version"
                )
        if target.rejected and not again:
            raise Untrusted(
                f"version {target.version} of {self.name} was gone back from: sign a better one "
                "with a higher version, or install it once more with --again"
            )

    def _put(self, made: Bundle, target: Installed, trust: Trust, now: datetime | None) -> None:
        """The files of `made` into the folder of `target`, on the disk and checked there."""
        disk, fresh, old = self._disk, self.folder / _NEW, self.folder / _OLD
        for left in (fresh, old, self.folder / _LINK):  # of an installation that was cut
            remove_all(disk, left)
        disk.make_folder(fresh)
        folders = [fresh]
        for name in (MANIFEST, SIGNATURE, *sorted(made.manifest.files)):
            file = fresh / name
            for part in reversed(file.relative_to(fresh).parents[:-1]):
                if (inner := fresh / part) not in folders:
                    disk.make_folder(inner)
                    folders.append(inner)
            disk.write(file, made.path / name)
            disk.sync(file)
        for each in reversed(folders):
            disk.sync(each)
        copied = load(fresh, trust, now=now)
        if _signed(copied).statement != _signed(made).statement:
            raise Untrusted(f"{made.path} was exchanged while it was copied: install it again")
        if os.path.lexists(target.path):  # of an installation that was cut before the exchange
            disk.rename(target.path, old)
        disk.rename(fresh, target.path)
        disk.sync(self.folder)
        remove_all(disk, old)

    def _signed_anew(
        self, made: Bundle, target: Installed, trust: Trust, now: datetime | None
    ) -> bool:
        """Where the bundle `made` is what is in the folder of `target` with another signature, as
        of a new key or with a later expiry, take that. Returns whether it was."""
        envelope = (made.path / SIGNATURE).read_bytes()
        if envelope == (target.path / SIGNATURE).read_bytes():
            return False
        # It is checked from a copy of its own: `made.path` may change at any time.
        trial = self.folder / _NEW
        remove_all(self._disk, trial)
        self._disk.make_folder(trial)
        self._disk.write(trial / SIGNATURE, envelope)
        again = trust.check(trial, (target.path / MANIFEST).read_bytes(), now)
        if again.statement != _signed(made).statement:
            raise Untrusted(f"{made.path} was exchanged while it was copied: install it again")
        replace(self._disk, target.path / SIGNATURE, envelope, trial / SIGNATURE)
        remove_all(self._disk, trial)
        return True

    def _switch(self, target: Installed) -> None:
        """Make `target` the current one: this is the moment at which an installation counts."""
        link = self.folder / _LINK
        remove_all(self._disk, link)
        self._disk.link(link, target.path.name)
        self._disk.rename(link, self.folder / CURRENT)
        self._disk.sync(self.folder)
        mark = self.folder / f"{_REJECTED}{target.path.name}"
        if os.path.lexists(mark):
            self._disk.remove(mark)
            self._disk.sync(self.folder)

    def _remove_but(self, keep: int) -> None:
        """Remove all but the newest `keep`, first those that were gone back from; never the current
        one."""
        current = self.current
        found = [v for v in self.versions() if v != current]
        spare = len(found) + 1 - keep
        for each in sorted(found, key=lambda v: (not v.rejected, v))[: max(spare, 0)]:
            old = self.folder / _OLD
            self._disk.rename(each.path, old)  # what is removed in part has no name of a version
            remove_all(self._disk, old)
            # The mark of one that was gone back from stays: else it could be installed once more
            # by whoever has its files, without `again`.

    def _still(self) -> str:
        now = self.current
        return "nothing is installed" if now is None else f"version {now.version} is current"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One installation at a time; the operating system ends the lock with the process."""
        try:
            folder = made_private(self.folder)
            number = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as e:
            raise BundleError(f"cannot install in {self.folder}: {e.strerror}") from None
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise BundleError(
                f"another process installs in {self.folder}: wait for it to end, and try again"
            ) from None
        finally:
            os.close(number)


def names(root: Path) -> list[str]:
    """The folders of the bundles that are installed below `root`."""
    root = wanted_private(root)
    return sorted(p.name for p in root.iterdir() if (p / CURRENT).is_symlink())


def _whole(folder: Path) -> bool:
    """Whether the installed bundle in `folder` is still what was put there."""
    try:
        load(folder)
    except BundleError:
        return False
    return (folder / SIGNATURE).is_file()


def _signed(made: Bundle) -> Signed:
    if made.signed is None:
        raise Untrusted(f"{made.path} was loaded without a trust store")
    return made.signed
