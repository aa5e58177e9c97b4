"""A plan of TensorRT as an `Engine`: page-locked host buffers, device buffers, one stream.

A run is: inputs to the device, the network, outputs to the host. It is recorded once as a CUDA
graph, and is one launch from then on. On a device that shares the host's memory (Jetson) nothing is
copied. `DeviceEngine` is for those who have their numbers on the device already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from headway.edge.engines.engine import Buffers, Engine, TensorSpec
from headway.edge.engines.options import EngineOptions
from headway.edge.engines.trt import api
from headway.edge.engines.trt.build import MB
from headway.errors import BundleError, SpecMismatch
from headway.kernels.cuda.driver import Driver, Graph, captured


class DeviceEngine(Engine, Protocol):
    """An engine whose buffers are on a CUDA device too. `stream` is the handle of the CUDA stream
    that its own runs are on."""

    stream: int

    def pointer(self, name: str) -> int:
        """The address on the device of the input or output `name`, for the engine's whole life: C
        order, shape and dtype of its spec. Raises SpecMismatch for an unknown name."""

    def enqueue(self, stream: int) -> None:
        """Put the network on the CUDA stream with that handle: it reads and writes the buffers on
        the device. Copies nothing to or from the host, allocates nothing, does not wait, so it can
        be captured into a CUDA graph. Raises BundleError, also for another stream than the
        engine's own where an output is fed back."""

    def fetch(self) -> None:
        """Put copies of all outputs to the host buffers on the engine's own stream; where host and
        device share memory there is nothing to copy."""

    def feed_back(self, output: str, to: str) -> None:
        """From now on, each run ends with a copy on the device of the output `output` into the
        input `to`, which is not taken from the host any more: the state of a recurrent model. The
        copy is on the engine's own stream, so that from now on `enqueue` takes that one alone.
        Raises SpecMismatch unless both have the same shape and dtype."""

    def clear(self, name: str) -> None:
        """Set the input `name` to zero on the device: a state begins afresh."""


class TensorrtEngine(Buffers):
    """A `DeviceEngine` of the plan `content` of the module `trt`, on `driver`. `pairs` are inputs
    of uint16 that the plan has as pairs of uint8. Raises BundleError for a plan that does not load,
    SpecMismatch for one with other inputs or outputs."""

    def __init__(
        self,
        kind: str,
        trt: Any,
        driver: Driver,
        content: bytes,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        options: EngineOptions,
        where: str,
        pairs: frozenset[str] = frozenset(),
    ) -> None:
        self.kind, self.stream = kind, driver.stream
        self.device = f"{driver.device} by {driver.provider}"
        self._driver, self._log = driver, api.logger(trt)
        self._runtime = runtime_for(trt, options, self._log)
        self.engine = loaded(self._runtime, content, options, self._log, where)
        self._context = self.engine.create_execution_context()
        if self._context is None:
            raise BundleError(
                f"TensorRT cannot run the engine of {where}: {said(self._log)}: is the memory of "
                "the device full? (nvidia-smi, or tegrastats on a Jetson)"
            )
        found = _bound(trt, self.engine, self._context, inputs, pairs, where)
        missing = [n for n in outputs if n not in found[1]]
        if missing:
            raise SpecMismatch(
                f"{where}: the bundle wants a tensor `{missing[0]}`, the engine has "
                f"{', '.join(found[1])}: build it again"
            )
        self._fed: dict[str, str] = {}
        self._graph: Graph | None = None
        self._want_graph = options.cuda_graph
        self._closed = False
        self._owned: list[int] = []
        try:
            self._allocate(found[0], found[1], where)
            for name, pointer in self._pointers.items():
                if not self._context.set_tensor_address(name, pointer):
                    raise BundleError(
                        f"TensorRT takes no buffer for `{name}` of {where}: {said(self._log)}"
                    )
        except BaseException:
            self.close()
            raise

    def _allocate(
        self, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec], where: str
    ) -> None:
        """A host buffer and a device buffer per tensor, the same one where memory is shared."""
        driver, arrays = self._driver, {}
        self._pointers: dict[str, int] = {}
        for name, spec in (*inputs.items(), *outputs.items()):
            n = int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize
            raw, seen_at = driver.pinned(n)
            raw[:] = 0
            arrays[name] = raw.view(spec.dtype).reshape(spec.shape)
            if driver.integrated:
                self._pointers[name] = seen_at
                continue
            self._pointers[name] = driver.alloc(n)
            self._owned.append(self._pointers[name])
            driver.zero(self._pointers[name], n)
        driver.synchronize()
        super().__init__(inputs, outputs, where, arrays)

    def pointer(self, name: str) -> int:
        self.bind(name)
        return self._pointers[name]

    def enqueue(self, stream: int) -> None:
        self._check_open()
        if self._fed and stream != self.stream:
            raise BundleError(
                f"{self._where}: wanted the engine's own stream {self.stream:#x}, on which its "
                f"outputs are fed back, found {stream:#x}: enqueue it on `engine.stream`"
            )
        if not self._context.execute_async_v3(stream):
            raise BundleError(f"{self._where} failed while running: {said(self._log)}")
        for output, to in self._fed.items():
            self._driver.copy(self._pointers[to], self._pointers[output], self._arrays[to].nbytes)

    def feed_back(self, output: str, to: str) -> None:
        if output not in self.outputs or to not in self.inputs:
            self.bind(output), self.bind(to)
            raise SpecMismatch(
                f"{self._where}: wanted an output and an input, found {output}, {to}"
            )
        if self.outputs[output] != self.inputs[to]:
            raise SpecMismatch(
                f"{self._where}: wanted `{output}` and `{to}` alike, found {self.outputs[output]} "
                f"and {self.inputs[to]}"
            )
        self._fed[output] = to
        self._forget()

    def clear(self, name: str) -> None:
        self._check_open()
        self.bind(name)[...] = 0
        self._driver.zero(self._pointers[name], self._arrays[name].nbytes)

    def _check_open(self) -> None:
        if self._closed:
            raise BundleError(f"the engine of {self._where} is closed: open it again")

    def run(self) -> None:
        self._check_open()  # before anything is copied: the device's buffers are freed
        self._driver.enter()  # `headway serve` has a thread per client
        if self._graph is not None:
            self._graph.launch()
        else:
            self._once()
            if self._want_graph:
                self._driver.synchronize()  # the first run does what must not be captured
                self._graph = captured(self._driver, self._once)
                self._want_graph = self._graph is not None
        self._driver.synchronize()

    def _once(self) -> None:
        driver, shared = self._driver, self._driver.integrated
        for name in () if shared else self.inputs:
            if name not in self._fed.values():
                driver.upload(self._pointers[name], self._arrays[name])
        self.enqueue(driver.stream)
        self.fetch()

    def fetch(self) -> None:
        self._check_open()
        for name in () if self._driver.integrated else self.outputs:
            self._driver.download(self._arrays[name], self._pointers[name])

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._forget()
        self._context = self.engine = self._runtime = None
        for pointer in self._owned:
            self._driver.free(pointer)
        self._owned.clear()
        # The host buffers stay until the driver closes: others have what `bind` gave them.

    def _forget(self) -> None:
        """Wait for what runs, and free the graph of a run: the next one has another."""
        self._driver.synchronize()
        if self._graph is not None:
            self._graph.close()
            self._graph = None


