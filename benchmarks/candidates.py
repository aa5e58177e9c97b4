"""What it costs to choose: a policy that makes 1, 4 or 8 chunks at a time, of which a critic takes
one, and as many passes of the policy that makes one.

All are asked about the same observation, one after the other in each repeat, with everything that
a robot pays for: the image into the engine, the noise, the model, the critic, the chunk in SI
units.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns

import numpy as np
from msgspec import structs

from headway.benchmarks._findings import PERCENTILES, Findings, Number, Table, percentiles
from headway.benchmarks._flow import SIZE, STATE, flow_critic, flow_policy
from headway.edge.policy.kinds.bundle import open_policy
from headway.errors import Missing
from headway.types import Frame, Observation, Pose

REPEATS = 400
MANY = (4, 8)
TITLE = "Choosing among candidate chunks"


def measure(effort: float = 1.0) -> Findings:
    rng = np.random.default_rng(0)
    frame = Frame(rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8), None, np.eye(3))
    state = rng.normal(0.0, 0.1, len(STATE)).astype(np.float32)
    base = Pose(np.array([0.4, 0.0, 0.3]), np.array([0.0, 1.0, 0.0, 0.0]))
    seen = Observation(0, {"wrist": frame}, state, "", np.zeros(6), base)
    n = max(5, round(REPEATS * effort))
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        try:
            policy = str(flow_policy(Path(folder) / "policy"))
            critic = str(flow_critic(Path(folder) / "critic"))
        except Missing as e:
            return Findings(TITLE, skipped=str(e))
        alone = "1, the plain policy"
        asked = {
            alone: open_policy(policy, "ort"),
            "1, scored": open_policy(policy, "ort", 1, critic),
            **{f"{k}, the best played": open_policy(policy, "ort", k, critic) for k in MANY},
        }
        for each in asked.values():
            stack.callback(each.close)
        took = {name: np.zeros(n) for name in asked}
        for i in range(-20, n):
            obs = structs.replace(seen, number=max(i, 0))
            for name, each in asked.items():
                begun = perf_counter_ns()
                each.infer(obs)
                if i >= 0:
                    took[name][i] = perf_counter_ns() - begun
    rows = tuple((name, percentiles(t, 1e-6)) for name, t in took.items())
    p50 = {name: row[0] for name, row in rows}
    numbers = [Number("one chunk", p50[alone], "ms")]
    for k in MANY:
        ratio = p50[f"{k}, the best played"] / p50[alone]
        numbers.append(Number(f"the best of {k}", p50[f"{k}, the best played"], "ms"))
        numbers.append(Number(f"the best of {k} beside one chunk", ratio, "x", float(k)))
    notes = [
        f"an untrained policy: an image of {SIZE} px, {len(STATE)} numbers of state, a flow of 8 "
        "steps; one thread of ONNX Runtime",
        "target: as many passes of the plain policy, which see the same image as often",
    ]
    return Findings(TITLE, numbers, [Table("an inference", PERCENTILES, rows, "ms")], notes)
