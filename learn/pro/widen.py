"""Carry a PRO head over from an earlier spec of the features, without training it again.

    git show COMMIT:kernels/spec.py > old_spec.py
    python -m headway.learn.pro.widen --head models/my_pro --spec old_spec.py \\
        --risk models/my_pro.risk.json

A spec that only got new features or mask bits changes where the old ones lie and nothing else. So
the head gets a Gather at each of these two inputs, which picks by name what it was trained on, in
the order that it was trained on. It does not read what is new, and for the same telemetry its
outputs are the same bits as before, which is tried before anything is written. The head replaces
the one in the folder `--head`, and `--risk`, a calibration of it, is told the new model's checksum;
its peaks still hold.

Refused is a spec in which the arithmetic (VERSION, a constant), a mask bit or a feature that the
head reads is not what it was. One thing may differ: that a feature can now be had from less, such
as a speed without its direction. The heads of `headway.learn.pro` still take it for missing then,
since they look at the mask bits that they know.
"""

from __future__ import annotations

import importlib.util
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway import bundle
from headway.bundle import Bundle, Manifest, onnx_file
from headway.edge.engines.backends import ort
from headway.edge.pro import risk as calibrations
from headway.edge.pro.operator import OUTPUTS
from headway.errors import BundleError, ConfigError, Missing, SpecMismatch
from headway.kernels import spec
from headway.tools import alarms

Places = tuple[list[int], list[int]]
Floats = NDArray[np.float32]
STEPS = 50  # on which both heads are tried


def read_spec(path: Path) -> Any:
    """The module in the file `path`, a `kernels/spec.py` of an earlier Headway. It is run, so it
    has to be one that you trust. Raises ConfigError where it is none."""
    found = importlib.util.spec_from_file_location("headway_old_spec", path)
    try:
        assert found is not None, "its name does not end in .py"
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        module.spec_hash()
        return module
    except Exception as e:  # whatever a wrong file does
        raise ConfigError(
            f"wanted the kernels/spec.py that the head was trained with at {path}, found something "
            f"else ({type(e).__name__}: {e}): take it from that version of Headway"
        ) from None


def places(old: Any) -> Places:
    """Where the features and the mask bits of the spec `old`, a module, lie in today's. Raises
    SpecMismatch, which names all that is not what it was."""
    if old.VERSION != spec.VERSION:
        raise SpecMismatch(
            f"wanted a head of features of version {spec.VERSION}, found {old.VERSION}: their "
            "arithmetic is another one, train the head again"
        )
    changed = [f"the constant {k}" for k, v in old.CONSTANTS.items() if spec.CONSTANTS.get(k) != v]
    changed += [f"the masks of {k}" for k, v in old.SPLIT.items() if spec.SPLIT.get(k) != v]
    for name in old.MASKS:
        then = (old.MASK_FIELDS.get(name), old.MASK_RATES.get(name))
        if then != (spec.MASK_FIELDS.get(name), spec.MASK_RATES.get(name)):
            changed.append(f"the mask bit {name}")
    for feature in old.FEATURES:
        now = spec.FEATURES[spec.INDEX[feature.name]] if feature.name in spec.INDEX else None
        if now is None or (now.unit, now.meaning) != (feature.unit, feature.meaning):
            changed.append(f"the feature {feature.name}")
    if changed:
        more = f" and {len(changed) - 8} more" if len(changed) > 8 else ""
        raise SpecMismatch(
            f"the head reads what is gone or has changed: {', '.join(changed[:8])}{more}: train it "
            "again"
        )
    return [spec.INDEX[n] for n in old.NAMES], [spec.MASKS.index(n) for n in old.MASKS]


