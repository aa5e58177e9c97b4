"""What `headway score` writes for each file: its features, its signals and a report."""

from __future__ import annotations

import csv
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.edge.pro.operator import SIGNALS
from headway.errors import RecordingError
from headway.files import DAMAGED_NPZ, whole
from headway.kernels import spec
from headway.tools.score.files import Episode
from headway.tools.score.samples import BLOCK
from headway.tools.score.scoring import Scored
from headway.tools.score.unmask import grouped
from headway.tools.score.verdict import Verdict

SHOWN = ("contact", "band.rms", "dq.rms")  # features drawn in the report
CUT = "..."  # stands for the middle of a name that is too long
MOST = 255 - len(".features.npz")  # bytes of a name that file systems still take
DRAWN = 50_000  # a report of more ticks than this is drawn from the extremes of several ticks each


def write(scored: Scored, out: Path, name: str, verdict: Verdict | None = None) -> list[Path]:
    """Write features, signals and report to the folder `out`, and return their paths; the report
    shows the `verdict` of a head. Where one of them cannot be written, none is. Raises
    RecordingError."""
    fills = {f"{name}.features.npz": _write_npz}
    if scored.signal_store is not None:
        fills[f"{name}.signals.csv"] = _write_signals
    fills[f"{name}.html"] = partial(_write_report, name=name, verdict=verdict)
    paths = [out / file for file in fills]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with ExitStack() as files:
            for path, fill in zip(paths, fills.values(), strict=True):
                fill(files.enter_context(whole(path)), scored)
    except OSError as e:
        raise RecordingError(
            f"cannot write results to {out}: {e.strerror or e}: choose another place by --out"
        ) from None
    return paths


def _write_npz(path: Path, scored: Scored) -> None:
    data, n = scored.telemetry, len(scored)
    arrays: dict[str, Any] = {
        "names": np.array(spec.NAMES),
        "units": np.array(spec.UNITS),
        "mask_names": np.array(spec.MASKS),
        "carried": scored.carried,
        "rate_hz": np.array(data.hz),
        "ready_s": np.array(data.ready / data.hz),
        "spec_hash": np.array(spec.spec_hash()),
        "source": np.array(identity(Episode(scored.path, scored.telemetry.episode))),
    }
    if data.success is not None:
        arrays["success"] = np.array(data.success)
    cut = spec.N_FEATURES
    blocks = range(0, n, BLOCK)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for key, array in arrays.items():
            with file.open(f"{key}.npy", "w") as f:
                np.lib.format.write_array(f, np.asanyarray(array))  # type: ignore[no-untyped-call]
        _stream(file, "t", (n,), (scored.times(i, min(i + BLOCK, n)) for i in blocks))
        _stream(file, "features", (n, cut), (b[:, :cut] for b in scored.store.blocks(BLOCK)))
        masks = (b[:, cut:] for b in scored.store.blocks(BLOCK))
        _stream(file, "mask", (n, spec.N_MASKS), masks)


def _stream(
    file: zipfile.ZipFile, key: str, shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]
) -> None:
    """Write the array `key` of this `shape` to an .npz block by block: NumPy's own writer wants it
    whole in memory."""
    dtype = "<f8" if key == "t" else "<f4"
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    with file.open(f"{key}.npy", "w", force_zip64=True) as f:
        np.lib.format.write_array_header_1_0(f, header)  # type: ignore[no-untyped-call]
        for block in blocks:
            f.write(np.ascontiguousarray(block, dtype).tobytes())


def _write_signals(path: Path, scored: Scored) -> None:
    assert scored.signal_store is not None
    with path.open("w", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["t", *SIGNALS])
        at = 0
        for block in scored.signal_store.blocks():
            t = scored.times(at, at + len(block))
            rows.writerows(np.column_stack([t, block]).tolist())
            at += len(block)


def _write_report(path: Path, scored: Scored, name: str, verdict: Verdict | None) -> None:
    from headway.tools.report import write_score_report

    columns: dict[str, list[NDArray[Any]]] = {}
    size = 1
    while scored.telemetry.n / size > DRAWN:
        size *= 2
    for block in _drawn(scored):
        for key, x in block.items():
            columns.setdefault(key, []).append(x if size == 1 else _extremes(x, size))
    whole = {key: np.concatenate(parts) for key, parts in columns.items()}
    t = whole.pop("t")
    drawn = {k: whole.pop(k) for k in SIGNALS if k in whole}
    signals = {k: x for k, x in drawn.items() if k in scored.learned}
    notes = scored.notes
    if size > 1:
        notes = [*notes, f"drawn from the least and the largest of every {size} ticks"]
    data = scored.telemetry
    events = [*data.events, (data.end_s, "judged up to here")] if data.end_s else data.events
    word = {True: "success", False: "failure", None: ""}[data.success]
    facts = {
        "outcome": word, "robot": scored.given.robot, "task": scored.given.task,
        "session": data.session, "episode": data.episode,
    }  # fmt: skip
    write_score_report(
        path,
        title=name,
        t_s=t,
        signals=signals,
        channels={k: x for k, x in whole.items() if _moves(x)},
        masked=grouped(scored.masked),
        notes=notes,
        events=events,
        hz=data.hz,
        failures=data.failures,
        retries=data.retries,
        facts={k: v for k, v in facts.items() if v},
        verdict=None if verdict is None else _banner(verdict),
        threshold=None if verdict is None else verdict.threshold.risk,
    )


