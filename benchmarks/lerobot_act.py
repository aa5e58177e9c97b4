"""How long does LeRobot's ACT take for a chunk: by our policy, by ONNX Runtime alone, and by
LeRobot's own `select_action`?

The bundles are those of `make peers-lerobot`, and all ways take turns, call by call. Ours and
LeRobot's begin with pixels and joint positions as the robot gives them and end with actions in the
robot's units; ONNX Runtime's call is that of the graph alone. LeRobot runs in its own Python.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

import headway
from headway import bundle, units
from headway.benchmarks._findings import PERCENTILES, Findings, Number, Table, percentiles
from headway.benchmarks._robot import ROOT
from headway.child import foreign_environment
from headway.edge.engines.engine import open_bundle
from headway.edge.engines.onnx_runtime import onnxruntime
from headway.edge.policy.kinds.bundle import BundlePolicy, open_policy
from headway.types import Frame, Observation, Pose

TITLE = "LeRobot's ACT, a chunk"
SIZES = ("small", "full")
CALLS = 100
ENOUGH = 100  # calls, of which p95 and p99 are not just the slowest
TOLERANCE = 1e-3  # [deg, %]: two ways that differ by more do not compute the same
OURS, SPREAD = "our policy", "our policy, `threads` as many as LeRobot's own"
ENGINE, BARE = "our engine alone", "ONNX Runtime's session.run, one thread"
THEIRS, FREE = "LeRobot's select_action, one thread", "LeRobot's select_action, its own threads"
State = NDArray[np.float32]
Images = dict[str, NDArray[np.uint8]]


def measure(effort: float = 1.0) -> Findings:
    python = ROOT / os.environ.get("LEROBOT_VENV", ".venv-lerobot") / "bin" / "python"
    made = ROOT / "runs" / "lerobot_act"
    there = [s for s in SIZES if (made / s / "bundle" / bundle.MANIFEST).is_file()]
    if not python.is_file() or not there:
        what = python if not python.is_file() else made / SIZES[0] / "bundle"
        # Below the repository, since results are published and name no path of a machine.
        where = os.path.relpath(what, ROOT)
        return Findings(TITLE, skipped=f"no {where}: `make peers-lerobot` makes it")
    numbers: list[Number] = []
    tables: list[Table] = []
    notes: list[str] = []
    for size in there:
        n = max(5, round(CALLS * effort / (1 if size == "small" else 10)))
        took, largest, threads = compared(made / size, python, n)
        notes.append(f"{size}: LeRobot's own threads: {threads}")
        tables.append(_table(f"{size}, {n} calls each", took))
        middle = {name: float(np.median(values)) for name, values in took.items()}
        numbers += [
            Number(f"{size}: {THEIRS}, over our policy", middle[THEIRS] / middle[OURS], "x"),
            Number(
                f"{size}: {FREE} ({threads}), over our policy with as many",
                middle[FREE] / middle[SPREAD],
                "x",
            ),
            Number(
                f"{size}: our policy, one thread over {threads}", middle[OURS] / middle[SPREAD], "x"
            ),
            Number(f"{size}: our policy over {BARE}", middle[OURS] / middle[BARE], "x"),
            Number(f"{size}: largest difference to LeRobot", largest, "deg or %", TOLERANCE),
        ]
    notes.append("ratios of medians; LeRobot's queue is empty at each call, so that it computes")
    return Findings(TITLE, numbers, tables, notes)


def _table(title: str, took: dict[str, NDArray[Any]]) -> Table:
    """Percentiles of the calls of each way [us]; of few calls the median and the slowest."""
    if min(map(len, took.values())) >= ENOUGH:
        return Table(
            title, PERCENTILES, tuple((k, percentiles(v, 1e-3)) for k, v in took.items()), "ms"
        )
    rows = tuple((k, (float(np.median(v)) / 1e3, float(v.max()) / 1e3)) for k, v in took.items())
    return Table(title, ("p50", "slowest"), rows, "ms")


def compared(folder: Path, python: Path, n: int) -> tuple[dict[str, NDArray[Any]], float, int]:
    """Microseconds of `n` calls of each way by name, for the first observation that was recorded in
    `folder`; the largest difference between the first rows [deg, %]; and LeRobot's threads."""
    with np.load(folder / "reference.npz") as found:
        state = found["state"][int(found["asked"][0])]
        images = {
            name.removeprefix("images."): found[name][0]
            for name in found.files if name.startswith("images.")
        }  # fmt: skip
    made = bundle.load(folder / "bundle")
    engine = open_bundle(made, "ort")
    policy = BundlePolicy(made, engine)
    seen = observation(policy.state_names, state, images)
    session = _session(made.onnx)
    given = {name: engine.bind(name) for name in engine.inputs}
    with lerobot(python, folder / "checkpoint", state, images) as (ask, threads):
        spread = open_policy(str(folder / "bundle"), "ort", threads=threads)
        alone: dict[str, Callable[[], object]] = {
            OURS: partial(policy.infer, seen), SPREAD: partial(spread.infer, seen),
            ENGINE: engine.run, BARE: partial(session.run, None, given),
        }  # fmt: skip
        theirs = {THEIRS: 1, FREE: threads}
        ways = [*alone, *theirs]
        took: dict[str, NDArray[Any]] = {name: np.zeros(n) for name in ways}
        sent: NDArray[Any] = np.zeros(0)
        for i in range(-len(ways), n):
            for k in range(len(ways)):  # each begins a turn as often: the first finds colder caches
                name = ways[(i + k) % len(ways)]
                if name in theirs:
                    us, sent = ask(theirs[name])
                else:
                    begun = perf_counter_ns()
                    alone[name]()
                    us = (perf_counter_ns() - begun) / 1e3
                if i >= 0:
                    took[name][i] = us
        spread.close()
    apart = float(np.abs(engine.bind("actions")[0, 0] - sent).max())
    engine.close()
    return took, apart, threads


