"""The fused CUDA kernel of the PRO features, from the same spec as the oracle and the C++ twin."""
