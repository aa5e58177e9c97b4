"""Inputs for comparing models: from recordings of `headway run`, from a file, or made up.

A sample has an array for each input of the model, as it is given to the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.bundle import Bundle
from headway.edge.engines.backends.null import NullEngine
from headway.edge.engines.engine import Declared, specs
from headway.edge.policy.bundle_inputs import loop_names, make_inputs
from headway.edge.policy.instructions import open_encoder
from headway.edge.policy.observation import StateVector
from headway.errors import ConfigError, RecordingError, SpecMismatch
from headway.files import DAMAGED_NPZ
from headway.mcaplog import Recording, open_recording
from headway.tools.recorded import joints_of
from headway.types import Frame, Observation, Pose

Sample = dict[str, NDArray[Any]]
PER_EPISODE = 5  # observations that are taken of a recording, spread over it: to read it takes long


def require_source(observed: Sequence[Path], given: Path | None, count: int) -> None:
    """Raises ConfigError for options that name both recordings, `observed`, and a file of inputs,
    `given`, or fewer than one sample."""
    if observed and given is not None:
        raise ConfigError("wanted --observed or --samples, found both: leave one of them out")
    if count < 1:
        raise ConfigError(f"wanted --count of 1 or more, found {count}")


def from_file(path: Path, inputs: Mapping[str, Declared]) -> list[Sample]:
    """The samples in the .npz file `path`, which has an array (n, ...) for each of the `inputs`,
    whose first dimension is 1 in the model. Raises ConfigError."""
    try:
        with path.open("rb") as file, np.load(file) as found:
            arrays = {name: found[name] for name in found.files}
    except DAMAGED_NPZ as e:
        raise ConfigError(
            f"wanted samples as .npz at {path}, found none that can be read: {e!r}"
        ) from None
    rows = {len(arrays[n]) for n in inputs if n in arrays and arrays[n].ndim}
    if len(rows) != 1 or not rows or 0 in rows or not set(inputs) <= set(arrays):
        raise ConfigError(
            f"{path}: wanted an array with as many rows for each of {', '.join(inputs)}, found "
            f"{', '.join(f'{n} {a.shape}' for n, a in arrays.items()) or 'nothing'}"
        )
    for name, spec in inputs.items():
        a = arrays[name]
        sizes = [d for d in spec.shape[1:] if isinstance(d, int)]
        fits = len(sizes) < len(spec.shape) - 1 or list(a.shape[1:]) == sizes
        if str(a.dtype) != spec.dtype or not fits:
            raise ConfigError(
                f"{path}: `{name}` wants {spec.dtype} (n, {', '.join(map(str, spec.shape[1:]))}), "
                f"found {a.dtype} {a.shape}"
            )
    return [{n: arrays[n][k : k + 1] for n in inputs} for k in range(rows.pop())]


def made_up(inputs: Mapping[str, Declared], count: int = 4) -> list[Sample]:
    """`count` samples of random numbers: floats from a normal distribution, pixels over their
    range, other whole numbers 0 or 1. The same ones each time."""
    rng = np.random.default_rng(0)

    def one(spec: Declared) -> NDArray[Any]:
        shape = tuple(d if isinstance(d, int) else 1 for d in spec.shape)
        kind = np.dtype(spec.dtype)
        if kind.kind == "f":
            return rng.normal(0.0, 1.0, shape).astype(kind)
        top = 256 if kind == np.uint8 else 1000 if kind == np.uint16 else 2
        return rng.integers(0, top, shape).astype(kind)

    return [{name: one(spec) for name, spec in inputs.items()} for _ in range(count)]


def recordings(paths: Iterable[Path]) -> list[Path]:
    """The recordings among `paths`, files or folders of them. Raises RecordingError."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.glob("*.mcap")) if path.is_dir() else [path]
    if not found:
        raise RecordingError(
            f"wanted recordings, found none at {', '.join(map(str, paths))}: `headway run` and "
            "`headway learn` make them"
        )
    return found


