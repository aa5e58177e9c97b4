"""PyTorch/ONNX models -> checked bundles."""
