"""Every field of a mapping file is read by code that acts on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from declared import Reads, check_all_read, nested
from mcap.writer import Writer

from headway import config
from headway.learn.pro import dataset
from headway.tools.score import mapping as score_mapping
from headway.tools.score.command import score_command
from headway.tools.score.mapping import Mapping, load_mapping
from headway.tools.score.scoring import score_file

TABLE = """
robot = "arm"
task = "press"
[time]
key = "t"
unit = "s"
rate_hz = 200.0
hold_s = 0.2
[channels.q]
key = "q"
unit = "deg"
columns = [1, 0]
scale = 2.0
offset = 0.1
optional = true
hold_s = 0.3
[channels.tcp]
key = "tcp"
layout = "xyz rpy"
[channels.width]
key = "w"
time = "wt"
[channels.wrench]
key = "wrench"
frame = "base"
force = "by tool"
tare_s = 0.1
[constants]
limit = 9.0
[phase]
starts = "starts"
names = ["reach"]
optional = true
[outcome]
key = "label"
success = ["good"]
failure = ["bad"]
optional = true
[events]
times = "at"
labels = "what"
optional = true
failures = ["slip"]
end_after_s = 1.0
before_s = 0.5
[session]
pattern = '([a-z]+)[.]npz'
[labels]
file = "labels.csv"
[limits]
unit = "deg"
q_min = -90.0
q_max = 90.0
dq_max = 100.0
tau_max = 5.0
q_tol = 0.1
v_max = 2.0
stroke = 0.1
force_max = 20.0
"""
BAG = """
topic = "/joints"
[channels.q]
key = "v"
names = ["b", "a"]
schema = "J"
publisher = 1
where = { id = 3 }
[channels.tau_ext]
key = "v"
topic = "/joints"
[events]
text = "word"
topic = "/joints"
[outcome]
key = "word"
success = ["x"]
topic = "/joints"
[phase]
starts = "t0"
topic = "/joints"
[session]
key = "word"
topic = "/joints"
"""


def test_every_field_of_a_mapping_is_read(tmp_path: Path) -> None:
    n = 400
    np.savez(
        tmp_path / "a.npz",
        t=np.arange(n) / 200,
        q=np.zeros((n, 2)),
        tcp=np.zeros((n, 6)),
        wrench=np.ones((n, 6)),
        w=np.ones(50),
        wt=np.arange(50) / 25,
        starts=[0.5],
        label="good",
        at=[0.1],
        what=["slip"],
    )
    np.savez(
        tmp_path / "less.npz",
        t=np.arange(n) / 200,
        tcp=np.zeros((n, 6)),
        wrench=np.ones((n, 6)),
        w=np.ones(50),
        wt=np.arange(50) / 25,
    )
    with (tmp_path / "b.mcap").open("wb") as f:
        w = Writer(f)
        w.start()
        channel = w.register_channel("/joints", "json", w.register_schema("J", "jsonschema", b"{}"))
        for i in range(100):
            t = 10**18 + i * 10**7
            data = {"names": ["a", "b"], "v": [0.1, 0.2], "id": 3, "word": "x", "t0": [0.0]}
            w.add_message(channel, t, json.dumps(data).encode(), t)
        w.finish()
    (tmp_path / "table.toml").write_text(TABLE)
    (tmp_path / "labels.csv").write_text("episode,outcome\nless,bad\n")
    (tmp_path / "bag.toml").write_text(BAG)
    with Reads(nested(Mapping)) as reads:
        files = [tmp_path / "a.npz", tmp_path / "less.npz"]
        assert score_command(files, tmp_path / "table.toml", None, tmp_path / "out") == 0
        score_file(tmp_path / "b.mcap", load_mapping(tmp_path / "bag.toml"), None)
        dataset.load(files, tmp_path / "table.toml")  # for what labels for PRO follow from
    check_all_read(reads, {})


def test_a_field_that_nobody_reads_would_be_found() -> None:
    class More(config.Struct, frozen=True):
        plain: float = 1.0

    made = More()
    with Reads([More, *nested(score_mapping.Time)]) as reads:
        score_mapping.Time().key  # noqa: B018
    assert (More, "plain") not in reads.seen
    assert made.plain == 1.0