def observation(names: tuple[str, ...], state: State, images: Images) -> Observation:
    """What the loop shows where an SO-101 has the `state` (6,) [deg, %]."""
    values = [float(x) * units.factor("deg", "rad") for x in state[:5]]
    values.append(1.0 - float(state[5]) / 100.0)
    frames = {c: Frame(rgb, None, np.eye(3), c) for c, rgb in images.items()}
    still = Pose(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))
    if len(names) != len(values):
        raise ValueError(f"wanted a policy of {len(values)} numbers, found {', '.join(names)}")
    return Observation(0, frames, np.array(values, np.float32), "", np.zeros(5), still)


def _session(model: Path) -> Any:
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _environment(folder: str) -> dict[str, str]:
    """Of LeRobot's process. Our own processes hold OpenBLAS, with which PyTorch computes on arm64,
    to one thread; nobody tells LeRobot's users to."""
    found = foreign_environment(folder) | {"HF_HUB_OFFLINE": "1"}
    del found["OPENBLAS_NUM_THREADS"]
    return found | {k: v for k, v in os.environ.items() if k == "OPENBLAS_NUM_THREADS"}


@contextmanager
def lerobot(
    python: Path, checkpoint: Path, state: State, images: Images
) -> Iterator[tuple[Callable[[int], tuple[float, NDArray[Any]]], int]]:
    """LeRobot with the policy of `checkpoint`, in its own process: a call that has it answer with
    so many threads and gives microseconds and the first row; and how many threads it would use.
    Raises RuntimeError where it does not run."""
    with TemporaryDirectory() as folder:
        Path(folder, "headway").symlink_to(Path(headway.__file__).parent)
        shown = Path(folder, "observation.npz")
        arrays: dict[str, Any] = {f"observation.images.{c}": x[None] for c, x in images.items()}
        np.savez(shown, **(arrays | {"observation.state": state[None]}))
        words = Path(folder, "said")
        with words.open("w") as said:
            process = subprocess.Popen(
                [
                    python, "-W", "ignore", "-m", "headway.benchmarks._lerobot_act",
                    checkpoint.resolve(), shown,
                ],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True,
                env=_environment(folder),
            )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        to, back = process.stdin, process.stdout

        def line() -> str:
            found = back.readline()
            if not found:
                ended = f"LeRobot in {python} ended with {process.wait()}"
                raise RuntimeError(f"{ended}: {words.read_text()[-1000:].strip()}")
            return found

        def ask(threads: int) -> tuple[float, NDArray[Any]]:
            to.write(f"{threads}\n")
            to.flush()
            answer = json.loads(line())
            return float(answer["us"]), np.array(answer["action"])

        try:
            yield ask, int(line())
        finally:
            to.close()
            process.wait()
            back.close()
