"""The dashboard server: one line in, one line out.

Source: Universal Robots' pages on the dashboard server of e-Series and CB-Series. `emulator fault
KIND [VALUE] [FOR_S]` is no command of a real controller: it brings a fault about.
"""

from __future__ import annotations

from collections.abc import Callable

from headway.hil.emulators._ur.faults import KINDS, Fault
from headway.hil.emulators._ur.fields import Version
from headway.hil.emulators._ur.robot import (
    IDLE,
    NORMAL,
    PAUSED,
    PLAYING,
    POWER_OFF,
    POWER_ON,
    PROTECTIVE,
    RUNNING,
    SAFEGUARD,
    Robot,
)
from headway.hil.emulators._ur.wire import Link

_MODES = {POWER_OFF: "POWER_OFF", POWER_ON: "POWER_ON", IDLE: "IDLE", RUNNING: "RUNNING"}
_SAFETY = {NORMAL: "NORMAL", PROTECTIVE: "PROTECTIVE_STOP", SAFEGUARD: "SAFEGUARD_STOP"}
_BANNER = "Connected: Universal Robots Dashboard Server"


class DashboardSession:
    """A client of the dashboard of `robot`, a `model` with the `serial` number and software of
    `version`. `reload` starts the program that ran last, and says whether it did; `fault` brings a
    fault about."""

    def __init__(
        self,
        link: Link,
        robot: Robot,
        about: tuple[str, str, Version],
        reload: Callable[[], bool],
        fault: Callable[[Fault], None],
    ) -> None:
        self.link = link
        self._robot, self._reload, self._fault = robot, reload, fault
        self._model, self._serial, self._version = about
        self._in = bytearray()
        self._loaded = ""
        self._reply(_BANNER)

    def feed(self, data: bytes, now: int) -> None:
        self._in += data
        while b"\n" in self._in and not self.link.closed:
            line, _, rest = bytes(self._in).partition(b"\n")
            self._in[:] = rest
            self._reply(self._answer(line.decode("utf-8", "replace").strip()))
            if line.strip() == b"quit":
                self.link.close()

    def end(self) -> None:
        """Nothing outlives a client."""

    def _reply(self, text: str) -> None:
        self.link.send(text.encode() + b"\n")

    def _answer(self, line: str) -> str:
        word, _, rest = line.partition(" ")
        if line.startswith("emulator fault "):
            return self._bring_about(line.split()[2:])
        asked = self._ask(line)
        if asked is not None:
            return asked
        if word == "popup":
            self._robot.popup = rest
            return "showing popup"
        if word == "addToLog":
            return "Added log message" if rest else "No log message to add"
        if word == "setUserRole":
            return f"Setting user role: {rest}"
        if not self._robot.remote and self._version[0] >= 5:
            return f"Command is not allowed due to safety reasons: {line}"
        if word == "load":
            self._loaded = rest
            return (
                f"Loading program: {rest}" if rest.endswith(".urp") else f"File not found: {rest}"
            )
        return self._do(line)

    def _ask(self, line: str) -> str | None:
        """The answer to a question; None for what is none."""
        robot = self._robot
        version = ".".join(map(str, self._version))
        safety = _SAFETY.get(robot.safety, "ROBOT_EMERGENCY_STOP")
        name = robot.program.name if robot.program is not None else self._loaded
        states = {PLAYING: "PLAYING", PAUSED: "PAUSED"}
        answers = {
            "robotmode": f"Robotmode: {_MODES[robot.mode]}",
            "safetymode": f"Safetymode: {safety}",
            "safetystatus": f"Safetystatus: {safety}",
            "running": f"Program running: {str(robot.runtime == PLAYING).lower()}",
            "programState": f"{states.get(robot.runtime, 'STOPPED')} {name}".strip(),
            "PolyscopeVersion": f"URSoftware {version} (Mar 22 2022)",
            "version": version,
            "get serial number": self._serial,
            "get robot model": self._model.upper().rstrip("E"),
            "get loaded program": f"Loaded program: {name}" if name else "No program loaded",
            "isProgramSaved": f"true {name}".strip(),
            "get operational mode": "NONE",
            "quit": "Disconnected",
        }
        if self._version[0] >= 5:
            answers["is in remote control"] = str(robot.remote).lower()
        return answers.get(line)

    def _do(self, line: str) -> str:
        robot = self._robot
        failed = f"Failed to execute: {line}"
        if line == "play":
            return "Starting program" if robot.resume() or self._reload() else failed
        if line == "stop":
            robot.stop_program("dashboard")
            return "Stopped"
        if line == "pause":
            robot.pause("dashboard")
            return "Pausing program" if robot.runtime == PAUSED else failed
        if line == "power on":
            robot.power(True)
            return "Powering on"
        if line == "power off":
            robot.power(False)
            return "Powering off"
        if line == "brake release":
            robot.release_brakes()
            return "Brake releasing"
        if line == "unlock protective stop":
            if robot.unlock():
                return "Protective stop releasing"
            return "Cannot unlock protective stop until 5s after occurrence. Always inspect cause of protective stop before unlocking"  # noqa: E501
        simple = {
            "close popup": "closing popup",
            "close safety popup": "closing safety popup",
            "restart safety": "Restarting safety",
            "clear operational mode": "No longer controlling the operational mode",
        }
        return simple.get(line, f"could not understand: {line}")

    def _bring_about(self, words: list[str]) -> str:
        try:
            value, for_s = (float(w) for w in (*words[1:], "0", "0")[:2])
        except ValueError:
            return "emulator fault KIND [VALUE] [FOR_S]: the last two are numbers"
        if not words or words[0] not in KINDS:
            return f"emulator fault: wanted one of {', '.join(KINDS)}"
        self._fault(Fault(kind=words[0], value=value, for_s=for_s))  # type: ignore[arg-type]
        return f"fault: {words[0]}"