def said(log: Any) -> str:
    return "; ".join(dict.fromkeys(log.errors)) or "TensorRT does not say why"


@api.uncollected()
def runtime_for(trt: Any, options: EngineOptions, log: Any) -> Any:
    """What loads engines that were built with `options`. It has to live as long as they do."""
    runtime = trt.Runtime(log)
    if options.version_compatible:
        runtime.engine_host_code_allowed = True
    if options.dla is not None:
        runtime.DLA_core = options.dla
    return runtime


@api.uncollected()
def loaded(runtime: Any, content: bytes, options: EngineOptions, log: Any, where: str) -> Any:
    """The engine of the plan `content`. Raises BundleError for one that does not load; `where`
    names it."""
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise BundleError(
            f"TensorRT cannot load the engine of {where}: {said(log)}: it wants the very TensorRT, "
            "driver and device that it was built with: run `headway build` again here"
        )
    if options.weight_streaming:
        budget = options.budget_mb
        engine.weight_streaming_budget_v2 = (
            engine.get_weight_streaming_automatic_budget() if budget is None else budget * MB
        )
    return engine


def _bound(
    trt: Any,
    engine: Any,
    context: Any,
    inputs: Mapping[str, TensorSpec],
    pairs: frozenset[str],
    where: str,
) -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
    """Inputs and outputs of `engine` in the terms of the bundle; the shapes of `inputs` are those
    that it runs with from now on."""
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    modes = {n: engine.get_tensor_mode(n) for n in names}
    ins = [n for n in names if modes[n] == trt.TensorIOMode.INPUT]
    if set(ins) != set(inputs):
        raise SpecMismatch(
            f"{where}: the bundle wants the inputs {', '.join(inputs)}, the engine has "
            f"{', '.join(ins)}: build it again"
        )
    found: dict[str, TensorSpec] = {}
    for name in ins:
        spec = inputs[name]
        shape = spec.shape + ((2,) if name in pairs else ())
        if not context.set_input_shape(name, shape):
            raise SpecMismatch(
                f"{where}: the engine does not take `{name}` as {shape}: build it again with a "
                "profile that holds this shape"
            )
        dtype = _numpy(trt, engine.get_tensor_dtype(name), name, where)
        found[name] = TensorSpec(spec.shape, "uint16" if name in pairs else dtype)
    unknown = context.infer_shapes()
    if unknown:
        raise SpecMismatch(f"{where}: the shapes of {', '.join(unknown)} depend on the data")
    outs = {}
    for name in names:
        if name not in found:
            shape = tuple(int(d) for d in context.get_tensor_shape(name))
            if any(d < 1 for d in shape):
                raise SpecMismatch(
                    f"{where}: the shape of the output `{name}` depends on the data: {shape}"
                )
            outs[name] = TensorSpec(shape, _numpy(trt, engine.get_tensor_dtype(name), name, where))
    return found, outs


def _numpy(trt: Any, dtype: Any, name: str, where: str) -> str:
    kind = trt.DataType
    known = {
        kind.FLOAT: "float32", kind.HALF: "float16", kind.INT64: "int64", kind.INT32: "int32",
        kind.INT8: "int8", kind.UINT8: "uint8", kind.BOOL: "bool",
    }  # fmt: skip
    if dtype not in known:
        raise SpecMismatch(
            f"{where}: `{name}` is {dtype}, which NumPy does not have: export the model with "
            "inputs and outputs of float32"
        )
    return known[dtype]
