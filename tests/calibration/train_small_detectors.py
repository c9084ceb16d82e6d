"""Trains the detectors of ``small_detectors.py``, a minute each: python tests/calibration/train_small_detectors.py

Batch normalisation is folded into the weights that are kept.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.calibration.small_detectors import ACTIVATIONS, CELL, CELLS, LAYERS, WEIGHTS, Scenes, scenes

STEPS, BATCH, SEED = 260, 32, 0


def main() -> None:
    """Train all of them and write their weights."""
    import torch

    # So small that a second thread is only waited for.
    torch.set_num_threads(1)
    kept: dict[str, np.ndarray] = {}
    for activation in ACTIVATIONS:
        kept |= {
            f"{activation}/{name}": value.astype(np.float16) for name, value in folded(learned(activation)).items()
        }
        print(activation, flush=True)
    np.savez_compressed(WEIGHTS, **kept)  # type: ignore[arg-type]


def learned(activation: str) -> nn.Sequential:
    """A trained network: for every layer a convolution, its normalisation and the activation; then the head."""
    import torch
    from torch import nn

    torch.manual_seed(SEED)
    blocks: list[nn.Module] = []
    for inputs, outputs, stride in LAYERS:
        blocks += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)]
        blocks.append(nn.Hardswish() if activation == "HardSwish" else getattr(nn, activation)())
    head = nn.Conv2d(LAYERS[-1][1], 5, 1)
    assert head.bias is not None
    nn.init.constant_(head.bias[4:], -3.0)
    network = nn.Sequential(*blocks, head)
    known = scenes(800, seed=SEED + 1000)
    pixels = torch.from_numpy(known.pictures).permute(0, 3, 1, 2).float() / 255
    wanted, positive = _targets(known)
    optimiser = torch.optim.AdamW(network.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 8e-3, STEPS)
    for _ in range(STEPS):
        batch = torch.randint(0, len(pixels), (BATCH,))
        found = network(pixels[batch]).permute(0, 2, 3, 1)
        there = positive[batch]
        score = nn.functional.binary_cross_entropy_with_logits(found[..., 4], there.float(), reduction="sum")
        box = (found[..., :4] - wanted[batch])[there].abs().sum()
        optimiser.zero_grad()
        ((score + box) / BATCH).backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def folded(network: nn.Sequential) -> dict[str, np.ndarray]:
    """Weights and biases of the convolutions, by name, with the normalisation inside."""
    found = {}
    for number in range(len(LAYERS)):
        convolution, norm = network[3 * number], network[3 * number + 1]
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        found[f"layer{number}.w"] = convolution.weight * factor[:, None, None, None]
        found[f"layer{number}.b"] = norm.bias - norm.running_mean * factor
    found |= {"head.w": network[-1].weight, "head.b": network[-1].bias}
    return {name: value.detach().numpy() for name, value in found.items()}


def _targets(known: Scenes) -> tuple[Tensor, Tensor]:
    """Left, top, right and bottom edge from each cell's centre, in cells, and which cells answer for a box."""
    import torch

    wanted = np.zeros((len(known.boxes), CELLS, CELLS, 4), np.float32)
    positive = np.zeros((len(known.boxes), CELLS, CELLS), bool)
    for number, boxes in enumerate(known.boxes):
        for box in boxes:
            column, row = ((box[:2] + box[2:]) / 2 // CELL).astype(int).clip(0, CELLS - 1)
            centre = (np.array([column, row]) + 0.5) * CELL
            wanted[number, row, column] = (box - np.tile(centre, 2)) / CELL
            positive[number, row, column] = True
    return torch.from_numpy(wanted), torch.from_numpy(positive)


if __name__ == "__main__":
    main()
