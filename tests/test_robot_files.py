"""URDFs and TOML files that do not fit are refused with what was wanted, what was found and what to
do; `headway robot` shows and draws models."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from urdf_rig import LIMIT, TWO, joint, put, robot

from headway.__main__ import main as headway
from headway.drivers.model import load, shipped
from headway.errors import ConfigError

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "0123456789"><!ENTITY b "&a;&a;&a;&a;">]>'
    '<robot name="&b;"/>'
)
BAD = {
    "no robot": ("<sdf/>", "wanted a <robot>, found <sdf>"),
    "not XML": ("<robot>", "does not parse"),
    "a picture": (b"\x89PNG\r\n", "does not parse"),
    "an entity bomb": (BOMB, "found <!DOCTYPE>: remove it"),
    "an entity bomb in UTF-16": (BOMB.replace('"?>', '" encoding="utf-16"?>').encode("utf-16"),
                                 "found <!DOCTYPE>: remove it"),
    "no links": (robot(links=""), "wanted links, found none"),
    "two links of a name": (robot(links="aa"), "two links 'a'"),
    "two joints of a name": (robot(joint("one", "a", "b"), joint("one", "b", "c")),
                             "two joints 'one'"),
    "a link without a name": ("<robot><link/></robot>", "wanted name in <link>"),
    "several roots": (robot(joint("one", "a", "b")), "one link without a parent, found a, c"),
    "a circle": (robot(joint("one", "a", "b"), joint("two", "b", "a"), links="ab"),
                 "go round in a circle"),
    "a circle beside": (robot(joint("one", "b", "c"), joint("two", "c", "b")),
                        "joints of b, c go round"),
    "a link with two parents": (robot(joint("one", "a", "b"), joint("two", "a", "c"),
                                      joint("three", "b", "c")), "the link c has two parents"),
    "an unknown link": (robot(joint("one", "a", "bb"), links="ab"), "found 'bb'"),
    "an unknown type": (robot(joint("one", "a", "b", kind="revolut"), links="ab"),
                        "did you mean `revolute`"),
    "a prismatic joint": (robot(joint("one", "a", "b"), joint("two", "b", "c", kind="prismatic")),
                          "found a prismatic one"),
    "a floating joint": (robot(joint("one", "a", "b", kind="floating"), joint("two", "b", "c")),
                         "found a floating one"),
    "a planar joint": (robot(joint("one", "a", "b", kind="planar"), joint("two", "b", "c")),
                       "found a planar one"),
    "nothing that moves": (robot(joint("one", "a", "b", kind="fixed"), links="ab"),
                           "wanted a joint that moves behind a"),
    "no limits": (robot(joint("one", "a", "b", limit=""), links="ab"),
                  r'add <limit lower="\.\.\."> \[rad\]'),
    "no upper limit": (robot(joint("one", "a", "b", limit='<limit lower="-1"/>'), links="ab"),
                       'add <limit upper='),
    "no range": (robot(joint("one", "a", "b", limit=LIMIT.replace("-1", "1")), links="ab"),
                 "wanted lower < upper, found 1 and 1 rad"),
    "no velocity": (robot(joint("one", "a", "b", limit='<limit lower="-1" upper="1" effort="1"/>'),
                          links="ab"), "wanted a limit of its velocity > 0, found 0"),
    "no effort": (robot(joint("one", "a", "b", limit='<limit lower="-1" upper="1" velocity="1"/>'),
                        links="ab"), "wanted a limit of its torque > 0, found 0"),
    "NaN": (TWO.replace('upper="1"', 'upper="nan"'),
            "joint one upper: wanted a number, found 'nan'"),
    "infinity": (TWO.replace("0 0 0.2", "0 0 inf"), "wanted 3 numbers, found '0 0 inf'"),
    "two numbers": (TWO.replace("0 0 0.2", "0 0"), "wanted 3 numbers, found '0 0'"),
    "a word": (TWO.replace('velocity="2"', 'velocity="fast"'), "found 'fast'"),
    "a number of Python": (TWO.replace('velocity="2"', 'velocity="1_0"'), "found '1_0'"),
    "a zero axis": (robot(joint("one", "a", "b", axis="0 0 0"), links="ab"),
                    "wanted an axis with a direction, found 0 0 0"),
    "mimic of nothing": (robot(joint("one", "a", "b", more='<mimic joint="on"/>'), links="ab"),
                         "did you mean `one`"),
    "mimic of itself": (robot(joint("one", "a", "b", more='<mimic joint="one"/>'), links="ab"),
                        "wanted a joint to mimic that has a motor"),
    "mimic by nothing": (robot(joint("one", "a", "b"), joint(
        "two", "b", "c", more='<mimic joint="one" multiplier="0"/>')), "other than 0"),
    "two ends": (robot(joint("one", "a", "b"), joint("two", "a", "c")),
                 "wanted one end of the arm, found b, c"),
    "a shape without one": (TWO.replace('<link name="a"/>', '<link name="a"><collision><geometry/>'
                                        "</collision></link>"), "wanted a shape in <geometry>"),
    "an unknown shape": (TWO.replace('<link name="a"/>', '<link name="a"><collision><geometry>'
                                     "<cone/></geometry></collision></link>"), "found <cone>"),
    "a negative mass": (TWO.replace('<link name="a"/>', '<link name="a"><inertial><mass value="-1"'
                                    '/><inertia ixx="1" ixy="0" ixz="0" iyy="1" iyz="0" izz="1"/>'
                                    "</inertial></link>"), "wanted a mass >= 0, found -1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_urdf_that_does_not_fit_is_named_with_what_is_wrong(tmp_path, name):
    urdf, says = BAD[name]
    path = put(tmp_path, urdf)
    with pytest.raises(ConfigError, match=says) as e:
        load(path)
    assert str(tmp_path) in str(e.value)


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('tool_lnk = "c"', "did you mean `tool_link`"),
        ('tool_link = "cc"', "`tool_link` wants a link of the URDF, found 'cc'"),
        ('base_link = "b"\ntool_link = "a"', "wanted a tool link that hangs on the base link b"),
        ('base_link = "c"\ntool_link = "c"', "wanted joints that move from the base to the tool"),
        ('tool = "grip"', "`tool` wants one of the frames"),
        ("home = [0.0]", "`home` wants 2 numbers, found 1"),
        ("home = [0.0, 1.5]", r"`home\[1\]` wants a position within the joint's limits, -1 to 1"),
        ("velocity = [1.0]", "`velocity` wants one number, or 2, one per joint, found 1"),
        ("torque = 0.0", "`torque` wants a finite number > 0"),
        ("jerk = nan", "`jerk` wants a finite number > 0"),
        ("ik_weights = [1.0]", "ik_weights"),
        ('ik_axes = "d"', "`ik_axes` wants a link of the URDF"),
        ('[[capsules]]\nname = "x"\nlink = "d"\na = [0.0, 0.0, 0.0]\nb = [0.0, 0.0, 0.0]\n'
         "radius = 0.1", r"`capsules\[0\].link` wants a link of the arm, found 'd'"),
        ("home = [", "not valid TOML"),
    ],
)  # fmt: skip
def test_a_toml_that_does_not_fit_is_named_with_what_is_wrong(tmp_path, toml, says):
    path = put(tmp_path, TWO, toml)
    with pytest.raises(ConfigError, match=says) as e:
        load(path)
    assert str(tmp_path) in str(e.value)


def test_without_a_toml_none_is_named_as_the_file_at_fault(tmp_path):
    slow = TWO.replace('velocity="2"', "")
    with pytest.raises(
        ConfigError, match=r"r\.urdf: joint one: .* key `velocity` in r\.toml beside"
    ):
        load(put(tmp_path, slow))
    with pytest.raises(ConfigError, match=r"r\.toml: joint one: .* key `torque` in r\.toml beside"):
        load(put(tmp_path, slow.replace('effort="3"', ""), "velocity = 1.0"))


def test_a_xacro_is_told_to_be_expanded(tmp_path):
    macro = TWO.replace(
        '<robot name="r">',
        '<robot name="r" xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:include filename="x"/>',
    )
    with pytest.raises(ConfigError, match=r"xacro file, with <xacro:include>: .* > NAME\.urdf"):
        load(put(tmp_path, macro))
    expanded = macro.replace('<xacro:include filename="x"/>', "")
    assert load(put(tmp_path, expanded)).n == 2


@pytest.mark.parametrize(("metres", "asked"), [("200", True), ("0.2", False), ("0.0002", True)])
def test_an_arm_of_an_odd_size_is_asked_about_its_unit(tmp_path, metres, asked):
    model = load(put(tmp_path, TWO.replace("0 0 0.2", f"0 0 {metres}")))
    assert any("are these metres?" in words for words in model.missing) == asked


def test_robots_and_files_that_are_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"found 'ur5'.*did you mean `ur5e`"):
        load("ur5")
    with pytest.raises(ConfigError, match="there is no URDF there"):
        load(tmp_path / "none.urdf")
    put(tmp_path, TWO)
    with pytest.raises(ConfigError, match=r"that folder has r\.urdf"):
        load(tmp_path / "none.urdf")


def test_a_base_further_out_leaves_out_what_carries_it(tmp_path):
    model = load(put(tmp_path, TWO, 'base_link = "b"'))
    assert model.joints == ("two",)
    assert [link.names for link in model.links] == [("b",), ("c",)]


@pytest.mark.parametrize("name", shipped())
def test_the_command_prints_and_draws_a_robot(name, tmp_path, capsys):
    out = tmp_path / "sub" / "robot.png"
    assert headway(["robot", name, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    for word in (*load(name).joints, "missing: nothing", "tool frames", "TCP at home", str(out)):
        assert word in said
    pixels = np.asarray(Image.open(out))
    drawn = (pixels != pixels[0, -1]).any(axis=2)
    third = pixels.shape[1] // 3
    for k in range(3):  # each view shows an arm: a fair part of it, and not all
        assert 0.04 < drawn[:, k * third : (k + 1) * third].mean() < 0.7


def test_the_command_on_a_urdf_without_a_shape_and_on_nothing(tmp_path, capsys):
    path = put(tmp_path, TWO, "home = [0.5, 0.5]\nik_weights = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]")
    assert headway(["robot", str(path)]) == 0
    said = capsys.readouterr().out
    assert "no picture" in said
    assert "leaves rx, ry, rz of the TCP" in said
    assert "acceleration: not given" in said
    assert said.count("mass not given") == 2
    mimic = '<mimic joint="one" multiplier="-0.5" offset="0.1"/>'
    put(tmp_path, robot(joint("one", "a", "b"), joint("two", "b", "c", more=mimic)), "home = [0.5]")
    assert headway(["robot", str(path)]) == 0
    assert "follows one: -0.5 x its position, plus 0.1 rad" in capsys.readouterr().out
    assert headway(["robot", "ur5"]) == 2
    assert "did you mean `ur5e`" in capsys.readouterr().err
    assert headway(["robot", "ur5e", "--tool", "griper"]) == 2


def test_a_picture_that_cannot_be_written_is_said(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert headway(["robot", "ur5e", "--out", str(tmp_path / "file" / "a.png")]) == 8
    assert "cannot write" in capsys.readouterr().err
