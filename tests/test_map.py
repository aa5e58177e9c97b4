"""`headway map` lists what is in a file, and writes a mapping that `headway score` runs with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mcap.writer import Writer
from rich.console import Console
from score_files import npz
from score_logs import JOINTS, aloha, lerobot, robomimic, ros, split

from headway.errors import ConfigError
from headway.tools.map.command import map_command
from headway.tools.score.command import score_command
from headway.tools.score.mapping import Mapping, load_mapping

for package in ("h5py", "pyarrow", "rosbags.highlevel"):
    pytest.importorskip(package)


def table(path: Path, columns: dict[str, object], n: int = 200) -> Path:
    rows = [",".join(columns)]
    rows += [",".join(str(c(i) if callable(c) else c) for c in columns.values()) for i in range(n)]
    path.write_text("\n".join(rows) + "\n")
    return path


def csv(path: Path) -> Path:
    joints = {f"q{k} [deg]": (lambda i, k=k: i * 0.1 + k) for k in range(1, 7)}
    forces = {f"f{a}": 1.5 for a in "xyz"} | {f"t{a}": 0.1 for a in "xyz"}
    more = {"gripper_width": 40.0, "phase": 1, "success": 1, "operator": "ab", "temperature": 20.0}
    return table(path, {"time_ms": lambda i: i * 10, **joints, **forces, **more})


def rtde(path: Path) -> Path:
    """As recorders of UR's interface name things; no name says that its stamps are nanoseconds."""
    joints = {
        f"{what}_q{d}_{k}": (lambda i, k=k: 0.01 * i + k)
        for what, d in (("actual", ""), ("actual", "d"), ("target", ""))
        for k in range(6)
    }
    pose = {f"actual_TCP_pose_{k}": (lambda i, k=k: 0.001 * i + k / 10) for k in range(6)}
    force = {f"actual_TCP_force_{k}": 0.5 for k in range(6)}
    return table(path, {"timestamp": lambda i: i * 8_000_000, **joints, **pose, **force})


def json_log(path: Path, odd: int = -1) -> Path:
    """An MCAP file whose messages have no stamps; the one of number `odd` has a time that is
    none."""
    with path.open("wb") as f:
        w = Writer(f)
        w.start()
        schema = w.register_schema("Arm", "jsonschema", b"{}")
        channel = w.register_channel("/arm/joints", "json", schema)
        for i in range(200):
            t = 2**64 - 5 if i == odd else 10**18 + i * 10**7
            data = {"names": JOINTS, "position": [i * 0.001, 0.2, 0.3], "status": {"word": "ok"}}
            w.add_message(channel, t, json.dumps(data).encode(), t)
        w.finish()
    return path


def mcap(path: Path) -> Path:
    return next(ros(path.with_suffix(""), "mcap").glob("*.mcap"))


def two_rates(path: Path) -> Path:
    """Arrays of two rates, each with its stamps."""
    npz(path, ft_wrench=np.ones((50, 6)), ft_wrench_t=np.arange(50) / 25, wrench=None)
    return path


FILES: dict[str, tuple[Callable[[Path], Path], set[str]]] = {
    "a.npz": (npz, {"q", "wrench"}),
    "rates.npz": (two_rates, {"q", "wrench"}),
    "a.csv": (csv, {"q", "wrench", "width", "phase"}),
    "rtde.csv": (rtde, {"q", "dq", "q_ref", "tcp", "wrench"}),
    "aloha.hdf5": (aloha, {"q", "dq", "q_ref"}),
    "mimic.h5": (robomimic, {"q", "tcp", "force_norm"}),
    "set2": (lambda path: lerobot(path, 2), {"q", "q_ref"}),
    "set3": (lerobot, {"q", "q_ref"}),
    "a.bag": (ros, {"q", "wrench", "tcp"}),
    "db3": (lambda path: ros(path, "db3"), {"q", "wrench", "tcp"}),
    "a.mcap": (mcap, {"q", "wrench", "tcp"}),
    "split": (split, {"q", "wrench", "tcp"}),
    "json.mcap": (json_log, {"q"}),
}


