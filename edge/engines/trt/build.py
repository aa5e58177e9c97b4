"""From a prepared graph to a plan.

The network is strongly typed: TensorRT computes with the types of the graph, in all releases alike.
The build can be watched and stopped: it runs in a thread, without the interpreter's lock, and asks
after each step whether it should go on. What TensorRT 10 calls precision flags and calibration is
gone in 11 and not used here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headway.edge.engines.engine import TensorSpec
from headway.edge.engines.options import EngineOptions, Profile
from headway.edge.engines.trt import api
from headway.edge.engines.trt.graph import Prepared
from headway.errors import BundleError, ConfigError, Missing, SpecMismatch

MB = 1 << 20
Progress = Callable[[str, int, int], None]  # phase, steps done, steps of the phase


@dataclass(frozen=True, slots=True)
class Plan:
    """A built engine. `timing`: what was timed on the way, for the next build; `notes`: warnings of
    TensorRT, each once."""

    content: bytes
    timing: bytes
    layers: int
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Stop:
    """Asks a build to stop: set `now`."""

    now: bool = field(default=False)


def profiles(
    inputs: Mapping[str, TensorSpec], options: EngineOptions, pairs: frozenset[str] = frozenset()
) -> dict[str, Profile]:
    """The shapes of each input, in the terms of the graph: those of the options, else the one shape
    of `inputs`. Raises ConfigError for an option about an input that is not there, or that does
    not hold the shape which the bundle states."""
    for name, asked in options.profiles.items():
        if name not in inputs:
            raise ConfigError(
                f"profiles: wanted one of the inputs {', '.join(inputs)}, found `{name}`"
            )
        shape = inputs[name].shape
        fits = len(shape) == len(asked.least) and all(
            a <= n <= b for a, n, b in zip(asked.least, shape, asked.most, strict=True)
        )
        if not fits:
            raise ConfigError(
                f"profiles: wanted shapes of `{name}` that hold {shape}, found {asked.least} to "
                f"{asked.most}"
            )
    made = {}
    for name, spec in inputs.items():
        of = options.profiles.get(name, Profile(spec.shape, spec.shape, spec.shape))
        tail = (2,) if name in pairs else ()
        made[name] = Profile(of.least + tail, of.best + tail, of.most + tail)
    return made


@api.uncollected()
def build(
    trt: Any,
    prepared: Prepared,
    shapes: Mapping[str, Profile],
    options: EngineOptions,
    *,
    timing: bytes | None = None,
    progress: Progress = lambda phase, done, of: None,
    stop: Stop | None = None,
) -> Plan:
    """The plan of `prepared`, whose inputs have the `shapes`. `timing`: what an earlier build
    timed; None for a library that keeps no such thing.

    Raises SpecMismatch for a model that TensorRT cannot take, with operator, node and what to do;
    ConfigError for options that this release or computer does not have; Missing where it cannot
    build here; BundleError where the build fails; KeyboardInterrupt where it was stopped."""
    log = api.logger(trt)
    builder = _builder(trt, log)
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(prepared.content, str(prepared.path)):
        raise _unsupported(trt, builder, parser, log, prepared)
    config = builder.create_builder_config()
    _set(trt, builder, config, options)
    profile = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        of = shapes.get(tensor.name)
        if of is None:
            raise SpecMismatch(
                f"{prepared.path}: the graph has an input `{tensor.name}` that the bundle does not "
                f"name; it names {', '.join(shapes)}"
            )
        if -1 in tuple(tensor.shape):
            profile.set_shape(tensor.name, of.least, of.best, of.most)
        elif tuple(tensor.shape) != of.best or of.least != of.most:
            raise SpecMismatch(
                f"{prepared.path}: wanted the input `{tensor.name}` as {of.least} to {of.most}, "
                f"found a graph that has it as {tuple(tensor.shape)} alone"
            )
    index = config.add_optimization_profile(profile)
    if index < 0:
        raise SpecMismatch(
            f"{prepared.path}: TensorRT takes no such shapes: {_said(log)}: check --profile"
        )
    cache = None
    if timing is not None:
        cache = config.create_timing_cache(timing)
        if cache is None or not config.set_timing_cache(cache, False):
            # timed by another release or on another device: begin afresh
            cache = config.create_timing_cache(b"")
            config.set_timing_cache(cache, False)
    stop = stop or Stop()
    config.progress_monitor = _monitor(trt, progress, stop)
    plan = builder.build_serialized_network(network, config)
    if stop.now:
        raise KeyboardInterrupt
    if plan is None:
        raise _failed(prepared, options, log)
    kept = b"" if cache is None else bytes(cache.serialize())
    notes = tuple(dict.fromkeys(log.lines))
    return Plan(bytes(plan), kept, int(network.num_layers), notes)


def build_in_thread(work: Callable[[Stop], Plan], beat: Callable[[], None]) -> Plan:
    """Run `work` in a thread and call `beat` ten times a second meanwhile. An interrupt stops the
    build at its next step, and is raised when it has ended."""
    stop, answer = Stop(), list[Plan | BaseException]()

    def run() -> None:
        try:
            answer.append(work(stop))
        except BaseException as e:
            answer.append(e)

    thread = threading.Thread(target=run, name="tensorrt-build", daemon=True)
    thread.start()
    while thread.is_alive():
        stop.now = not _wait(thread, beat) or stop.now
    if isinstance(answer[0], BaseException):
        raise answer[0]
    return answer[0]


def _wait(thread: threading.Thread, beat: Callable[[], None]) -> bool:
    """False where an interrupt came before the thread's end."""
    try:
        while thread.is_alive():
            thread.join(0.1)
            beat()
    except KeyboardInterrupt:
        return False
    return True


