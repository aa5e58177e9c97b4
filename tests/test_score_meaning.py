"""What a mapping says that events mean, and which session a file belongs to."""

import numpy as np
import pytest

from headway import config
from headway.errors import ConfigError, RecordingError
from headway.tools.score.files import open_source
from headway.tools.score.mapping import Events, Mapping, load_mapping
from headway.tools.score.telemetry import telemetry_of

EVENTS = {
    "times": "at",
    "labels": "what",
    "failures": ["*_collision", "slip"],
    "retries": ["again"],
    "ignore": ["wall_collision"],
    "end_after_s": 0.5,
}


def episode(tmp_path, at, what, name="monday/a.npz", **more):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(0, 10, 0.05)
    np.savez(path, t=t, f=np.ones(len(t)), at=np.array(at, float), what=np.array(what), **more)
    return path


def telemetry(path, events=EVENTS, session=None):
    given = {"channels": {"force_norm": {"key": "f"}}, "events": events}
    if session is not None:
        given["session"] = session
    mapping = config.decode(given, Mapping, "mapping")
    return telemetry_of(*open_source(path, mapping))


def test_words_are_sorted_by_what_they_mean(tmp_path):
    made = telemetry(
        episode(tmp_path, [1, 2, 3, 5, 4], ["again", "hello", "Tool_Collision", "slip", "again"])
    )
    assert made.failures == ((3.0, "Tool_Collision"), (5.0, "slip"))
    assert made.retries == ((1.0, "again"), (4.0, "again"))
    assert made.end_s == pytest.approx(3.5)
    assert len(made.events) == 5


def test_what_is_ignored_is_no_failure_but_ends_what_is_learned(tmp_path):
    made = telemetry(episode(tmp_path, [2, 6], ["wall_collision", "slip"]))
    assert made.failures == ((6.0, "slip"),)
    assert made.end_s == pytest.approx(2.5)


def test_without_end_after_s_all_is_learned(tmp_path):
    events = {k: v for k, v in EVENTS.items() if k != "end_after_s"}
    made = telemetry(episode(tmp_path, [2], ["slip"]), events)
    assert made.end_s is None
    assert made.failures == ((2.0, "slip"),)


@pytest.mark.parametrize("at", [-3.0, 12.0, 5000.0])
def test_a_failure_outside_of_the_episode_is_refused(tmp_path, at):
    path = episode(tmp_path, [at], ["slip"])
    with pytest.raises(RecordingError, match=r"wanted events between 0 and 10\.00 s, found `slip`"):
        telemetry(path)


def test_an_event_that_means_nothing_may_lie_outside(tmp_path):
    assert telemetry(episode(tmp_path, [-3.0], ["hello"])).failures == ()


def test_the_word_decides_in_the_order_that_is_documented():
    events = Events(times="t", failures=("*",), retries=("again*",), ignore=("again 2",))
    kinds = [events.kind_of(w) for w in ("slip", "Again", " again 2 ")]
    assert kinds == ["failure", "retry", "ignore"]


def test_the_session_of_a_file(tmp_path):
    path = episode(tmp_path, [], [], day=np.array(["", "nan", "tuesday", "friday"]))
    assert telemetry(path).session == ""
    assert telemetry(path, session={"folder": True}).session == "monday"
    assert telemetry(path, session={"key": "day"}).session == "tuesday"
    assert telemetry(path, session={"pattern": "/(m[a-z]+)/a[.]"}).session == "monday"
    assert telemetry(path, session={"key": "day", "pattern": "^(tue)"}).session == "tue"


def test_a_session_that_cannot_be_found_is_an_error(tmp_path):
    path = episode(tmp_path, [], [], day=np.array(["", "nan"]))
    with pytest.raises(RecordingError, match="wanted a session in `day`, found no word"):
        telemetry(path, session={"key": "day"})
    with pytest.raises(RecordingError, match=r"session.pattern \(\(\\d\+\)x\) finds the session"):
        telemetry(path, session={"pattern": r"(\d+)x"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "one of `key`, `folder = true` and `pattern`"),
        (
            "folder = true\nkey = 'a'\npattern = '(a)'",
            "one of `key`, `folder = true` and `pattern`",
        ),
        ("folder = true\nkey = 'a'", "one of `key`, `folder = true` and `pattern`"),
        ("pattern = '('", "is no regular expression"),
        ("pattern = 'a'", "wants one group in parentheses, found 0"),
    ],
)
def test_a_session_that_says_too_little_or_too_much(tmp_path, given, said):
    file = tmp_path / "map.toml"
    file.write_text(f"[channels.force_norm]\nkey = 'f'\n[session]\n{given}\n")
    with pytest.raises(ConfigError, match=said):
        load_mapping(file)
