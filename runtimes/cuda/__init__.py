"""CUDA from Python: checked calls through ``cuda.bindings``, kernels of our own, and what compiles them."""
