"""A detector behind HTTP, for a bench machine that several wearables send frames to:

    python examples/serve/server.py model.onnx

Needs ``pip install edgedet starlette uvicorn``. It listens on this machine alone; ``--host`` opens it to others,
who then need no password: put a proxy with one in front.

``POST /detect``: a picture (JPEG, PNG, …) as the body; its detections as JSON. Pictures that arrive at the same
time share a run of the network, where the artifact was exported with a batch (``edgedet export --batch N``).
``GET /health``: what runs, how many pictures it has seen, and how many wait.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

LARGEST_BYTES = 20 * 2**20
LARGEST_PIXELS = 2**23
"""Maximum size of a picture: a frame of 3840 x 2160. A small file may hold a very large one."""
MAX_WAITING = 32
"""Maximum number of waiting pictures; whoever sends one more is asked to come again (503). Decoded, all of them are
0.8 GB."""
# OpenCV reads it when it is loaded, and sizes before it makes room for pixels.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(LARGEST_PIXELS)

from edgedet import Detections, Detector, EdgedetError
from edgedet.pictures.image_file import decode_image


@dataclass
class Waiting:
    """A picture, and where its detections go."""

    frame: Any
    found: asyncio.Future[Detections]


class Desk:
    """Takes pictures from everybody, and gives the detector as many at a time as its batch has places."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.batch = max(detector.card.input.batch, 1)
        self.queue: asyncio.Queue[Waiting] = asyncio.Queue()
        self.inside = self.served = self.runs = 0
        # One thread: calls of a detector wait for one another anyway, and a queue here can be looked at.
        self._thread = ThreadPoolExecutor(1, "detector")

    @contextmanager
    def place(self) -> Iterator[None]:
        """For a picture until it is answered, decoding included; raises asyncio.QueueFull where none is free."""
        if self.inside == MAX_WAITING:
            raise asyncio.QueueFull
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def detect(self, frame: Any) -> Detections:
        """Detections of a frame that has a place."""
        waiting = Waiting(frame, asyncio.get_running_loop().create_future())
        self.queue.put_nowait(waiting)
        return await waiting.found

    async def work(self) -> None:
        """Until cancelled: whatever waits is put into one batch. Nobody waits for a batch to fill."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self.queue.get()]
            with suppress(asyncio.QueueEmpty):
                while len(batch) < self.batch:
                    batch.append(self.queue.get_nowait())
            try:
                found = await loop.run_in_executor(
                    self._thread, self.detector.detect_batch, [waiting.frame for waiting in batch]
                )
            except Exception as error:
                for waiting in batch:
                    if not waiting.found.done():
                        waiting.found.set_exception(error)
                continue
            self.served, self.runs = self.served + len(batch), self.runs + 1
            for waiting, detections in zip(batch, found, strict=True):
                if not waiting.found.done():  # whoever asked may have gone
                    waiting.found.set_result(detections)

    def close(self) -> None:
        """Let the run that is going on end."""
        self._thread.shutdown()


def make_app(artifact: str, **options: Any) -> Starlette:
    """The application; ``options`` are those of :class:`edgedet.Detector`."""

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        with Detector(artifact, **options) as detector:
            detector.warmup()
            app.state.desk = desk = Desk(detector)
            worker = asyncio.create_task(desk.work())
            yield
            worker.cancel()
            desk.close()

    return Starlette(
        lifespan=life,
        routes=[
            Route("/detect", detect, methods=["POST"]),
            Route("/health", health, methods=["GET"]),
        ],
    )


async def detect(request: Request) -> JSONResponse:
    """A picture in, its detections out."""
    desk: Desk = request.app.state.desk
    content = bytearray()
    try:
        async for piece in request.stream():
            content += piece
            if len(content) > LARGEST_BYTES:
                return _refusal(413, f"the picture has more than {LARGEST_BYTES:,} bytes; send a smaller one")
    except ClientDisconnect:
        return _refusal(400, "the picture broke off")
    try:
        with desk.place():
            frame = await asyncio.to_thread(decode_image, bytes(content), "sent")
            detections = await desk.detect(frame)
    except EdgedetError as error:
        return _refusal(422, str(error))
    except asyncio.QueueFull:
        refusal = _refusal(503, f"{MAX_WAITING} pictures are waiting; come again in a second")
        refusal.headers["Retry-After"] = "1"
        return refusal
    return JSONResponse(detections.to_dict())


async def health(request: Request) -> JSONResponse:
    """What a monitor asks for."""
    desk: Desk = request.app.state.desk
    return JSONResponse(
        {
            "status": "ok",
            "artifact": desk.detector.path.name,
            "runtime": desk.detector.description,
            "batch": desk.batch,
            "pictures": desk.served,
            "runs": desk.runs,
            "waiting": desk.queue.qsize(),
        }
    )


def _refusal(code: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status_code=code)


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", help="graph or engine")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine alone)")
    parser.add_argument("--port", type=int, default=8500, help="port (8500)")
    parser.add_argument("--conf", type=float, help="minimum score of a detection")
    parser.add_argument("--runtime", default="auto", help="as edgedet detect takes it (auto)")
    arguments = parser.parse_args()
    try:
        # Opened here first: what is wrong with it is one sentence.
        Detector(arguments.artifact, runtime=arguments.runtime, conf=arguments.conf).close()
    except EdgedetError as error:
        parser.error(str(error))
    app = make_app(arguments.artifact, runtime=arguments.runtime, conf=arguments.conf)
    # No line for each request: who sent a picture, and when, is nobody's business.
    uvicorn.run(app, host=arguments.host, port=arguments.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
