"""Does PRO's risk make failures softer, by slowing down or by stopping, and what does it cost?

The simulated cell with the shipped policy and PRO: the same scenes and the same faults without
`[risk]`, slowed, and slowed and stopped. The fault is a policy that presses, at a time and to a
depth that the scene's seed decides: all its waypoints lie some centimetres further along the tool,
once for a second, or again and again, deeper each time. The thresholds come from successes of other
seeds, or from the calibration beside the bundle where there is one for this PRO model.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
from msgspec import structs
from numpy.typing import NDArray
from rich.progress import track

from headway import bundle
from headway.benchmarks._findings import Findings, Number, Table
from headway.benchmarks._robot import CONFIG, PRO_BUNDLE
from headway.clock import VirtualClock
from headway.edge.control.build import Built
from headway.edge.control.log import NullLog
from headway.edge.control.result import Result
from headway.edge.control.settings import Settings
from headway.edge.control.settings import load as load_settings
from headway.edge.control.station import Station
from headway.edge.policy.policy import InlineWorker
from headway.edge.pro import risk
from headway.edge.pro.risk import Calibration, RiskConfig
from headway.errors import ConfigError, HeadwayError, SpecMismatch
from headway.learn.disturb import Disturbance, Disturbed

PAIRS, BLOCK = 80, 10  # scenes; and of them so many at once per process
SUCCESSES = 20  # to calibrate with
CALIBRATION_SEEDS, TEST_SEEDS = 3_100_000, 3_200_000
FILE = PRO_BUNDLE.with_suffix(".risk.json")
STOP = 0.02  # share of successes that may be stopped
FAULTS = ("no fault", "one press", "presses")
PRESS_S, PERIOD_S, DEEPEST = 1.0, 1.6, 0.10  # [s, s, m]


def pressing(fault: str, seed: int) -> Disturbance:
    """From a drawn time on the waypoints lie further along the tool, for PRESS_S: once, or every
    PERIOD_S and deeper by a third each time."""
    rng = np.random.default_rng(seed)
    return Disturbance(
        kind="press",
        start=math.inf if fault == FAULTS[0] else rng.uniform(0.8, 4.5),
        length=PRESS_S,
        period=PERIOD_S if fault == "presses" else math.inf,
        size=rng.uniform(0.03, 0.08),
        growth=1 / 3,
        largest=DEEPEST,
    )


class Cell:
    """Episodes of the shipped policy in the cell."""

    def __init__(self, built: Built, policy: Disturbed) -> None:
        self._built, self._policy = built, policy

    def run(self, seed: int, fault: str) -> tuple[Result, float]:
        """Result and the largest risk."""
        loop = self._built.loop
        self._policy.what = pressing(fault, seed)
        instruction = loop.station.reset(seed)
        loop.guard.acknowledge()
        result = loop.episode(instruction, NullLog())
        assert loop.current is not None
        return result, float(np.max(loop.current.trace.risk, initial=0.0))


@contextmanager
def cell(settings: Settings) -> Iterator[Cell]:
    clock = VirtualClock(1)
    with Station(settings, clock) as station:
        built = Built(settings, station, clock)
        try:
            if not isinstance(built.worker, InlineWorker):
                raise ConfigError(f"wanted a policy in {CONFIG}, found none")
            policy = Disturbed(built.worker.policy)
            built.worker.policy = policy
            yield Cell(built, policy)
        finally:
            built.close()


def episodes(job: tuple[str, str, Settings, Sequence[int]]) -> tuple[str, str, list[Result]]:
    """The results of one job, in a process of its own: fault, name, settings and seeds."""
    fault, name, settings, seeds = job
    with cell(settings) as made:
        return fault, name, [made.run(seed, fault)[0] for seed in seeds]


def calibrated(settings: Settings, pro_sha256: str, successes: int) -> tuple[Calibration, str]:
    """The shipped calibration, if it is for this model, else one from fresh episodes."""
    if FILE.is_file():
        with suppress(SpecMismatch):
            return risk.load(FILE, pro_sha256), f"thresholds from {FILE.name}"
    peaks: list[float] = []
    tried = 0
    with cell(settings) as made:
        while len(peaks) < successes and tried < 5 * successes:
            result, peak = made.run(CALIBRATION_SEEDS + tried, FAULTS[0])
            tried += 1
            if result.success:
                peaks.append(peak)
    found = Calibration(
        kind="risk", pro=PRO_BUNDLE.name, pro_sha256=pro_sha256, policy_sha256="",
        peaks=tuple(sorted(peaks)), episodes=tried, data="benchmark", date=str(date.today()),
    )  # fmt: skip
    return found, f"thresholds from {len(peaks)} successes of {tried} episodes"


def arms(found: Calibration, file: Path) -> dict[str, RiskConfig | None]:
    """What is compared. Stopping wants more successes to calibrate with than slowing down."""
    file.write_bytes(msgspec.json.encode(found))
    slowed = RiskConfig(calibration=str(file))
    made: dict[str, RiskConfig | None] = {"as planned": None, "slowed": slowed}
    if len(found.peaks) >= risk.fewest_successes(STOP):
        made["slowed and stopped"] = structs.replace(slowed, abort_alpha=STOP)
    return made


def interval(values: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, float]:
    """95 % bootstrap interval of the mean (Efron 1979, percentiles)."""
    drawn = rng.choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def columns(results: Iterable[Result]) -> dict[str, NDArray[np.float64]]:
    """Each column (episodes,): `peak` force [N], `success` and `stopped` (0 or 1), and `seconds`
    [s]."""
    rows = [(r.peak_force, bool(r.success), r.seconds, r.end == "fault") for r in results]
    names = ("peak", "success", "seconds", "stopped")
    return dict(zip(names, np.array(rows, float).T, strict=True))


def measure(effort: float = 1.0) -> Findings:
    title = "What PRO's risk does to a motion"
    pairs, successes = max(2, round(PAIRS * effort)), SUCCESSES
    results: dict[tuple[str, str], list[Result]] = {}
    try:
        from headway.drivers.sim.gl import import_mujoco

        import_mujoco()
        manifest = bundle.load(PRO_BUNDLE).manifest
        settings = structs.replace(load_settings(CONFIG), risk=None)
        sha = manifest.files[manifest.onnx].sha256
        found, source = calibrated(settings, sha, successes)
        with TemporaryDirectory() as folder:
            compared = arms(found, Path(folder) / "risk.json")
            seeds = range(TEST_SEEDS, TEST_SEEDS + pairs)
            jobs = [
                (fault, name, structs.replace(settings, risk=section), seeds[i : i + BLOCK])
                for name, section in compared.items()
                for fault in FAULTS
                for i in range(0, pairs, BLOCK)
            ]
            with multiprocessing.get_context("spawn").Pool() as pool:
                for fault, name, done in track(
                    pool.imap(episodes, jobs), "risk", total=len(jobs), transient=True
                ):
                    results.setdefault((fault, name), []).extend(done)
    except HeadwayError as e:
        return Findings(title, skipped=str(e))
    data = {key: columns(rows) for key, rows in results.items()}
    rng = np.random.default_rng(0)
    numbers: list[Number] = []
    for name in list(compared)[1:]:
        for fault in FAULTS:
            off, on = data[fault, "as planned"], data[fault, name]
            ratio = float(on["peak"].mean() / off["peak"].mean())
            gained = float((on["success"] - off["success"]).sum())
            target = None if fault == FAULTS[0] else 0.9
            numbers += [
                Number(f"{fault}, {name}: mean peak / as planned", ratio, "x", target),
                Number(f"{fault}, {name}: successes gained", gained, "", 0.0, at_most=False),
            ]
    changes = {
        column: tuple(
            (
                f"{fault}, {name}",
                interval(data[fault, name][column] - data[fault, "as planned"][column], rng),
            )
            for fault in FAULTS
            for name in list(compared)[1:]
        )
        for column in ("peak", "success")
    }
    rows = tuple(
        (
            f"{fault}, {name}",
            (
                float(np.median(d["peak"])), float(np.percentile(d["peak"], 90)),
                float(d["success"].sum()), float(d["seconds"].mean()), float(d["stopped"].sum()),
            ),
        )
        for (fault, name), d in data.items()
    )  # fmt: skip
    usual = RiskConfig(calibration="")
    slow, full = (found.threshold(alpha) for alpha in (usual.slow_alpha, usual.full_alpha))
    heads = ("peak p50 [N]", "peak p90 [N]", "successes", "mean seconds", "stopped")
    notes = (
        f"{pairs} scenes; {source}: slower above a risk of {slow:.3f}, down to {usual.slowest:g} "
        f"of the speed at {full:.3f}",
        "the guard's limit of force is on in all of them",
    )
    tables = [
        Table("episodes", heads, rows),
        Table("mean change of the peak, 95 % interval", ("from", "to"), changes["peak"], "N"),
        Table("mean change of success, 95 % interval", ("from", "to"), changes["success"]),
    ]
    return Findings(title, numbers, tables, notes)
