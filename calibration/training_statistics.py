"""What training saw of a layer: the running statistics that its batch normalisation ended up with.

Behind a convolution with batch normalisation (Ioffe and Szegedy, arXiv:1502.03167) every channel has, over the
training data, mean beta and deviation abs(gamma). Folding hides that in weights and bias, but whoever still has the
checkpoint knows it. ZeroQ (arXiv:2001.00281) and GDFQ (arXiv:2003.03603) make pictures that reproduce the running
statistics; here they say which made pictures are unlike what training saw, and which layers' ranges are.

Statistics may be another data set's: a detector fine-tuned with frozen batch normalisation has the backbone's, and
then does not keep to them on any picture. They count for nothing where the pictures that the detector answers to
best contradict them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgedet.onnx_graph.network import Array


@dataclass(frozen=True)
class Normalised:
    """One layer's output over the training data.

    ``mean``, ``deviation``: float32 [C]. ``frozen``: training did not change them.
    """

    mean: Array
    deviation: Array
    frozen: bool


Statistics = Mapping[str, Normalised]
"""By the tensor that a convolution gives, its batch normalisation folded in or not."""
