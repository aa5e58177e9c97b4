"""Write the tables of docs/features.md: spec.py's features with the texts below, and the slips that
docs/slip_features.py measured.

python docs/features.py
"""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from headway.kernels import spec

HERE = Path(__file__).parent
PAGE = HERE / "features.md"
MEASURED = HERE / "slip_features.json"
TOP = 10  # rows of the ranking
STATS = {spec.STATS6: "Stats6", spec.STATS5: "Stats5", spec.STATS4: "Stats4"}
MARK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


class Text(NamedTuple):
    """`formula`: what the meaning in spec.py does not say, constants by name. `source`: of the
    formula, "" is ours. `shows`: expected, with a source where there is one."""

    formula: str
    source: str
    shows: str


# channel (all its statistics), feature, or a pattern of features -> its text
TEXTS: dict[str, Text] = {
    # motion
    "dq": Text("rms over joints", "", "stuck or braked arm: low; overspeed: near 1"),
    "v": Text("\\|twist[:3]\\| or speed", "", "arm that waits or stands in contact: 0"),
    "w": Text(
        "\\|twist[3:]\\| or spin", "", "hand that turns where it should not, item that twists it"
    ),
    "ddq": Text("difference over {diff_s:g} s", "", "impact, emergency brake"),
    "jerk": Text(
        "second difference over 2 x {diff_s:g} s", "", "impact, chunk seam, arm freed of its load"
    ),
    "q_err": Text("rms over joints", "", "blocked or overloaded arm: the command runs ahead [H17]"),
    "dq_err": Text("rms over joints", "", "blocked arm, command steps, late chunks"),
    "tau": Text("beyond the driver's free-motion model", "[H17]", "contact anywhere on the arm"),
    "dtau": Text("difference over {diff_s:g} s", "[H17]", "collision, sudden change of load"),
    "ldlj": Text(
        "-ln(T^3/v_peak^2 sum \\|d2v/dt2\\|^2 dt + {ldlj_eps:g}), v_peak^2 + {speed_floor:g}^2",
        "[B15]",
        "hesitation, corrections, contact on the way: low",
    ),
    "sparc": Text(
        "-sum sqrt((1/({sparc_bins:g}-1))^2 + (dA/(A_0 + {sparc_floor:g}))^2), A: spectrum of v",
        "[B15]",
        "stop-and-go, submovements: low",
    ),
    "reversals": Text(
        "deadband {reversal_deadband:g} dq_max", "", "oscillation, policy that dithers"
    ),
    "hf_share": Text(
        "bins above {motion_hf_hz:g} Hz / (all bins + {motion_floor:g})",
        "",
        "chatter, unstable contact",
    ),
    "straight": Text("path + {path_floor:g} m", "", "wandering, retries in place: low"),
    "slow": Text("{slow_speed:g} m/s", "", "waiting for a chunk, fingers stuck on a neighbour"),
    "limit_dist": Text(
        "min over joints; 1 without limits", "", "pose from which the task cannot go on: 0"
    ),
    "saturated": Text("{saturated:g} of dq_max", "", "command too fast for the arm"),
    # force and torque
    "F": Text("", "", "collision: high; an empty hand in transport: low"),
    "M": Text("", "", "off-centre grasp, jamming [W82], item that turns in the jaws"),
    "Fxy": Text("", "", "side contact, jamming [W82], bin wall"),
    "dF": Text("scaled to {diff_force_s:g} s where ticks do not divide it", "", "impact, slip *"),
    "power": Text("in the base frame", "[HR02]", "pushing into something: negative"),
    "band": Text("Hamming sinc FIR over {band_taps_s:g} s", "[OS]", "slip [HC89, R11], impact *"),
    "touch": Text("0..1", "", "pad loaded or not; falls or trembles: slip [HC89, R11]"),
    "F[xy]": Text("", "", "from which side a collision came, which |F| does not tell"),
    "Fz": Text("", "", "pressing down on something; load taken off at once: slip"),
    "M[xyz]": Text("", "", "about which axis: a hit off-centre, jamming [W82], item that turns"),
    "skew_fx": Text("m3 / (m2 + {moment_floor:g})^1.5", "", "one-sided bumps: rubbing a wall"),
    "skew_fy": Text("as skew_fx", "", "the same"),
    "kurt_fz": Text("(m4 - 3 m2^2) / (m2 + {moment_floor:g})^2", "", "single hits: high"),
    "contact": Text("", "", "contact where there should be none, or none where there should"),
    "onsets": Text("", "", "bouncing, chatter, slip and catch"),
    "onset_age": Text("", "", "how fresh the contact is"),
    "peak": Text("", "", "collision, item crushed"),
    "impulse": Text("", "", "pressing for long: stuck on a neighbour"),
    "work_neg": Text("dt sum max(-power, 0)", "[HR02]", "item or robot deformed or pushed away"),
    "work_pos": Text("dt sum max(power, 0)", "[HR02]", "active environment, wrong tool load"),
    "lateral": Text("latest tick", "", "jamming or wedging [W82]; noise when Fz is near 0"),
    "load_change": Text(
        "low-pass {load_tau_s:g} s; lifted = TCP {lift_m:g} m above the grasp",
        "",
        "item slides out or drops: falls; caught on something: rises",
    ),
    "hf_ratio": Text(
        "low up to {lf_hz:g} Hz, + {force_floor:g} N^2", "", "slip [HC89, R11], chatter *"
    ),
    "centroid": Text("sum f P / (sum P + {force_floor:g} N^2)", "", "slip, impact: high *"),
    # gripper
    "width": Text("", "", "which size is held; 0: nothing"),
    "width_err": Text("", "", "held: above 0; nothing held: 0"),
    "width_rate": Text("difference over {diff_s:g} s", "", "jaws close where an item was: slip"),
    "grip": Text("", "", "falls: item slips [R11] or gives way"),
    "grip_rate": Text("difference over {diff_s:g} s", "", "slip [R11], squeezing through"),
    "closed_empty": Text(
        "settled within {hold_gap:g} stroke of width_ref", "", "missed grasp, item lost"
    ),
    "width_drift": Text(
        "settled = within {settle_travel:g} stroke of one width for {settle_s:g} s",
        "",
        "item creeps out",
    ),
    "hold_std": Text("", "", "slip and catch, item that rolls"),
    "force_decay": Text("least squares", "", "item slips or gives way, air or current lost"),
    "close_age": Text("close = width_ref turns back by {close_travel:g} stroke", "", "a clock"),
    "closes": Text("", "", "retries"),
    "recloses": Text("", "", "grasp missed again and again"),
    "dropped": Text(
        "jaws within {drop_gap:g} stroke of width_ref, narrower than the grasp", "", "item lost"
    ),
    "hold_duty": Text("", "", "no grasp: 0"),
    "vacuum": Text("", "", "leak, cup not sealed: low"),
    "vacuum_slope": Text("least squares", "", "leak that grows: negative"),
    "vacuum_on": Text("", "", "item on the cup or not"),
    # status
    "phase_[0-7]": Text("one bit each", "", "where in the task; which failures can come"),
    "phase_age": Text("at most {age_cap_s:g} s", "", "stuck in a phase"),
    "elapsed": Text("", "", "time runs out: a clock"),
    "retries": Text("", "", "hard item: the next try fails as well"),
    "retries_phase": Text("since the phase began", "", "the same step fails again"),
    "retry_age": Text("at most {age_cap_s:g} s", "", "just failed"),
    "retry_ewma": Text("exp(-t / {retry_tau_s:g} s)", "", "many retries lately"),
    "recovery": Text("", "", "controller recovers"),
    "stop": Text("", "", "robot stopped itself"),
    "ik_failure": Text("", "", "pose out of reach"),
    "clamp_rate": Text("", "", "policy asks for what the guard refuses"),
    "watchdog": Text("", "", "policy late or gone"),
    "seam": Text("", "", "policy changed its mind"),
    "disagreement": Text("", "", "policy is unsure"),
    "jitter": Text("", "", "busy computer, bad link"),
    "task_[0-2]": Text("one bit each", "", "which task: scales the others"),
    "place_confirm": Text("", "", "not placed: 0"),
    "barcode": Text("", "", "item not identified: 0"),
    "scale_match": Text("", "", "wrong item, or two"),
    "operator_age": Text("at most {age_cap_s:g} s", "", "a person saw something wrong"),
}


