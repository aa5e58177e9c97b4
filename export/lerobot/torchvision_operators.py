"""Import this before LeRobot: it imports torchvision also where torchvision's compiled operators do
not load, as those of a wheel made for CUDA beside a CPU build of torch. The import fails there, as
torchvision describes operators that nobody declared; here they are declared. ACT takes a ResNet of
torchvision, which needs none of them."""

from __future__ import annotations

import sys

import torch

try:
    import torchvision
except RuntimeError:
    _library = torch.library.Library("torchvision", "DEF")  # kept, or the declarations go with it
    _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    # Modules that the failed import left behind would not become attributes of the next one.
    for _name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        del sys.modules[_name]
    import torchvision  # noqa: F401
