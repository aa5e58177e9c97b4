"""`headway robot`: what a robot model says, in words and as a picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from headway.drivers.capsules import Capsule
from headway.drivers.model import RobotModel, load
from headway.drivers.rotations import Mat3, mat_to_rotvec
from headway.drivers.transforms import Transform, parts
from headway.errors import OutputError
from headway.types import Vec

SIZE = 480  # of each view [px]
# Direction from which each view looks: turn about the vertical and height above it [deg].
VIEWS = (
    ("from the front left", 35.0, 20.0),
    ("from the side", -90.0, 0.0),
    ("from above", -90.0, 90.0),
)
LIGHT = np.array([-0.4, 0.5, 0.8]) / math.sqrt(1.05)  # towards it, in the axes of the view
BACK = np.array([250, 250, 248], np.uint8)
COLOURS = np.array([[96, 108, 118], [140, 158, 172], [206, 212, 218]], float)  # base, odd, even
CONTACT = np.array([226, 142, 60], float)
AXES = ((200, 40, 40), (30, 150, 60), (40, 80, 210))  # x, y, z of a frame


def robot_command(name_or_path: str, tool: str | None, out: Path | None) -> int:
    """Print the model and write its picture to `out` (a PNG, by default NAME.png in the current
    folder). Raises ConfigError, and OutputError for a picture that cannot be written."""
    model = load(name_or_path, tool)
    print("\n".join(lines(model)))
    if not model.chain.body:
        print("no picture: the model has no shape")
        return 0
    path = out or Path(f"{model.name}.png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(model).save(path, format="PNG")
    except OSError as e:
        raise OutputError(f"cannot write {path}: {e.strerror}: name another --out") from None
    print(f"wrote {path}")
    return 0


def lines(model: RobotModel) -> list[str]:
    """What the model says, for people."""
    limits = model.limits
    out = [
        f"{model.name}: {model.n} joints from {model.base_link} to {model.tool_link}",
        f"  source: {model.source or 'not said'}",
        "",
        f"  {'joint':24}{'range [rad]':>20}{'speed':>9}{'accel.':>9}{'jerk':>9}{'torque':>9}"
        f"{'home':>9}",
        f"  {'':24}{'':>20}{'[rad/s]':>9}{'[/s2]':>9}{'[/s3]':>9}{'[Nm]':>9}{'[rad]':>9}",
    ]
    for i, joint in enumerate(model.joints):
        span = f"{limits.q_min[i]:.3f} to {limits.q_max[i]:.3f}"
        rest = (limits.dq_max, limits.ddq_max, limits.dddq_max, limits.tau_max, model.home)
        out.append(f"  {joint:24}{span:>20}" + "".join(f"{x[i]:9.4g}" for x in rest))
    if model.jaw:
        out.append(f"  further joints, not part of the chain: {', '.join(model.jaw)}")
    out += ["", "  chain: each step a fixed transform, then a turn about z"]
    for i, step in enumerate(model.chain.steps):
        turns = model.joints[step.joint]
        if (step.multiplier, step.offset) != (1.0, 0.0):
            turns = f"follows {turns}: {step.multiplier:g} x its position"
            if step.offset:
                turns += f", {'plus' if step.offset > 0 else 'minus'} {abs(step.offset):g} rad"
        mass = model.links[i + 1].mass
        weight = f"{mass:.3g} kg" if mass > 0.0 else "mass not given"
        out.append(f"  {i + 1:3}  {_where(step.fixed)}  {turns}  {weight}")
    out += ["", "  tool frames, in the last frame of the chain (* in use)"]
    named = [name for name, at in model.tools.items() if at == model.chain.tool][-1:]
    for name, at in model.tools.items():
        out.append(f"  {'*' if name in named else ' ':>3}  {_where(at)}  {name}")
    p = model.chain.position(model.home)
    out.append(f"  TCP at home: {_numbers(p)} m; {len(model.chain.body)} capsules")
    errors = ("x", "y", "z", "rx", "ry", "rz")
    free = [name for name, w in zip(errors, model.ik_weights, strict=True) if not w]
    if free:
        frame = model.chain.ik_axes
        of = "the TCP" if frame < 0 else model.links[frame].names[0]
        out.append(f"  inverse kinematics leaves {', '.join(free)} of {of} as they come out")
    out += ["", "  missing: nothing" if not model.missing else "  missing:"]
    return out + [f"    - {words}" for words in model.missing]


def _where(at: Transform) -> str:
    R, p = parts(at)
    return f"at {_numbers(p)} m, turned by {_numbers(mat_to_rotvec(R))} rad"


def _numbers(v: Vec) -> str:
    return "(" + ", ".join(f"{x + 0.0:8.4f}" for x in v.tolist()) + ")"


def picture(model: RobotModel) -> Image.Image:
    """The arm at home as its capsules, in three views side by side, with the TCP's axes (x red, y
    green, z blue) and the ground's grid at height zero, 0.1 m wide."""
    frames = model.chain.transforms(model.home)
    placed = []
    for c in model.chain.body:
        R, p = parts(tuple(frames[c.frame].tolist()))
        placed.append((R @ np.array(c.a) + p, R @ np.array(c.b) + p, c))
    R, p = model.chain.fk(model.home)
    points = np.array([x for a, b, c in placed for x in (a - c.radius, b + c.radius)] + [p])
    low, high = points.min(axis=0), points.max(axis=0)
    centre, scale = 0.5 * (low + high), 0.42 * SIZE / float(np.linalg.norm(high - low)) * 2
    sheet = Image.new("RGB", (SIZE * len(VIEWS), SIZE))
    for i, (name, turn, height) in enumerate(VIEWS):
        view = _axes_of_view(math.radians(turn), math.radians(height))
        image = Image.fromarray(_drawn(placed, view, centre, scale))
        draw = ImageDraw.Draw(image)

        def to(x: Vec, view: Mat3 = view) -> tuple[float, float]:
            u, v, _ = view @ (x - centre)
            return SIZE / 2 + scale * float(u), SIZE / 2 - scale * float(v)

        length = 0.12 * float(np.linalg.norm(high - low))
        for k, colour in enumerate(AXES):
            draw.line([to(p), to(p + length * R[:, k])], fill=colour, width=3)
        draw.text((8, 8), f"{model.name}, {name}", fill=(60, 60, 60))
        sheet.paste(image, (SIZE * i, 0))
    return sheet


