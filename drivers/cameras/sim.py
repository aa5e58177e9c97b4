"""A simulated RGB-D camera: one off-screen MuJoCo render gives colour and depth."""

from __future__ import annotations

import contextlib
import math
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from headway import config
from headway.drivers import Context
from headway.drivers.cameras import CameraName, Pixels
from headway.drivers.sim import cell_of
from headway.drivers.sim.cell import Cell
from headway.drivers.sim.gl import context_class, import_mujoco
from headway.drivers.sim.source import SimDevice
from headway.errors import ConfigError, Missing
from headway.types import Frame, Info, Sample


class Config(config.Struct, frozen=True):
    """Keys of `[[camera]]` for the kind `sim`: image size [px], frames per second `rate_hz`, and
    whether there is a depth image."""

    name: CameraName = "wrist"  # a camera of the scene: wrist or overview
    width: Pixels = 96
    height: Pixels = 96
    rate_hz: config.Hertz = 30.0
    rgb_noise: Annotated[float, Meta(ge=0.0, le=255.0)] = 2.0  # standard deviation, of 255
    depth: bool = True


class SimCamera(SimDevice[Frame]):
    """The GL context belongs to the reader thread, because an EGL context is current on one thread
    only. The camera renders a copy of the cell's state, so that the control loop can go on stepping
    the physics meanwhile."""

    waits = True  # `read` waits for the renderer

    def __init__(self, cell: Cell, cfg: Config) -> None:
        self._check_name(cell, cfg.name)
        super().__init__(cell, Info("sim", f"{cfg.name} camera (MuJoCo)", cfg.name), cfg.rate_hz)
        self.cfg = cfg
        self.has_depth = cfg.depth
        self._mj = import_mujoco(rendering=True)
        # Made by `_open_context` on the thread that reads, anew for each episode's model.
        self._gl: Any = None
        self._scene: Any = None
        self._option: Any = None
        self._context: Any = None
        self._rect: Any = None
        self._camera: Any = None
        self._model: Any = None
        self._data: Any = None
        self._episode = -1
        self.size = size = (cfg.height, cfg.width)
        self._depth_buffer = np.empty(size, np.float32)
        rng = np.random.default_rng(0)
        # The noise is drawn once and shifted per frame: a draw per pixel costs more than rendering.
        # It is there twice, so that a shift is only another place to begin.
        tile = rng.normal(0, cfg.rgb_noise, (cfg.height * cfg.width, 3)).round().astype(np.int16)
        self._pixels, self._noise = len(tile), np.concatenate([tile, tile])
        focal = (
            cfg.height
            / 2
            / math.tan(math.radians(cell.cfg.wrist_fovy if cfg.name == "wrist" else 42) / 2)
        )
        self._K = np.array([[focal, 0, cfg.width / 2], [0, focal, cfg.height / 2], [0, 0, 1]])

    @staticmethod
    def _check_name(cell: Cell, name: str) -> None:
        """Raises ConfigError when the scene has no camera of this name."""
        have = [cell.model.camera(i).name for i in range(cell.model.ncam)]
        if name not in have:
            raise ConfigError(
                f"[[camera]] `name` wants a camera of the scene, found `{name}`: "
                f"{config.suggest(name, have)}"
            )

    def read(self, timeout_s: float) -> Sample[Frame]:
        self._pace(timeout_s)
        cell = self.cell
        with cell.lock:
            cell.sync()
            t, episode = cell.t_ns, cell.episode
            if self._model is not cell.model:
                self._model, self._data = cell.model, self._mj.MjData(cell.model)
            self._mj.mj_copyData(self._data, cell.model, cell.data)
            noisy = self.cfg.rgb_noise > 0
            shift = int(cell.noise.integers(0, self._pixels)) if noisy else 0
        if self._episode != episode:
            self._open_context()
            self._episode = episode
        else:
            self._gl.make_current()  # another camera may have rendered on this thread
        return self._stamped(t, self._render(shift))

    def _render(self, shift: int) -> Frame:
        """`shift`: by how many pixels the noise is shifted."""
        mj, cfg = self._mj, self.cfg
        mj.mjv_updateScene(
            self._model,
            self._data,
            self._option,
            None,
            self._camera,
            mj.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        mj.mjr_render(self._rect, self._scene, self._context)
        rgb: NDArray[np.uint8] = np.empty((cfg.height, cfg.width, 3), np.uint8)
        mj.mjr_readPixels(rgb, self._depth_buffer if cfg.depth else None, self._rect, self._context)
        rgb = rgb[::-1]  # OpenGL's rows start at the bottom
        if cfg.rgb_noise > 0:
            first = self._pixels - shift
            noisy = rgb + self._noise[first : first + self._pixels].reshape(rgb.shape)
            rgb = noisy.clip(0, 255, out=noisy).astype(np.uint8)
        depth = self._millimetres() if cfg.depth else None
        return Frame(np.ascontiguousarray(rgb), depth, self._K, cfg.name)

    def _millimetres(self) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
        # The depth buffer b is reversed (0 at the far plane, see readDepthMap):
        # z = near * far / (near + b * (far - near)). 0 mm means nothing was hit.
        extent, clip = self._model.stat.extent, self._model.vis.map
        near, far = clip.znear * extent, clip.zfar * extent
        z = near * far / (near + self._depth_buffer[::-1] * (far - near))
        millimetres = np.where(z < 0.999 * far, z * 1000, 0).round().clip(0, 65535)
        return np.asarray(millimetres, np.uint16)

    def _open_context(self) -> None:
        """Each episode has a new model: upload its geometry again, in the same GL context."""
        mj, model, cfg = self._mj, self._model, self.cfg
        if self._gl is None:
            try:
                self._gl = context_class()(cfg.width, cfg.height)
            except RuntimeError as e:  # the library is installed, but no driver
                raise Missing(
                    f"the simulated camera wants an off-screen renderer, found none behind the "
                    f"library ({e}): on Debian and Ubuntu `apt-get install libgl1-mesa-dri`"
                ) from None
        self._gl.make_current()
        self._scene = mj.MjvScene(model, maxgeom=200)
        self._scene.flags[mj.mjtRndFlag.mjRND_SHADOW] = 0
        self._option = mj.MjvOption()
        self._context = mj.MjrContext(model, mj.mjtFontScale.mjFONTSCALE_50)
        mj.mjr_resizeOffscreen(cfg.width, cfg.height, self._context)
        mj.mjr_setBuffer(mj.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._context.readDepthMap = mj.mjtDepthMap.mjDEPTH_ZEROFAR
        self._rect = mj.MjrRect(0, 0, cfg.width, cfg.height)
        self._camera = mj.MjvCamera()
        self._camera.type = mj.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = model.camera(cfg.name).id

    def close(self) -> None:
        super().close()
        if self._gl is not None:
            with contextlib.suppress(Exception):  # fails if current on another thread
                self._gl.make_current()
                self._context.free()
                self._gl.free()
            self._gl = None
            self._episode = -1


def connect(cfg: Config, ctx: Context) -> SimCamera:
    """The camera of the run's simulated cell, not open yet. Raises ConfigError without a [cell] and
    for a camera that the scene lacks, Missing where nothing can render."""
    return SimCamera(cell_of(ctx), cfg)