def _builder(trt: Any, log: Any) -> Any:
    try:
        builder = trt.Builder(log)
    except TypeError:  # what pybind says where the library returned nothing
        builder = None
    if builder is None:
        raise Missing(
            f"TensorRT cannot build engines here: {_said(log)}: it wants a CUDA device and its "
            "driver (see nvidia-smi)"
        )
    return builder


def _set(trt: Any, builder: Any, config: Any, options: EngineOptions) -> None:
    """Raises ConfigError for an option that this release or computer does not have."""
    flag = trt.BuilderFlag
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb * MB)
    if options.level is not None:
        config.builder_optimization_level = options.level
    if options.precision == "tf32":
        config.set_flag(flag.TF32)
    else:
        config.clear_flag(flag.TF32)  # on by default, and 1e-3 off
    if options.refit:
        config.set_flag(flag.REFIT)
    if options.version_compatible:
        config.set_flag(flag.VERSION_COMPATIBLE)
    if options.weight_streaming:
        config.set_flag(flag.WEIGHT_STREAMING)
    level = trt.HardwareCompatibilityLevel
    if options.hardware == "ampere_or_newer":
        config.hardware_compatibility_level = level.AMPERE_PLUS
    elif options.hardware == "same_capability":
        config.hardware_compatibility_level = api.probe(
            level, "SAME_COMPUTE_CAPABILITY", "hardware = same_capability"
        )
    if options.sm:
        api.probe(config, "set_compute_capability", f"sm = {list(options.sm)}")
        kinds = api.probe(trt, "ComputeCapability", "sm")
        config.num_compute_capabilities = len(options.sm)
        for i, sm in enumerate(options.sm):
            if not config.set_compute_capability(api.probe(kinds, f"SM{sm}", f"sm = {sm}"), i):
                raise ConfigError(f"sm: this TensorRT does not build for compute capability {sm}")
    if options.dla is not None:
        _set_dla(trt, builder, config, options)


def _set_dla(trt: Any, builder: Any, config: Any, options: EngineOptions) -> None:
    cores = int(builder.num_DLA_cores)
    if options.dla is None or options.dla >= cores:
        raise ConfigError(
            f"wanted DLA core {options.dla}, found {cores} cores that this TensorRT can use here: "
            "leave `dla` out to use the GPU (TensorRT 11.0 to 11.3 have no DLA at all)"
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = options.dla
    if options.dla_fallback:
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    # so that the inspector says where each layer is, which is how the use of the DLA is checked
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED


def _monitor(trt: Any, progress: Progress, stop: Stop) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Called from threads of TensorRT, into which nothing may be raised."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(phase_name, step + 1, self.steps.get(phase_name, 0))
            return not stop.now

    return Monitor()


def _unsupported(trt: Any, builder: Any, parser: Any, log: Any, prepared: Prepared) -> Exception:
    """The error for a graph that the parser does not take: every node that it names."""
    path = prepared.path
    said = []
    for i in range(parser.num_errors):
        error = parser.get_error(i)
        node = f"node `{error.node_name()}`" if error.node_name() else "a node without a name"
        operator = error.node_operator()
        where = f"operator {operator} ({node})" if operator else "the graph"
        why = error.desc().strip()
        said.append(f"{where}: {'it has no such operator' if why == 'false' else why}")
    if not said:
        said = log.errors or ["it does not say why"]
    return SpecMismatch(
        f"{path}: TensorRT {trt.__version__} cannot take this model: {'; '.join(said)}: export it "
        "without that operator (a newer opset, fixed shapes and onnxsim often do), or run it with "
        "engine = ort"
    )


def _failed(prepared: Prepared, options: EngineOptions, log: Any) -> BundleError:
    text = _said(log)
    then = "run it with engine = ort, or report the model"
    if "memory" in text.lower():
        then = "free memory of the device, or give less workspace (--workspace-mb)"
    elif prepared.precision == "fp8" and "fp8" in text.lower():
        then = (
            "fp8 wants a GPU of compute capability 8.9 or newer (Ada, Hopper, Thor; not Orin): "
            "give this one the model as it was, or in another precision (headway quantize)"
        )
    elif options.dla is not None:
        then = "allow the GPU for what the DLA cannot do (--dla-fallback)"
    elif options.refit or options.version_compatible or options.weight_streaming:
        then = "try without --refit, --version-compatible and --weight-streaming"
    return BundleError(f"TensorRT cannot build {prepared.path}: {text}: {then}")


def _said(log: Any) -> str:
    return "; ".join(dict.fromkeys(log.errors)) or "it does not say why"
