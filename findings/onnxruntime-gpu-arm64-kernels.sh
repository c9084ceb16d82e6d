#!/usr/bin/env bash
# For which GPUs onnxruntime-gpu's wheel for arm64 holds kernels, beside its wheel for x86-64.
# Versions: onnxruntime-gpu 1.31.1 (wheels for Python 3.12), zstandard 0.25.0 to unpack the code.
# Guess: one version, one set of GPUs: what x86-64 has from 7.5 on, arm64 has too; for a GPU between two of them, such
#        as a Jetson Orin's 8.7, the driver compiles the PTX; and the TensorRT provider is there, for Jetsons above all.
# Real:  arm64 has kernels for 8.9, 9.0a, 12.0a and 12.1a only, and no PTX, so neither Orin (8.7) nor Thor (11.0) can
#        run a single layer, nor any of 7.5, 8.0 and 8.6, which x86-64 has; and no TensorRT provider. pip installs it
#        on a Jetson all the same, and ONNX Runtime lists CUDA as available there.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet zstandard==0.25.0
for platform in manylinux_2_34_aarch64 manylinux_2_28_x86_64; do
    venv/bin/pip download --quiet --no-deps --only-binary :all: --python-version 3.12 --platform "$platform" \
        --dest "$platform" onnxruntime-gpu==1.31.1
done
venv/bin/python - <<'PYTHON'
import collections
import pathlib
import re
import struct
import zipfile

import zstandard

CONTAINER, KINDS = 0xBA55ED50, {1: "PTX", 2: "code"}


def kernels(library):
    """How many pieces there are for each GPU. Containers of entries; the name of the GPU is in the code itself."""
    found = collections.Counter()
    for at in (match.start() for match in re.finditer(struct.pack("<I", CONTAINER), library)):
        _, version, header, size = struct.unpack_from("<IHHQ", library, at)
        if (version, header) != (1, 16):
            continue
        entry, end = at + header, at + header + size
        while entry < end:
            kind, _, length, packed = struct.unpack_from("<HHIQ", library, entry)
            code = library[entry + length : entry + length + packed]
            code = zstandard.ZstdDecompressor().decompressobj().decompress(code)
            gpu = re.search(rb"sm_\d+[af]?", code[code.index(b"-arch") :]) if kind == 2 else None
            found[KINDS[kind], gpu.group().decode() if gpu else "any"] += 1
            entry += length + packed
    return found


gpus, providers = {}, {}
for platform in ("aarch64", "x86_64"):
    (path,) = pathlib.Path().glob(f"*{platform}/*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if "libonnxruntime_providers_" in name]
        providers[platform] = {re.search(r"providers_(\w+)\.so", name)[1] for name in names}
        found = kernels(wheel.read(next(name for name in names if "cuda" in name)))
    gpus[platform] = {gpu for _, gpu in found}
    print(path.name, sorted(providers[platform]))
    print("   ", ", ".join(f"{gpu}: {count} x {kind}" for (kind, gpu), count in sorted(found.items())))
assert gpus["aarch64"] == {"sm_89", "sm_90a", "sm_120a", "sm_121a"}
assert {"sm_75", "sm_80", "sm_86"} <= gpus["x86_64"]
assert "tensorrt" in providers["x86_64"] and "tensorrt" not in providers["aarch64"]
PYTHON
