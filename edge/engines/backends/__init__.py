"""Inference engines; each module is a kind with `open_engine(path, ...) -> Engine`."""
