"""The command line of Headway, `headway COMMAND`.

Each function in `COMMANDS` is a command; its docstring is the command's help text. Those of
`GROUPS` have modules of their own. Errors that Headway raises on purpose are printed as one line,
and the exit code says which kind it was (see `headway.errors`). Modules that load slowly are
imported only by the commands that need them.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import tyro

from headway import __version__, output, shipped
from headway.cli_build import build
from headway.cli_check import check
from headway.cli_dataset import DATASET_COMMANDS
from headway.cli_devices import DEVICE_COMMANDS
from headway.cli_export import EXPORT_COMMANDS
from headway.cli_hil import hil
from headway.cli_learn import learn
from headway.cli_pro import PRO_COMMANDS
from headway.cli_recordings import RECORDING_COMMANDS
from headway.cli_security import KEY_COMMANDS, SECURITY_COMMANDS
from headway.cli_study import study
from headway.errors import ConfigError, HeadwayError, OutputError

HELP = """\
Headway runs learned manipulation policies on the robot's own computer. A guard
checks every command before it reaches the arm, and a learned Process-Reward
Operator (PRO) watches how the task goes.

First steps:
  headway doctor        what this machine has, what is missing, how to get it
  headway run --report  3 episodes in the simulated cell, recorded, with a page
                        of curves and pictures for each
  headway init my_cell  a folder with the configuration and models, to edit

Commands (headway COMMAND --help says what one takes):
{commands}

