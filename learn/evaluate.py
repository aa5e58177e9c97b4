"""How a policy does in a workflow, on orders that it has never seen, as fast as the machine allows.

    python -m headway.learn.evaluate --bundle models/policy --workflow shoebox --orders 200
    python -m headway.learn.evaluate --bundle models/policy --workflow returns \\
        --scene novel=true phrasing='"held_out"'

Two calls with the same seeds run the same orders, so conditions can be compared pair by pair
(`learn.policy.language.compare`). With `--misled` the policy is told another command than the
station says: then it has to fail.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from rich.progress import track

from headway import plugins
from headway.config import parse_toml
from headway.edge.control import settings as run_settings
from headway.edge.control.events import EventKind
from headway.edge.control.result import Result
from headway.edge.control.settings import Settings
from headway.edge.policy.policy import Policy
from headway.errors import ConfigError, Refused
from headway.kernels import telemetry
from headway.learn.files import write_text
from headway.learn.policy.language import Misled
from headway.learn.rollout import Rollout, Runner, undecided
from headway.learn.rollout_pool import rollouts
from headway.tools.run.summary import success_line
from headway.workflows import config_of

REFUSED = "refused"  # the end of an order that was never begun
# Nothing is trained on scenes from here on. Which heads of shoeboxes ship was chosen on the first
# 200 of them.
TEST_SEEDS = 9_000_000


def settings_of(
    workflow: str,
    bundle: Path,
    scene: dict[str, Any],
    *,
    candidates: int = 1,
    critic: Path | None = None,
    noise: float | None = None,
) -> Settings:
    """The run configuration of `workflow` with the policy in the folder `bundle`, and `scene` over
    the keys of its scene. `noise`: how much of its noise a policy makes chunks from that has some;
    None: what the configuration says. Raises ConfigError, BundleError."""
    settings = run_settings.load(config_of(workflow))
    if settings.cell is None or settings.policy is None:
        raise ConfigError(
            f"wanted a workflow with the sections [cell] and [policy], found {workflow} without: "
            "only simulated workflows can be run as fast as the machine allows"
        )
    policy: dict[str, Any] = {
        "kind": "bundle", "bundle": str(bundle.resolve()), "candidates": candidates,
        "latency_s": settings.policy.get("latency_s", 0.02),
    }  # fmt: skip
    if critic is not None:
        policy["critic"] = str(critic.resolve())
    if noise is None and run_settings.draws_from_noise(bundle):
        noise = settings.policy.get("noise")
    if noise is not None:
        policy["noise"] = noise
    cell = {
        **settings.cell,
        "scene_config": {**settings.cell.get("scene_config", {}), **scene},
    }
    return structs.replace(settings, cell=cell, policy=policy, pro=None, risk=None)


class Tested(Runner):
    """A `Runner` to which an order whose first text the policy refuses is one that is not done."""

    def episode(self, seed: int) -> Rollout:
        """See `Runner`."""
        try:
            return super().episode(seed)
        except Refused as e:
            result = Result(
                end=REFUSED, success=False, seconds=0.0, ticks=0, retries=0, rejected=0, missed=0,
                peak_force=0.0, reward=0.0, why=str(e),
            )  # fmt: skip
            rows = telemetry.empty(self.station.joints, 0)
            name = self.built.loop.task.name
            return Rollout(name, seed, result, (), rows, undecided(), self.built.facts)


def misled(scene: str, policy: Policy) -> Policy:
    """`policy`, which is told another command of the scene than the station says."""
    return Misled(policy, plugins.load("drivers.sim.scenes", scene).COMMANDS)


def run(
    settings: Settings, seeds: Sequence[int], workers: int, is_misled: bool = False
) -> Iterator[Rollout]:
    """Run the orders of `seeds`, in any order, with so many processes. `is_misled`: with
    `misled`."""
    assert settings.cell is not None
    wrap = partial(misled, str(settings.cell["scene"])) if is_misled else None
    return rollouts(settings, seeds, workers, make=partial(Tested, wrap=wrap))


def in_words(made: Sequence[Rollout]) -> str:
    """What `made` say, one figure a line."""
    results: list[Result] = [m.result for m in made]
    closed = sum(e.kind is EventKind.LINE_CLOSED for m in made for e in m.events)
    lines = sum(
        max([int(e.numbers.get("lines") or 1) for e in m.events if "lines" in e.numbers] or [1])
        for m in made
    )
    good = [r.seconds for r in results if r.success]
    peak = np.array([r.peak_force for r in results])
    said = [
        success_line(results),
        f"lines closed by the station: {closed} of {lines}",
        f"failed attempts: {sum(r.retries for r in results) / max(1, closed):.2f} a closed line",
        f"peak force: median {np.median(peak):.0f} N, 95 % below {np.quantile(peak, 0.95):.0f} N",
    ]
    if good:
        said.insert(1, f"successes took {np.median(good):.1f} s (median)")
    said.append(
        "ends: " + ", ".join(f"{n} {end}" for end, n in Counter(r.end for r in results).items())
    )
    return "\n".join(said)


def main(
    bundle: Path,
    workflow: str,
    orders: int = 200,
    seed: int = TEST_SEEDS,
    workers: int = 2,
    scene: tuple[str, ...] = (),
    candidates: int = 1,
    critic: Path | None = None,
    noise: float | None = None,
    misled: bool = False,
    out: Path | None = None,
) -> None:
    """Run orders of a workflow and print how they went.

    Args:
        bundle: folder of the policy.
        workflow: name of the workflow.
        orders: number of orders.
        seed: of the first order's scene.
        workers: processes.
        scene: keys of scene_config as KEY=VALUE, the value as in TOML.
        candidates: chunks that the critic chooses from.
        critic: folder of the critic.
        noise: how much of its noise the policy makes chunks from, 0 to 1 [what the workflow's
            configuration says; of a policy that has some].
        misled: tell the policy another command than the station says.
        out: file for a JSON line per order.
    """
    table = parse_toml("\n".join(scene), "--scene")
    settings = settings_of(
        workflow, bundle, table, candidates=candidates, critic=critic, noise=noise
    )
    seeds = range(seed, seed + orders)
    made = list(track(run(settings, seeds, workers, misled), workflow, total=orders))
    made.sort(key=lambda m: m.seed)
    if out is not None:
        rows = [{"seed": m.seed, "success": m.result.success, "end": m.result.end} for m in made]
        write_text(out, "".join(json.dumps(row) + "\n" for row in rows))
    print(in_words(made))


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
