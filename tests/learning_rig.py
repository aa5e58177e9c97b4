"""Made-up executions whose truth is known: a robot that comes closer to closing a line by each good
decision, and away from it by a bad one, which its telemetry shows a little later."""

from __future__ import annotations

import numpy as np

from headway.clock import NS
from headway.edge.control.events import Event, EventKind
from headway.edge.control.result import Result
from headway.kernels import telemetry
from headway.kernels.telemetry import Scale
from headway.learn.execution.lessons import lesson
from headway.learn.rollout import DEMONSTRATION, ORACLE, POLICY, Decisions, Rollout

HZ, PRO_HZ, POLICY_HZ = 125.0, 25.0, 5.0
EVERY = round(HZ / POLICY_HZ)
JOINTS, CODE, LATENT = 6, 8, 5
LINES, LINE_LIMIT_S = 2, 8.0
SCALE = Scale(
    np.full(JOINTS, -3.0), np.full(JOINTS, 3.0), np.full(JOINTS, 2.0), np.full(JOINTS, 50.0)
)
NEED = 7.0  # good decisions that close a line


def rollout(seed: int, skill: float = 0.7, source: int = POLICY, help_from: float = 2.0):
    """An order of LINES lines. A decision is good if the first latent number has the sign of the
    first number of the code; a robot with more `skill` decides so more often. After the share
    `help_from` of the time, corrections take over, which are always good."""
    rng = np.random.default_rng(seed)
    limit = LINES * LINE_LIMIT_S
    most = round(limit * POLICY_HZ)
    place, line, retries = 0.0, 0, 0
    code, latent, sources, begins, good = [], [], [], [], []
    events = [_event(0.0, EventKind.LINE_BEGUN, line=0, lines=LINES)]
    places, tries, lines_at = [], [], []
    for k in range(most):
        t = k / POLICY_HZ
        c = rng.normal(0, 1, CODE)
        helped = k >= help_from * most
        fine = helped or rng.random() < skill
        a = rng.normal(0, 1, LATENT)
        a[0] = abs(a[0]) * np.sign(c[0]) * (1.0 if fine else -1.0)
        code.append(c), latent.append(a), good.append(fine)
        sources.append(ORACLE if helped else source)
        begins.append(round(t * NS))
        before = place
        place = max(0.0, place + (1.0 if fine else -1.0))
        if not fine and before >= 3.0 and rng.random() < 0.15:  # it lets go
            retries, place = retries + 1, 0.0
            events.append(_event(t + 0.1, EventKind.ITEM_LOST))
        lines_at.append(line)
        if place >= NEED:
            events.append(_event(t + 0.1, EventKind.LINE_CLOSED, line=line, lines=LINES))
            place, line = 0.0, line + 1
            if line < LINES:
                events.append(_event(t + 0.1, EventKind.LINE_BEGUN, line=line, lines=LINES))
        places.append(place), tries.append(retries)
        if line == LINES:
            break
    n = len(places)
    success = bool(line == LINES)
    rows = _rows(np.repeat(places, EVERY), np.repeat(tries, EVERY), limit, rng)
    decisions = Decisions(
        np.array(begins), np.array(code, np.float32), np.array(latent, np.float32),
        np.array(sources, np.int8), np.array(lines_at, np.int16),
    )  # fmt: skip
    result = Result(
        end="done" if success else "time limit", success=success, seconds=n / POLICY_HZ,
        ticks=len(rows), retries=retries, rejected=0, missed=0, peak_force=0.0, reward=0.0,
    )  # fmt: skip
    facts = {"hz": str(HZ), "pro_hz": str(PRO_HZ), "scale": SCALE.to_json()}
    return Rollout("made_up", seed, result, tuple(events), rows, decisions, facts), np.array(good)


def demonstration(seed: int):
    """A rollout of somebody who knows how."""
    return rollout(seed, 0.9, DEMONSTRATION)


def lessons(count: int, first: int = 0, **how):
    """So many lessons, and whether each of their decisions was good."""
    made = [rollout(first + i, **how) for i in range(count)]
    return [taught(r) for r, _ in made], np.concatenate([g for _, g in made])


def taught(made: Rollout):
    """The lesson in the rollout `made`."""
    return lesson(made)


def _event(t, kind, **numbers):
    return Event(t_ns=round(t * NS), kind=kind, level="info", text=kind.value, numbers=numbers)


def _rows(place, tries, limit, rng):
    n = len(place)
    rows = telemetry.empty(JOINTS, n)
    t = np.arange(n) / HZ
    rows["t_ns"] = np.round(t * NS)
    smooth = np.convolve(
        np.concatenate([np.full(12, place[0]), place]), np.full(13, 1 / 13), "valid"
    )
    for name in ("q", "q_ref"):
        rows[name] = 0.1 * smooth[:, None] + rng.normal(0, 1e-3, (n, JOINTS))
    rows["dq"] = np.gradient(rows["q"], 1 / HZ, axis=0)
    rows["dq_ref"] = rows["dq"]
    rows["tcp"] = 0.0
    rows["tcp"][:, 3] = 1.0
    rows["tcp"][:, 2] = 0.02 * smooth
    rows["twist"] = 0.0
    rows["wrench"] = rng.normal(0, 0.2, (n, 6))
    rows["wrench"][:, 2] += 2.0 * smooth
    rows["width"], rows["width_ref"] = 0.08 - 0.005 * smooth, 0.04
    rows["grip_force"] = smooth
    rows["phase"] = np.minimum(7, smooth // 2)
    rows["elapsed"], rows["limit"] = t, limit
    rows["retries"] = tries
    rows["recovery"] = 0.0
    return rows
