"""A PRO head of an earlier spec, carried over to today's: the same outputs for the same telemetry,
and no head is carried over whose features are not what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from kernels_rows import scale, wild
from pro_head import make_head

from headway import bundle, kernels, shipped
from headway.bundle import Bundle, onnx_file
from headway.edge.engines.backends import ort
from headway.edge.pro import risk
from headway.edge.pro.operator import OUTPUTS, ProOperator
from headway.errors import BundleError, ConfigError, SpecMismatch
from headway.kernels import spec
from headway.learn.pro import widen

TODAY = Path(spec.__file__).read_text(encoding="utf-8")
# today's spec without the tactile pad, and without the angular speed
REMOVED = (
    '            "touch": ("1", "tactile pad, of its range", "touch"),\n',
    '    "touch": ("touch",),\n',
    ', "touch")\nGRIP4',
    '        "w": ("rad/s", "TCP angular speed", "spin"),\n',
    ', "w"',
)


def old_text() -> str:
    text = TODAY
    for part in REMOVED:
        assert text.count(part) == 1, part
        text = text.replace(part, ")\nGRIP4" if "GRIP4" in part else "")
    return text


def written(path: Path, text: str) -> Any:
    path.write_text(text, encoding="utf-8")
    return widen.read_spec(path)


@pytest.fixture
def old(tmp_path: Path) -> Any:
    return written(tmp_path / "old_spec.py", old_text())


@pytest.fixture
def head(tmp_path: Path, old: Any, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A head of the old spec."""
    for name in ("N_FEATURES", "N_MASKS", "MASKS", "spec_hash"):
        monkeypatch.setattr(spec, name, getattr(old, name))
    made = make_head(tmp_path / "head", seed=3)
    monkeypatch.undo()
    return made


def features() -> tuple[Any, Any]:
    """Of a robot with everything: features (40, N_FEATURES) and mask (40, N_MASKS)."""
    return kernels.batch(wild(400, 1), scale(), 500.0, 10)


def signals(path: Path, x: Any, mask: Any) -> Any:
    """The outputs (n, 5) of the head at `path`, step by step."""
    engine = ort.open_engine(onnx_file.check(path), {}, {})
    h = np.zeros(engine.bind("h").shape, np.float32)
    out = []
    for f, m in zip(x, mask, strict=True):
        for name, value in (("features", f[None]), ("mask", m[None]), ("h", h)):
            engine.write(name, value)
        engine.run()
        h = engine.bind("h_out").copy()
        out.append([engine.bind(name).item(0) for name in OUTPUTS])
    engine.close()
    return np.array(out)


def test_the_outputs_are_the_same_bits(head: Bundle, old: Any, tmp_path: Path) -> None:
    x, mask = features()
    names = [spec.INDEX[n] for n in old.NAMES]
    bits = [spec.MASKS.index(n) for n in old.MASKS]
    assert len(names) == spec.N_FEATURES - 12
    assert len(bits) == spec.N_MASKS - 1
    before = signals(head.onnx, x[:, names], mask[:, bits])
    manifest, model = widen.widened(head, old, "test")
    path = tmp_path / "new.onnx"
    path.write_bytes(model)
    np.testing.assert_array_equal(signals(path, x, mask), before)
    assert np.ptp(before, axis=0).min() > 0
    x[:, spec.INDEX["touch.max"]] = x[:, spec.INDEX["w.max"]] = 7.0  # which it does not read
    np.testing.assert_array_equal(signals(path, x, mask), before)
    assert manifest.provenance.command == f"tests; test (of PRO spec {old.spec_hash()[:12]})"


def test_what_was_carried_over_runs_in_the_loop(
    head: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = head.manifest.files[head.manifest.onnx].sha256
    made = risk.Calibration(
        kind="risk", pro="tiny", pro_sha256=trained, policy_sha256="", peaks=(0.1, 0.2),
        episodes=3, data="two", date="2026-01-01",
    )  # fmt: skip
    path = tmp_path / "risk.json"
    path.write_bytes(msgspec.json.encode(made))
    with pytest.raises(SpecMismatch, match=r"headway\.learn\.pro\.widen"):
        operator(head)
    widen.main(head.path, tmp_path / "old_spec.py", path)
    assert capsys.readouterr().out == f"wrote {head.path}\nwrote {path}\n"
    after = bundle.load(head.path)
    assert operator(after).step(wild(1, 2)[0], 0).risk > 0
    now = after.manifest.files[after.manifest.onnx].sha256
    assert risk.load(path, now).peaks == (0.1, 0.2)
    with pytest.raises(SpecMismatch, match="today's features already"):
        widen.main(head.path, tmp_path / "old_spec.py")


def operator(head: Bundle) -> ProOperator:
    engine = ort.open_engine(onnx_file.check(head.onnx), {}, {})
    return ProOperator(head, engine, scale(), 6, hz=500.0, head_hz=50.0)


def test_a_model_that_came_out_different_is_not_written(
    head: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = head.onnx.read_bytes()
    other = make_head(tmp_path / "other", seed=4).onnx.read_bytes()  # of today's sizes
    monkeypatch.setattr(widen, "rewired", lambda *_: other)
    with pytest.raises(BundleError, match="wanted `progress` of the carried head as before"):
        widen.main(head.path, tmp_path / "old_spec.py")
    assert bundle.load(head.path).onnx.read_bytes() == before


@pytest.mark.parametrize(
    ("then", "now", "what"),
    [
        ("VERSION = 3 ", "VERSION = 2 ", "version 3, found 2"),
        ('"lift_m": 0.02', '"lift_m": 0.03', "the constant lift_m"),
        ('"slow_speed": 2e-3', '"gone_m": 1.0, "slow_speed": 2e-3', "the constant gone_m"),
        ("straight    | 1 |", "strait      | 1 |", "the feature strait"),
        ("limit_dist  | 1 |", "limit_dist  | rad |", "the feature limit_dist"),
        ('"clock": ("elapsed", "limit")', '"clock": ("elapsed",)', "the mask bit clock"),
    ],
)
def test_a_head_of_other_features_is_refused(
    tmp_path: Path, then: str, now: str, what: str
) -> None:
    assert TODAY.count(then) == 1
    with pytest.raises(SpecMismatch, match=what):
        widen.places(written(tmp_path / "other.py", TODAY.replace(then, now)))


def test_the_wrong_files_are_refused(head: Bundle, old: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        written(tmp_path / "no_spec.py", "1 / 0")
    with pytest.raises(ConfigError, match=r"does not end in \.py"):
        written(tmp_path / "spec.txt", TODAY)
    other = written(tmp_path / "other.py", TODAY.replace('"lift_m": 0.02', '"lift_m": 0.03'))
    with pytest.raises(SpecMismatch, match="was trained on the PRO spec"):
        widen.widened(head, other, "test")
    files = {"pro.onnx": head.onnx.read_bytes(), "folds/0/pro.onnx": b"x"}
    more = bundle.save(tmp_path / "more", head.manifest, files)
    with pytest.raises(BundleError, match=r"found folds/0/pro\.onnx"):
        widen.widened(more, old, "test")
    with pytest.raises(BundleError, match="kind pro, found policy"):
        widen.widened(bundle.load(shipped.POLICY), old, "test")
