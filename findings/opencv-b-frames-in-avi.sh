#!/usr/bin/env bash
# OpenCV's frame times of H.264 with B-frames, in AVI and in MP4.
# Versions: opencv-python-headless 5.0.0.93, imageio-ffmpeg 0.6.0 (FFmpeg with libx264).
# Guess: CAP_PROP_POS_MSEC after read() is the frame's presentation time, index / 30 s, in both containers.
# Real:  in MP4 it is. In AVI, which keeps no presentation times, every time is two frames late (66.7 ms) and the
#        last two frames are at 0: a clip's end is told to be its beginning.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet opencv-python-headless==5.0.0.93 numpy==2.4.6 imageio-ffmpeg==0.6.0
venv/bin/python - <<'PYTHON'
import subprocess

import cv2
import imageio_ffmpeg


def times(name):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi"]
    command += ["-i", "testsrc=size=160x120:rate=30:duration=1", "-c:v", "libx264", "-bf", "2", name]
    subprocess.run(command, check=True)
    capture = cv2.VideoCapture(name)
    found = []
    while capture.read()[0]:
        found.append(round(capture.get(cv2.CAP_PROP_POS_MSEC), 1))
    print(name, len(found), "frames:", found[:3], "...", found[-3:])
    return found


right = [round(1000 * index / 30, 1) for index in range(30)]
assert times("clip.mp4") == right
assert times("clip.avi") == right[2:] + [0.0, 0.0]
PYTHON
