"""What batch normalisation knew is found again at the right tensors, and nowhere else."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from edgedet.export.training.batch_norm_statistics import statistics_of  # noqa: E402
from edgedet.onnx_graph.preparing import prepare  # noqa: E402


class Network(nn.Module):
    """Two equal blocks, a frozen one, one without normalisation, and one whose normalisation comes first."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.ops import FrozenBatchNorm2d

        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.third = nn.Sequential(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.fourth = nn.Sequential(nn.Conv2d(6, 4, 1, bias=False), FrozenBatchNorm2d(4))
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 4, 1)
        generator = torch.Generator().manual_seed(0)
        for part in self.modules():
            if "BatchNorm" in type(part).__name__:
                for name, low in (("weight", 0.5), ("bias", -1.0), ("running_mean", -1.0), ("running_var", 0.2)):
                    values = getattr(part, name)
                    values.data = torch.rand(values.shape, generator=generator) + low
                # Factors may be negative; deviations are not.
                part.weight.data[::2] *= -1

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.fourth(self.third(self.second(self.first(images))))
        return self.last(torch.relu(self.norm(torch.relu(features))))


def exported(module: nn.Module) -> onnx.ModelProto:
    file = io.BytesIO()
    torch.onnx.export(module.eval(), (torch.zeros(1, 3, 12, 12),), file, dynamo=False, opset_version=17)
    return prepare(onnx.load_from_string(file.getvalue())).model


def test_every_folded_normalisation_is_found_at_its_tensor() -> None:
    torch.manual_seed(3)
    module = Network()
    model = exported(module)
    found = statistics_of(module, model)
    convolutions = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 5 and list(found) == convolutions[:4], "nothing is said of the last"
    for output, block in zip(convolutions, (module.first, module.second, module.third), strict=False):
        np.testing.assert_array_equal(found[output].mean, block[1].bias.detach().numpy())
        np.testing.assert_array_equal(found[output].deviation, block[1].weight.detach().abs().numpy())
        assert not found[output].frozen
    # Frozen normalisation is not folded: what goes into it is what training measured.
    frozen, norm = found[convolutions[3]], module.fourth[1]
    np.testing.assert_array_equal(frozen.mean, norm.running_mean.numpy())
    np.testing.assert_allclose(frozen.deviation, np.sqrt(norm.running_var.numpy() + norm.eps), rtol=1e-5)
    assert frozen.frozen


def test_the_tensor_has_those_statistics_over_the_training_data() -> None:
    """By what batch normalisation is: after training on some data, its output over them has them."""
    torch.manual_seed(4)
    module = Network()
    images = torch.rand(64, 3, 12, 12)
    module.train()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        module(images)
    module.eval()
    model = exported(module)
    found = statistics_of(module, model)
    seen: list[torch.Tensor] = []
    module.second[1].register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.no_grad():
        module(images)
    name = [node.output[0] for node in model.graph.node if node.op_type == "Conv"][1]
    np.testing.assert_allclose(seen[0].mean(dim=(0, 2, 3)), found[name].mean, atol=1e-3)
    np.testing.assert_allclose(seen[0].std(dim=(0, 2, 3)), found[name].deviation, rtol=1e-2)


def test_nothing_is_said_of_weights_that_are_not_the_modules() -> None:
    torch.manual_seed(5)
    module, other = Network(), Network()
    assert statistics_of(other, exported(module)) == {}
