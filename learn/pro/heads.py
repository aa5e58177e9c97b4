"""What the head of a bundle says about labelled examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.bundle import Bundle
from headway.config import Struct
from headway.edge.engines.engine import Engine, open_engine
from headway.edge.pro.operator import OUTPUTS
from headway.errors import BundleError, SpecMismatch
from headway.kernels import spec
from headway.learn.pro.examples import RATE_TOLERANCE, Example

Signals = dict[str, NDArray[Any]]  # by name of OUTPUTS, each (n,)
FOLDS = "folds/folds.json"


class Fold(Struct, frozen=True):
    """In which fold an episode was held out; `sha256` is that of its file, "" for one that was run
    in simulation and is no file."""

    fold: int
    sha256: str = ""


class Folds(Struct, frozen=True):
    """The file `FOLDS` of a bundle: `folds` heads, each of which was taught without the episodes of
    its fold; `of`: the fold of each episode, by name."""

    folds: int
    of: dict[str, Fold]


def model_of(fold: int) -> str:
    """Where the bundle has the head that was taught without the fold."""
    return f"folds/{fold}/pro.onnx"


def folds_of(bundle: Bundle) -> Folds | None:
    """The folds that the bundle was trained with, None where it has none. Raises BundleError."""
    if FOLDS not in bundle.manifest.files:
        return None
    try:
        return msgspec.json.decode((bundle.path / FOLDS).read_bytes(), type=Folds)
    except msgspec.DecodeError as e:
        raise BundleError(f"{bundle.path / FOLDS}: {e}: train the head again") from None


def signals(bundle: Bundle, examples: Sequence[Example]) -> list[Signals]:
    """What the head says at each step of each example. Raises SpecMismatch for a head of another
    spec, or for steps at another rate than its own, Missing, BundleError."""
    check(bundle, examples)
    engine = _open(bundle, bundle.onnx)
    try:
        return [_run(engine, e) for e in examples]
    finally:
        engine.close()


def held_out(bundle: Bundle, examples: Sequence[Example]) -> tuple[list[Signals], list[str]]:
    """The signals of each example by a head that was not taught it, as far as the bundle has one;
    and in words which it was: "held out by fold 3", "never seen", or "unknown: ..." where the
    bundle does not say what it was taught, or by names alone, which say nothing of a file. Raises
    what `signals` raises."""
    check(bundle, examples)
    folds = folds_of(bundle)
    told = folds is not None and all(f.sha256 for f in folds.of.values())
    by_file = {f.sha256: f.fold for f in folds.of.values() if f.sha256} if folds else {}
    engines: dict[int | None, Engine] = {}
    found, notes = [], []
    try:
        for e in examples:
            fold = by_file.get(e.sha256)
            if fold is None and folds is not None and not e.sha256 and e.name in folds.of:
                fold = folds.of[e.name].fold
            if fold not in engines:
                path = bundle.onnx if fold is None else bundle.path / model_of(fold)
                engines[fold] = _open(bundle, path)
            found.append(_run(engines[fold], e))
            if fold is not None:
                notes.append(f"held out by fold {fold}")
            elif folds is None:
                notes.append("unknown: the bundle has no folds")
            elif e.sha256 and not told:
                notes.append("unknown: the bundle knows its episodes by name alone")
            else:
                notes.append("never seen")
    finally:
        for engine in engines.values():
            engine.close()
    return found, notes


def check(bundle: Bundle, examples: Sequence[Example]) -> None:
    """Raises SpecMismatch for a bundle that is no PRO head of this spec, or whose steps come at
    another rate than those of `examples`."""
    info = bundle.manifest.pro
    if info is None:
        raise SpecMismatch(f"wanted a bundle of kind pro, found {bundle.manifest.kind}")
    if info.spec_hash != spec.spec_hash():
        raise SpecMismatch(
            f"bundle {bundle.path} wants PRO spec {info.spec_hash[:12]}, kernels provide "
            f"{spec.spec_hash()[:12]}: train it again by `headway pro train`"
        )
    for e in examples:
        if abs(e.hz / info.rate_hz - 1) > RATE_TOLERANCE:
            raise SpecMismatch(
                f"bundle {bundle.path} wants {info.rate_hz:g} steps a second, {e.name} has "
                f"{e.hz:g}: load the data at {info.rate_hz:g} Hz"
            )


def _open(bundle: Bundle, path: Path) -> Engine:
    m = bundle.manifest
    return open_engine("auto", path, inputs=m.inputs, outputs=m.outputs)


def _run(engine: Engine, example: Example) -> Signals:
    h, h_out = engine.bind("h"), engine.bind("h_out")
    features, mask = engine.bind("features")[0], engine.bind("mask")[0]
    outs = [engine.bind(name) for name in OUTPUTS]
    h[:] = 0.0
    said = np.empty((len(example), len(OUTPUTS)))
    for k in range(len(example)):
        features[:], mask[:] = example.features[k], example.mask[k]
        engine.run()
        h[:] = h_out
        for i, out in enumerate(outs):
            said[k, i] = out.item(0)
    return {name: said[:, i] for i, name in enumerate(OUTPUTS)}
