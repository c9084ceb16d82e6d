#!/usr/bin/env bash
# TensorRT-RTX's builder and the number of threads it is allowed.
# Versions: tensorrt-rtx-cu13 (libs, bindings) 1.7.1.116, numpy 2.4.6. Linux, no GPU, no driver.
# Guess: Builder.max_threads, "the maximum thread that can be used by the Builder", is 1 by default, and a build then
#        keeps to the thread that asked for it: TensorRT's reference of setMaxThreads counts the current thread.
# Real:  with max_threads 1, set or by default, the engine of eight convolutions is made by several threads at once,
#        and fifteen or more begin and end. Who is to keep to one core has to say so to the system (taskset, cgroups).
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import os
import sys
import threading
import time

import numpy as np
import tensorrt_rtx_libs  # noqa: F401, I001 (it loads what the bindings are linked to)
import tensorrt_rtx_bindings as trt


class Log(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)

    def log(self, severity, message):
        pass


def threads():
    return set(os.listdir("/proc/self/task"))


def build(log, allowed):
    """(threads beside the caller's at once, such threads altogether) while an engine is made, by looking often."""
    builder = trt.Builder(log)
    builder.max_threads = allowed
    network = builder.create_network(0)
    tensor = network.add_input("x", trt.float32, (1, 16, 32, 32))
    for _ in range(8):
        weights = trt.Weights(np.full((16, 16, 3, 3), 0.01, np.float32))
        tensor = network.add_convolution_nd(tensor, 16, (3, 3), weights).get_output(0)
    network.mark_output(tensor)
    seen, most, begin, done = set(), 0, threading.Event(), threading.Event()

    def watch():
        nonlocal most
        begin.wait()
        while not done.is_set():
            now = threads() - known
            seen.update(now)
            most = max(most, len(now))
            time.sleep(0.0002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    known = threads()
    begin.set()
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    done.set()
    watcher.join()
    assert plan is not None and builder.max_threads == allowed
    return most, len(seen)


log = Log()
print("max_threads by default:", trt.Builder(log).max_threads)
found = [build(log, 1) for _ in range(3)]
for most, altogether in found:
    print(f"max_threads 1: {most} more threads at once, {altogether} or more altogether")
sys.exit(0 if max(most for most, _ in found) > 1 else 1)
PYTHON
