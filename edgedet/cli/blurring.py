"""What is made unrecognisable in the pictures that a command saves or shows: classes that its detector knows, and
everything that other detectors find, such as faces."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedet.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

    from edgedet.cascade import Cascade
    from edgedet.cluster.detector import ClusterDetector
    from edgedet.detections import Detections
    from edgedet.detector import Detector
    from edgedet.masks.base import Region
    from edgedet.masks.class_map import ClassMap
    from edgedet.segmenter import Segmenter


def add_blur_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command that saves or shows pictures."""
    from edgedet.cli.values import fraction

    parser.add_argument(
        "--blur",
        metavar="CLASS",
        action="append",
        default=[],
        help="make objects of CLASS unrecognisable in what is saved or shown, by outline where the detector gives "
        "masks; may be repeated",
    )
    parser.add_argument(
        "--blur-with",
        metavar="DETECTOR",
        action="append",
        default=[],
        help="the same of everything that another artifact finds, such as faces; may be repeated",
    )
    parser.add_argument(
        "--blur-conf",
        metavar="X",
        type=fraction,
        help="minimum score of what --blur-with finds (the artifact's own; lower misses less)",
    )


class Blurring:
    """The regions of each frame that are made unrecognisable.

    Args:
        labels: of the main detector's classes.
        others: detectors, of which everything counts.
    """

    def __init__(self, labels: Sequence[int] = (), others: Sequence[Detector] = ()) -> None:
        self._labels = list(labels)
        self._others = list(others)

    def __call__(self, image: NDArray[np.uint8], found: Detections | ClassMap) -> NDArray[np.uint8]:
        """``image`` (uint8 [H, W, 3] BGR), or a copy in which those regions are a few blocks each."""
        from edgedet.masks.class_map import ClassMap

        hidden = [other.detect(image) for other in self._others]
        outlines: list[Region | None] = []
        boxes: list[NDArray[Any]] = []
        if isinstance(found, ClassMap):
            parts = found.parts(self._labels)
            outlines += parts
            boxes += [np.array([_box(part) for part in parts], np.float32).reshape(-1, 4)]
        else:
            hidden.insert(0, found[np.isin(found.labels, self._labels)])
        for each in hidden:
            outlines += [None] * len(each) if each.masks is None else list(each.masks)
        regions: NDArray[Any] = np.concatenate([*boxes, *(each.boxes for each in hidden), np.zeros((0, 4))])
        if not len(regions):
            return image
        from edgedet.pictures.redaction import redact

        return redact(image, regions.astype(np.float32), outlines)


def blurring(
    arguments: argparse.Namespace, detector: Detector | ClusterDetector | Cascade | Segmenter, stack: ExitStack
) -> Blurring:
    """What a command was asked to blur; other detectors are opened, and closed with ``stack``.

    Raises:
        UsageError: a class that the detector does not know.
        EdgedetError: another detector cannot be opened.
    """
    from edgedet.cli.proposals_refusal import require_own_proposals
    from edgedet.detector import Detector

    others = [
        stack.enter_context(Detector(path, conf=arguments.blur_conf, threads=arguments.threads))
        for path in arguments.blur_with
    ]
    for other in others:
        require_own_proposals(other.card, f"--blur-with {other.path}")
    return Blurring(_labels(detector, arguments.blur), others)


def require_pictures(arguments: argparse.Namespace) -> None:
    """Check that there is something to blur, before anything is opened.

    Raises:
        UsageError: nothing is saved or shown, or a score is given for detectors that are not.
    """
    for option, given in (("--blur", arguments.blur), ("--blur-with", arguments.blur_with)):
        if given and arguments.save is None and not arguments.show:
            raise UsageError(f"{option} is about pictures, and none are saved or shown: add --save DIR or --show")
    if arguments.blur_conf is not None and not arguments.blur_with:
        raise UsageError("--blur-conf is for the detectors that --blur-with names, and none is named")


def _labels(detector: Detector | ClusterDetector | Cascade | Segmenter, classes: list[str]) -> list[int]:
    unknown = [name for name in classes if name not in detector.names]
    if unknown:
        raise UsageError(
            f"--blur {unknown[0]}: this detector finds {', '.join(detector.names)}; --blur-with names a detector "
            "of other things"
        )
    return [detector.names.index(name) for name in classes]


def _box(part: Region) -> tuple[int, int, int, int]:
    height, width = part.values.shape
    return part.left, part.top, part.left + width, part.top + height
