"""Networks for semantic segmentation, given to NVIDIA's own parser and builder in every precision."""

from __future__ import annotations

import pytest

from edgedet.export.finished_graph import checked
from edgedet.export.segmentation.architectures import ARCHITECTURES
from edgedet.export.segmentation.graph import Preparation, export
from edgedet.export.segmentation.trained import IMAGENET
from tests.export.engines.real_builder import real_builder
from tests.export.engines.test_families_built import require_built
from tests.export.segmentation_networks import segmentation_network


@pytest.mark.parametrize("arch", ["lraspp_mobilenet_v3_large", "fcn8s_vgg16"])
def test_segmenters_are_built(arch: str) -> None:
    library = real_builder()
    preparation = Preparation(64, *IMAGENET, "RGB", ARCHITECTURES[arch].multiple)
    exported = export(segmentation_network(arch, width=160), preparation, (320, 240))
    require_built(library, checked(exported.model, nms="runtime"))
