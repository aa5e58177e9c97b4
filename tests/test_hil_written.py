"""What `headway hil` writes and says of what it has found."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from headway.__main__ import main
from headway.errors import ConfigError, DeviceError
from headway.hil.suite import command, outputs
from headway.hil.suite.page import plot, write_page
from headway.hil.suite.results import QUICK, Result
from headway.hil.suite.subject import Subject

SOME = [
    Result("ft a", "rate", "kept", "", {"rate_hz": 100.0}, {"ms": [1.0, 2.0, 1.5]}, 1.0),
    Result("ft a", "stamps", "broken", "<b>goes back</b>", {}, {}, 0.5),
    Result("ft a", "fault flip", "broken", "2 wrong values", {"wrong_values": 2.0, "hangs": 1.0}),
    Result("arm b", "limits", "not applicable", "add --move"),
]  # fmt: skip


def test_the_files_say_what_was_found(tmp_path):
    outputs.write_junit(SOME, tmp_path / "j.xml")
    suites = ElementTree.parse(tmp_path / "j.xml").getroot().findall("testsuite")
    assert [(s.get("name"), s.get("failures"), s.get("skipped")) for s in suites] == [
        ("ft a", "2", "0"),
        ("arm b", "0", "1"),
    ]
    outputs.write_json(SOME, tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())[0]["numbers"] == {"rate_hz": 100.0}
    assert outputs.facts(SOME)["wrong_values"] == 2
    assert outputs.facts(SOME)["hangs"] == 1
    rows = outputs.matrix(SOME)
    assert rows[1][rows[0].index("flip")] == "BROKEN"


def test_what_a_device_says_leaves_the_file_readable(tmp_path):
    padded = Result("ft a", "identity", "broken", "its serial number is AB\0\0\x1b")
    outputs.write_junit([padded], tmp_path / "j.xml")
    (failure,) = ElementTree.parse(tmp_path / "j.xml").getroot().iter("failure")
    assert failure.get("message") == "its serial number is AB\ufffd\ufffd\ufffd"


def test_what_was_found_is_written_also_after_ctrl_c(tmp_path):
    def interrupted():
        yield SOME[0]
        raise KeyboardInterrupt

    options = command.Options(out=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        command.check_all(interrupted(), options, QUICK, lambda _: None)
    assert [r["promise"] for r in json.loads((tmp_path / outputs.JSON).read_text())] == ["rate"]


def test_a_library_that_fails_costs_no_other_device(tmp_path):
    def record(folder):
        raise RuntimeError("cannot open the recorder")

    subject = Subject("cameras", "uvc", recorded=record)
    options = command.Options(out=tmp_path)
    found = command.check_all([subject, SOME[0]], options, QUICK, lambda _: None)
    assert [r.verdict for r in found] == ["broken", "kept"]
    assert found[0].said == "RuntimeError: cannot open the recorder"


def test_where_nothing_can_be_written_nothing_is_checked(tmp_path):
    (tmp_path / "file").write_text("")
    options = command.Options(out=tmp_path / "file")
    with pytest.raises(DeviceError, match="wanted to write the results into"):
        command.check_all(iter(()), options, QUICK, pytest.fail)


def test_the_page_begins_with_what_is_broken_and_shows_what_devices_say_as_text(tmp_path):
    write_page(SOME, tmp_path / "p.html", "title")
    page = (tmp_path / "p.html").read_text()
    first = page[: page.index("<h2")]
    assert '<a href="#ft-a">ft a, stamps</a>: &lt;b&gt;goes back' in first
    assert '<h2 id="ft-a">' in page
    assert "<b>goes" not in page
    write_page(SOME[:1], tmp_path / "p.html", "title")
    assert "<ul" not in (tmp_path / "p.html").read_text()


def test_a_plot_has_all_that_was_measured_and_none_of_one_value():
    assert plot("ms", [1.0]) == ""
    assert plot("ms", [1.0, 3.0, 2.0]).count(",") >= 3
    assert "0 to 9e+03" in plot("ms", [float(i) for i in range(9001)])


def test_the_command_checks_the_devices_of_a_robot(write, tmp_path, capsys):
    robot = write()
    args = ["hil", str(robot), "--quick", "--only", "identity", "limits", "--out", str(tmp_path)]
    assert main(args) == 0
    said = capsys.readouterr().out
    assert "moved by at most 0.05 rad" in said
    assert "0 broken" in said
    page = (tmp_path / "index.html").read_text()
    assert "arm null" in page
    assert {"junit.xml", "results.json"} <= {p.name for p in tmp_path.iterdir()}


def test_the_command_wants_to_know_what(capsys):
    assert main(["hil"]) == ConfigError.exit_code
    assert "--all" in capsys.readouterr().err
    assert main(["hil", "--all", "--only", "nonsense"]) == ConfigError.exit_code
    assert "'nonsense'" in capsys.readouterr().err
    assert main(["hil", "--all", "--cycles", "0"]) == ConfigError.exit_code
    assert "--cycles wants 1 or more, found 0" in capsys.readouterr().err


def test_where_no_promise_is_checked_that_is_no_success(tmp_path):
    nothing = command.Options(devices=("ft null",), only=("image",), out=tmp_path)
    with pytest.raises(ConfigError, match="found none that begins with image"):
        command.hil_command(None, True, nothing, lambda _: None)
