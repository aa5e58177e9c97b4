"""Inference engines, which run the ONNX models of bundles; their registry is `backends`."""
