"""The file of a unit's results: CSV, small enough to be committed, the whole truth about the unit.

    # headway study results 2
    # study three-systems
    # registration 3f0c...
    # unit 1.6 shoebox 3
    kind,round,suite,seed,success,...
    round,1,,,0.45,...
    test,0,main,20030000,1,...
    # end 905 rows 8d2f...

Two kinds of rows share the columns; what does not belong to a kind is left empty.

| column | kind | meaning |
|---|---|---|
| kind | | `round`: of learning; `test`: one test order |
| round | both | 1 .. rounds; of tests also 0, the cloned policy |
| suite | test | which kind of test orders |
| seed | test | of the order's scene |
| success | both | round: share of the training orders that were right; test: 1 or 0, by the audit |
| lines | test | of the order |
| closed | test | lines that the station closed |
| failed | test | attempts that failed (item lost, closed on nothing, put down elsewhere) |
| injected | test | 1: a failure was brought about on purpose, and happened |
| peak_n | test | largest force at the TCP [N] |
| seconds | test | from the first tick to the end [s] |
| robot_s | round | robot time, interventions and demonstrations included [s] |
| operator_s | round | of it, time in which an operator demonstrated or took over [s] |
| episodes | round | training orders |
| interventions | round | of the scripted oracle |
| accepted | round | 1: the gate kept this round's policy |

The last line has the number of rows and the SHA-256 of all lines before it.

Files with a 1 in their first line are from before demonstrations were counted: `operator_s` has
take-overs alone there, and 0 for an arm that is taught by demonstrations. Reading them mends that:
all robot time of such an arm is demonstrated.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from headway.errors import RecordingError, Truncated
from headway.learn.execution.arms import demonstrated
from headway.learn.files import write_text
from headway.learn.study.units import Order, Round, Unit, UnitResult, check

FIRST = "# headway study results 2"
TAKE_OVERS_ALONE = "# headway study results 1"  # the first line of older files
COLUMNS = (
    "kind", "round", "suite", "seed", "success", "lines", "closed", "failed", "injected", "peak_n",
    "seconds", "robot_s", "operator_s", "episodes", "interventions", "accepted",
)  # fmt: skip
SUFFIX = ".csv"


def path_of(folder: Path, unit: Unit) -> Path:
    """The file of `unit` in a folder of results."""
    return folder / f"{unit.name}{SUFFIX}"


def write(folder: Path, study: str, registration: str, unit: Unit, result: UnitResult) -> Path:
    """Write the file of `unit` and return its path. `registration` is the SHA-256 of that. Raises
    RecordingError where `result` is not all that the unit wants, OutputError where the file cannot
    be written."""
    try:
        check(unit, result)
    except ValueError as e:
        raise RecordingError(f"the unit {unit.name} did not find what it should: {e}") from None
    rows = [_round(r) for r in result.rounds]
    rows += [_order(o) for o in sorted(result.orders, key=lambda o: (o.round, o.suite, o.seed))]
    out = io.StringIO()
    out.write("\n".join(_head(study, registration, unit)) + "\n")
    table = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    body = out.getvalue()
    path = path_of(folder, unit)
    write_text(path, body + _end(body, len(rows)))
    return path


def read(path: Path, registration: str, unit: Unit) -> UnitResult:
    """What `unit` found, from its file. Raises Truncated for a file that ends early, RecordingError
    for one that is damaged, of another study or of another unit."""
    try:
        body = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise RecordingError(f"cannot read {path}: {e}") from None
    lines = body.splitlines(keepends=True)
    first = lines[0].rstrip("\n") if lines else ""
    if first not in (FIRST, TAKE_OVERS_ALONE):
        raise RecordingError(
            f"wanted results of a study at {path}, found another file: move it away"
        )
    if not lines[-1].startswith("# end "):
        raise Truncated(
            f"wanted results with an end at {path}, found a file that stops: {_again(path)}"
        )
    text = "".join(lines[:-1])
    head = [line.rstrip("\n") for line in lines if line.startswith("#")][:-1]
    rows = list(csv.DictReader([line for line in lines if not line.startswith("#")]))
    if lines[-1] != _end(text, len(rows)):
        raise RecordingError(f"wanted {path} as it was written, found it changed: {_again(path)}")
    for line, wanted in zip(head[2:], _head("", registration, unit)[2:], strict=True):
        if line != wanted:
            raise RecordingError(
                f"wanted `{wanted[2:]}` in {path}, found `{line[2:]}`: results of another plan or "
                "unit; move them to a folder of their own"
            )
    result = _parsed(rows, path)
    if first == TAKE_OVERS_ALONE and demonstrated(unit.arm, unit.settings):
        driven = tuple(structs.replace(r, operator_s=r.robot_s) for r in result.rounds)
        result = structs.replace(result, rounds=driven)
    try:
        check(unit, result)
    except ValueError as e:
        raise RecordingError(f"{path} does not fit its unit: {e}: {_again(path)}") from None
    return result


def finished(
    folder: Path, registration: str, units: Sequence[Unit]
) -> dict[tuple[str, str, int], UnitResult]:
    """What the units found whose files are in `folder`, wherever they were run, by `Unit.key`.
    Raises RecordingError for a file that is damaged or foreign: nothing is left out silently."""
    known = {path_of(folder, unit): unit for unit in units}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if path not in known:
            raise RecordingError(
                f"wanted only results of this plan in {folder}, found {path.name}: move it away"
            )
    return {
        unit.key: read(path, registration, unit) for path, unit in known.items() if path.exists()
    }


def _head(study: str, registration: str, unit: Unit) -> list[str]:
    return [
        FIRST,
        f"# study {study}",
        f"# registration {registration}",
        f"# unit {unit.arm} {unit.workflow} {unit.seed}",
    ]


def _end(body: str, rows: int) -> str:
    return f"# end {rows} rows {hashlib.sha256(body.encode()).hexdigest()}\n"


def _again(path: Path) -> str:
    return f"take it from its commit again, or remove it to run the unit again ({path.stem})"


def _number(value: float) -> str:
    """Six significant digits; nothing where it is no number."""
    return f"{value:.6g}" if math.isfinite(value) else ""


def _round(r: Round) -> dict[str, object]:
    return {
        "kind": "round",
        "round": r.round,
        "success": _number(r.success),
        "robot_s": f"{r.robot_s:.3f}",
        "operator_s": f"{r.operator_s:.3f}",
        "episodes": r.episodes,
        "interventions": r.interventions,
        "accepted": int(r.accepted),
    }


def _order(o: Order) -> dict[str, object]:
    return {
        "kind": "test",
        "round": o.round,
        "suite": o.suite,
        "seed": o.seed,
        "success": int(o.success),
        "lines": o.lines,
        "closed": o.closed,
        "failed": o.failed,
        "injected": int(o.injected),
        "peak_n": _number(o.peak_n),
        "seconds": f"{o.seconds:.3f}",
    }


def _parsed(rows: list[dict[str, str]], path: Path) -> UnitResult:
    try:
        rounds = tuple(_as_round(row) for row in rows if row["kind"] == "round")
        orders = tuple(_as_order(row) for row in rows if row["kind"] != "round")
    except (KeyError, ValueError, TypeError) as e:
        raise RecordingError(f"{path} has a row that is none of a study: {e}") from None
    return UnitResult(rounds, orders)


def _as_round(row: dict[str, str]) -> Round:
    return Round(
        round=int(row["round"]),
        robot_s=float(row["robot_s"]),
        operator_s=float(row["operator_s"]),
        episodes=int(row["episodes"]),
        interventions=int(row["interventions"]),
        success=float(row["success"] or "nan"),
        accepted=row["accepted"] == "1",
    )


def _as_order(row: dict[str, str]) -> Order:
    return Order(
        round=int(row["round"]),
        suite=row["suite"],
        seed=int(row["seed"]),
        success=row["success"] == "1",
        lines=int(row["lines"]),
        closed=int(row["closed"]),
        failed=int(row["failed"]),
        injected=row["injected"] == "1",
        peak_n=float(row["peak_n"] or "nan"),
        seconds=float(row["seconds"]),
    )