def rewired(model: bytes, at: Places, tag: str) -> bytes:
    """The ONNX head `model` with the inputs `features` (1, N_FEATURES) and `mask` (1, N_MASKS) of
    today's spec, of which it reads the places `at`; `tag` makes names of new values unique."""
    try:
        import onnx
    except ImportError as e:
        raise Missing(
            f"changing a head wants the package onnx: pip install 'headway[learn]' ({e})"
        ) from None
    whole = onnx.load_from_string(model)
    graph, added = whole.graph, []
    for name, picked, width in zip(
        ("features", "mask"), at, (spec.N_FEATURES, spec.N_MASKS), strict=True
    ):
        known, index = f"{name}_of_{tag}", f"{name}_places_of_{tag}"
        for node in graph.node:
            node.input[:] = [known if i == name else i for i in node.input]
        (given,) = (i for i in graph.input if i.name == name)
        given.type.tensor_type.shape.dim[1].dim_value = width
        graph.initializer.append(
            onnx.helper.make_tensor(index, onnx.TensorProto.INT64, [len(picked)], picked)
        )
        added.append(onnx.helper.make_node("Gather", [name, index], [known], axis=1, name=known))
    nodes = [*added, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(whole)
    return bytes(whole.SerializeToString())


def widened(head: Bundle, old: Any, how: str) -> tuple[Manifest, bytes]:
    """The manifest and the model of `head`, trained on the spec `old`, for today's; `how` names the
    command for its provenance. Raises BundleError for a bundle that is no head or has further
    files, SpecMismatch for one of another spec, or of this one already, or where `places` does."""
    manifest, info = head.manifest, head.manifest.pro
    if info is None:
        raise BundleError(f"wanted a bundle of kind pro, found {manifest.kind}: {head.path}")
    if info.spec_hash == spec.spec_hash():
        raise SpecMismatch(f"{head.path} is of today's features already: nothing to do")
    if info.spec_hash != old.spec_hash():
        raise SpecMismatch(
            f"{head.path} was trained on the PRO spec {info.spec_hash[:12]}, the file given is of "
            f"{old.spec_hash()[:12]}: take kernels/spec.py of the Headway that trained it"
        )
    further = [name for name in manifest.files if name != manifest.onnx]
    if further:
        raise BundleError(
            f"wanted a bundle of one model, found {', '.join(further[:4])} in {head.path} beside "
            "it, which belong to that very model: train the head again"
        )
    at, before = places(old), head.onnx.read_bytes()
    model = rewired(before, at, info.spec_hash[:8])
    _try(before, model, at)
    shapes = {"features": (1, spec.N_FEATURES), "mask": (1, spec.N_MASKS)}
    inputs = tuple(
        msgspec.structs.replace(t, shape=shapes.get(t.name, t.shape)) for t in manifest.inputs
    )
    made = manifest.provenance
    return msgspec.structs.replace(
        manifest,
        inputs=inputs,
        pro=msgspec.structs.replace(info, spec_hash=spec.spec_hash(), masks=spec.MASKS),
        provenance=msgspec.structs.replace(
            made, command=f"{made.command}; {how} (of PRO spec {info.spec_hash[:12]})"
        ),
    ), model


def _try(before: bytes, after: bytes, at: Places) -> None:
    """Run both models on the same random steps. Raises BundleError where an output differs."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 3, (STEPS, 1, spec.N_FEATURES)).astype(np.float32)
    mask = (rng.random((STEPS, 1, spec.N_MASKS)) < 0.9).astype(np.float32)
    found = _outputs(after, x, mask)
    for name, wanted in _outputs(before, x[..., at[0]], mask[..., at[1]]).items():
        if not np.array_equal(wanted, found[name], equal_nan=True):
            raise BundleError(
                f"wanted `{name}` of the carried head as before, found it different by up to "
                f"{np.abs(found[name] - wanted).max():.3g}: train the head again"
            )


def _outputs(model: bytes, x: Floats, mask: Floats) -> dict[str, Floats]:
    """The outputs by name, (STEPS, ...), of a head that runs on from step to step."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        engine = ort.open_engine(onnx_file.check(path), {}, {})
        out: dict[str, list[Floats]] = {name: [] for name in (*OUTPUTS, "h_out")}
        engine.bind("h")[:] = 0.0
        for step, bits in zip(x, mask, strict=True):
            engine.write("features", step)
            engine.write("mask", bits)
            engine.run()
            for name, values in out.items():
                values.append(engine.bind(name).copy())
            engine.write("h", out["h_out"][-1])
        engine.close()
    return {name: np.array(values) for name, values in out.items()}


def main(head: Path, spec: Path, risk: Path | None = None) -> None:
    """Carry the head in the folder `head` over from the spec in the file `spec`; `risk`: its
    calibration. Both are replaced."""
    before = bundle.load(head)
    trained = before.manifest.files[before.manifest.onnx].sha256
    calibration = None if risk is None else calibrations.load(risk, trained)
    manifest, model = widened(before, read_spec(spec), "python -m headway.learn.pro.widen")
    bundle.save(head, manifest, {manifest.onnx: model})
    print(f"wrote {head}")
    if risk is not None and calibration is not None:
        carried = msgspec.structs.replace(calibration, pro_sha256=sha256(model).hexdigest())
        alarms.write(carried, risk)
        print(f"wrote {risk}")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
