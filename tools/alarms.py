"""`headway pro alarms`: what level of PRO's risk raises a false alarm how often.

    headway pro alarms models/my_pro
    headway run --episodes 150 --seed 3000000 --out runs/calibration
    headway pro alarms models/my_pro --recordings runs/calibration

The first takes the calibration that the bundle holds, or that lies beside it. The second makes one
from episodes of the policy and the PRO head in use. They must be new to the head, that is, not from
its training or test split, and recorded without `[risk]`, because slowing a motion changes its
risk. How thresholds follow from a calibration is said in `edge/pro/risk.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from headway import bundle as bundles
from headway.bundle import Bundle
from headway.edge.pro import risk
from headway.edge.pro.risk import Calibration, RiskConfig, fewest_successes
from headway.errors import BundleError, ConfigError, RecordingError
from headway.files import whole
from headway.kernels import spec
from headway.mcaplog import Recording, open_recording
from headway.tools.recorded import result_of

LEVELS = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)
STOPS = (0.01, 0.02, 0.05)  # shares of false alarms at which stopping may be worth it


def alarms_command(
    bundle: Path,
    calibration: Path | None = None,
    recordings: Path | None = None,
    out: Path | None = None,
    alpha: Sequence[float] = (),
    overwrite: bool = False,
    *,
    console: Any = None,
) -> int:
    """Print the thresholds of the PRO head in `bundle` at the false-alarm rates `alpha`, by default
    `LEVELS`, and a `[risk]` section to paste. With `recordings`, a folder, calibrate from them
    first and write the file `out`, by default beside the bundle. Returns 0. Raises ConfigError,
    BundleError, SpecMismatch for a calibration of another head, and RecordingError."""
    console = console or Console()
    for level in alpha:
        if not 0.0 < level < 1.0:
            raise ConfigError(f"wanted --alpha between 0 and 1, found {level}: 0.1 is one in ten")
    if recordings is not None and calibration is not None:
        raise ConfigError("wanted --calibration or --recordings, found both: leave one out")
    if out is not None and recordings is None:
        raise ConfigError("--out is where --recordings is written, which was not given: add it")
    made = bundles.load(bundle)
    if made.manifest.pro is None:
        raise BundleError(f"wanted a bundle of kind pro, found {made.manifest.kind}: {bundle}")
    if recordings is not None:
        path = out or _beside(bundle)
        if path.exists() and not overwrite:
            raise ConfigError(
                f"wanted to write {path}, found it there: add --overwrite, or name another by --out"
            )
        found = of_folder(recordings, console)
        risk.check_model(found, recordings, _sha256(made))
        write(found, path)
        console.print(f"wrote {escape(str(path))}", soft_wrap=True)
    else:
        path = calibration or _there(made)
        found = risk.load(path, _sha256(made))
    inside = path == risk.of_bundle(made)
    source = ", ".join(filter(None, (found.data, found.date)))
    console.print(
        f"PRO {escape(made.manifest.name)}: alarms from {found.behind} ({escape(source)})",
        soft_wrap=True,
    )
    console.print(table(found, alpha or LEVELS))
    console.print(section(found, None if inside else path), markup=False, soft_wrap=True)
    return 0


def _sha256(bundle: Bundle) -> str:
    return bundle.manifest.files[bundle.manifest.onnx].sha256


def _beside(bundle: Path) -> Path:
    """Where the calibration of a bundle lies that does not hold one."""
    bundle = bundle.resolve()
    return bundle.with_name(f"{bundle.name}.{risk.IN_BUNDLE}")


def _there(made: Bundle) -> Path:
    """The calibration in the bundle, or beside it. Raises ConfigError where there is none."""
    path = risk.of_bundle(made) or _beside(made.path)
    if not path.is_file():
        raise ConfigError(
            f"wanted a calibration as {risk.IN_BUNDLE} in {made.path}, or at {path}, found none: "
            "name one by --calibration, or make one by --recordings FOLDER"
        )
    return path


def table(made: Calibration, alpha: Sequence[float]) -> Table:
    """The thresholds, one line per false-alarm rate of `alpha`."""
    what = {
        "successes": "successes that alarm",
        "fault-free parts": "runs that alarm before anything went wrong",
    }[made.of]
    out = Table(box=box.SIMPLE_HEAD)
    out.add_column(what, justify="right")
    out.add_column("alarm above a risk of", justify="right")
    out.add_column("wants", justify="right")
    n = len(made.peaks)
    for level in sorted(alpha, reverse=True):
        least = fewest_successes(level)
        enough = n >= least
        wants = f"{least}" if enough else f"{least}: {least - n} more"
        out.add_row(f"{level:.1%}", f"{made.threshold(level):.3f}" if enough else "too few", wants)
    return out


def section(made: Calibration, path: Path | None) -> str:
    """The `[risk]` section of a run's configuration for the calibration at `path`, None for that
    inside the bundle; what it has too few episodes for is left out, and said."""
    n = len(made.peaks)
    usual = {f.name: f.default for f in msgspec.structs.fields(RiskConfig)}
    least = fewest_successes(usual["full_alpha"])
    if n < least:
        return (
            f"A [risk] section wants {least} {made.of} for full_alpha = {usual['full_alpha']:g}, "
            f"found {n}: record {least - n} more."
        )
    lines = ["To act on it in `headway run`, paste into the run's file:", "", "[risk]"]
    if path is None:
        lines.append("# calibration: the one inside PRO's bundle")
    else:
        lines.append(f"calibration = {msgspec.json.encode(str(path.resolve())).decode()}")
    kind = "successes" if made.of == "successes" else "runs"
    for key, does in (("slow_alpha", "slowed at all"), ("full_alpha", "slowed fully")):
        share = usual[key]
        lines.append(
            f"{key} = {share:g}  # {share:.0%} of {kind}, above {made.threshold(share):.3f}: {does}"
        )
    stops = [a for a in STOPS if n >= fewest_successes(a)]
    if stops:
        lines.append(
            f"# abort_alpha = {stops[0]:g}  # stops {stops[0]:.0%} of {kind}, above "
            f"{made.threshold(stops[0]):.3f}"
        )
    else:
        lines.append(
            f"# abort_alpha = {STOPS[-1]:g} would stop the robot: wants "
            f"{fewest_successes(STOPS[-1])} {made.of}, found {n}"
        )
    return "\n".join(lines)


def of_folder(folder: Path, console: Any) -> Calibration:
    """The calibration from all recordings in `folder`. Raises RecordingError where one is damaged
    or cannot calibrate."""
    files = sorted(folder.glob("*.mcap"))
    if not files:
        raise RecordingError(
            f"wanted recordings (.mcap) in {folder}, found none: record episodes by `headway run "
            f"--out {folder}`"
        )
    some = track(files, description="recordings", console=console, transient=True)
    return calibrate((open_recording(p, strict=True) for p in some), f"{len(files)} recordings")


def calibrate(recordings: Iterable[Recording], data: str) -> Calibration:
    """The calibration from those of `recordings` that have an outcome; `data` describes them for
    people. Raises RecordingError for recordings without PRO, with different models, robots, tasks
    or rates, made with `[risk]`, with a risk that is no number, or without any success."""
    peaks: list[float] = []
    kinds: set[tuple[str, ...]] = set()
    known = np.ones(spec.N_GROUPS, bool)
    episodes = 0
    for log in recordings:
        facts = log.metadata
        if "/pro" not in log.topics or "pro_sha256" not in facts:
            raise RecordingError(f"wanted PRO in {log.path}, found none: record it with [pro]")
        if "risk" in facts:
            raise RecordingError(
                f"wanted episodes at their own speed, found {log.path} recorded with [risk]: "
                "record without that section"
            )
        keys = ("pro", "pro_sha256", "policy_sha256", "robot", "task", "hz")
        kinds.add(tuple(facts.get(key, "") for key in keys))
        result = result_of(log)
        if result is None or result.success is None:
            continue
        episodes += 1
        rows = log.rows("/pro")
        known &= _known(rows)
        if result.success:
            peaks.append(_peak(log, rows))
    if len(kinds) != 1:
        raise RecordingError(
            "wanted recordings of one policy, PRO, robot, task and rate of ticks, found "
            f"{len(kinds)} kinds in {data}: calibrate each kind from a folder of its own"
        )
    if not peaks:
        raise RecordingError(f"wanted successful episodes in {data}, found none of {episodes}")
    ((pro, pro_sha256, policy_sha256, robot, task, hz),) = kinds
    return Calibration(
        kind="risk", pro=pro, pro_sha256=pro_sha256, policy_sha256=policy_sha256,
        peaks=tuple(sorted(peaks)), episodes=episodes, data=data, date=date.today().isoformat(),
        robot=robot, task=task, tick_hz=(float(hz), float(hz)) if hz else None,
        groups=tuple(m for m, k in zip(spec.MASKS, known, strict=False) if k),
    )  # fmt: skip


def _peak(log: Recording, rows: NDArray[np.void]) -> float:
    """The largest risk in the rows of /pro of the recording `log`."""
    if not len(rows) or not np.isfinite(rows["risk"]).all():
        raise RecordingError(
            f"{log.path}: wanted a risk at every step of /pro, found "
            f"{'no steps' if not len(rows) else 'one that is no number'}: leave the recording out"
        )
    return float(rows["risk"].max())


def _known(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which groups (N_GROUPS,) are known in most of the rows of /pro; none in rows that are of
    other groups than this version has."""
    names = rows.dtype.names or ()
    if "mask" not in names or rows["mask"].shape[1:] != (spec.N_MASKS,) or not len(rows):
        return np.zeros(spec.N_GROUPS, bool)
    most: NDArray[np.bool_] = rows["mask"][:, : spec.N_GROUPS].mean(axis=0) > 0.5
    return most


def write(made: Calibration, path: Path) -> None:
    """Write a calibration to `path`, whole or not at all. Raises ConfigError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as part:
            part.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")
    except OSError as e:
        raise ConfigError(
            f"cannot write the calibration {path}: {e.strerror or e}: choose another place by --out"
        ) from None