def covers(key: str, feature: str) -> bool:
    """Whether the text `key` is for `feature`: it is a pattern of the feature's channel, or of its
    whole name where it has no statistics."""
    return fnmatchcase(feature.partition(".")[0], key)


def _cell(text: str) -> str:
    """No bar of a norm ends a table's cell."""
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def _signed(auroc: float) -> str:
    return f"{max(auroc, 1 - auroc):.2f}{'↑' if auroc >= 0.5 else '↓'}"


def _slip(features: list[spec.Feature], found: dict[str, Any]) -> str:
    """Best statistic before / after letting go; "-" where the interval holds 0.5."""
    if all(f.name in found["constant"] for f in features):
        return "constant"
    out = []
    for period in ("before", "after"):
        known = [(f.name, *found[period][f.name]) for f in features if f.name in found[period]]
        if not known:
            return "not measured"
        name, value, low, high = max(known, key=lambda k: abs(k[1] - 0.5))
        clear = low > 0.5 or high < 0.5
        stat = f"{name.split('.')[1]} " if "." in name else ""
        out.append(f"{stat}{_signed(value)}" if clear else "-")
    return " / ".join(out)


def _reference(group: str, measured: dict[str, Any]) -> str:
    rows = [
        "| feature | unit | meaning | formula, source | needs | expected to show | our slips |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, text in TEXTS.items():
        members = [f for f in spec.GROUPS[group] if covers(key, f.name)]
        if not members:
            continue
        first, names = members[0], [f.name for f in members]
        channels = tuple(dict.fromkeys(_channel(n) for n in names))
        stats = tuple(n.partition(".")[2] for n in names[: len(names) // len(channels)])
        label, meaning = f"`{names[0]}`", first.meaning
        if stats[0]:
            label = f"{', '.join(f'`{c}`' for c in channels)} {STATS[stats]}"
            meaning = meaning.removeprefix(f"{stats[0]} of ")
            meaning = meaning.replace(channels[0], " ".join(channels))
        elif len(names) > 1:
            label = f"`{names[0]}` .. `{names[-1]}`"
            if members[1].meaning != meaning:
                meaning = re.sub(r"0$", "i", meaning)
        formula = " ".join((text.formula.format(**spec.CONSTANTS), text.source)).strip()
        cells = (label, first.unit, meaning, formula, " ".join(first.needs), text.shows)
        slip = _slip(members, measured["slippery"])
        rows.append("| " + " | ".join(_cell(c) for c in (*cells, slip)) + " |")
    return "\n".join(rows) + "\n"


def _channel(name: str) -> str:
    return name.partition(".")[0]


def _ranking(period: str, measured: dict[str, Any]) -> str:
    """The best statistic of each channel, ranked on `slippery`; `shipped` in that direction."""
    rows = [
        "| feature | slippery items | the shipped cell |",
        "|---|---|---|",
    ]
    slippery, shipped = measured["slippery"], measured["shipped"]
    best: dict[str, str] = {}
    known = [n for n in slippery[period] if n in spec.INDEX]
    for name in sorted(known, key=lambda n: -abs(slippery[period][n][0] - 0.5)):
        best.setdefault(_channel(name), name)
    for name in list(best.values())[:TOP]:
        up = slippery[period][name][0] >= 0.5

        def show(found: dict[str, Any], name: str = name, up: bool = up) -> str:
            if name in found["constant"]:
                return "constant"
            a, low, high = (v if up else 1 - v for v in found[period][name])
            return f"{a:.2f} ({min(low, high):.2f} to {max(low, high):.2f})"

        arrow = "↑" if up else "↓"
        rows.append(f"| `{name}` {arrow} | {show(slippery)} | {show(shipped)} |")
    return "\n".join(rows) + "\n"


def _counts(measured: dict[str, Any]) -> str:
    rows = [
        "| | slippery items | the shipped cell |",
        "|---|---|---|",
    ]
    lines = {
        "episodes": "episodes",
        "slips": "slips",
        "slip_episodes": "... in so many episodes",
        "holds": "holds that went well",
        "holds_recognised": "... in which PRO's grasp features saw a grasp",
        "slips_recognised": "slips in which they saw one before it was let go",
        "slips_dropped": "slips that `dropped` told within 1 s",
        "before_steps": "steps in the 0.2 s before letting go",
        "after_steps": "steps in the 0.2 s after",
        "median_s_from_held": "median time from “item held” to letting go [s]",
    }
    for key, label in lines.items():
        a, b = (measured[s][key] for s in ("slippery", "shipped"))
        rows.append(f"| {label} | {a:.4g} | {b:.4g} |")
    return "\n".join(rows) + "\n"


def _constant(measured: dict[str, Any]) -> str:
    """Features that never moved in the shipped cell."""
    names = [n for n in measured["shipped"]["constant"] if n in spec.INDEX]
    return f"{len(names)} features: {', '.join(f'`{n}`' for n in names)}.\n"


def sections(measured: dict[str, Any]) -> dict[str, str]:
    """Marker -> what belongs between it and its end."""
    return {
        **{group: _reference(group, measured) for group in spec.GROUPS},
        "counts": _counts(measured),
        "before": _ranking("before", measured),
        "after": _ranking("after", measured),
        "constant": _constant(measured),
    }


def render(page: str, measured: dict[str, Any]) -> str:
    """`page` with its generated sections made anew. Raises ValueError where one has no marker."""
    made = sections(measured)
    found = [m.group(2) for m in MARK.finditer(page)]
    if sorted(found) != sorted(made):
        raise ValueError(f"{PAGE}: wanted markers {sorted(made)}, found {sorted(found)}: add them")
    return MARK.sub(lambda m: m.group(1) + made[m.group(2)] + m.group(3), page)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(), json.loads(MEASURED.read_text())))
    print(f"wrote {PAGE}")
