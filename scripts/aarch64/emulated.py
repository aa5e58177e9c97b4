"""An arm64 Debian in a folder, and commands run in it under QEMU's user-mode emulation.

Nothing of the machine is changed and nobody has to be root: the packages are unpacked, none of
their scripts run, and the kernel learns of the emulator in a namespace that ends with the command.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from needs import RELEASES
from stages import StageError, call

OLDEST_QEMU = 10  # 7.2 crashes on `import onnxruntime`
QEMU_NAMES = ("qemu-aarch64-static", "qemu-aarch64")
QEMU_RELEASE = "trixie"  # Debian's with QEMU 10, statically linked
PACKAGES = ("python3", "libosmesa6", "libstdc++6", "bash", "coreutils", "libc-bin", "procps")
# An ELF file of 64 bits, little-endian, of the machine arm64: as in QEMU's own binfmt.d.
_MAGIC = r"\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
# Opened once and kept, so that it is found after chroot (F); told the program's own name (P).
_FLAGS = "FP"
# In the namespace: the emulator, the folders of the kernel, a memory for temporary files, the
# checkout, which cannot be written to; then the command.
_ENTER = """
set -e
root=$1 rule=$2 checkout=$3; shift 3
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
printf '%s' "$rule" > /proc/sys/fs/binfmt_misc/register
for folder in proc dev sys; do
  mkdir -p "$root/$folder"
  mount --rbind "/$folder" "$root/$folder"
done
mkdir -p "$root/tmp" "$root/checkout"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$checkout" "$root/checkout"
mount -o remount,bind,ro "$root/checkout"
exec chroot "$root" "$@"
"""


def rule_of(qemu: Path) -> str:
    """The line by which the kernel learns to run arm64 programs by `qemu`."""
    return f":headway-aarch64:M::{_MAGIC}:{_MASK}:{qemu}:{_FLAGS}"


def version_of(qemu: Path | str) -> int:
    """The major version of the emulator `qemu`, 0 where it does not say."""
    try:
        said = subprocess.run(
            [qemu, "--version"], capture_output=True, text=True, timeout=60
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r"qemu-aarch64\S* version (\d+)", said)
    return int(found[1]) if found else 0


def static(program: Path) -> bool:
    """Whether `program` loads no libraries, which it would not find in another root."""
    asked = subprocess.run(["ldd", program], capture_output=True, text=True)
    return "statically linked" in asked.stdout or "not a dynamic" in asked.stdout + asked.stderr


class Emulated:
    """The arm64 machine in `work`, with the Python of this one and the checkout `root` at
    /checkout. `mirror`: where Debian's packages come from, "" for mmdebstrap's own choice."""

    def __init__(self, work: Path, root: Path, mirror: str = "") -> None:
        self.work, self.checkout, self.mirror = work, root, mirror
        self.release = RELEASES[sys.version_info[:2]]
        self.root = work / f"root-{self.release}"
        self.qemu = work / "qemu" / "usr" / "bin" / "qemu-aarch64"
        version = "{}.{}".format(*sys.version_info[:2])
        self.python = f"/usr/bin/python{version}"
        self.packages = self.root / f"usr/local/lib/python{version}/dist-packages"

    def find_qemu(self) -> None:
        """Link the emulator that is installed, or take Debian's. Raises StageError."""
        self.qemu.parent.mkdir(parents=True, exist_ok=True)
        self.qemu.unlink(missing_ok=True)
        for name in QEMU_NAMES:
            path = shutil.which(name)
            if path and version_of(path) >= OLDEST_QEMU and static(Path(path)):
                self.qemu.symlink_to(Path(path).resolve())
                break
        else:
            print(f"  no statically linked {QEMU_NAMES[1]} of version {OLDEST_QEMU} or newer is "
                  "installed: Debian's, 71 MB")  # fmt: skip
            self._unpack(
                QEMU_RELEASE, "amd64", ("qemu-user",), self.work / "qemu", "./usr/bin/qemu-aarch64"
            )
        if (found := version_of(self.qemu)) < OLDEST_QEMU:
            raise StageError(
                f"wanted QEMU {OLDEST_QEMU} or newer at {self.qemu}, found "
                f"{found or 'none that runs'}"
            )
        print(f"  QEMU {found}", flush=True)

    def make_root(self) -> None:
        """Unpack the arm64 Debian. Raises StageError."""
        if self.root.exists():
            shutil.rmtree(self.root)
        self._unpack(self.release, "arm64", PACKAGES, self.root)
        shell = self.root / "usr" / "bin" / "sh"
        if not shell.exists():  # made by a script of its package
            shell.symlink_to("bash")
        self.run(["/sbin/ldconfig"], "the cache of libraries")

    def _unpack(
        self, release: str, arch: str, packages: Sequence[str], to: Path, *only: str
    ) -> None:
        """Unpack `packages` of Debian's `release` and what they depend on into `to`: all files, or
        `only` some."""
        archive = self.work / f"{to.name}.tar"
        archive.unlink(missing_ok=True)
        merged = "/usr/share/mmdebstrap/hooks/merged-usr"
        call(
            ["mmdebstrap", "--variant=extract", f"--architectures={arch}", f"--hook-dir={merged}",
             f"--include={','.join(packages)}", release, archive,
             *([self.mirror] if self.mirror else [])],
            f"unpacking Debian {release} for {arch}",
        )  # fmt: skip
        to.mkdir(parents=True, exist_ok=True)
        call(
            ["tar", "-x", "-f", archive, "-C", to, "--no-same-owner", "--exclude=./dev/*", *only],
            "unpacking the archive",
        )
        archive.unlink()

    def command(self, words: Sequence[str], folder: str = "/checkout") -> list[str]:
        """How `words` are run on the emulated machine, in its `folder`."""
        inside = ["/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8",
                  "PYTHONDONTWRITEBYTECODE=1", "ORT_DISABLE_TELEMETRY=1",
                  "/usr/bin/env", "-C", folder]  # fmt: skip
        enter = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _ENTER, "enter"]
        rule = rule_of(self.qemu.resolve())
        return [*enter, str(self.root), rule, str(self.checkout), *inside, *words]

    def run(self, words: Sequence[str], what: str, folder: str = "/") -> None:
        """Run `words` on the emulated machine. Raises StageError, which says `what` failed."""
        call(self.command(words, folder), what)
