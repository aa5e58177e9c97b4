"""A PRO head, TensorRT as `tensorrt_fake.py` plays it, and a device that is the host."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pro_head import make_head
from tensorrt_fake import FakeTensorrt

from headway import bundle
from headway.edge.engines.engine import Engine, open_bundle, specs
from headway.edge.engines.options import EngineOptions
from headway.edge.engines.trt import backend
from headway.edge.engines.trt.backend import Library, Watch, make, open_built
from headway.kernels.cuda.host import HostDriver
from headway.kernels.cuda.machine import Machine

ORIN = Machine("87", "Orin", "driver 540.4.0 CUDA 12.6", "L4T R36.4.3")


@dataclasses.dataclass
class Rig:
    """A PRO head, the engine that it is held to, and TensorRT as it is played."""

    made: bundle.Bundle
    reference: Engine
    trt: FakeTensorrt
    library: Library
    options: EngineOptions

    @property
    def tensors(self) -> Any:
        m = self.made.manifest
        return self.made.onnx, specs(m.inputs), specs(m.outputs)

    def build(self, library: Library | None = None, **options: Any) -> backend.Made:
        given = msgspec.structs.replace(self.options, **options)
        watch = Watch(reference=self.reference)
        return make(library or self.library, *self.tensors, given, watch)

    def open(self, library: Library | None = None, **options: Any) -> Any:
        given = msgspec.structs.replace(self.options, **options)
        return open_built(library or self.library, *self.tensors, given)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = make_head(tmp_path / "head")
    driver = HostDriver()
    trt = FakeTensorrt(driver)
    library = Library("tensorrt", trt, ORIN, driver=lambda: driver)
    return Rig(made, open_bundle(made, "ort"), trt, library, EngineOptions())


def zeroed(engine: Engine) -> Engine:
    """The reference keeps what the gate wrote last."""
    for name in engine.inputs:
        engine.bind(name)[...] = 0
    return engine
