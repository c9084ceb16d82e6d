"""One pass over the calibration frames for all that the float graph is asked: what it finds, and what sets ranges.

The judge wants the float graph's detections, equalisation and fitting want to see its inner tensors, and most often
on the same pictures. So the graph with taps gives out its own outputs, too, and every picture is run once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import onnx

from edgedet.machine.cores import available_cores
from edgedet.onnx_graph.network import Array, Layer, Network

from .activation_samples import Gathering, Survey, in_one_pass
from .effort import Effort, spread
from .executor import lanes_of
from .observe import Progress, silent
from .taps import Look, Taps

PACED = 3
"""Minimum number of frames from which the pace is taken."""


@dataclass(frozen=True)
class Pace:
    """How fast the first frames came.

    Attributes:
        opening: seconds until the first of them was there.
        between: seconds from one to the next; as many as there are lanes come at the same time.
        ranged: how many of them set ranges.
        left: frames, of all, that are yet to come.
    """

    opening: float
    between: float
    ranged: int
    left: int


class FirstPass:
    """The float graph as a function of a frame, which is called for the judged ones in order, and the survey.

    Args:
        network: the float graph; it is not changed.
        tensors: float tensors to observe.
        layers: to take patches of, and how many positions of every frame.
        frames: prepared inputs.
        ranged: numbers of those that set ranges.
        judged: numbers of those on which the judge wants the outputs.
        opening: makes of the graph the one that the judge wants.
        threads: of a run; None takes every core.

    Attributes:
        lanes: as of a :class:`edgedet.calibration.executor.GraphRunner`; frames are run ahead here.
        progress: told of every frame that sets ranges.
    """

    lanes = 1

    def __init__(
        self,
        network: Network,
        tensors: Sequence[str],
        layers: dict[Layer, int],
        frames: Sequence[Array],
        *,
        ranged: Sequence[int],
        judged: Sequence[int],
        opening: Callable[[onnx.ModelProto], onnx.ModelProto],
        threads: int | None,
    ) -> None:
        self.progress: Progress = silent
        self._ranged, self._judged = set(ranged), set(judged)
        numbers = sorted(self._ranged | self._judged)
        # Frames run side by side come all at once, the first of them late: two rounds behind these tell the pace.
        self._at_once = lanes_of(network.model, threads or available_cores())
        self._paced = max(PACED, 2 * self._at_once + 1)
        self._gathering = Gathering(tensors, layers, len(self._ranged))
        self._ahead: deque[tuple[int, dict[str, Array]]] = deque()
        taps = Taps(network, tensors, layers, frame=frames[0], opening=opening, threads=threads)
        self._looks: Iterator[Look] = taps.look(frames[number] for number in numbers)
        self._left = deque(numbers)

    def pace(self) -> Pace:
        """Run the first few frames, and tell how fast they came."""
        begun = time.monotonic()
        times: list[float] = []
        while len(times) < self._paced and self._left:
            self._ahead.append(self._taken())
            times.append(time.monotonic())
        whole = (len(times) - 1) // self._at_once * self._at_once
        # Of fewer frames than lanes nothing is known but when all were there.
        between = (times[whole] - times[0]) / whole if whole else (times[-1] - begun) / len(times)
        return Pace(times[0] - begun, between, self._gathering.frames, len(self._left))

    def __call__(self, frame: Array) -> dict[str, Array]:
        """Outputs of the next judged frame, by name."""
        while True:
            number, outputs = self._ahead.popleft() if self._ahead else self._taken()
            if number in self._judged:
                return outputs

    def survey(self) -> Survey:
        """What was seen on the frames that set ranges, once: nothing of it is held here any longer."""
        while self._left:
            self._taken()
        # Whoever runs frames comes to an end, and closes the graph, when it is asked for one too many.
        next(self._looks, None)
        return self._gathering.survey()

    def close(self) -> None:
        """End it where nobody wants the survey: the graph is let go."""
        self._left.clear()
        self._ahead.clear()
        self._gathering = Gathering((), (), 0)
        self._looks = iter(())

    def _taken(self) -> tuple[int, dict[str, Array]]:
        """The next frame: its number, and the outputs where it is judged."""
        number, look = self._left.popleft(), next(self._looks)
        if number in self._ranged:
            self._gathering.add(look)
            self.progress("ranges", self._gathering.frames, len(self._ranged))
        return number, look.outputs if number in self._judged else {}


def first_pass(
    network: Network,
    tensors: Sequence[str],
    layers: Sequence[Layer],
    frames: Sequence[Array],
    effort: Effort,
    *,
    opening: Callable[[onnx.ModelProto], onnx.ModelProto],
    threads: int | None,
) -> FirstPass | None:
    """The pass; None where two are less work, or patches of all layers are too much to be held at a time.

    A run with taps takes about twice as long as one without. So it pays where at least half of the judged frames
    set ranges, too.
    """
    ranged, judged = spread(len(frames), effort.frames), spread(len(frames), effort.judged)
    positions = in_one_pass(network, len(ranged), layers)
    if positions is None or 2 * len(set(judged) - set(ranged)) > len(judged):
        return None
    return FirstPass(
        network,
        tensors,
        positions,
        frames,
        ranged=ranged,
        judged=judged,
        opening=opening,
        threads=threads,
    )
