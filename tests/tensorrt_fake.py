"""TensorRT without a GPU, for tests: a module `trt` whose plans hold the ONNX model and run it in
ONNX Runtime, on the addresses that it is given. With `HostDriver`, whose device memory is the
host's, all of our code around TensorRT runs. Only names that the real bindings have
(`test_tensorrt_contract.py`)."""

# ruff: noqa: N802 - names of TensorRT

from __future__ import annotations

import ctypes
import enum
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx

from headway.edge.engines.onnx_runtime import onnxruntime

LAYERS = ["Gemm", "Reformat"]  # LayerType of the layers that the inspector tells


class _Log:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self) -> None:
        pass

    def log(self, severity: int, text: str) -> None:
        raise NotImplementedError


_Flag = enum.IntEnum("_Flag", "TF32 REFIT VERSION_COMPATIBLE WEIGHT_STREAMING GPU_FALLBACK")
_Type = enum.Enum("_Type", "FLOAT HALF INT64 INT32 INT8 UINT8 BOOL BF16")
_Mode = enum.Enum("_Mode", "INPUT OUTPUT")
_OF = {
    "tensor(float)": (_Type.FLOAT, np.float32), "tensor(int64)": (_Type.INT64, np.int64),
    "tensor(uint8)": (_Type.UINT8, np.uint8), "tensor(int32)": (_Type.INT32, np.int32),
    "tensor(float16)": (_Type.HALF, np.float16),
}  # fmt: skip


class _Config:
    def __init__(self, fake: FakeTensorrt) -> None:
        self.fake, self.flags, self.profile = fake, {_Flag.TF32}, None
        self.limits: dict[str, int] = {}
        self.progress_monitor: Any = None

    def set_flag(self, flag: _Flag) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: _Flag) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: str, n: int) -> None:
        self.limits[pool] = n

    def add_optimization_profile(self, profile: Any) -> int:
        self.profile = profile
        return 0

    def create_timing_cache(self, content: bytes) -> Any:
        self.fake.timings.append(content)
        return SimpleNamespace(serialize=lambda: content + b"t")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        return not ignore_mismatch


class _Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, name: str, least: Any, best: Any, most: Any) -> None:
        self.shapes[name] = tuple(least), tuple(best), tuple(most)


class _Network:
    def __init__(self) -> None:
        self.content = b""
        self.inputs: list[Any] = []
        self.num_layers = 0

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_input(self, i: int) -> Any:
        return self.inputs[i]


class _Parser:
    def __init__(self, network: _Network, log: Any) -> None:
        self.network, self.num_errors = network, 0

    def parse(self, content: bytes, path: str) -> bool:
        session = onnxruntime().InferenceSession(content)
        self.network.content = content
        self.network.inputs = [
            SimpleNamespace(name=i.name, shape=[d if isinstance(d, int) else -1 for d in i.shape])
            for i in session.get_inputs()
        ]
        self.network.num_layers = 2
        return True


class _Builder:
    def __init__(self, fake: FakeTensorrt, log: Any) -> None:
        self.fake, self.log, self.num_DLA_cores = fake, log, fake.dla_cores

    def create_network(self, flags: int) -> _Network:
        assert flags == 1, "strongly typed"
        return _Network()

    def create_builder_config(self) -> _Config:
        self.fake.configs.append(_Config(self.fake))
        return self.fake.configs[-1]

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
        self.fake.builds += 1
        monitor = config.progress_monitor
        monitor.phase_start("Building engine", None, 3)
        for step in range(3):
            if not monitor.step_complete("Building engine", step):
                return None
        monitor.phase_finish("Building engine")
        if self.fake.fails:
            self.log.log(_Log.ERROR, self.fake.fails)
            return None
        shapes = config.profile.shapes
        refits = _Flag.REFIT in config.flags
        return pickle.dumps((self.fake.__version__, network.content, shapes, refits))


class _Runtime:
    def __init__(self, fake: FakeTensorrt, log: Any) -> None:
        self.fake, self.log = fake, log
        self.engine_host_code_allowed, self.DLA_core = False, -1

    def deserialize_cuda_engine(self, content: bytes) -> Any:
        version, model, shapes, refits = pickle.loads(content)
        if version != self.fake.__version__:
            self.log.log(_Log.ERROR, f"built by {version}")
            return None
        return _Engine(self.fake, model, shapes, refits)


class _Engine:
    def __init__(self, fake: FakeTensorrt, model: bytes, shapes: Any, refittable: bool) -> None:
        self.fake, self.model, self.shapes, self.refittable = fake, model, shapes, refittable
        self.session = onnxruntime().InferenceSession(model)
        self.io = {t.name: t for t in (*self.session.get_inputs(), *self.session.get_outputs())}
        self.ins = [t.name for t in self.session.get_inputs()]
        self.num_io_tensors, self.num_layers = len(self.io), len(fake.layers)
        self.weight_streaming_budget_v2 = 0

    def create_serialization_config(self) -> Any:
        return SimpleNamespace(flags=set(), set_flag=lambda flag: self.fake.kept.append(flag))

    def serialize_with_config(self, config: Any) -> bytes:
        refits = not hasattr(self.fake.SerializationFlag, "INCLUDE_REFIT") or bool(self.fake.kept)
        return pickle.dumps((self.fake.__version__, self.model, self.shapes, refits))

    def get_weight_streaming_automatic_budget(self) -> int:
        return 7

    def get_tensor_name(self, i: int) -> str:
        return list(self.io)[i]

    def get_tensor_mode(self, name: str) -> _Mode:
        return _Mode.INPUT if name in self.ins else _Mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> _Type:
        return _OF[self.io[name].type][0]

    def create_execution_context(self) -> _Context:
        return _Context(self)

    def create_engine_inspector(self) -> Any:
        def told(i: int, form: str) -> str:
            return f'{{"Name": "layer{i}", "LayerType": "{self.fake.layers[i]}"}}'

        return SimpleNamespace(get_layer_information=told)


