"""What `--require` looks at: facts about each part, not words."""

import pytest

from headway.edge.control.parts import Part, check, in_words
from headway.errors import Missing

GUARD = Part("guard", "cpp", ("cpp", "python"))
FEATURES = Part("features", "numpy", ("cpp", "numpy"))
POLICY = Part("policy cpp", "ort", ("null", "ort"))


def test_what_all_parts_that_could_be_are_is_met():
    check(("cpp", "ort"), [GUARD, POLICY])
    check(("numpy",), [GUARD, FEATURES])
    check((), [GUARD, FEATURES, POLICY])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cpp", r"--require cpp: this run would have features in numpy \(guard in cpp, fea"),
        ("python", r"--require python: this run would have guard in cpp \("),
        ("null", r"this run would have policy cpp in ort \("),
        ("tensorrt", "this run would have nothing that tensorrt could compute"),
        ("policy", "nothing that policy could compute"),  # a word of the printed line
    ],
)
def test_one_part_that_is_something_else_is_refused(name, says):
    with pytest.raises(Missing, match=says):
        check((name,), [GUARD, FEATURES, POLICY])


def test_parts_in_words():
    assert in_words([GUARD, FEATURES]) == "guard in cpp, features in numpy"
