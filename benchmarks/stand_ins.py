"""Packages for training that a repository imports and no inference needs: stand-ins where they are absent."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any

TRAINING_ONLY = (
    "calflops", "faster_coco_eval", "lightning_fabric", "matplotlib", "peft", "pycocotools", "pytorch_lightning",
    "tensorboard", "torch.utils.tensorboard", "torchmetrics",
)  # fmt: skip
"""Packages that no inference needs; stand-ins take the place of those that are absent."""


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules whose every attribute is a class or function that does nothing."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if any(fullname == name or fullname.startswith(f"{name}.") for name in self.names):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        module.__path__ = []

        def missing(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return (
                type(name, (), {"__init__": lambda self, *_, **__: None}) if name[:1].isupper() else lambda *_: None
            )

        module.__getattr__ = missing  # type: ignore[method-assign]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


def stand_in_for_training(*more: str) -> None:
    """Let repositories be imported whose packages for training are absent."""
    sys.meta_path.insert(0, _StandIns((*TRAINING_ONLY, *more)))
