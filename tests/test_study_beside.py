"""Arms of another study on the page of a study."""

from __future__ import annotations

import os
import re

import pytest
from rich.console import Console
from study_fake import result, write_plan

from headway.errors import ConfigError
from headway.learn.study import plan, registration, results
from headway.learn.study.beside import beside
from headway.learn.study.command import Options, study_command


def written(folder, *changes, seeds=3):
    """A registered plan in `folder`, with `changes` to its text, and the results of its units."""
    folder.mkdir()
    path = write_plan(folder, seeds=seeds)
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    made = plan.load(path)
    now = registration.now(made, folder)
    registration.register(path, now)
    for unit in plan.units(made):
        results.write(folder / "results", made.name, now.sha256, unit, result(unit))
    return path


def loaded(path):
    made, held = registration.registered(path)
    return made, results.finished(path.parent / "results", held.sha256, plan.units(made))


LESS = (('name = "fake"', 'name = "short"'), ("robot_s = 900.0", "robot_s = 36.0"))
ALONE = ('workflows = ["pick_place", "shoebox"]', 'workflows = ["pick_place"]')
NO_LEVEL = ("shoebox = 0.5\n", "")
NO_CLOCK = ('[[arms]]\nname = "1.6-clock"\nworkflows = ["shoebox"]\nseeds = 1\npriority = 2\n', "")


@pytest.fixture
def both(tmp_path):
    first = written(tmp_path / "first")
    return first, written(tmp_path / "second", *LESS, ALONE, NO_LEVEL, NO_CLOCK)


def test_its_arms_have_its_name_and_are_compared_with_the_main_ones(both):
    joined, found = beside(*loaded(both[0]), *loaded(both[1]))
    new = ["B0-short", "1.5-short", "1.6-short"]
    assert [arm.name for arm in joined.arms] == ["B0", "1.5", "1.6", *new]
    assert joined.workflows == ("pick_place",)
    assert {key[0] for key in found} == {"B0", "1.5", "1.6", *new}
    assert len(found) == 6 * 3
    own = [("1.6", "1.5"), ("1.6", "B0")]
    assert joined.measured.compare[:2] == tuple(own)
    assert set(joined.measured.compare[2:]) == {(a, b) for a in ("B0", "1.5", "1.6") for b in new}


def test_a_page_has_them_with_the_registration_that_they_are_of(both, tmp_path):
    pytest.importorskip("matplotlib", reason="wants matplotlib")
    console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115
    file = tmp_path / "page.md"
    options = Options(
        page=True, out=both[0].parent / "results", page_file=file,
        beside=(both[1], both[1].parent / "results"),
    )  # fmt: skip
    with console.file:
        assert study_command(both[0], options, console) == 0
    text = file.read_text()
    assert f"`{registration.read(both[1]).sha256}`" in text
    assert "rounds of 36 s" in text
    assert "All 18 units are finished." in text
    assert re.search(r"\| 1\.6-short \| 0\.\d+, 0 s \| 0\.\d+, 30 s \| 0\.\d+, 60 s \|", text)
    assert "| 1.6 - B0-short | 3 of 3 |" in text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ((("orders = [40, 20, 40]", "orders = [40, 20, 30]"),), "same test orders"),
        ((("units = [1, 2, 3]", "units = [2, 1, 3]"),), "wanted seeds of short"),
        (
            (("pick_place", "stacking"), ("shoebox", "sorting")),
            "wanted a workflow that fake and short have",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_said(tmp_path, changes, says):
    first = written(tmp_path / "first")
    second = written(tmp_path / "second", *LESS, *changes)
    with pytest.raises(ConfigError, match=says):
        beside(*loaded(first), *loaded(second))


def test_without_a_page_it_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="add --page"):
        study_command(write_plan(tmp_path), Options(beside=(tmp_path, tmp_path)))