def _banner(verdict: Verdict) -> tuple[str, str, str]:
    """The verdict as a banner of the report: kind, title, text."""
    level, source = verdict.threshold.risk, verdict.threshold.source
    if level is None:
        return "warn", "Cannot tell:" if verdict.lacking else "No threshold:", source
    if verdict.t is None:
        return "info", "No alarm:", f"the risk stays below {level:.3f}; {source}"
    return "bad", f"Alarm at {verdict.t:.1f} s:", f"the risk rises above {level:.3f}; {source}"


def _drawn(scored: Scored) -> Iterator[dict[str, NDArray[Any]]]:
    """Block by block, everything that may be drawn, at every tick: name -> (m,) or (m, k)."""
    done = 0
    for rows in scored.telemetry.blocks():
        step = (done + np.arange(len(rows))) // scored.every
        lo, hi = int(step[0]), int(step[-1]) + 1
        out: dict[str, NDArray[Any]] = {"t": rows["t_ns"] / 1e9}
        if scored.signal_store is not None:
            said = scored.signal_store.read(lo, hi)[step - lo]
            out |= {k: said[:, i] for i, k in enumerate(SIGNALS)}
        out |= {n: rows[n] for n in rows.dtype.names or () if n not in ("t_ns", "elapsed")}
        features = scored.store.read(lo, hi)
        for n in SHOWN:
            i = spec.INDEX[n]
            if scored.carried[i]:
                out[f"{n} [{spec.UNITS[i]}]"] = features[step - lo, i]
        yield out
        done += len(rows)


def _extremes(x: NDArray[Any], size: int) -> NDArray[Any]:
    """The least and the largest of every `size` values of `x` (n, ...), one after the other; NaN
    where none is known."""
    whole = -(-len(x) // size) * size
    padded = np.full((whole, *x.shape[1:]), np.nan)
    padded[: len(x)] = x
    buckets = padded.reshape(whole // size, size, *x.shape[1:])
    low = np.fmin.reduce(buckets, axis=1)
    high = np.fmax.reduce(buckets, axis=1)
    return np.stack([low, high], axis=1).reshape(-1, *x.shape[1:])


def _moves(x: NDArray[Any]) -> bool:
    """Whether a channel (n, ...) has values that differ: others are not worth drawing."""
    known = x[np.isfinite(x).reshape(len(x), -1).all(axis=1)]
    return len(known) > 0 and bool((known != known[0]).any())


def names(files: Sequence[Episode], out: Path) -> tuple[list[str], dict[str, str]]:
    """A name for the results of each file or episode: its stem, with the episode's name behind it,
    or more of its path where another of the files could have the same name or where `out` has
    results of another file by that name; and what is replaced, name -> a word on it."""
    often = Counter(choice for file in files for choice in set(islice(_choices(file), 3)))
    found: list[str] = []
    replaced: dict[str, str] = {}
    for file in files:
        mine = identity(file)
        for name in _choices(file):
            there = _source(out / f"{name}.features.npz")
            free = often[name] < 2 and name not in found and name.casefold() != "index"
            if free and there in (None, mine):  # index.html is the page about all of them
                break
        found.append(name)
        if there == mine:
            replaced[name] = f"earlier results of {file} replaced"
    return found, replaced


def _choices(of: Episode) -> Iterator[str]:
    """Names for the results of a file or episode, the best first."""
    file, inner = of.path, [of.name] if of.name else []
    *parents, name = file.resolve().parts[1:]
    stem = name if file.is_dir() else file.stem
    yield _fit("-".join([stem, *inner]))
    yield _fit("-".join([*parents[-1:], stem, *inner]))
    yield _fit("-".join([name, *inner]))
    for k in range(2, len(parents) + 1):
        yield _fit("-".join([*parents[-k:], stem, *inner]))
    for number in count(2):
        yield _fit("-".join([stem, *inner]), f"-{number}")


def _fit(name: str, end: str = "") -> str:
    """`name` as text with `end` behind it, short enough for the names of all results."""
    text = os.fsencode(name).decode("utf-8", "replace")
    raw, most = text.encode(), MOST - len(end.encode())
    if len(raw) > most:  # names may differ at either end, so the middle is cut out
        keep = (most - len(CUT)) // 2
        text = f"{raw[:keep].decode(errors='ignore')}{CUT}{raw[-keep:].decode(errors='ignore')}"
    return text + end


def identity(of: Episode) -> str:
    """The path of a file, and of an episode its name, as text. Bytes that are no text are written
    as escapes."""
    path = os.fsencode(of.path.resolve()).decode("utf-8", "backslashreplace")
    return f"{path}:{of.name}" if of.name else path


def _source(path: Path) -> str | None:
    """The file that the results at `path` were made from; None where there are no results, "" for
    results that do not say."""
    if not os.path.exists(path):
        return None
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return str(file["source"]) if "source" in file.files else ""
    except DAMAGED_NPZ:
        return ""
