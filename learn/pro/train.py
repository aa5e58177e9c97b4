"""`headway pro train`: a PRO head from labelled logs of any robot.

    headway pro train RUNS --map robot.toml --out my_pro

Episodes are dealt into folds, by session where the mapping tells them apart. For each fold a head
is taught the others: what these heads say about the episodes that they did not see calibrates the
risk, gives the thresholds of alarms (`risk.json`), and is what `headway pro card` judges. The head
of the bundle is taught all episodes. Every episode is also taught as other sessions would have
recorded it (`augment`).

Each head is kept beside the bundle until all are done: after an interruption the same command goes
on where it stopped.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from headway import bundle as bundles
from headway.bundle import Bundle
from headway.errors import BundleError, ConfigError
from headway.kernels import spec
from headway.learn.files import first_of_each, write_bytes
from headway.learn.pro import augment, calibration, dataset, fit, tune
from headway.learn.pro.calibration import EARLY_ALARMS, Summary
from headway.learn.pro.dataset import Log
from headway.learn.pro.ema import EmaHead
from headway.learn.pro.examples import FLAGS, TARGETS, Example
from headway.learn.pro.fit import Fit
from headway.learn.pro.folds import Split, folds_by, split_in_words
from headway.learn.pro.heads import Fold, Folds
from headway.learn.pro.save import Facts, save
from headway.tools.score.mapping import load_mapping
from headway.tools.statistics import wilson

COPIES = 2  # of each episode, as other sessions would have recorded it
MOST_STEPS = 3_000_000  # of all episodes and copies; with more of them there are fewer copies
FEW = 10  # fewer episodes can hardly be judged
INCOMPLETE = 1  # exit code when files were left out


@dataclass(frozen=True)
class Options:
    """What `headway pro train` was asked for, see `headway.cli_pro.train`."""

    out: Path
    init: Path | None = None
    compare: bool = False
    folds: int = 5
    split: Split = "auto"
    keep: tuple[str, ...] = ()
    hz: float | None = None
    steps: int = 1500
    seed: int = 0
    overwrite: bool = False
    threads: int = 1  # one is fastest for so small a network


@dataclass(frozen=True)
class Data:
    """The labelled episodes, and copies of them as other sessions would have recorded them."""

    logs: list[Log]
    examples: list[Example]
    copies: list[list[Example]]  # at most COPIES lists as long as `examples`
    fold_of: list[int]

    @property
    def folds(self) -> int:
        return max(self.fold_of) + 1

    @property
    def counted(self) -> bool:
        """See `dataset.Tells`."""
        return self.logs[0].tells.counted

    def taught_without(self, fold: int | None) -> list[Example]:
        """All episodes but those of the fold, with their copies."""
        at = [i for i, k in enumerate(self.fold_of) if k != fold]
        return [part[i] for part in (self.examples, *self.copies) for i in at]


Teach = Callable[[Sequence[Example], Any], Any]  # (episodes, progress) -> network


def train_command(
    paths: Sequence[Path], map: Path, options: Options, *, console: Any = None
) -> int:
    """Train a head on the files and folders `paths`, by the mapping file at `map`, and write it as
    a bundle. Returns 0, or 1 when files had to be left out. Raises ConfigError, RecordingError,
    BundleError, SpecMismatch: what was wanted, what was found, what to do."""
    console = console or Console()
    _refuse(paths, options)
    torch.set_num_threads(options.threads)
    init = bundles.load(options.init) if options.init is not None else None
    mapping = load_mapping(map)
    key = [map.read_bytes(), msgspec.json.encode(str(replace(options, overwrite=False)))]
    key.append(b"" if init is None else init.onnx.read_bytes())
    hz = options.hz if init is None else _rate_of(init)
    with _progress(console) as progress:
        found = dataset.logs(paths, mapping, hz)
        data = _prepare(found.logs, options, progress)
        names = fit.choose(data.examples, options.keep, data.counted)
        _say_data(console, data, found, names, options)
        how = Fit(options.steps, seed=options.seed, counted=data.counted)
        key.append(names.tobytes())
        teach = _anew(names, how, data) if init is None else _tuned(init, how)
        try:
            nets = _Kept(options.out, key, data).teach(teach, progress)
        except KeyboardInterrupt:
            console.print("interrupted: what is trained is kept, the same command goes on")
            raise
    *of_folds, head = nets
    logits = _held_out(of_folds, data)
    scale = calibration.platt(data.examples, logits)
    for net in nets:
        net.calibrate(scale.slope, scale.shift)
    risk = [scale(a)[:, FLAGS.index("risk")] for a in logits]
    said = calibration.summary(data.examples, risk)
    _say_summary(console, said)
    made = save(
        options.out, head, of_folds, _folds(data), calibration.peaks(data.examples, risk),
        _facts(data, names, head, said, options),
    )  # fmt: skip
    shutil.rmtree(_Kept.folder(options.out), ignore_errors=True)
    if options.compare:
        with _progress(console) as progress:
            _compare(console, paths, mapping, data, nets, options, init, progress)
    for text in found.wrong:
        console.print(f"[red]left out[/red] {escape(text)}", soft_wrap=True)
    console.print(f"wrote {escape(str(made.path))}; judge it: headway pro card {made.path} ...")
    return INCOMPLETE if found.wrong else 0


def _refuse(paths: Sequence[Path], options: Options) -> None:
    """Raises ConfigError, BundleError for what cannot be, before anything is computed."""
    if not paths:
        raise ConfigError("wanted logs to learn from, found none: name files or folders")
    if options.steps < 1:
        raise ConfigError(f"wanted --steps of at least 1, found {options.steps}")
    unknown = [n for n in options.keep if n not in spec.INDEX]
    if unknown:
        raise ConfigError(
            f"unknown feature `{unknown[0]}` after --keep: see docs/features.md for their names"
        )
    if options.out.exists():
        if not (options.out / bundles.MANIFEST).is_file():
            raise BundleError(f"wanted to write a bundle at {options.out}, found something else")
        if not options.overwrite:
            raise BundleError(f"{options.out} is there already: choose another, or --overwrite")


def _rate_of(bundle: Bundle) -> float:
    if bundle.manifest.pro is None:
        raise BundleError(f"wanted a bundle of kind pro, found {bundle.manifest.kind}")
    return bundle.manifest.pro.rate_hz


def _progress(console: Any) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(),
        console=console, transient=True,
    )  # fmt: skip


def _prepare(logs: list[Log], options: Options, progress: Progress) -> Data:
    """Features of all episodes, each once, and as other sessions would have recorded them, which
    depends on the seed and on their place alone. Of files with the same content the first is taken:
    in different folds, a head would be judged by what it was taught."""
    logs = [logs[i] for i in first_of_each([log.sha256 for log in logs])]
    bar = progress.add_task("features", total=len(logs))
    examples: list[Example] = []
    steps = sum(log.telemetry.n // log.every for log in logs)
    many = min(COPIES, max(0, MOST_STEPS // max(1, steps) - 1))
    copies: list[list[Example]] = [[] for _ in range(many)]
    for i, log in enumerate(logs):
        rows = log.rows()
        examples.append(log.example(rows))
        for k, copy in enumerate(copies):
            rng = np.random.default_rng([options.seed, i, k])
            copy.append(log.example(augment.changed(rows, rng)))
        progress.advance(bar)
    dataset.require_classes(examples)
    return Data(
        logs, examples, copies, folds_by(examples, options.folds, options.split, options.seed)
    )


def _anew(names: NDArray[np.int64], how: Fit, data: Data) -> Teach:
    taught = fit.taught_by(data.examples)
    return lambda examples, progress: fit.fit(examples, names, how, taught, progress)


def _tuned(init: Bundle, how: Fit) -> Teach:
    start = tune.opened(init)
    return lambda examples, progress: tune.tune(start, examples, how, progress)


class _Kept:
    """Networks that are kept until all are trained. `key`: what they depend on beside the episodes,
    their labels, which may come from a table that was corrected since, and their folds."""

    def __init__(self, out: Path, key: Sequence[bytes], data: Data) -> None:
        digest = sha256(b"\0".join([spec.spec_hash().encode(), *key]))
        for e, k in zip(data.examples, data.fold_of, strict=True):
            digest.update(f"{e.sha256} {k} {e.success}".encode())
            for name in TARGETS:
                digest.update(getattr(e, name).tobytes())
        self._out, self._key, self._data = out, digest.hexdigest()[:16], data

    @staticmethod
    def folder(out: Path) -> Path:
        return out.parent / f".{out.name}.train"

    def teach(self, teach: Teach, progress: Progress) -> list[Any]:
        """A network for each fold, taught without it, and one that was taught everything. Raises
        OutputError where one cannot be kept."""
        nets = []
        folder = self.folder(self._out)
        for fold in (*range(self._data.folds), None):
            what = "head" if fold is None else f"fold {fold + 1}/{self._data.folds}"
            bar = progress.add_task(what, total=1.0)
            path = folder / f"{self._key}-{'all' if fold is None else fold}.pt"
            if path.is_file():
                nets.append(torch.load(path, weights_only=False))
                progress.update(bar, completed=1.0)
                continue

            def show(share: float, bar: Any = bar) -> None:
                progress.update(bar, completed=share)

            net = teach(self._data.taught_without(fold), show)
            write_bytes(path, partial(torch.save, net))
            nets.append(net)
        return nets


def _held_out(of_folds: Sequence[Any], data: Data) -> list[NDArray[np.float32]]:
    """The logits (n, 3) of each episode, by the head that was not taught it."""
    return [
        of_folds[k].logits(e.features, e.mask)
        for e, k in zip(data.examples, data.fold_of, strict=True)
    ]


def _folds(data: Data) -> Folds:
    pairs = zip(data.examples, data.fold_of, strict=True)
    return Folds(data.folds, {e.name: Fold(k, e.sha256) for e, k in pairs})


def _facts(
    data: Data, names: NDArray[np.int64], head: Any, said: Summary, options: Options
) -> Facts:
    needed = {m for i in names for m in spec.FEATURES[i].needs}
    rates = [log.telemetry.hz for log in data.logs]
    before, _, of = said.hits
    metrics = {
        "episodes": float(len(data.examples)),
        "auroc_risk_held_out": said.auroc,
        "caught_before_at_10_percent_early": before / of if of else float("nan"),
        "delay_s": said.delay_s,
    }
    first = data.logs[0]
    return Facts(
        command=" ".join(["headway", *sys.argv[1:]]),
        data=f"{len(data.examples)} episodes of {first.robot or 'a robot'}",
        episodes=len(data.examples),
        seed=options.seed,
        rate_hz=data.examples[0].hz,
        tick_hz=(min(rates), max(rates)),
        robot=first.robot,
        task=first.task,
        groups=tuple(m for m in dataset.known_groups(data.examples) if m in needed),
        taught=head.taught if isinstance(head, EmaHead) else (),
        metrics={k: v for k, v in metrics.items() if np.isfinite(v)},
        thresholds={"risk": said.threshold} if np.isfinite(said.threshold) else {},
    )


def _say_data(
    console: Any, data: Data, found: dataset.Logs, names: NDArray[np.int64], options: Options
) -> None:
    examples = data.examples
    hours = sum(len(e) / e.hz for e in examples) / 3600
    words = {True: "successes", False: "failures", None: "unknown"}
    ends = Counter(words[e.success] for e in examples)
    kinds = Counter(f.label for e in examples for f in e.failures)
    lines = [
        f"{len(examples)} episodes, {hours:.2f} h; outcomes: "
        + ", ".join(f"{n} {k}" for k, n in ends.items()),
        "failures: " + (", ".join(f"{n} {k}" for k, n in kinds.items()) or "none"),
        f"known: {', '.join(dataset.known_groups(examples))}; {len(names)} features move",
        f"{data.folds} folds by {split_in_words(examples, options.split)}",
        *found.notes,
    ]
    if copies := len(found.logs) - len(data.logs):
        lines.append(f"{copies} episodes are copies of others; they are left out")
    if options.init is None:
        left_out = fit.left_out(data.counted, options.keep)
        lines += [
            f"left out, {why}: {', '.join(which) or 'nothing'} (--keep NAME takes one in)"
            for why, which in left_out.items()
        ]
    untaught = [n for n in TARGETS if n not in fit.taught_by(examples)]
    if untaught:
        lines.append(
            f"not taught, since the data shows nothing or one side of it: {', '.join(untaught)}"
        )
    if len(examples) < FEW:
        lines.append(
            f"{len(examples)} episodes show little: what is printed below may be chance, and a "
            f"card wants at least {FEW}"
        )
    for line in lines:
        console.print(escape(line), soft_wrap=True)


def _say_summary(console: Any, said: Summary) -> None:
    before, near, of = said.hits
    console.print(f"held-out episodes: AUROC of risk by step {said.auroc:.3f}")
    if not of:
        return
    low, high = wilson(before, of)
    console.print(
        f"at a threshold that {EARLY_ALARMS:.0%} of the episodes cross while nothing went wrong "
        f"({said.threshold:.3f}), it is above it before {before} of {of} failures = "
        f"{before / of:.1%} ({low:.1%} to {high:.1%}), and by {dataset.AFTER_S:g} s after them at "
        f"{near}, median delay {said.delay}",
        soft_wrap=True,
    )
    for kind, (first, at_all, m) in sorted(said.caught.items()):
        console.print(f"  {escape(kind)}: {first}, {at_all} of {m}")


def _compare(
    console: Any,
    paths: Sequence[Path],
    mapping: Any,
    data: Data,
    nets: Sequence[Any],
    options: Options,
    init: Bundle | None,
    progress: Progress,
) -> None:
    """Print how a head that is trained anew, one that goes on from a bundle, and that one as it is
    do on the same folds."""
    from headway import shipped

    start = init or bundles.load(shipped.PRO)
    how = Fit(options.steps, seed=options.seed, counted=data.counted)
    others = replace(options, keep=())
    logs = dataset.logs(paths, mapping, _rate_of(start) if init is None else options.hz).logs
    again = replace(_prepare(logs, others, progress), fold_of=data.fold_of)
    if init is None:
        teach, what = _tuned(start, how), ("trained anew", "tuned")
    else:
        teach, what = (
            _anew(fit.choose(again.examples, (), data.counted), how, again),
            ("tuned", "trained anew"),
        )
    bar = progress.add_task(what[1], total=data.folds)
    more = []
    for fold in range(data.folds):
        more.append(teach(again.taught_without(fold), None))
        progress.advance(bar)
    at_its_rate = again if init is None else data
    as_is = [tune.opened(start)] * data.folds
    table = Table(title="held-out episodes", box=box.SIMPLE_HEAD)
    for column in ("head", "AUROC of risk", "before, at failures", "median delay"):
        table.add_column(column, justify="left" if column == "head" else "right")
    name = start.manifest.name
    for label, of_folds, on in (
        (what[0], nets[:-1], data), (what[1], more, again), (f"{name} as it is", as_is, at_its_rate)
    ):  # fmt: skip
        logits = _held_out(of_folds, on)
        risk = [a[:, FLAGS.index("risk")] for a in logits]
        said = calibration.summary(on.examples, risk)
        before, near, of = said.hits
        table.add_row(label, f"{said.auroc:.3f}", f"{before}, {near} of {of}", said.delay)
    console.print(table)
