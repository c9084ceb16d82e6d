#!/usr/bin/env bash
# cv2.resize of bytes, bilinear, on x86-64 and on arm64 (in qemu-user), with the same picture.
# Versions: opencv-python-headless 5.0.0.93, numpy 2.4.6, Debian 12's Python 3.11 and its qemu-user-static.
# Guess: uint8 is resized in fixed point, so that all processors give the same bytes, as they do at other scales; or
#        they differ by a last digit that cv2.setUseOptimized(False) takes away.
# Real:  up to four channels take code of arm64's own at some scales, optimised or not: of 640 x 480 in three channels
#        brought to 416 x 312 a quarter of the bytes differ, by up to 2; brought to 700 x 525 none. In one channel
#        that is other scales, by up to 4. Five channels are resized to the bytes of x86-64 at every scale tried.
# Needs qemu-aarch64-static (qemu-user-static), curl, dpkg-deb, xz. Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mirror=http://deb.debian.org/debian
curl -fsS $mirror/dists/bookworm/main/binary-arm64/Packages.xz | xz -dc > packages
for name in libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libpython3.11-minimal libpython3.11-stdlib python3.11-minimal \
  libffi8 libssl3 libbz2-1.0 liblzma5; do
  file=$(awk -v name="$name" '$1 == "Package:" {here = $2 == name} here && $1 == "Filename:" {print $2; exit}' packages)
  curl -fsS -o package.deb "$mirror/$file"
  dpkg-deb -x package.deb root
done
python3 -m venv venv
pip="venv/bin/pip --quiet --disable-pip-version-check"
$pip install opencv-python-headless==5.0.0.93 numpy==2.4.6
$pip install --target arm64 --no-deps --only-binary=:all: --python-version 3.11 --implementation cp \
  --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
  opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > resize.py <<'PYTHON'
import sys

import cv2
import numpy as np

found = {}
for channels in (1, 3, 5):
    picture = np.random.default_rng(channels).integers(0, 256, (480, 640, channels), np.uint8)
    for optimised in (True, False):
        cv2.setUseOptimized(optimised)
        for size in ((416, 312), (700, 525)):
            found[f"{channels} channels, {size[0]} x {size[1]}, optimised {optimised}"] = cv2.resize(picture, size)
np.savez(sys.argv[1], **found)
PYTHON
venv/bin/python resize.py here.npz
PYTHONPATH=arm64 PYTHONHOME=root/usr qemu-aarch64-static -L root root/usr/bin/python3.11 resize.py there.npz
venv/bin/python - <<'PYTHON'
import numpy as np

here, there = np.load("here.npz"), np.load("there.npz")
share, most = {}, {}
for name in here.files:
    apart = np.abs(here[name].astype(int) - there[name])
    share[name], most[name] = float((apart > 0).mean()), int(apart.max())
    print(f"{name}: {share[name]:.3f} of the bytes differ, by up to {most[name]}")
for optimised in ("optimised True", "optimised False"):
    assert 0.2 < share[f"3 channels, 416 x 312, {optimised}"] < 0.35 and most[f"3 channels, 416 x 312, {optimised}"] == 2
    assert share[f"3 channels, 700 x 525, {optimised}"] == 0 < share[f"1 channels, 700 x 525, {optimised}"]
    assert share[f"5 channels, 416 x 312, {optimised}"] == share[f"5 channels, 700 x 525, {optimised}"] == 0
PYTHON