def _axes_of_view(turn: float, height: float) -> Mat3:
    """Rows: to the right, upwards, and towards the eye, in the base frame."""
    c, s, ch, sh = math.cos(turn), math.sin(turn), math.cos(height), math.sin(height)
    return np.array([[-s, c, 0.0], [-c * sh, -s * sh, ch], [c * ch, s * ch, sh]])


def _drawn(
    placed: list[tuple[Vec, Vec, Capsule]], view: Mat3, centre: Vec, scale: float
) -> NDArray[np.uint8]:
    """The pixels (SIZE, SIZE, 3) of an orthographic view: per capsule, spheres close together along
    its segment, each nearer to the eye than what is behind it."""
    image = np.tile(BACK, (SIZE, SIZE, 1)).astype(float)
    _grid(image, view, centre, scale)
    depth = np.full((SIZE, SIZE), -math.inf)
    for a, b, c in placed:
        a, b = view @ (a - centre), view @ (b - centre)
        r = c.radius * scale
        count = 2 + int(np.linalg.norm(b - a) * scale / max(1.0, 0.06 * r))
        colour = CONTACT if c.contact else COLOURS[0 if c.frame == 0 else 1 + c.frame % 2]
        for t in np.linspace(0.0, 1.0, count).tolist():
            _sphere(image, depth, (a + t * (b - a)) * scale, r, colour)
    return np.clip(image, 0, 255).astype(np.uint8)


def _sphere(image: Vec, depth: Vec, at: Vec, r: float, colour: Vec) -> None:
    u, v = SIZE / 2 + at[0], SIZE / 2 - at[1]
    x0, x1 = max(0, int(u - r)), min(SIZE, int(u + r) + 2)
    y0, y1 = max(0, int(v - r)), min(SIZE, int(v + r) + 2)
    if x0 >= x1 or y0 >= y1:
        return
    y, x = np.mgrid[y0:y1, x0:x1]
    nx, ny = (x - u) / r, (v - y) / r
    inside = nx * nx + ny * ny
    nz = np.sqrt(np.maximum(0.0, 1.0 - inside))
    z = at[2] + r * nz
    front = (inside <= 1.0) & (z > depth[y0:y1, x0:x1])
    shade = 0.45 + 0.55 * np.maximum(0.0, nx * LIGHT[0] + ny * LIGHT[1] + nz * LIGHT[2])
    depth[y0:y1, x0:x1][front] = z[front]
    image[y0:y1, x0:x1][front] = shade[front][:, None] * colour


def _grid(image: Vec, view: Mat3, centre: Vec, scale: float) -> None:
    """Lines on the ground, each drawn as points close together."""
    reach, along = np.arange(-10, 11) / 10, np.linspace(-1.0, 1.0, 4 * SIZE)
    for k in reach:
        for x, y in ((along, np.full_like(along, k)), (np.full_like(along, k), along)):
            points = np.stack([x, y, np.zeros_like(x)], axis=1) - centre
            u, v, _ = view @ points.T * scale
            px, py = (SIZE / 2 + u).astype(int), (SIZE / 2 - v).astype(int)
            seen = (px >= 0) & (px < SIZE) & (py >= 0) & (py < SIZE)
            image[py[seen], px[seen]] = (214, 216, 218)
