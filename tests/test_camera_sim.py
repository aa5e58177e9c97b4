"""The simulated RGB-D camera against the geometry it looks at, and without a renderer."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulated cell wants mujoco")

from headway import config
from headway.clock import VirtualClock, WallClock
from headway.drivers import Context, open_device
from headway.drivers.latest import Latest
from headway.drivers.sim import gl
from headway.drivers.sim.cell import Cell, CellConfig
from headway.errors import Missing

CLEAN = {"rgb_noise": 0.0}


def open_camera(clock=None, **table):
    cell = Cell(config.decode({}, CellConfig, "[cell]"), clock or VirtualClock(1))
    camera = open_device("cameras", "sim", table, Context(cell.clock, {"sim": cell}))
    camera.open(1.0)
    return cell, camera


def renders():
    """Why nothing can be rendered here; "" when it can."""
    try:
        _, camera = open_camera(width=16, height=16)
        camera.read(0.0)
        camera.close()
    except Missing as e:
        return str(e)
    return ""


@pytest.fixture(scope="module")
def renderer():
    if why := renders():
        pytest.skip(why)


@pytest.fixture
def opened(renderer):
    made = []

    def make(*args, **kwargs):
        made.append(open_camera(*args, **kwargs))
        return made[-1]

    yield make
    for _, camera in made:
        camera.close()


def ray(cell, name, K, u, v):
    """Distance along the optical axis of camera `name` at pixel (u, v), and the geom hit [m]."""
    import mujoco

    view = cell.data.camera(name)
    R = view.xmat.reshape(3, 3)
    # x right, y down, z forward in the image; MuJoCo's camera looks along its -z, y up
    d = np.linalg.inv(K) @ [u + 0.5, v + 0.5, 1.0]
    direction = R @ (d * [1, -1, -1])
    length = np.linalg.norm(direction)
    geom = np.zeros(1, np.int32)
    groups = np.array([1, 1, 1, 0, 0, 0], np.uint8)
    distance = mujoco.mj_ray(
        cell.model, cell.data, view.xpos, direction / length, groups, 1, -1, geom, None
    )
    return distance / length, int(geom[0])


@pytest.mark.parametrize("name", ["wrist", "overview"])
def test_depth_and_intrinsics_fit_the_scene(opened, name):
    cell, camera = opened(name=name, width=64, height=48, **CLEAN)
    cell.reset(2)
    frame = camera.read(0.0).value
    assert frame.depth.shape == (48, 64)
    assert frame.depth.dtype == np.uint16
    off = []
    for u in range(2, 64, 6):
        for v in range(2, 48, 6):
            z, geom = ray(cell, name, frame.intrinsics, u, v)
            if geom >= 0 and z < 4.9:
                off.append(abs(frame.depth[v, u] - z * 1000))
    # but for a few pixels on an edge, where half a pixel is another body
    assert len(off) > 40
    assert np.median(off) < 1.0
    assert np.mean(np.array(off) < 4.0) > 0.9


def test_colours_are_those_of_the_items_where_the_intrinsics_put_them(opened):
    cell, camera = opened(name="wrist", width=96, height=96, **CLEAN)
    seen = 0
    for seed in range(6):
        cell.reset(seed)
        frame = camera.read(0.0).value
        view = cell.data.camera("wrist")
        for i, facts in enumerate(cell.scene.truth["items"]):
            p = view.xmat.reshape(3, 3).T @ (cell.data.body(f"item{i}").xpos - view.xpos)
            u, v, w = frame.intrinsics @ (p * [1, -1, -1])
            u, v = int(u / w), int(v / w)
            if not (3 <= u < 93 and 3 <= v < 93):
                continue
            _, geom = ray(cell, "wrist", frame.intrinsics, u, v)
            if geom != cell.model.body(f"item{i}").geomadr[0]:
                continue  # something stands before it
            r, g, b = frame.rgb[v, u].astype(int)
            looks = {"red": r > 1.5 * max(g, b), "green": g > 1.3 * max(r, b)}
            looks |= {"blue": b > 1.3 * max(r, g), "yellow": min(r, g) > 1.5 * b}
            assert looks[facts["colour"]], (facts["colour"], r, g, b)
            seen += 1
    assert seen >= 6


def test_frames_are_repeatable_and_change_with_the_scene(opened):
    (a_cell, a), (b_cell, b) = opened(width=32, height=32), opened(width=32, height=32)
    for cell in (a_cell, b_cell):
        cell.reset(4)
    first, same = a.read(0.0).value, b.read(0.0).value
    np.testing.assert_array_equal(first.rgb, same.rgb)
    np.testing.assert_array_equal(first.depth, same.depth)
    b_cell.reset(5)
    assert not np.array_equal(b.read(0.0).value.depth, first.depth)


def test_noise_is_of_the_configured_size_and_fresh_in_each_frame(opened):
    cell, noisy = opened(width=48, height=48, rgb_noise=2.0)
    clean_cell, clean = opened(width=48, height=48, **CLEAN)
    for c in (cell, clean_cell):
        c.reset(1)
    one, two = (noisy.read(0.0).value.rgb.astype(int) for _ in range(2))
    want = clean.read(0.0).value.rgb.astype(int)
    inside = (want > 10) & (want < 245)
    assert 1.5 < (one - want)[inside].std() < 2.5
    assert abs((one - want)[inside].mean()) < 0.2
    assert not np.array_equal(one, two)


def test_depth_is_left_out_when_nobody_wants_it(opened):
    _, camera = opened(width=16, height=16, depth=False)
    assert not camera.has_depth
    frame = camera.read(0.0).value
    assert frame.depth is None
    assert frame.rgb.flags.c_contiguous


def test_cameras_of_different_sizes_share_a_thread(opened):
    """Two GL contexts in turn: each frame is that of the camera alone."""
    tables = [
        {"name": "wrist", "width": 32, "height": 32, **CLEAN},
        {"name": "overview", "width": 80, "height": 60, **CLEAN},
    ]
    alone = []
    for table in tables:
        cell, camera = opened(**table)
        cell.reset(3)
        alone.append(camera.read(0.0).value)
        camera.close()
    cell, wrist = opened(**tables[0])
    overview = open_device("cameras", "sim", tables[1], Context(cell.clock, {"sim": cell}))
    overview.open(1.0)
    cell.reset(3)
    for _ in range(2):
        for camera, want in zip((wrist, overview), alone, strict=True):
            frame = camera.read(0.0).value
            np.testing.assert_array_equal(frame.rgb, want.rgb)
            np.testing.assert_array_equal(frame.depth, want.depth)
    overview.close()
    np.testing.assert_array_equal(wrist.read(0.0).value.rgb, alone[0].rgb)


def test_a_closed_camera_opens_again(opened):
    cell, camera = opened(width=16, height=16, **CLEAN)
    cell.reset(1)
    before = camera.read(0.0).value
    camera.close()
    camera.close()
    camera.open(1.0)
    np.testing.assert_array_equal(camera.read(0.0).value.rgb, before.rgb)


def test_a_reader_thread_renders_through_resets_and_another_thread_closes(renderer):
    """As in real time: GL contexts belong to a thread, and `close` comes from another one."""
    cell, camera = open_camera(WallClock(spin_ns=0), width=16, height=16, rate_hz=200.0)
    frames = [threading.Event() for _ in range(3)]
    read = camera.read

    def counted(timeout_s):
        sample = read(timeout_s)
        frames[min(cell.episode, 2)].set()
        return sample

    camera.read = counted
    newest = Latest(camera, cell.clock, "camera")
    newest.start(20.0)
    for seed in range(2):
        cell.reset(seed)
        assert frames[min(cell.episode, 2)].wait(20.0)
    assert newest.latest(20 * 10**9).value.rgb.shape == (16, 16, 3)
    newest.close()
    assert camera.health().state == "closed"


class TestWithoutRenderer:
    @pytest.fixture(autouse=True)
    def no_choice(self, monkeypatch):
        monkeypatch.delenv("MUJOCO_GL", raising=False)

    def no_library(self, *names):
        real = ctypes.CDLL

        def load(name, *args, **kwargs):
            if any(n in str(name) for n in names):
                raise OSError(f"{name}: cannot open shared object file")
            return real(name, *args, **kwargs)

        return load

    def test_no_library_at_all_names_the_packages(self, monkeypatch):
        monkeypatch.setattr(gl.ctypes, "CDLL", self.no_library("EGL", "OSMesa"))
        assert gl.backend() is None
        with pytest.raises(Missing, match=r"libegl1 .*libgl1-mesa-dri.*libosmesa6") as e:
            open_camera()
        assert e.value.exit_code == 5
        Cell(CellConfig(), VirtualClock())  # the cell itself needs no renderer

    # EGL without a library of OpenGL's functions, as with Debian's libegl1 alone, draws nothing.
    @pytest.mark.parametrize(
        ("absent", "found"),
        [
            ((), "egl"),
            (("libEGL",), "osmesa"),
            (("libOpenGL", "libGL."), "osmesa"),
            (("libGL.",), "egl"),
            (("libOpenGL",), "egl"),
            (("libOpenGL", "libGL.", "libOSMesa"), None),
        ],
    )
    def test_egl_with_opengl_is_the_first_choice_and_osmesa_the_second(
        self, monkeypatch, absent, found
    ):
        class Found:
            def __init__(self, name):
                if name.startswith(absent):
                    raise OSError(name)

        monkeypatch.setattr(gl.ctypes, "CDLL", Found)
        assert gl.backend() == found

    def test_a_users_own_choice_wins(self, monkeypatch):
        monkeypatch.setenv("MUJOCO_GL", "glfw")
        assert gl.backend() == "glfw"

    def test_a_choice_that_gives_no_context_is_an_error(self, monkeypatch):
        monkeypatch.setenv("MUJOCO_GL", "off")
        with pytest.raises(Missing, match=r"MUJOCO_GL=off, which gives none.*choose egl, osmesa"):
            gl.context_class()

    def test_a_library_without_a_driver_is_an_error(self, monkeypatch):
        def context(width, height):
            raise RuntimeError("Cannot initialize a EGL device display.")

        monkeypatch.setattr("headway.drivers.cameras.sim.context_class", lambda: context)
        monkeypatch.setenv("MUJOCO_GL", "egl")
        _, camera = open_camera()
        with pytest.raises(Missing, match=r"EGL device display.*libgl1-mesa-dri"):
            camera.read(0.0)
        camera.close()
