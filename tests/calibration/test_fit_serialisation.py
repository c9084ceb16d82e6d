"""A fit that went through the ledger is the fit that was made."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import ModuleType

import numpy as np

from edgedet.calibration.fit_serialisation import pack, unpack
from edgedet.calibration.fitting import fit
from edgedet.calibration.measurement_cache import Ledger
from edgedet.calibration.observe import Observation
from edgedet.onnx_graph.preparing import prepare


def test_everything_of_a_fit_comes_back_from_disk(tiny: ModuleType, tmp_path: Path) -> None:
    network = prepare(tiny.tiny_detector())
    made = fit(network, tiny.frames(4), network.layers(), tensors=["residual_out"], kind="u8", margin=1.2)
    Ledger(tmp_path, "a" * 64).arrays(lambda: pack(made))
    read = unpack(Ledger(tmp_path, "a" * 64).arrays(lambda: {}))
    assert read.grids == made.grids and read.methods == made.methods
    assert list(read.layers) == list(made.layers) and list(read.seen) == list(made.seen)
    for name, layer in made.layers.items():
        assert (read.layers[name].error, read.layers[name].rounding) == (layer.error, layer.rounding)
        for part in ("weight", "scales", "bias_shift"):
            before, after = getattr(layer, part), getattr(read.layers[name], part)
            assert before.dtype == after.dtype
            np.testing.assert_array_equal(after, before)
    for name, tensor in made.seen.items():
        assert tensor.margin == 1.2
        for part in (field.name for field in fields(Observation)):
            np.testing.assert_array_equal(getattr(read.seen[name], part), getattr(tensor, part), err_msg=part)