def recorded(bundle: Bundle, files: Sequence[Path], limit: int) -> list[Sample]:
    """The samples of `by_recording`, those of all recordings in one list."""
    return [sample for group in by_recording(bundle, files, limit) for sample in group]


def by_recording(bundle: Bundle, files: Sequence[Path], limit: int) -> list[list[Sample]]:
    """Up to `limit` samples for the policy of `bundle`, as it would have seen what the recordings
    `files` show, spread over all of them: a list for each recording that has some. Raises
    SpecMismatch for a policy that wants what recordings do not have, and RecordingError for one
    without a fitting observation."""
    each = min(PER_EPISODE, limit) if len(files) * PER_EPISODE >= limit else -(-limit // len(files))
    used = files[:: max(1, len(files) * each // limit)]
    found: list[list[Sample]] = []
    left = limit
    seer = _Seer(bundle)
    for path in used:
        group = list(seer.samples(open_recording(path), min(each, left), limit - left))
        left -= len(group)
        if group:
            found.append(group)
        if left <= 0:
            break
    if not found:
        raise RecordingError(
            f"wanted observations with images of {', '.join(seer.cameras) or 'no camera'}, found "
            f"none in {len(used)} recordings: name recordings of this robot"
        )
    return found


class _Seer:
    """Fills the inputs of the policy of `bundle` from recordings."""

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        info = manifest.policy
        if info is None:
            raise SpecMismatch(f"wanted a policy's bundle, found {manifest.kind}: {bundle.path}")
        if info.steps > 1:
            raise SpecMismatch(
                f"{bundle.path}: the policy wants {info.steps} moments at a time, which are not "
                "read from recordings: give its inputs with --samples"
            )
        self.cameras = tuple(dict.fromkeys(i.camera for i in info.images))
        self._depth = {i.camera for i in info.images if i.encoding == "depth_mm"}
        self._engine = NullEngine(specs(manifest.inputs), specs(manifest.outputs), "the samples")
        self._names = loop_names(info.state)
        self._noise = "" if info.noise is None else info.noise.input
        encoder = None
        if info.instruction is not None:
            encoder = open_encoder(info.instruction, bundle.path, manifest.name)
        self._inputs = make_inputs(bundle, self._engine, encoder)
        self._previous = np.zeros(len(info.actions.names))
        self._known = None if encoder is None else encoder.texts

    def samples(self, recording: Recording, count: int, seed: int) -> Iterator[Sample]:
        """`count` samples of `recording`, spread over its chunks; `seed` of the noise."""
        rows, chunks = recording.rows("/telemetry"), recording.rows("/chunk")
        seen = {
            c: dict(recording.images(f"/camera/{c}/rgb")) for c in self.cameras
        }  # fmt: skip
        depth = {c: dict(recording.images(f"/camera/{c}/depth")) for c in self._depth}
        usable = [
            c for c in chunks
            if all(int(c["t0_ns"]) in frames for frames in (*seen.values(), *depth.values()))
        ]  # fmt: skip
        if not usable:
            return
        vector = StateVector(self._names, joints_of(recording))
        state = np.zeros(len(self._names), np.float32)
        text = recording.metadata.get("instruction", "")
        if self._known is not None and text not in self._known:
            text = self._known[seed % len(self._known)]
        for k in np.unique(np.linspace(0, len(usable) - 1, count).astype(int)):
            chunk = usable[k]
            t0 = int(chunk["t0_ns"])
            row = rows[min(int(np.searchsorted(rows["t_ns"], t0)), len(rows) - 1)]
            base = Pose(chunk["base"][:3], chunk["base"][3:])
            vector.fill(row, state, base=base)
            images = {
                c: Frame(seen[c][t0], depth[c][t0] if c in depth else None, np.eye(3), c)
                for c in self.cameras
            }
            obs = Observation(t0, images, state.copy(), text, np.zeros(0), base)
            for each in self._inputs:
                each.fill(obs, self._previous)
            if self._noise:
                rng = np.random.default_rng((seed, int(k)))
                rng.standard_normal(out=self._engine.bind(self._noise), dtype=np.float32)
            yield {name: self._engine.bind(name).copy() for name in self._engine.inputs}
