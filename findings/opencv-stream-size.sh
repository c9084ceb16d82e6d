#!/usr/bin/env bash
# OpenCV's FFmpeg reader on a stream whose pictures change their size: JPEG after JPEG over HTTP.
# Versions: opencv-python-headless 5.0.0.93.
# Guess: frames come in the size in which they were sent, or the change can at least be seen.
# Real:  every further frame is scaled to the size of the first, out of proportion, and CAP_PROP_FRAME_WIDTH stays.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet opencv-python-headless==5.0.0.93 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import http.server
import threading

import cv2
import numpy as np


class Camera(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=edge")
        self.end_headers()
        for number in range(60):
            picture = np.zeros((60, 80 if number < 10 else 120, 3), np.uint8)
            picture[10:40, 10:40] = 255  # a square
            jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
            head = f"--edge\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
threading.Thread(target=server.serve_forever, daemon=True).start()
capture = cv2.VideoCapture(f"http://127.0.0.1:{server.server_address[1]}/a.mjpg", cv2.CAP_FFMPEG)
for number in range(40):
    frame = capture.read()[1]
wide = int((frame[25, :, 1] > 100).sum())
high = int((frame[:, 15, 1] > 100).sum())
print("frame 39:", frame.shape, "the square of 30 is", wide, "x", high, "width told:", capture.get(3))
assert frame.shape == (60, 80, 3) and abs(wide - 20) < 3 and abs(high - 30) < 3 and capture.get(3) == 80
PYTHON
