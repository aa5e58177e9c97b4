"""Export PyTorch models as bundles with ONNX models."""
