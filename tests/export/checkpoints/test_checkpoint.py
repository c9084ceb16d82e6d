"""Checkpoints come in without running their code, and errors say what to do."""

from __future__ import annotations

import argparse
import pickle
import re
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from edgedet.errors import CheckpointError, UntrustedCheckpointError
from edgedet.export.checkpoints.checkpoint import load_checkpoint
from edgedet.export.families.architecture_from_tensors import class_count, guess_architecture
from edgedet.export.families.torchvision_architectures import ARCHITECTURES, build

SSDLITE = "ssdlite320_mobilenet_v3_large"
marker: list[str] = []


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = build(SSDLITE, 4).state_dict()
    return tensors


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_described_checkpoints_are_read(tmp_path: Path, state: dict[str, torch.Tensor], key: str) -> None:
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    content = {
        "arch": SSDLITE,
        "num_classes": 4,
        "classes": ["a", "b", "c"],
        key: half,
        "args": argparse.Namespace(x=1),
    }
    checkpoint = load_checkpoint(saved(tmp_path / "a.pt", content))
    assert (checkpoint.arch, checkpoint.num_classes, checkpoint.names) == (SSDLITE, 4, ("a", "b", "c"))
    assert all(value.dtype != torch.float16 for value in checkpoint.state_dict.values())
    build(checkpoint.arch, checkpoint.num_classes, checkpoint.state_dict)


def test_bare_state_dict_is_recognised_and_counted(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    parallel = {f"module.{name}": value for name, value in state.items()}
    checkpoint = load_checkpoint(saved(tmp_path / "a.pt", parallel))
    assert (checkpoint.arch, checkpoint.num_classes) == (SSDLITE, 4)
    assert checkpoint.names == ("class_1", "class_2", "class_3")


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
def test_class_count_is_read_off_the_tensors(arch: str) -> None:
    with torch.device("meta"):
        tensors = build(arch, 7).state_dict()
    assert class_count(arch, tensors) == 7
    assert guess_architecture(tensors) in (arch, None)


def test_ambiguous_tensors_ask_for_the_architecture(tmp_path: Path) -> None:
    tensors = build("fasterrcnn_mobilenet_v3_large_320_fpn", 3).state_dict()
    path = saved(tmp_path / "a.pt", tensors)
    with pytest.raises(CheckpointError, match=r"add --arch, one of: .*_320_fpn.*need it in the file: torch.save"):
        load_checkpoint(path)
    assert load_checkpoint(path, arch="fasterrcnn_mobilenet_v3_large_320_fpn").num_classes == 3


def test_wrong_class_counts_are_named(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = saved(tmp_path / "a.pt", {"arch": SSDLITE, "num_classes": 5, "state_dict": state})
    with pytest.raises(CheckpointError, match=r"says num_classes is 5, but its class layer has 4"):
        load_checkpoint(path)
    path = saved(tmp_path / "b.pt", {"arch": SSDLITE, "state_dict": state})
    with pytest.raises(CheckpointError, match=r"has 3 classes \(and background\), but 2 names"):
        load_checkpoint(path, classes=("a", "b"))
    assert load_checkpoint(path, classes=("__background__", "a", "b", "c")).names == ("a", "b", "c")


@pytest.mark.parametrize(
    "classes",
    [("a", "b", "c"), {1: "a", 2: "b", 3: "c"}, {"c": 3, "a": 1, "b": 2}],
    ids=["tuple", "by number", "by name"],
)
def test_names_come_in_the_order_of_their_numbers(
    tmp_path: Path, state: dict[str, torch.Tensor], classes: object
) -> None:
    content = {"arch": SSDLITE, "num_classes": 4.0, "classes": classes, "state_dict": state}
    assert load_checkpoint(saved(tmp_path / "a.pt", content)).names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("num_classes", "4", r"num_classes is '4', a str; expected a number"),
        ("num_classes", True, r"num_classes is True, a bool"),
        ("num_classes", [4], r"num_classes is \[4\], a list"),
        ("classes", "RBC", r"its classes are a str \('RBC'\); expected a list of names"),
        ("classes", [1, 2, 3], r"its classes are a list"),
        ("classes", {"a": "b"}, r"its classes are a dict"),
    ],
)
def test_descriptions_of_the_wrong_kind_are_refused(
    tmp_path: Path, state: dict[str, torch.Tensor], key: str, value: object, words: str
) -> None:
    path = saved(tmp_path / "a.pt", {"arch": SSDLITE, "state_dict": state, key: value})
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(path)


