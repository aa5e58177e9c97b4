"""A check of a run configuration with its bundles: everything is described, then put together on
null devices and timed. No device of the robot is opened unless that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from headway import bundle
from headway.clock import WallClock
from headway.edge.control import fits
from headway.edge.control import settings as run_settings
from headway.edge.control.build import Built
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.control.tasks import Task
from headway.edge.policy.config import kind_of
from headway.edge.policy.policy import About
from headway.errors import BundleError, ConfigError, HeadwayError
from headway.tools.check import budget, memory, models
from headway.tools.check.described import Described, describe
from headway.tools.check.fitting import asked, policy_lines, run_lines
from headway.tools.check.lines import Line, Report, kept, refused, unasked
from headway.tools.check.opened import opened_lines
from headway.tools.check.twins import Twins, on_twins

TOGETHER = "the loop, policy and PRO as `headway run --realtime` puts them together"


@dataclass(frozen=True)
class Asked:
    """What to check: the run configuration `config` with the `bundle`, None for those that it
    names. `seconds` [s] to measure for, 0 to measure nothing. `devices`: open the robot's own."""

    config: Path
    bundle: Path | None = None
    seconds: float = 5.0
    devices: bool = False


def check(what: Asked, say: Callable[[str], None] = lambda _: None) -> Report:
    """The report on `what`. `say` is told what is being done. Raises ConfigError for a run
    configuration that does not load."""
    there = memory.available()
    settings = run_settings.load(what.config)
    work = _Check(what, settings, there, say)
    work.run()
    notes = tuple(dict.fromkeys(work.notes))
    return Report(str(what.config), str(what.bundle or ""), tuple(work.lines), notes)


class _Check:
    """The lines of a check, in the order in which they are found."""

    def __init__(
        self, what: Asked, settings: Settings, there: int | None, say: Callable[[str], None]
    ) -> None:
        self._what, self._settings, self._there, self._say = what, settings, there, say
        self._models = models.Models()
        self._devices = Described()
        self.lines: list[Line] = []
        self.notes: list[str] = []

    def run(self) -> None:
        """Find all lines."""
        self._say("reading bundles")
        whole = self._take_bundle()
        if whole:
            self._models = models.load(self._settings)
            self.lines += self._models.lines
        self._say("describing the devices")
        self._devices = describe(self._settings)
        self.lines += self._devices.lines
        if not whole:
            self.lines.append(unasked("policy", "fit", "the bundle does not load"))
            return
        if self._devices.arm is None:
            self.lines.append(unasked("policy", "fit", "the arm cannot be described"))
            self.lines += models.engine_lines(self._settings, self._models)
            return
        in_process = self._say_policy()
        texts = asked(self._settings)
        twins = on_twins(self._settings, texts[0] if texts else None)
        if not in_process:
            twins = structs.replace(twins, policy=None)
        replaced = Twins(self._devices, self._models.about, texts[0] if texts else "")
        self._fit(Station(twins, WallClock(), replaced), in_process)

    def _take_bundle(self) -> bool:
        """Put the bundle that was named into the settings; False where it does not load."""
        path = self._what.bundle
        if path is None:
            return True
        try:
            self._settings = models.with_bundle(self._settings, bundle.load(path))
        except BundleError as e:
            self.lines.append(refused(models.GROUP, "bundle", f"a bundle at {path}", e))
            return False
        except ValueError as e:  # of settings that the bundle's section makes contradictory
            raise ConfigError(f"{self._what.config}: {e}") from None
        return True

    def _say_policy(self) -> bool:
        """Whether the policy runs in a process of its own, so that it can be tried; a line says
        why not."""
        cfg = run_settings.policy(self._settings)
        if cfg is None:
            why = fits.NO_POLICY
        elif hasattr(kind_of(cfg)[0], "open_in_place"):
            why = f"a policy of kind {cfg.kind} looks into the world, and runs in lock-step only"
        elif cfg.kind == "teleop":
            why = "a person steers: what by is a device, which only a run opens"
        else:
            return True
        self.lines.append(unasked("policy", "fit", why))
        return False

    def _fit(self, station: Station, in_process: bool) -> None:
        """Find what of the run fits; `station` has the twins of its devices."""
        settings = self._settings
        try:
            lines, task = run_lines(settings, self._devices, station)
        except HeadwayError as e:
            kind = f"kind {settings.task.get('kind')}"
            self.lines.append(refused("run", "task", kind, e))
            return
        self.lines += lines
        about = self._models.about
        if about is not None:
            self.lines += self._policy_lines(about, station, task)
            self.lines += models.critic_lines(settings, self._models)
        self.lines += models.pro_lines(settings, self._models, station)
        self._say("opening engines")
        self.lines += models.engine_lines(settings, self._models)
        if self._models.whole:
            about = self._try(station, task, about, in_process)
        if self._what.devices:
            self._say("opening the robot's devices")
            lines, notes = opened_lines(settings, about, task)
            self.lines += lines
            self.notes += notes

    def _policy_lines(self, about: About, station: Station, task: Task) -> list[Line]:
        return policy_lines(about, self._settings, self._devices, station, task, self._models)

    def _try(
        self, station: Station, task: Task, about: About | None, in_process: bool
    ) -> About | None:
        """Put the run together on the twins at `station`, and time it. Returns the policy."""
        if any(line.run_refuses for line in self.lines):
            why = "a run refuses what is not kept here, before it begins"
            self.lines.append(unasked("run", "put together", why))
            return about
        self._say("starting the policy")
        with station:
            try:
                built = Built(station.settings, station, station.clock)
            except HeadwayError as e:
                self.lines.append(refused("run", "put together", TOGETHER, e))
                return about
            try:
                # Where the twin begins says nothing, and why there is no policy has a line.
                said = {*fits.outside(station), fits.NO_POLICY}
                self.notes += [note for note in built.notes if note not in said]
                self.lines.append(kept("run", "put together", TOGETHER, "; ".join(built.choices)))
                if about is None and built.worker is not None:
                    about = built.worker.about
                    self.lines += self._policy_lines(about, station, task)
                self.lines += self._measured(built, about, in_process)
            finally:
                built.close()
        return about

    def _measured(self, built: Built, about: About | None, in_process: bool) -> list[Line]:
        """What the run of `built` takes on this computer."""
        settings, seconds = self._settings, self._what.seconds
        made = (self._models.policy, self._models.critic, self._models.pro)
        files = sum(f.size for m in made if m is not None for f in m.manifest.files.values())
        pid = getattr(built.worker, "pid", None)
        if seconds <= 0.0:
            lines = [unasked(budget.GROUP, "measured", "it was not asked for (--seconds 0)")]
            if about is not None and in_process:
                lines.append(budget.chunk_line(settings, about, ()))
            return [*lines, budget.memory_line(pid, self._there, files)]
        self._say(f"measuring for {seconds:g} s on devices that are not there")
        try:
            found = budget.measure(built, settings, seconds)
        except HeadwayError as e:
            lines = [refused(budget.GROUP, "measured", "a run on null devices", e)]
        else:
            lines = budget.latency_lines(settings, about, found)
            self.notes += found.setup
        return [*lines, budget.memory_line(pid, self._there, files)]
