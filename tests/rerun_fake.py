"""The part of Rerun's Python SDK that Headway calls, as a module that notes every call.

`SIGNATURES` is the contract: calls that do not fit it fail here, and `test_view_rerun` compares it
with the real package where that is installed.
"""

from __future__ import annotations

import inspect
import json
from inspect import Parameter
from types import SimpleNamespace

import numpy as np

SIGNATURES = {
    "spawn": ("recording", "hide_welcome_screen", "executable_path"),
    "RecordingStream": ("application_id",),
    "RecordingStream.save": ("path",),
    "RecordingStream.connect_grpc": ("url",),
    "RecordingStream.set_time": ("timeline", "duration"),
    "RecordingStream.log": ("entity_path", "entity"),
    "RecordingStream.flush": ("timeout_sec",),
    "RecordingStream.disconnect": (),
    "Scalars": ("scalars",),
    "Image": ("image", "color_model"),
    "DepthImage": ("image", "meter"),
    "Pinhole": ("image_from_camera", "resolution"),
    "Transform3D": ("translation", "quaternion"),
    "TextLog": ("text", "level"),
}


def module():
    """`calls`: (name, arguments) in order. `save` makes `disconnect` write them as JSON."""
    rr = SimpleNamespace(calls=[], path=None)

    def noting(name):
        parameters = [Parameter(n, Parameter.POSITIONAL_OR_KEYWORD) for n in SIGNATURES[name]]
        signature = inspect.Signature(parameters)

        def call(*args, **kwargs):
            found = dict(signature.bind_partial(*args, **kwargs).arguments)
            rr.calls.append((name, found))
            return name, found

        return call

    class RecordingStream:
        def __init__(self, application_id):
            noting("RecordingStream")(application_id)

        def __getattr__(self, name):
            call = noting(f"RecordingStream.{name}")
            if name == "save":
                return lambda path: setattr(rr, "path", call(path)[1]["path"])
            if name != "disconnect" or rr.path is None:
                return call

            def disconnect():
                call()
                with open(rr.path, "w") as f:
                    json.dump(rr.calls, f, default=_plain)

            return disconnect

    rr.RecordingStream = RecordingStream
    for name in SIGNATURES:
        if "." not in name and name != "RecordingStream":
            setattr(rr, name, noting(name))
    return rr


def _plain(value):
    return int(value.astype(np.int64)) if isinstance(value, np.timedelta64) else value.tolist()
