"""The example server, started as a reader would start it, and asked as wearables would ask."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet import Detector
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

for name in ("starlette", "uvicorn"):
    pytest.importorskip(name, reason=f"needs {name} (examples/serve/README.md)")

ROOT = Path(__file__).resolve().parents[2]
BATCH = 4
PATIENCE_SECONDS = 120


def ask(address: str, content: bytes | None = None) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, content), timeout=PATIENCE_SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, int]]:
    """Address, artifact, and the process's id."""
    folder = tmp_path_factory.mktemp("serve")
    save_rectangle_graph(folder / "model.onnx", batch=BATCH)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        str(ROOT / "examples/serve/server.py"),
        str(folder / "model.onnx"),
        "--port",
        str(port),
    ]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)})
    address = f"http://127.0.0.1:{port}"
    end = time.monotonic() + PATIENCE_SECONDS
    try:
        while True:
            assert process.poll() is None, "the server ended"
            try:
                ask(f"{address}/health")
                break
            except OSError:
                assert time.monotonic() < end, "the server does not answer"
                time.sleep(0.2)
        yield address, folder / "model.onnx", process.pid
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def peak_bytes(process: int) -> int:
    (line,) = (
        line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(line.split()[1]) * 1024


def encoded(number: int) -> tuple[Any, bytes]:
    frame = frame_with_rectangle(60, 80, (10 + number, 10, 50, 40), channel=number % 3)
    done, content = cv2.imencode(".png", frame)
    assert done
    return frame, content.tobytes()


def test_many_pictures_at_once_get_their_own_detections(served: tuple[str, Path, int]) -> None:
    address, artifact, _ = served
    frames, contents = zip(*(encoded(number) for number in range(12)), strict=True)
    with ThreadPoolExecutor(6) as clients:
        answers = list(clients.map(lambda content: ask(f"{address}/detect", content), contents))
    with Detector(artifact) as detector:
        expected = [json.loads(json.dumps(detector.detect(frame).to_dict())) for frame in frames]
    assert answers == [(200, each) for each in expected]
    status, health = ask(f"{address}/health")
    assert status == 200 and health["status"] == "ok"
    assert (health["artifact"], health["batch"], health["waiting"]) == ("model.onnx", BATCH, 0)
    assert health["pictures"] >= 12 >= health["runs"] >= 12 / BATCH


def test_what_is_no_picture_is_said_and_harms_nobody(served: tuple[str, Path, int]) -> None:
    address, _, process = served
    for content in (b"nothing", b"\xff\xd8\xff"):
        status, answer = ask(f"{address}/detect", content)
        assert status == 422 and "sent" in answer["error"]
    assert ask(f"{address}/detect", bytes(20 * 2**20 + 1))[0] == 413
    # A small file of 36 million pixels; nobody makes room for them.
    done, content = cv2.imencode(".png", np.zeros((6000, 6000, 3), np.uint8))
    before = peak_bytes(process)
    assert done and [ask(f"{address}/detect", content.tobytes())[0] for _ in range(3)] == [422] * 3
    assert peak_bytes(process) - before < 50e6
    assert ask(f"{address}/detect", encoded(0)[1])[0] == 200


def test_it_listens_on_this_machine_alone(served: tuple[str, Path, int]) -> None:
    address, _, _ = served
    port = int(address.rpartition(":")[2])
    with socket.socket() as other:
        # Free on every address but one: 127.0.0.2 is this machine, too.
        other.bind(("127.0.0.2", port))
    listening = [
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    ]
    assert f"0100007F:{port:04X}" in listening
    assert f"00000000:{port:04X}" not in listening


def test_an_artifact_that_does_not_open_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples/serve/server.py"), str(tmp_path / "gone.onnx")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 2
    assert "error: no such file" in done.stderr and "Traceback" not in done.stderr
