"""Keypoint R-CNN, given to NVIDIA's own parser and builder in every precision."""

from __future__ import annotations

from dataclasses import replace

from edgedet.export.built_graph import graph_options
from edgedet.export.families import faster_rcnn
from edgedet.export.finished_graph import checked
from tests.export.engines.family_graphs import ENGINE
from tests.export.engines.real_builder import real_builder
from tests.export.engines.test_families_built import require_built
from tests.export.families.test_keypoint_head import MOBILENET, SMALL
from tests.export.keypoint_networks import keypoint_network


def test_keypoints_are_built() -> None:
    """With one backbone: the other's is Mask R-CNN's, which test_masks_built.py builds."""
    library = real_builder()
    options = replace(graph_options(ENGINE), pooling="plain")
    exported = faster_rcnn.export(keypoint_network(MOBILENET, 6, **SMALL), options, frame_size=(320, 240))
    require_built(library, checked(exported.model, nms="runtime"))
