"""New weights for an engine that was built before, of the same network.

A policy that is trained again keeps its graph, and building an engine of it takes minutes on a
Jetson. An engine that was built with `refit` is given the new weights instead, which takes about as
long as loading it. Whatever does not work out is an error, and the engine is built anew; what comes
of it passes the same gate as a built one.
"""

from __future__ import annotations

import hashlib
from typing import Any

from headway.edge.engines.options import EngineOptions
from headway.edge.engines.trt import api
from headway.edge.engines.trt.graph import Prepared, blank
from headway.edge.engines.trt.runtime import loaded, runtime_for, said
from headway.errors import BundleError


def network(prepared: Prepared) -> str:
    """SHA-256 of the graph of `prepared` without the numbers that a refit replaces: two models of
    the same network differ in nothing else."""
    return hashlib.sha256(blank(prepared)).hexdigest()


@api.uncollected()
def refit(trt: Any, plan: bytes, prepared: Prepared, options: EngineOptions) -> bytes:
    """The `plan`, which was built with `options` of a model of the same network, with the weights
    of `prepared`. Wants a device that is open. Raises BundleError where TensorRT cannot do it."""
    log = api.logger(trt)
    runtime = runtime_for(trt, options, log)
    engine = loaded(runtime, plan, options, log, str(prepared.path))
    if not engine.refittable:
        raise BundleError("the engine that is there takes no other weights")
    refitter = trt.Refitter(engine, log)
    weights = trt.OnnxParserRefitter(refitter, log)
    if not weights.refit_from_bytes(prepared.content, str(prepared.path)):
        why = "; ".join(weights.get_error(i).desc().strip() for i in range(weights.num_errors))
        raise BundleError(f"TensorRT does not take the weights: {why or said(log)}")
    if lacking := list(refitter.get_missing_weights()):
        raise BundleError(
            f"the model has no weights {', '.join(lacking[:5])}, which the engine that is there has"
        )
    if not refitter.refit_cuda_engine():
        raise BundleError(f"TensorRT does not replace the weights: {said(log)}")
    written = engine.create_serialization_config()
    keep = getattr(trt.SerializationFlag, "INCLUDE_REFIT", None)
    if keep is not None:  # releases that have the flag would write one that takes no weights
        written.set_flag(keep)
    content = engine.serialize_with_config(written)
    if content is None:
        raise BundleError(f"TensorRT does not write the engine: {said(log)}")
    return bytes(content)
