"""Mask R-CNN, given to NVIDIA's own parser and builder in every precision."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgedet.export.built_graph import graph_options
from edgedet.export.families import faster_rcnn
from edgedet.export.finished_graph import checked
from tests.export.engines.family_graphs import ENGINE
from tests.export.engines.real_builder import real_builder
from tests.export.engines.test_families_built import require_built
from tests.export.families.test_mask_head import ARCHITECTURES, SMALL
from tests.export.mask_networks import mask_network


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_masks_are_built(arch: str) -> None:
    library = real_builder()
    options = replace(graph_options(ENGINE), pooling="plain")
    exported = faster_rcnn.export(mask_network(arch, 6, full=True, **SMALL), options, frame_size=(320, 240))
    require_built(library, checked(exported.model, nms="runtime"))
