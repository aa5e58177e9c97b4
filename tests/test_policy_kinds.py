"""Policies of every kind: found by name, checked before anything moves, and run by the loop."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loop_rig import played, sim_table
from null_robot import make_policy, null_table

from headway import config, plugins
from headway.clock import VirtualClock
from headway.edge.control.build import Built
from headway.edge.control.settings import Settings, load
from headway.edge.control.settings import policy as policy_of
from headway.edge.control.station import Station
from headway.edge.policy.config import COMMON, FOLDER, decode
from headway.errors import ConfigError, PolicyError
from headway.tools.recorded import result_of

# What a stranger writes: no import of Headway, 20 lines at most.
STRANGER = """
    import numpy as np

    class Nod:
        cameras = ("wrist",)
        state_names = ("tcp.z", "q.shoulder_pan_joint")
        actions = {"names": ["x", "y", "z", "rx", "ry", "rz", "grip"], "chunk": 4, "dt_s": 0.1}

        def __init__(self, speed=0.05):
            self.speed = speed

        def infer(self, obs):
            assert obs.images["wrist"].rgb.shape == (16, 16, 3)
            rows = np.zeros((4, 7))
            rows[:, 2] = self.speed * 0.1 * np.arange(1, 5)
            return rows
"""


def stranger(folder: Path, text: str = STRANGER, **keys: Any) -> dict[str, Any]:
    (folder / "nod.py").write_text(textwrap.dedent(text))
    return {"kind": "python", "target": "nod:Nod", "folder": str(folder), **keys}


def rise(table: dict[str, Any], path: Path) -> float:
    z = played(table, path).rows("/telemetry")["tcp"][:, 2]
    return float(z[-1] - z[0])


def built(table: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """The kind that runs, and the facts for the recording."""
    clock = VirtualClock(1)
    with Station(config.decode(table, Settings, "test"), clock) as station:
        made = Built(station.settings, station, clock)
        made.close()
        return made.parts[0].by, made.facts


def test_a_class_in_a_folder_drives_the_arm_from_a_process_of_its_own(tmp_path):
    table = null_table(policy=stranger(tmp_path, arguments={"speed": 0.03}))
    # 30 mm/s along the tool's z, which points down, for 1.3 s but for the start
    assert rise(table, tmp_path / "e.mcap") == pytest.approx(-0.0345, abs=0.004)
    by, facts = built(table)
    assert (by, facts["policy"], facts["policy_kind"]) == ("python", "Nod", "python")
    assert '"names":["x","y","z"' in facts["actions"]


def test_it_may_look_back(tmp_path):
    text = """
        import numpy as np

        class Nod:
            cameras = ("wrist",)
            state_names = ("elapsed", "q.elbow_joint")
            needs = {"steps": 3, "stride_s": 0.15}
            actions = {"names": ["x", "y", "z", "rx", "ry", "rz"], "chunk": 4, "dt_s": 0.1}

            def infer(self, obs):
                now = obs.state[0]
                seen = [m.state[0] for m in obs.history]
                first = 0.01  # the policy is first asked half a tick of PRO's head after the start
                wanted = [max(now - 0.3, first), max(now - 0.15, first)]
                if now and not np.allclose(seen, wanted, atol=1e-6):
                    raise ValueError(f"at {now} s wanted to see {wanted}, found {seen}")
                assert obs.history[0].images["wrist"].rgb.shape == (16, 16, 3)
                rows = np.zeros((4, 6))
                rows[:, 2] = 0.003 * np.arange(1, 5)
                return rows
    """
    recording = played(null_table(policy=stranger(tmp_path, text)), tmp_path / "e.mcap")
    assert [line.text for line in recording.logs("/log")] == ["follow: a chunk is there"]
    z = recording.rows("/telemetry")["tcp"][:, 2]
    assert z[-1] - z[0] == pytest.approx(-0.0345, abs=0.004)


def test_another_python_may_run_it(tmp_path):
    table = null_table(policy=stranger(tmp_path, interpreter=sys.executable))
    assert rise(table, tmp_path / "e.mcap") < -0.03


def test_an_entry_point_names_it(tmp_path, monkeypatch):
    stranger(tmp_path)
    about = tmp_path / "nodding-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: nodding\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[headway.policies]\nnod = nod:Nod\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    table = null_table(policy={"kind": "python", "target": "nod"})
    assert rise(table, tmp_path / "e.mcap") < -0.03


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"target": "nood:Nod"}, "wanted a module `nood`, found none: set `folder`"),
        ({"target": "nod:Nood"}, "wanted a class or function `Nood` in .*did you mean `Nod`"),
        ({"target": "nobody"}, 'wanted "module:Class" or an entry point of headway.policies'),
        ({"folder": "/nowhere"}, "wanted a folder at /nowhere, found none"),
        ({"interpreter": "/nowhere/python"}, "wanted a Python at /nowhere/python, found none"),
        ({"arguments": {"sped": 1.0}}, "unexpected keyword argument 'sped'"),
    ],
)
def test_a_class_that_is_not_there_is_said_before_anything_moves(tmp_path, change, says):
    with pytest.raises((ConfigError, PolicyError), match=says):
        built(null_table(policy=stranger(tmp_path) | change))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("def infer", "def answer", r"wanted a method infer\(obs\), found Nod without"),
        ("        actions = {", "        action = {", "wanted an attribute `actions`"),
        ('"chunk": 4', '"chunks": 4', "unknown key `chunks`: did you mean `chunk`"),
        ('"x", "y", "z"', '"x", "y"', "wanted the names x y z rx ry rz in any order"),
        ('"q.shoulder_pan_joint"', '"q.pan"', "the state `q.pan`, which the loop does not know"),
        (
            'cameras = ("wrist",)',
            'cameras = ("front",)',
            r"wants camera `front`, found wrist: add a",
        ),
        ("import numpy as np", "import numpyy as np", r"'numpyy' \(nod.py:2, in <module>\)"),
        (
            "self.speed = speed",
            "self.speed = 1 / 0",
            r"division by zero \(nod.py:10, in __init__\)",
        ),
        (
            'state_names = ("tcp.z", "q.shoulder_pan_joint")',
            'state_names = "elapsed"',
            r"wanted `state_names` as names, found 'elapsed': write state_names = \(\"elapsed\",\)",
        ),
        (
            'state_names = ("tcp.z", "q.shoulder_pan_joint")',
            "state_names = (1,)",
            r"wanted `state_names` as names, found \(1,\)",
        ),
        ('cameras = ("wrist",)', "cameras = None", "wanted `cameras` as names, found None"),
        (
            'cameras = ("wrist",)',
            'cameras, needs = ("wrist",), {"stepps": 3}',
            "policy nod:Nod: needs: unknown key `stepps`: did you mean `steps`",
        ),
        (
            'cameras = ("wrist",)',
            'cameras, needs = ("wrist",), {"rate_hz": float("nan")}',
            "policy nod:Nod: needs: `rate_hz` wants a finite number, found nan",
        ),
    ],
)
def test_a_class_that_does_not_fit_is_said_before_anything_moves(tmp_path, old, new, says):
    assert old in STRANGER
    with pytest.raises(Exception, match=says):
        built(null_table(policy=stranger(tmp_path, STRANGER.replace(old, new))))


def test_a_class_that_fails_stops_the_arm_and_says_why(tmp_path):
    text = STRANGER.replace("rows = np", "raise ValueError('no idea'); rows = np")
    table = null_table(policy=stranger(tmp_path, text, warm_up=0))
    recording = played(table, tmp_path / "e.mcap")
    lines = [line.text for line in recording.logs("/log")]
    said = "the policy failed: ValueError: no idea (nod.py:14, in infer)"
    assert any(said in line for line in lines), lines
    assert np.ptp(recording.rows("/command")["sent"], axis=0).max() == 0.0


def test_an_operator_steers_one_step_at_a_time(tmp_path):
    text = """
        import numpy as np

        class Nod:
            actions = {"names": ["x", "y", "z", "rx", "ry", "rz"], "mode": "velocity",
                       "chunk": 1, "dt_s": 0.1}
            asked = 0

            def read(self):
                self.asked += 1
                return None if self.asked < 4 else np.array([0, 0, 0.04, 0, 0, 0])
    """
    table = null_table(policy=stranger(tmp_path, text, warm_up=0) | {"kind": "teleop"})
    recording = played(table, tmp_path / "e.mcap")
    z = recording.rows("/telemetry")["tcp"][:, 2]
    assert z[150] == pytest.approx(z[0], abs=1e-6)  # 0.3 s: nobody steers, and nothing ends
    assert z[-1] - z[0] < -0.02
    assert result_of(recording).end == "time limit"


def test_an_operator_of_absolute_positions_has_to_begin(tmp_path):
    text = """
        class Nod:
            actions = {"names": ["x", "y", "z", "qw", "qx", "qy", "qz"], "mode": "absolute",
                       "rotation": "quat", "chunk": 1, "dt_s": 0.1}

            def read(self):
                return None
    """
    table = null_table(policy=stranger(tmp_path, text, warm_up=0) | {"kind": "teleop"})
    recording = played(table, tmp_path / "e.mcap")
    assert result_of(recording).end == "fault"
    assert "the operator has not steered yet" in result_of(recording).why


def test_an_operator_of_several_rows_is_refused(tmp_path):
    text = """
        class Nod:
            actions = {"names": ["x", "y", "z", "rx", "ry", "rz"], "chunk": 2, "dt_s": 0.1}

            def read(self):
                return None
    """
    with pytest.raises(ConfigError, match="wanted actions with chunk = 1, found 2"):
        built(null_table(policy=stranger(tmp_path, text) | {"kind": "teleop"}))


def test_the_expert_drives_in_the_cell_only(tmp_path):
    table = sim_table() | {"policy": {"kind": "expert", "expert": "pick_place"}}
    recording = played(table, tmp_path / "e.mcap")
    assert len(recording.rows("/chunk")) > 5
    with pytest.raises(ConfigError, match="wants a simulated world to look into, found none"):
        built(null_table(policy=table["policy"]))


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"kind": "bundel", "bundle": "x"}, "found `bundel`: did you mean `bundle`"),
        (
            {"bundel": "x"},
            "unknown key `bundel` .*: did you mean `bundle`",
        ),
        ({"bundle": "x", "laten_s": 1.0}, "unknown key `laten_s` .*: did you mean `latency_s`"),
        ({"remote": {"url": "ws://x:1"}}, 'write kind = "remote" and its keys into'),
        ({"kind": "python"}, "wanted the key `target`|wanted a section|`target`"),
        ({}, "`bundle`"),
        ({"bundle": "x", "hang_s": 0.0}, "`hang_s` wants a finite number > 0"),
    ],
)
def test_a_section_that_does_not_fit_is_refused(section, says):
    with pytest.raises(ConfigError, match=says):
        decode(section, "test")


def test_each_kind_has_its_keys_beside_those_of_the_loop():
    for kind in plugins.kinds(FOLDER):
        module = plugins.load(FOLDER, kind)
        own = set(module.Config.__struct_fields__)
        assert not own & set(COMMON), kind
        assert set(module.PATHS) <= own, kind
        assert hasattr(module, "open_policy") != hasattr(module, "open_in_place"), kind


def test_paths_of_a_kind_start_at_the_configuration(tmp_path):
    made = make_policy(tmp_path / "models" / "p")
    (tmp_path / "run").mkdir()
    text = "\n".join(
        [
            'arm = { kind = "null" }',
            'task = { kind = "open_ended" }',
            "guard = { workspace_min = [-1.0, -1.0, 0.0], workspace_max = [1.0, 1.0, 1.2],"
            " force_max = 80.0, torque_max = 15.0 }",
            'policy = { bundle = "../models/p" }',
        ]
    )
    path = tmp_path / "run" / "robot.toml"
    path.write_text(text)
    cfg = policy_of(load(path))
    assert cfg is not None
    assert Path(cfg.options["bundle"]).resolve() == made
