"""The live view in the process of the run: `Viewer` opens the port, starts the viewer process and
gives it the feeds."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import ipaddress
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway import errors
from headway.child import environment
from headway.edge.recording.tap import Feed
from headway.errors import Busy, ConfigError, DeviceError, HeadwayError, Missing

_START_S = 60.0
_END_S = 15.0


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """`foxglove`: serve clients at `host`:`port` (port 0: the system chooses). At most one of three
    options for Rerun: `rerun` starts its viewer, `rerun_connect` is the URL of a viewer, and
    `rerun_save` is a file. `hz` limits the messages per second of recorded time [Hz] of each
    channel, except log and calibration."""

    foxglove: bool = False
    host: str = "127.0.0.1"
    port: int = 8765
    hz: float = 50.0
    rerun: bool = False
    rerun_connect: str | None = None
    rerun_save: Path | None = None

    @property
    def wants_rerun(self) -> bool:
        return self.rerun or self.rerun_connect is not None or self.rerun_save is not None


def view_options(
    foxglove: bool,
    host: str | None,
    port: int | None,
    hz: float | None,
    rerun: bool,
    rerun_connect: str | None,
    rerun_save: Path | None,
) -> ViewOptions:
    """The options that were given, with the usual values for what is None. Raises ConfigError for
    one that nothing would be done about, because the view that it belongs to is not wanted."""
    given = {"host": host, "port": port, "hz": hz}
    chosen: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    options = ViewOptions(
        foxglove, rerun=rerun, rerun_connect=rerun_connect, rerun_save=rerun_save, **chosen
    )
    for name, value in chosen.items():
        if not (foxglove or (name == "hz" and options.wants_rerun)):
            raise ConfigError(
                f"--view-{name} {value} describes a live view: wanted --view too, found none"
            )
    return options


class Viewer:
    """`with Viewer(options) as viewer:` around a run; give `viewer.feed` to each recording.

    Raises Busy when the port is taken, ConfigError for unfit options, Missing for a package that is
    not installed, and DeviceError when the process does not start. Once it runs, no failure of the
    viewer affects the run.
    """

    def __init__(self, options: ViewOptions) -> None:
        check(options)
        self._hz = options.hz
        self.url, self.public = "", False  # of the server; whether other machines can reach it
        self.report = ""  # summary for people, set by `close`
        listening = _listen(options.host, options.port) if options.foxglove else None
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            inherited = [theirs.fileno()]
            if listening is not None:
                address, port = listening.getsockname()[:2]
                self.public = not ipaddress.ip_address(address).is_loopback
                host = "localhost" if address == "127.0.0.1" else f"[{options.host}]"
                self.url = f"ws://{host if ':' in address else host.strip('[]')}:{port}"
                inherited.append(listening.fileno())
            plain = {"listening": listening.fileno() if listening else -1, "rerun": _rerun(options)}
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "headway.tools.view.process"),
                    *(str(theirs.fileno()), json.dumps(plain)),
                ],
                pass_fds=inherited,
                env=environment(),
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C signals the run, not the viewer process
            )
        except BaseException:
            self._control.close()
            raise
        finally:
            theirs.close()
            if listening is not None:
                listening.close()
        try:
            self._answer(_START_S)
        except BaseException:
            self._process.kill()
            self._process.wait()
            self._control.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def feed(self) -> Feed | None:
        """A new pipe to the viewer process for one recording, None when the process is gone."""
        reading, writing = os.pipe()
        try:
            socket.send_fds(self._control, [b"feed"], [reading])
        except OSError:
            os.close(writing)
            return None
        finally:
            os.close(reading)
        with contextlib.suppress(OSError):  # for fewer, longer writes; may be forbidden
            import fcntl

            fcntl.fcntl(writing, 1031, 1 << 20)  # F_SETPIPE_SZ
        return Feed(writing, self._hz)

    def close(self) -> None:
        """End the view after the last recording, when clients have had time to take the waiting
        messages, and set `report`."""
        if self._control.fileno() < 0:
            return
        found: dict[str, Any] = {}
        with contextlib.suppress(OSError, HeadwayError):
            self._control.shutdown(socket.SHUT_WR)
            found = self._answer(_END_S)
        try:
            self._process.wait(_END_S if found else 0.1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._control.close()
        self.report = _report(found, self._process.returncode)

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        self._control.settimeout(timeout_s)
        try:
            text = self._control.recv(1 << 16)
        except TimeoutError:
            raise DeviceError(
                f"wanted the viewer process to answer within {timeout_s:g} s, it did not: "
                "run without --view"
            ) from None
        except OSError:
            text = b""
        if not text:
            code = self._process.wait()
            raise DeviceError(
                f"wanted a viewer process, it ended with code {code}: what it printed says why"
            )
        found: dict[str, Any] = json.loads(text)
        if "error" in found:
            kind: type[HeadwayError] = getattr(errors, found["kind"], DeviceError)
            raise kind(found["error"])
        return found

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check(o: ViewOptions) -> None:
    """Raises ConfigError for options that do not fit, and Missing for a package that they need but
    is not installed."""
    if not 0 < o.hz <= 10_000:
        raise ConfigError(
            f"wanted --view-hz above 0 and up to 10000, found {o.hz:g}: 50 is the usual rate"
        )
    if not 0 <= o.port < 1 << 16:
        raise ConfigError(f"wanted --view-port from 0 to 65535, found {o.port}: 0 takes a free one")
    if not o.host.strip():
        raise ConfigError(
            f"wanted an address as --view-host, found {o.host!r}: 127.0.0.1 for this machine alone"
        )
    if sum((o.rerun, o.rerun_connect is not None, o.rerun_save is not None)) > 1:
        raise ConfigError(
            "wanted one of --rerun, --rerun-connect and --rerun-save, found more: choose one"
        )
    if o.wants_rerun and importlib.util.find_spec("rerun") is None:
        raise Missing(
            "wanted the package rerun-sdk for --rerun, found none: pip install 'headway[rerun]'"
        )


def _rerun(o: ViewOptions) -> dict[str, str | None] | None:
    if not o.wants_rerun:
        return None
    return {"connect": o.rerun_connect, "save": str(o.rerun_save) if o.rerun_save else None}


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=16)
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            raise Busy(
                f"wanted to serve the view at {host}:{port}, found another program there (perhaps "
                "another run): end it or choose another --view-port"
            ) from None
        raise ConfigError(
            f"wanted to serve the view at {host}:{port}: {e.strerror or e}; choose another "
            "--view-host or --view-port"
        ) from None


def _report(found: dict[str, Any], code: int) -> str:
    if not found:
        return f"the viewer process ended early (code {code}); the recordings are not affected"
    text = f"view: {found['messages']} messages, {found['dropped']} dropped before the view"
    if "clients" in found:
        text += f"; {found['clients']} clients, {found['sent']} sent, {found['lost']} dropped"
    if not found.get("rerun", True):
        text += "; Rerun did not take all of it"
    return text