def test_unknown_architecture_lists_the_known(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = saved(tmp_path / "a.pt", {"arch": "retinanet", "state_dict": state})
    with pytest.raises(CheckpointError, match=r"unknown architecture 'retinanet'; edgedet knows .*ssd300_vgg16"):
        load_checkpoint(path)


def test_tensors_of_another_architecture_are_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(CheckpointError, match="not those of ssd300_vgg16"):
        load_checkpoint(saved(tmp_path / "a.pt", state), arch="ssd300_vgg16")
    changed = dict(state)
    name = next(iter(changed))
    changed[name] = torch.zeros(1, 2)
    with pytest.raises(CheckpointError, match=r"does not fit .*\(1, 2\)"):
        build(SSDLITE, 4, changed)


def test_diverged_weights_are_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    broken = dict(state)
    name = next(name for name, value in broken.items() if value.is_floating_point())
    broken[name] = broken[name] * float("nan")
    with pytest.raises(CheckpointError, match=f"{re.escape(name)} holds NaN"):
        load_checkpoint(saved(tmp_path / "a.pt", broken))


class Malicious:
    """Runs a function when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return marker.append, ("ran",)


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"state_dict": Malicious()})
    with pytest.raises(UntrustedCheckpointError, match=r"carries code .*--trust-checkpoint"):
        load_checkpoint(path)
    assert not marker


def test_a_pickled_module_gives_its_tensors_and_with_trust_itself(tmp_path: Path) -> None:
    module = build(SSDLITE, 4)
    path = saved(tmp_path / "a.pt", module)
    checkpoint = load_checkpoint(path)
    assert (checkpoint.arch, checkpoint.num_classes, checkpoint.module) == (SSDLITE, 4, None)
    assert checkpoint.inert is not None and checkpoint.inert.path == "torchvision.models.detection.ssd.SSD"
    assert "read without running its code" in checkpoint.notes[0]
    for name, value in module.state_dict().items():
        assert torch.equal(checkpoint.state_dict[name], value)
    trusted = load_checkpoint(path, trust="code")
    assert trusted.arch == SSDLITE and type(trusted.module) is type(module) and not trusted.notes


@pytest.mark.parametrize(("content", "words"), [(b"", "empty"), (b"\xff\xd8\xff\xe0JFIF", "not a checkpoint")])
def test_files_that_are_no_checkpoints(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(path)


def test_truncated_checkpoint(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = saved(tmp_path / "a.pt", state)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="truncated"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2]])
def test_checkpoints_without_tensors(tmp_path: Path, content: Any) -> None:
    with pytest.raises(CheckpointError, match="expected a state_dict"):
        load_checkpoint(saved(tmp_path / "a.pt", content))


@pytest.mark.parametrize("content", [b"hello\n", b"\x89PNG\r\n\x1a\n rest", b"PK\x03\x04 cut short"])
def test_other_files_are_no_checkpoints_and_torch_adds_nothing(
    tmp_path: Path, content: bytes, recwarn: pytest.WarningsRecorder
) -> None:
    """What torch says of them ("101", "In PyTorch 2.6, we changed ...") is not the cause."""
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"not a checkpoint that PyTorch can read; expected"):
        load_checkpoint(tmp_path / "model.pt")
    assert not [each for each in recwarn if "pickle" in str(each.message)]


@pytest.mark.parametrize("trust", ["weights", "code"])
def test_a_plain_pickle_is_refused_without_torchs_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, trust: Literal["weights", "code"]
) -> None:
    """Trust does not help: PyTorch cannot read it either."""
    (tmp_path / "model.pt").write_bytes(pickle.dumps({"x": 1}, protocol=4))
    with pytest.raises(CheckpointError, match=r"a Python pickle that torch\.save did not write"):
        load_checkpoint(tmp_path / "model.pt", trust=trust)
    assert not [each for each in recwarn if "pickle" in str(each.message)]