headway --version says which release this is.
"""
BROKEN_PIPE = 128 + 13  # the exit code that a shell reports for a program ended by SIGPIPE


def run(
    config: Path | None = None,
    workflow: str | None = None,
    episodes: int = 3,
    seed: int = 0,
    out: Path | None = None,
    realtime: bool = False,
    panel: bool = False,
    view: bool = False,
    view_host: str | None = None,
    view_port: int | None = None,
    view_hz: float | None = None,
    rerun: bool = False,
    rerun_connect: str | None = None,
    rerun_save: Path | None = None,
    report: bool = False,
    overwrite: bool = False,
    require: tuple[str, ...] = (),
    policy: str | None = None,
    policy_map: Path | None = None,
    instruction: str | None = None,
    inject: tuple[str, ...] = (),
    operator: bool = False,
    patch: bool = False,
) -> int:
    """Run episodes with the configured policy, PRO and guard, and record them.

    Args:
        config: run configuration (TOML) [the simulated cell that Headway comes with].
        workflow: name of a workflow, such as pick_place, instead of --config.
        episodes: number of episodes.
        seed: seed of the first episode's scene; it grows by one per episode.
        out: folder for the recordings [runs/NAME-SEED].
        realtime: run on the wall clock, instead of in lock-step on a virtual clock.
        panel: show a live panel in the terminal.
        view: serve the run live to Foxglove and Lichtblick, see docs/view.md.
        view_host: address to serve at; with 0.0.0.0 the network can see the cameras [127.0.0.1].
        view_port: port to serve at; 0 takes a free one [8765].
        view_hz: most rows and images per second and topic that a live view gets [50].
        rerun: start a Rerun viewer and show the run live in it.
        rerun_connect: show the run live in the Rerun viewer at this URL.
        rerun_save: write the run to this .rrd file for a Rerun viewer.
        report: write an HTML report beside every recording.
        overwrite: replace existing recordings.
        require: fail unless these implementations are in use, e.g. ort, cpp, numpy.
        policy: instead of the configured policy, the folder of a bundle, ws://HOST:PORT of a policy
            server, or `expert`: the scripted one of the simulated world.
        policy_map: TOML file that says which keys that server wants and what its actions mean.
        instruction: what the robot is asked to do, instead of the configured instruction; in a
            simulated cell the order is then one line with this text.
        inject: faults, KIND@SECONDS or KIND@SECONDS:FOR, e.g. policy_hang@5s ft_stall@2:0.3.
        operator: read lines from the terminal that end an episode or are new instructions.
        patch: take the arm over from the policy by keys of the terminal, and give it back.
    """
    from headway.tools.run.command import RunOptions, run_command
    from headway.tools.view.viewer import view_options

    if workflow is not None:
        if config is not None:
            raise ConfigError(
                f"wanted one configuration, found --config {config} and --workflow {workflow}: "
                "leave one of them out"
            )
        from headway.workflows import config_of

        config = config_of(workflow)
        print(f"workflow {workflow}: {config}")
    options = view_options(view, view_host, view_port, view_hz, rerun, rerun_connect, rerun_save)
    if config is None:
        config = shipped.CONFIG
        print(f"configuration {config} (`headway init DIR` makes a copy to edit)")
    return run_command(
        config,
        RunOptions(
            episodes,
            seed,
            out,
            realtime,
            panel,
            options,
            report,
            overwrite,
            require,
            policy,
            policy_map,
            instruction,
            inject,
            operator,
            patch,
        ),
    )


def init(folder: tyro.conf.Positional[Path], overwrite: bool = False) -> int:
    """Make a folder to start from: the shipped configuration and models, to edit and run.

    Args:
        folder: the folder; it is made if it is not there.
        overwrite: replace existing files of the same names.
    """
    from headway.tools.starter import init_command

    return init_command(folder, overwrite)


def bundle(
    model: tyro.conf.Positional[Path],
    map: Path | None = None,
    out: Path | None = None,
    robot: str | None = None,
    overwrite: bool = False,
) -> int:
    """Make a bundle of an ONNX policy that somebody else exported.

    Args:
        model: ONNX file.
        map: TOML file that says what its inputs and outputs mean; without one, print one to edit.
        out: folder for the bundle.
        robot: a robot model as for `headway robot`; guesses of a printed mapping use its joints.
        overwrite: replace a bundle at --out.
    """
    from headway.tools.bundle import bundle_command

    return bundle_command(model, map, out, robot=robot, overwrite=overwrite)


def robot(
    model: tyro.conf.Positional[str], tool: str | None = None, out: Path | None = None
) -> int:
    """Show a robot model: joints, limits, chain, what is missing; and draw it (PNG).

    Args:
        model: a robot that Headway knows (franka, so101, ur10, ur5e), or the path of a .urdf file.
        tool: name of one of its tool frames [the one that its TOML file names].
        out: file for the picture [NAME.png].
    """
    from headway.tools.robot import robot_command

    return robot_command(model, tool, out)


def serve(
    bundle: tyro.conf.Positional[Path],
    host: str = "127.0.0.1",
    port: int = 8000,
    engine: str = "auto",
    max_clients: int = 4,
    candidates: int = 1,
    critic: Path | None = None,
    trust: Path | None = None,
    noise: float = 1.0,
) -> int:
    """Serve a policy to other computers: openpi's WebSocket protocol.

    Args:
        bundle: bundle folder of the policy.
        host: address to serve at; except on 127.0.0.1, whoever reaches it can use the policy.
        port: port to serve at; 0 takes a free one.
        engine: the engine that runs the model.
        max_clients: most clients at a time; further ones are refused.
        candidates: chunks that a policy with noise makes at a time, for the critic to choose from.
        critic: bundle folder of the critic.
        trust: trust store that has to vouch for the bundles (docs/bundle-security.md).
        noise: how much of its noise a policy makes chunks from: 1 for all of it, 0 for none.
    """
    from headway.tools.serve import serve_command

    return serve_command(bundle, host, port, engine, max_clients, candidates, critic, trust, noise)


def doctor(
    json: bool = False, rt: bool = False, seconds: float | None = None, hz: str | None = None
) -> int:
    """Say what this machine has, what is missing, and how to get it.

    Args:
        json: print JSON, for programs.
        rt: instead, measure which rates of the control loop this machine can hold.
        seconds: with --rt, how long to measure each of two loops at each rate [10].
        hz: with --rt, the rates to measure [500,1000].
    """
    if rt:
        from headway.tools.doctor.rt import doctor_rt_command

        return doctor_rt_command(10.0 if seconds is None else seconds, hz or "500,1000", json)
    for option, value in (("--seconds", seconds), ("--hz", hz)):
        if value is not None:
            raise ConfigError(
                f"{option} {value} is for measuring rates: wanted --rt too, found none"
            )
    from headway.tools.doctor.doctor import doctor_command

    return doctor_command(json)


def score(
    files: tyro.conf.Positional[tuple[Path, ...]],
    map: Path | None = None,
    pro: Path | None = None,
    out: Path = Path("runs/score"),
    alpha: float = 0.1,
) -> int:
    """Compute PRO features and signals for telemetry of other robots, of many formats.

    Args:
        files: recordings, data sets, or folders of them: CSV, .npz, HDF5, MCAP, ROS bags, LeRobot.
        map: TOML file that says what each channel is (examples in examples/score).
        pro: bundle of a PRO head; without one, only features are computed.
        out: folder for the results; its index.html leads to all of them.
        alpha: false-alarm rate of the threshold, see `headway pro alarms`.
    """
    from headway.tools.score.command import score_command

    return score_command(files, map, pro, out, alpha)


def map_(file: tyro.conf.Positional[Path], out: Path | None = None, overwrite: bool = False) -> int:
    """List what is in a file of telemetry, and write a first mapping for `score`, to edit.

    Args:
        file: a recording, a data set, or a folder of recordings, of which the first is taken.
        out: TOML file for the mapping; without one, print it.
        overwrite: replace a mapping at --out.
    """
    from headway.tools.map.command import map_command

    return map_command(file, out, overwrite)


COMMANDS: dict[str, Callable[..., int]] = {
    "run": run,
    "init": init,
    "bundle": bundle,
    "build": build,
    **EXPORT_COMMANDS,
    "check": check,
    "robot": robot,
    "serve": serve,
    "hil": hil,
    "learn": learn,
    "doctor": doctor,
    **DEVICE_COMMANDS,
    "map": map_,
    "score": score,
    **RECORDING_COMMANDS,
    **SECURITY_COMMANDS,
    "study": study,
}

# Commands that have commands of their own, by the first word, with a line of help.
GROUPS: dict[str, tuple[str, dict[str, Callable[..., int]]]] = {
    "pro": ("PRO heads for your own robot", PRO_COMMANDS),
    "dataset": ("Recordings as a LeRobotDataset, and back", DATASET_COMMANDS),
    "keys": ("Keys that sign bundles, and whom a robot trusts", KEY_COMMANDS),
}


def main(args: list[str] | None = None) -> int:
    """Run the command in `args` (default: the arguments of the process). Returns the exit code."""
    output.prepare()
    try:
        try:
            return _command(sys.argv[1:] if args is None else args)
        finally:
            if (lost := output.failure()) is not None:
                raise lost
    except SystemExit as e:
        # Every console of rich ends the program by itself, as a failure, when its reader has gone.
        if not isinstance(e.__context__, BrokenPipeError):
            raise
        return BROKEN_PIPE
    except OSError:
        if (lost := output.failure(probe=True)) is None:
            raise  # it was not about the output
    output.discard()
    if isinstance(lost, BrokenPipeError):  # as in `headway doctor | head -1`
        return BROKEN_PIPE
    output.complain(
        f"headway: cannot write to the standard output: {lost.strerror}: make room, or redirect it "
        "to where there is some"
    )
    return OutputError.exit_code


def _help() -> str:
    lines = []
    said = {name: (command.__doc__ or "").splitlines()[0] for name, command in COMMANDS.items()}
    for group, (what, commands) in GROUPS.items():
        said[group] = f"{what}: headway {group} {' | '.join(commands)}."
    for name, what in said.items():
        lines.append(
            textwrap.fill(what, 79, initial_indent=f"  {name:9}", subsequent_indent=" " * 11)
        )
    return HELP.format(commands="\n".join(lines))


def _refuse_empty(args: list[str]) -> None:
    """Raises ConfigError for an empty argument, which as a path would mean the current folder."""
    for i, arg in enumerate(args):
        name = arg[:-1] if arg.startswith("--") and arg.endswith("=") else None
        if name or not arg:
            where = name or " ".join(["headway", *args[:i]])
            raise ConfigError(
                f"wanted a name or value after `{where}`, found an empty one: name one (is a "
                "variable of the shell not set?)"
            )


def _refuse_repeated(args: list[str]) -> None:
    """Raises ConfigError for an option that is there twice, of which only the last would count."""
    names = [arg.partition("=")[0].replace("_", "-") for arg in args if arg.startswith("--")]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"wanted {name} once, found it {names.count(name)} times: give it once, and where "
                f"it takes several values, all of them after it, as in `{name} A B`"
            )


def _command(args: list[str]) -> int:
    if args in ([], ["-h"], ["--help"]):
        print(_help(), end="")
        return 0
    if args == ["--version"]:
        print(f"headway {__version__}")
        return 0
    try:
        _refuse_empty(args)
        _refuse_repeated(args)
        commands, prog = COMMANDS, "headway"
        if args[0] in GROUPS:
            commands, prog = GROUPS[args[0]][1], f"headway {args[0]}"
            args = args[1:] or ["--help"]
        code: int = tyro.extras.subcommand_cli_from_dict(commands, prog=prog, args=args)
        return code
    except HeadwayError as e:
        output.complain(f"headway: {e}")
        return e.exit_code
