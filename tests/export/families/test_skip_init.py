"""A network that gets trained weights is none the worse for never having had random ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgedet.export.families.skip_init import Unfilled
from edgedet.export.families.torchvision_architectures import ARCHITECTURES, build


def test_nothing_is_drawn_inside_and_everything_is_outside() -> None:
    state = torch.get_rng_state()
    with Unfilled():
        made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
        for fill in (nn.init.xavier_uniform_, nn.init.kaiming_normal_, nn.init.trunc_normal_):
            fill(made[0].weight)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(made[1].weight, torch.ones(4)), "what is not random is as ever"
    nn.Linear(4, 2)
    assert not torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("arch", ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_every_tensor_is_the_states(arch: str) -> None:
    assert arch in ARCHITECTURES
    given = build(arch, 3).state_dict()
    before = torch.get_rng_state()
    loaded = build(arch, 3, given)
    assert torch.equal(torch.get_rng_state(), before), "no number was drawn"
    tensors = loaded.state_dict()
    assert tensors.keys() == given.keys()
    assert all(torch.equal(value, given[name]) for name, value in tensors.items())
    assert not [name for name, _ in loaded.named_buffers() if name not in given], "a buffer that no state fills"