class _Refitter:
    """Weights are by name: what is not given stays missing."""

    def __init__(self, engine: _Engine, log: Any) -> None:
        self.engine, self.log, self.given = engine, log, dict[str, Any]()

    def get_missing_weights(self) -> list[str]:
        wanted = {*_weights(self.engine.model), *self.engine.fake.lacks}
        return sorted(wanted - (self.given.keys() - self.engine.fake.lacks))

    def refit_cuda_engine(self) -> bool:
        if self.engine.fake.stuck:
            self.log.log(_Log.ERROR, self.engine.fake.stuck)
            return False
        model = onnx.load_model_from_string(self.engine.model)
        for tensor in model.graph.initializer:
            tensor.CopyFrom(self.given[tensor.name])
        self.engine.model = model.SerializeToString()
        return True


class _ParserRefitter:
    def __init__(self, refitter: _Refitter, log: Any) -> None:
        self.refitter, self.num_errors, self.why = refitter, 0, ""

    def refit_from_bytes(self, content: bytes, path: str) -> bool:
        have = _weights(self.refitter.engine.model)
        for name, tensor in _weights(content).items():
            if name not in have or tensor.dims != have[name].dims:
                self.num_errors, self.why = 1, f"no weights {name} of {list(tensor.dims)}"
                return False
            self.refitter.given[name] = tensor
        return True

    def get_error(self, i: int) -> Any:
        return SimpleNamespace(desc=lambda: self.why)


def _weights(content: bytes) -> dict[str, Any]:
    return {t.name: t for t in onnx.load_model_from_string(content).graph.initializer}


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self.engine = engine
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.at: dict[str, int] = {}
        self.outputs: dict[str, tuple[int, ...]] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        if name in self.engine.shapes:
            least, _, most = self.engine.shapes[name]
            if not all(a <= n <= b for a, n, b in zip(least, shape, most, strict=True)):
                return False
        self.shapes[name] = tuple(shape)
        return True

    def infer_shapes(self) -> list[str]:
        zeros = {
            n: np.zeros(self.shapes[n], _OF[self.engine.io[n].type][1]) for n in self.engine.ins
        }
        names = [n for n in self.engine.io if n not in self.engine.ins]
        out = self.engine.session.run(names, zeros)
        self.outputs = {n: x.shape for n, x in zip(names, out, strict=True)}
        return []

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.outputs[name]

    def set_tensor_address(self, name: str, at: int) -> bool:
        self.at[name] = at
        return True

    def _array(self, name: str, shape: tuple[int, ...]) -> Any:
        dtype = np.dtype(_OF[self.engine.io[name].type][1])
        n = int(np.prod(shape)) * dtype.itemsize
        raw = (ctypes.c_uint8 * n).from_address(self.at[name])
        return np.frombuffer(raw, dtype).reshape(shape)

    def execute_async_v3(self, stream: int) -> bool:
        fake = self.engine.fake

        def work() -> None:
            given = {n: self._array(n, self.shapes[n]) for n in self.engine.ins}
            answers = self.engine.session.run(list(self.outputs), given)
            for (name, shape), answer in zip(self.outputs.items(), answers, strict=True):
                self._array(name, shape)[...] = answer * fake.wrong

        fake.streams.append(stream)
        fake.enqueue(work)
        return not fake.dead


class FakeTensorrt:
    """`enqueue` takes work as the stream of the driver does. What goes wrong on purpose: `wrong`
    multiplies all outputs, `fails` is why builds fail, `stuck` why weights are
    not replaced, `lacks` weights that are not taken, `dead` engines do not run."""

    __name__ = "tensorrt"
    ILogger, BuilderFlag, DataType, TensorIOMode, IProgressMonitor = (
        _Log,
        _Flag,
        _Type,
        _Mode,
        object,
    )
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=0)
    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    HardwareCompatibilityLevel = SimpleNamespace(NONE=0, AMPERE_PLUS=1)
    DeviceType = SimpleNamespace(GPU=0, DLA=1)
    ProfilingVerbosity = SimpleNamespace(DETAILED=2)
    SerializationFlag = SimpleNamespace()  # 11 has INCLUDE_REFIT
    LayerInformationFormat = SimpleNamespace(JSON=1)

    def __init__(self, driver: Any, version: str = "10.3.0", dla_cores: int = 0) -> None:
        self.__version__, self.dla_cores = version, dla_cores
        self.enqueue = driver._do
        self.wrong, self.fails, self.dead, self.builds = 1.0, "", False, 0
        self.layers = list(LAYERS)
        self.configs: list[_Config] = []
        self.timings: list[bytes] = []
        self.stuck, self.lacks, self.kept = "", set[str](), list[Any]()
        self.streams: list[int] = []

    def Builder(self, log: Any) -> _Builder:
        return _Builder(self, log)

    def OnnxParser(self, network: _Network, log: Any) -> _Parser:
        return _Parser(network, log)

    def Refitter(self, engine: _Engine, log: Any) -> _Refitter:
        return _Refitter(engine, log)

    def OnnxParserRefitter(self, refitter: _Refitter, log: Any) -> _ParserRefitter:
        return _ParserRefitter(refitter, log)

    def Runtime(self, log: Any) -> _Runtime:
        return _Runtime(self, log)
