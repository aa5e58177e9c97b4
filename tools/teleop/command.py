"""`headway teleop`: build the station and the loop with a person in place of the policy, record
episode after episode, and export them as a data set."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from headway.clock import Clock, WallClock
from headway.drivers import Input, device_config
from headway.drivers.inputs.keyboard import KEYS, listening
from headway.edge.control import settings as settings_module
from headway.edge.control.build import Built
from headway.edge.control.ending import EXIT_INTERRUPTED, Ending
from headway.edge.control.result import INTERRUPTED, Result
from headway.edge.control.runner import record_episode
from headway.edge.control.settings import Settings
from headway.edge.control.station import Station
from headway.edge.host import origin
from headway.edge.host.realtime import realtime as realtime_setup
from headway.edge.motion.follow import follow
from headway.edge.policy.kinds.teleop import Teleop
from headway.errors import ConfigError
from headway.tools.dataset import video
from headway.tools.dataset.export import check_free, export_command
from headway.tools.dataset.packages import need
from headway.tools.run.command import STOPPED, until_asked_to_end, watched
from headway.tools.run.summary import episode_line
from headway.tools.teleop.session import NOTE, NOTE_KEYBOARD, Session, Steering, voice

OPEN_S = 10.0


@dataclass(frozen=True)
class TeleopOptions:
    """The options of `headway teleop`; `headway.cli_devices.teleop` explains them."""

    input: str | None = None
    out: Path | None = None
    dataset: Path | None = None
    episodes: int | None = None
    instruction: str | None = None
    overwrite: bool = False


def teleop_command(config: Path, options: TeleopOptions) -> int:
    """Let a person steer the robot of the configuration file `config`. Returns the exit code, as
    `headway run`. Raises HeadwayError."""
    settings = settings_module.with_operator(settings_module.load(config), options.input)
    if options.instruction is not None:
        settings = settings_module.with_instruction(settings, options.instruction)
    check(settings, options)
    out = options.out or Path("runs") / f"{config.stem}-teleop"
    origin.place()  # runs git, which takes time: do it before anything moves

    def work(ending: Ending, console: Console) -> int:
        def line(text: str) -> None:
            console.print(text, markup=False, highlight=False, soft_wrap=True)

        with voice(line) as say:
            session = Session(say)
            with listening(session, who="headway teleop"):
                done = demonstrate(
                    settings, options, out, session, say, console, WallClock(), ending.watch
                )
        code = finish(done, options, out, console)
        return EXIT_INTERRUPTED if ending.why else code

    return until_asked_to_end(True, work)


def check(settings: Settings, options: TeleopOptions) -> None:
    """Raises ConfigError for options that make no sense, and Missing for a data set without the
    packages, before anything moves."""
    if options.episodes is not None and options.episodes < 1:
        raise ConfigError(
            f"wanted --episodes of at least 1, found {options.episodes}: leave it out to go on "
            "until you end the session"
        )
    if options.dataset is None:
        return
    check_free(Path(os.path.realpath(options.dataset)), options.dataset, options.overwrite)
    need("pyarrow.parquet")
    if settings.camera:
        video.codec()


def demonstrate(
    settings: Settings,
    options: TeleopOptions,
    out: Path,
    session: Session,
    say: Callable[[str], None],
    console: Console,
    clock: Clock,
    watch: Callable[..., None] = lambda loop: None,
) -> dict[Path, Result]:
    """Record episodes to the folder `out`, numbered on from those that are there, until the person
    behind `session` ends. `settings` are those of `with_operator`; `watch` is given the loop.
    Returns the results of the episodes that were kept. Raises what the station, the input and the
    loop raise; what was recorded before is complete then."""
    station = Station(settings, clock)
    station.ctx.worlds[KEYS] = session.keys
    done: dict[Path, Result] = {}
    path: Path | None = None
    device = _connected(settings, station)
    with station, closing(device):
        device.open(OPEN_S)
        policy = person(device, station, session, say)
        built = Built(settings, station, clock, operator=policy)
        try:
            for text in (*built.choices, *built.notes):
                console.print(f"[dim]{escape(text)}[/dim]", soft_wrap=True)
            session.attach(built.loop, device)
            watch(built.loop)
            setting = realtime_setup(settings.realtime) if clock.realtime else nullcontext(None)
            with watched(settings, built, clock.realtime), setting as setup:
                say(NOTE)
                if device.info.kind == "keyboard":
                    say(NOTE_KEYBOARD)
                while session.wait():
                    _drop(done, path, session)
                    number = _next(out)
                    path = out / f"episode_{number}.mcap"
                    session.discarded = False
                    result = record_episode(
                        built.loop, number, path, metadata=built.facts, setup=setup
                    )
                    done[path] = result
                    ft, pro = station.ft is not None, built.loop.pro is not None
                    console.print(episode_line(number, result, ft, pro), soft_wrap=True)
                    if result.end == "fault" or (result.end in STOPPED and station.world is None):
                        break  # a person has to look at the robot first
                    _drop(done, path, session)
                    if len(done) == options.episodes:
                        break
                    say("teleop: Enter begins the next episode, x throws this one away, z ends")
        finally:
            built.close()
            _drop(done, path, session)
    return done


def person(device: Input, station: Station, session: Session, say: Callable[[str], None]) -> Teleop:
    """The person who steers by `device`, as the policy of the open `station`. Raises SpecMismatch
    where a leader's joints are not those of the arm."""
    steering = Steering(device, session.keys, say)
    target = f"headway.drivers.inputs.{device.info.kind}:connect"
    space = device.actions
    if space.space != "joint":
        return Teleop(steering, target)
    allowed = station.settings.guard.allowed(station.arm_device.limits)
    joints = follow(allowed, space.dt_s)
    return Teleop(steering, target, joints, station.model.joints)


def _connected(settings: Settings, station: Station) -> Input:
    """The input of `settings`, not open yet."""
    assert settings.input is not None
    module, cfg = device_config("inputs", settings.input, "[input]")
    device: Input = module.connect(cfg, station.ctx)
    return device


def _next(out: Path) -> int:
    """The number after the highest of the recordings in `out`."""
    found = [re.fullmatch(r"episode_(\d+)\.mcap", p.name) for p in out.glob("episode_*.mcap")]
    return max((int(m[1]) for m in found if m), default=-1) + 1


def _drop(done: dict[Path, Result], last: Path | None, session: Session) -> None:
    """Take the episode `last` out of `done`, and remove its recording, if the person throws it
    away."""
    if session.discarded and last is not None and done.pop(last, None) is not None:
        last.unlink(missing_ok=True)


def finish(done: dict[Path, Result], options: TeleopOptions, out: Path, console: Console) -> int:
    """Say what was recorded and export it. Returns the exit code."""
    good = sum(r.success is True for r in done.values())
    console.print(f"{len(done)} episodes in {escape(str(out))}, {good} successes", highlight=False)
    code = int(any(r.end in STOPPED for r in done.values()))
    whole = [path for path, r in done.items() if r.end != INTERRUPTED]
    if options.dataset is None or not whole:
        return code
    said = export_command(whole, options.dataset, overwrite=options.overwrite, console=console)
    return code or said
