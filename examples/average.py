"""Average checkpoints of one network into one that is better than each.

    python examples/average.py build/first.pt build/second.pt --out build/both.pt

Of checkpoints of ``examples/train.py`` of which each began with the one before (``--init``): stochastic weight
averaging, https://arxiv.org/abs/1803.05407. All numbers are averaged, statistics of the norms among them; what else
the last file says is kept. Judge the result like any other (``edgedet eval``): runs that began apart have no
average.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edgedet.errors import CheckpointError
from edgedet.export.checkpoints.file import read_content
from edgedet.files import atomic_path


def main() -> int:
    """Read, average, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path, help="of one network, in the order they were made")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write (.pt)")
    arguments = parser.parse_args()
    if len(arguments.checkpoints) < 2:
        parser.error("expected two checkpoints or more")
    try:
        made = [read_content(path) for path in arguments.checkpoints]
    except CheckpointError as error:
        parser.error(str(error))
    for path, one in zip(arguments.checkpoints, made, strict=True):
        if not isinstance(one, dict) or "state_dict" not in one:
            parser.error(f"{path} is no checkpoint of examples/train.py")
        if network(one) != network(made[-1]):
            parser.error(f"{path} is not of the network of {arguments.checkpoints[-1]}")
    weights = averaged([one["state_dict"] for one in made])
    with atomic_path(arguments.out) as temporary:
        torch.save(made[-1] | {"state_dict": weights}, temporary)
    print(f"wrote {arguments.out}")
    return 0


def network(checkpoint: dict[str, Any]) -> tuple[Any, ...]:
    """What must be the same for weights to have an average."""
    shapes = {name: tensor.shape for name, tensor in checkpoint["state_dict"].items()}
    return checkpoint.get("arch"), checkpoint.get("classes"), shapes


def averaged(states: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Means of floating-point tensors, summed in float32 and of the last one's type; counts are the last one's."""
    return {
        name: (sum(state[name].float() for state in states) / len(states)).to(last.dtype)
        if last.is_floating_point()
        else last
        for name, last in states[-1].items()
    }


if __name__ == "__main__":
    raise SystemExit(main())
