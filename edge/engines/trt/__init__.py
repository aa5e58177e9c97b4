"""TensorRT: the same code for `tensorrt` 10.3 to 11.4 and for `tensorrt_rtx`.

The module is a parameter, `trt`, of everything here. What not all releases have is asked for in
`api`, by `hasattr`, never by the number of the version. `graph` prepares the ONNX model, `build`
makes an engine of it, `runtime` runs that, `machine` says what it was built on.
"""
