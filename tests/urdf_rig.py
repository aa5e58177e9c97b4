"""Small URDFs for tests, and the shipped robots as MuJoCo reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

LIMIT = '<limit lower="-1" upper="1" velocity="2" effort="3"/>'


def joint(
    name: str,
    parent: str,
    child: str,
    kind: str = "revolute",
    axis: str | None = "0 0 1",
    origin: str = '<origin xyz="0 0 0.2" rpy="0.1 0.2 0.3"/>',
    limit: str = LIMIT,
    more: str = "",
) -> str:
    turns = "" if axis is None else f'<axis xyz="{axis}"/>'
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f"{origin}{turns}{limit}{more}</joint>"
    )


def robot(*parts: str, links: str = "abc") -> str:
    """A robot with the links `links`, by default a, b and c."""
    named = "".join(f'<link name="{x}"/>' for x in links)
    return f'<robot name="r">{named}{"".join(parts)}</robot>'


TWO = robot(joint("one", "a", "b"), joint("two", "b", "c", axis="0 1 0"))


def put(folder: Path, urdf: str | bytes, toml: str | None = None) -> Path:
    """Write r.urdf, and r.toml beside it where given."""
    path = folder / "r.urdf"
    path.write_bytes(urdf if isinstance(urdf, bytes) else urdf.encode())
    if toml is not None:
        (folder / "r.toml").write_text(toml)
    return path


def in_mujoco(mujoco: Any, path: Path, link: str) -> tuple[Any, Any, int]:
    """Model, data and the number of the body `link` of a URDF as MuJoCo reads it, no link merged
    into another."""
    text = path.read_text()
    head, rest = text.split("<robot", 1)
    name, rest = rest.split(">", 1)
    keep = (
        '<mujoco><compiler fusestatic="false" discardvisual="false" strippath="false"'
        ' balanceinertia="true" boundmass="1e-6" boundinertia="1e-9"/></mujoco>'
    )
    model = mujoco.MjModel.from_xml_string(f"{head}<robot{name}>{keep}{rest}")
    return model, mujoco.MjData(model), model.body(link).id