def mapped(path: Path, out: Path) -> tuple[int, str, Mapping]:
    console = Console(record=True, width=200)
    code = map_command(path, out, False, console=console)
    return code, console.export_text(), load_mapping(out)


@pytest.mark.parametrize("name", FILES)
def test_the_mapping_that_is_written_scores_the_file(tmp_path: Path, name: str) -> None:
    make, fields = FILES[name]
    path, out = make(tmp_path / name), tmp_path / "map.toml"
    code, said, found = mapped(path, out)
    assert code == 0
    assert set(found.channels) == fields, out.read_text()
    assert f"headway score {path} --map {out}" in said
    console = Console(record=True, width=160)
    assert score_command([path], out, None, tmp_path / "scores", console=console) == 0
    assert "scored" not in console.export_text()


def test_what_is_a_guess_is_marked(tmp_path: Path) -> None:
    csv(tmp_path / "a.csv")
    _, said, found = mapped(tmp_path / "a.csv", tmp_path / "map.toml")
    text = (tmp_path / "map.toml").read_text()
    wrench = text[text.index("[channels.wrench]") :]
    assert 'frame = "tcp"                            # guess:' in wrench
    assert 'force = "on tool"                        # guess:' in wrench
    q = text[text.index("[channels.q]") : text.index("[channels.wrench]")]
    assert "guess" not in q  # the names carry their unit
    assert 'unit = "mm"                              # guess: values reach 40' in text
    assert found.outcome is not None
    assert found.outcome.success == [True]
    assert '# key = "operator"' in text
    assert "#   temperature, 20 .. 20" in text
    for cell in ("q6 [deg]", "20 .. 20", "'ab'", "100"):
        assert cell in said


def test_units_of_stamps_are_those_that_make_a_rate(tmp_path: Path) -> None:
    _, _, found = mapped(rtde(tmp_path / "a.csv"), tmp_path / "map.toml")
    assert (found.time.key, found.time.unit) == ("timestamp", "ns")
    assert found.channels["tcp"].layout == "xyz rotvec"


def test_types_of_messages_say_what_they_are(tmp_path: Path) -> None:
    path = ros(tmp_path / "a.bag", frame="base_link")
    _, said, found = mapped(path, tmp_path / "map.toml")
    assert found.time.key == "header.stamp"
    assert found.channels["wrench"].frame == "base"
    assert set(found.channels["q"].names or ()) == set(JOINTS)
    assert "sensor_msgs/JointState" in said
    text = (tmp_path / "map.toml").read_text()
    assert '# topic = "/status"' in text
    assert "such as 'slip'" in text
    (tmp_path / "map.toml").unlink()
    mapped(json_log(tmp_path / "b.mcap"), tmp_path / "map.toml")
    assert "# [time]: the log's times are taken" in (tmp_path / "map.toml").read_text()


def test_a_time_that_is_none_costs_its_message_and_not_the_mapping(tmp_path: Path) -> None:
    code, said, found = mapped(json_log(tmp_path / "a.mcap", odd=100), tmp_path / "map.toml")
    assert (code, set(found.channels)) == (0, {"q"})
    assert " 100 " in said  # Hz


def test_fingers_are_no_joints_of_the_arm(tmp_path: Path) -> None:
    path = ros(tmp_path / "a.bag", joints=["joint1", "joint2", "panda_finger_joint1"])
    _, _, found = mapped(path, tmp_path / "map.toml")
    assert sorted(found.channels["q"].names or ()) == ["joint1", "joint2"]
    assert "guess: all but what is no joint" in (tmp_path / "map.toml").read_text()


def test_a_rate_that_a_file_says_is_taken(tmp_path: Path) -> None:
    import h5py

    with h5py.File(aloha(tmp_path / "a.hdf5"), "a") as f:
        f.attrs["fps"] = 25
    assert mapped(tmp_path / "a.hdf5", tmp_path / "map.toml")[2].time.rate_hz == 25.0
    assert mapped(aloha(tmp_path / "b.hdf5"), tmp_path / "b.toml")[2].time.rate_hz == 50.0
    assert (
        "rate_hz = 50.0                           # guess: no column has stamps"
        in (tmp_path / "b.toml").read_text()
    )


