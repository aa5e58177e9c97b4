"""docs/features.md says what spec.py says, of every feature; and how slips were ranked."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from headway import config
from headway.edge.pro.operator import pro_dtype
from headway.kernels import spec, telemetry
from headway.mcaplog import LogLine

DOCS = Path(__file__).resolve().parent.parent / "docs"


def load(name):
    found = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    with pytest.MonkeyPatch.context() as m:  # dataclasses look their module up
        m.setitem(sys.modules, found.name, module)
        m.syspath_prepend(str(DOCS))  # slip.py imports its neighbour
        found.loader.exec_module(module)
    return module


features = load("features")
slips = load("slip_features")
MEASURED = json.loads((DOCS / "slip_features.json").read_text())


def test_the_page_is_what_the_script_makes():
    page = (DOCS / "features.md").read_text()
    assert features.render(page, MEASURED) == page, "run `make docs`"


def test_every_feature_has_exactly_one_text_and_every_text_a_feature():
    covering = {n: [k for k in features.TEXTS if features.covers(k, n)] for n in spec.NAMES}
    assert {n: k for n, k in covering.items() if len(k) != 1} == {}
    assert {k for keys in covering.values() for k in keys} == set(features.TEXTS)


def test_the_page_names_every_feature_with_its_unit_and_needs():
    made = features.sections(MEASURED)
    rows = [
        [c.strip() for c in line.replace("\\|", "¦").strip("|").split("|")]
        for group in spec.GROUPS
        for line in made[group].splitlines()[2:]
    ]
    assert {len(r) for r in rows} == {7}
    assert len(rows) == len(features.TEXTS)
    found = {r[0].split("`")[1]: r for r in rows}
    for key, channel in (("F.last", "F"), ("width.last", "width"), ("ldlj", "ldlj")):
        feature = spec.FEATURES[spec.INDEX[key]]
        assert found[channel][1] == feature.unit
        assert found[channel][4] == " ".join(feature.needs)


def test_a_constant_that_changes_shows_on_the_page(monkeypatch):
    before = features.sections(MEASURED)
    monkeypatch.setitem(spec.CONSTANTS, "slow_speed", 0.007)
    after = features.sections(MEASURED)
    assert "0.007" in after["motion"]
    assert [k for k in before if before[k] != after[k]] == ["motion"]


def test_a_page_without_a_marker_is_refused():
    page = (DOCS / "features.md").read_text().replace("generated: force", "generated: forces")
    with pytest.raises(ValueError, match="'force'"):
        features.render(page, MEASURED)


def hold(episode, values, slip_s=None, end_s=2.0):
    """50 Hz from "item held" on, every feature the same."""
    t = np.arange(len(values)) / 50
    x = np.repeat(np.asarray(values, np.float32)[:, None], spec.N_FEATURES, axis=1)
    return slips.Hold(episode, t, x, slip_s, end_s)


def test_a_slip_is_held_against_other_episodes_at_the_same_age():
    rising = np.arange(100.0)
    slip = hold(1, rising + 0.5, slip_s=1.0)
    controls = [
        hold(2, rising),  # below at every age, though its later values are above
        hold(3, rising + 0.5),  # ties
        hold(1, rising),  # the same item
        hold(4, rising, end_s=1.2),  # about to be put down
    ]
    got = slips.wins(slip, (-0.2, 0.0), controls)
    np.testing.assert_allclose(got[:2, 0], [1.0, 0.5])
    assert np.isnan(got[2:]).all()
    value, (low, high) = slips.aurocs([slip], controls[:2], (-0.2, 0.0))
    assert value[0] == pytest.approx(0.75)
    assert 0.5 <= np.nanmin(low) <= np.nanmax(high) <= 1.0


def test_letting_go_is_the_last_tick_at_the_width_of_the_grasp():
    t = np.arange(0, 1000, 2, dtype=np.int64) * 1_000_000
    width = np.full(500, 0.045)
    width[300:] -= np.minimum(np.arange(200) * 0.24e-3, 0.045)
    width[250] -= 0.002  # gives, and is caught again
    # 0.24 mm a tick: within 1 mm for four more
    assert slips.let_go(t, width, t[200], t[480]) == 304


def recording(end, hz=500, seconds=6.0):
    """An item held at 2 s; where it is lost, the jaws shut from 2.4 s on."""
    n = int(seconds * hz)
    rows = telemetry.empty(6, n)
    rows["t_ns"] = np.arange(n) * (10**9 // hz)
    t = np.arange(n) / hz
    rows["wrench"], rows["grip_force"], rows["width"] = 0.0, 15.0, 0.045
    if end == "item lost":
        rows["width"] = np.clip(0.045 - 0.12 * (t - 2.4), 0.0, 0.045)
    pro = np.zeros(n // 10, pro_dtype())
    pro["t_ns"] = rows["t_ns"][::10]
    lines = [LogLine(2 * 10**9, "info", "item held"), LogLine(2_740_000_000, "info", end)]
    return SimpleNamespace(
        path=Path(end),
        topics=("/telemetry", "/pro", "/log"),
        metadata={"seed": "3"},
        logs=lambda: lines,
        rows={"/telemetry": rows, "/pro": pro}.__getitem__,
    )


def test_holds_are_slips_controls_or_neither():
    (slip,) = slips.holds(recording("item lost"))
    assert slip.slip_s == pytest.approx(0.4 + 0.001 / 0.12, abs=0.003)
    assert (slip.end_s, slip.episode) == (pytest.approx(0.74), 3)
    (good,) = slips.holds(recording("released over the target"))
    assert (good.slip_s, good.end_s) == (None, pytest.approx(0.74))
    assert slips.holds(recording("released outside the target")) == []


def test_the_picture_shows_a_slip_and_is_small(tmp_path):
    pytest.importorskip("matplotlib", reason="wants matplotlib")
    picture = load("slip")
    slip = picture.piece(recording("item lost"), "item lost")
    assert slip.events["lets go"] == pytest.approx(0.408, abs=0.003)
    good = picture.piece(recording("released over the target"), "released")
    picture.draw(slip, good, tmp_path / "slip.png")
    for path in (tmp_path / "slip.png", DOCS / "img" / "slip.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < 300_000
    with pytest.raises(ValueError, match="wanted an item held"):
        picture.piece(recording("released over the target"), "item lost")


CONFIGS = DOCS.parent / "configs"
EASIER = {"mass_max": 0.6, "friction_min": 0.12, "clutter": 0.075}


@pytest.mark.parametrize(
    ("path", "scene"),
    [(DOCS / "slips.toml", {"friction_max": 0.35}), (CONFIGS / "pick_place_demos.toml", EASIER)],
)
def test_a_configuration_is_the_shipped_one_but_for_what_it_says(path, scene):
    other, shipped = (
        config.tomllib.loads(p.read_text()) for p in (path, CONFIGS / "pick_place_sim.toml")
    )
    assert other["cell"].pop("scene_config") == scene
    assert other == shipped