def test_the_gripper_among_the_joints_wants_a_scale(tmp_path: Path) -> None:
    _, _, found = mapped(lerobot(tmp_path / "set"), tmp_path / "map.toml")
    assert found.channels["q"].names == ["shoulder_pan.pos", "elbow_flex.pos"]
    assert found.channels["q"].unit == "rad"  # of these joints, however far the gripper goes
    hint = (tmp_path / "map.toml").read_text().partition("# [channels.width]\n")[2]
    assert hint.startswith(
        '# key = "observation.state"\n# names = ["gripper.pos"]\n# scale = "..."  '
    )


def test_guesses_that_do_not_hold_are_commented_out(tmp_path: Path) -> None:
    n = 200
    wrench = np.full((n, 6), np.nan)
    npz(tmp_path / "a.npz", n, wrench=wrench, anomaly_t=[0.5], anomaly=["slip"])
    code, _, found = mapped(tmp_path / "a.npz", tmp_path / "map.toml")
    assert (code, set(found.channels)) == (0, {"q"})
    text = (tmp_path / "map.toml").read_text()
    assert "# wrench cannot be used as guessed: wrench: wanted finite values" in text
    assert '# [channels.wrench]\n# key = "wrench"\n' in text
    assert '# times = "anomaly_t"\n# labels = "anomaly"' in text


def test_a_unit_that_is_not_known_is_said_and_not_guessed(tmp_path: Path) -> None:
    """Values in pounds look like those in newtons."""
    joints = {f"q{k} [Deg]": (lambda i, k=k: i * 0.1 + k) for k in range(1, 7)}
    forces = {f"f{a} [dyn]": 1.5 for a in "xyz"} | {f"t{a} [Nm]": 0.1 for a in "xyz"}
    table(tmp_path / "a.csv", {"t": lambda i: i / 100, **joints, **forces})
    code, _, found = mapped(tmp_path / "a.csv", tmp_path / "map.toml")
    assert (code, set(found.channels)) == (0, {"q"})
    text = (tmp_path / "map.toml").read_text()
    assert "# wrench cannot be used as guessed: wrench: wanted a unit in the name of" in text
    assert '# [channels.wrench]\n# key = ["fx [dyn]", ' in text


def test_a_file_in_which_nothing_is_recognised_gets_a_mapping_to_fill_in(tmp_path: Path) -> None:
    table(tmp_path / "a.csv", {"t": lambda i: i / 100, "humidity": 0.5})
    console = Console(record=True, width=160)
    assert map_command(tmp_path / "a.csv", None, False, console=console) == 1
    said = console.export_text()
    assert "nothing was recognised" in said
    assert "# [channels.q]" in said
    assert "#   humidity, 0.5 .. 0.5" in said


def test_names_with_characters_that_toml_does_not_have_are_written(tmp_path: Path) -> None:
    keys = {"q\x7f1": lambda i: i / 100, "q\x7f2": 0.5, "b\x01c": 0.5}
    path = table(tmp_path / "two\n[lines\udcff.csv", {"t": lambda i: i / 100, **keys})
    code, _, found = mapped(path, tmp_path / "map.toml")
    assert code == 0
    assert found.channels["q"].key == ["q\x7f1", "q\x7f2"]
    assert "#   b c, 0.5 .. 0.5" in (tmp_path / "map.toml").read_text()


def test_the_next_command_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    path, out = npz(tmp_path / "it's.npz"), tmp_path / "ü b.toml"
    _, said, _ = mapped(path, out)
    (command,) = (line for line in said.splitlines() if line.startswith("headway score"))
    assert shlex.split(command) == ["headway", "score", str(path), "--map", str(out)]


def test_a_folder_stands_for_its_first_file_and_a_mapping_is_not_replaced(tmp_path: Path) -> None:
    for name in ("b.npz", "a.npz"):
        npz(tmp_path / name)
    out = tmp_path / "map.toml"
    _, said, _ = mapped(tmp_path, out)
    assert f"the first of 2 files: {tmp_path / 'a.npz'}" in said
    with pytest.raises(ConfigError, match="is there already"):
        map_command(tmp_path, out, False)
    assert map_command(tmp_path, out, True, console=Console(record=True, width=80)) == 0
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="found none"):
        map_command(tmp_path / "empty", None, False)
