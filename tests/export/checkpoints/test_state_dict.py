"""Whatever a training framework wraps a detector in, its own tensors come out, and it is said what was chosen."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from edgedet.errors import CheckpointError, UntrustedCheckpointError
from edgedet.export.checkpoints.checkpoint import load_checkpoint
from edgedet.export.checkpoints.module_tree import part_of
from edgedet.export.families.torchvision_architectures import build
from edgedet.export.sources import _is_onnx
from edgedet.opening import read_card
from tests.export.checkpoints.saved_file import saved

SSDLITE = "ssdlite320_mobilenet_v3_large"
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(1)
    return build(SSDLITE, 4).eval()


@pytest.fixture(scope="module")
def state(model: nn.Module) -> State:
    return dict(model.state_dict())


@pytest.fixture(scope="module")
def other(state: State) -> State:
    """Other weights of the same detector."""
    return {name: value * 0.5 if value.is_floating_point() else value for name, value in state.items()}


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def holds(path: Path, state: State) -> bool:
    read = load_checkpoint(path).state_dict
    return set(read) == set(state) and all(torch.equal(read[name], state[name].float()) for name in state)


WRAPPED: dict[str, Callable[[State, State], Any]] = {
    "DataParallel": lambda state, _: prefixed("module.", state),
    "torch.compile": lambda state, _: prefixed("_orig_mod.", state),
    "compiled DataParallel": lambda state, _: prefixed("module._orig_mod.", state),
    "a compiled part": lambda state, _: {
        n.replace("backbone.", "backbone._orig_mod."): v for n, v in state.items()
    },
    "Fabric": lambda state, _: {"model": prefixed("_forward_module.", state)},
    "net": lambda state, _: {"net": state},
    "weights in weights": lambda state, _: {"checkpoint": {"weights": {"network": state}}},
    "a name nobody knows": lambda state, _: {"what_i_trained": prefixed("my.own.", state)},
    "Lightning": lambda state, _: {
        "state_dict": prefixed("detector.", state) | {"criterion.weight": torch.ones(4)},
        "epoch": 1,
        "pytorch-lightning_version": "2.6.6",
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}],
    },
    "AveragedModel": lambda state, _: {"n_averaged": torch.tensor(7), **prefixed("module.", state)},
    "D-FINE": lambda state, other: {"ema": {"module": state, "updates": 5}, "model": other},
    "torchvision's references": lambda state, other: {
        "model": other,
        "model_ema": {"n_averaged": torch.tensor(7), **prefixed("module.", state)},
    },
    "mmengine": lambda state, other: {"state_dict": other, "ema_state_dict": state},
    "average beside": lambda state, other: {"model": other, "average": state},
    "student and teacher": lambda state, other: prefixed("student.", other) | prefixed("teacher.", state),
    "Lightning's WeightAveraging": lambda state, other: {
        "state_dict": prefixed("model.", state),
        "current_model_state": prefixed("model.", other),
        "averaging_state": {"n_averaged": torch.tensor(3)},
    },
    "an average of nothing": lambda state, other: {
        "model": state,
        "model_ema": {"n_averaged": torch.tensor(0), **prefixed("module.", other)},
    },
    "an average without buffers": lambda state, other: {
        "model": state,
        "ema": {name: value for name, value in other.items() if "running" not in name},
    },
    "one dict under two names": lambda state, _: {"model": state, "state_dict": state},
    "optimiser's tensors": lambda state, other: {
        "optimizer": {"state": other, "param_groups": []},
        "model": state,
    },
}


@pytest.mark.parametrize("name", WRAPPED)
def test_the_detectors_own_tensors_come_out(tmp_path: Path, state: State, other: State, name: str) -> None:
    assert holds(saved(tmp_path / "a.pt", WRAPPED[name](state, other)), state)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("DataParallel", None),
        ("net", None),
        ("one dict under two names", None),
        ("Lightning", r"left out: 1 tensors that are not in state_dict\.detector \(criterion\.weight\)"),
        ("D-FINE", r"weights: ema\.module, an average over training; left aside: model"),
        ("student and teacher", r"weights: teacher, an average over training; left aside: student"),
        ("AveragedModel", r"weights: module, an average over training"),
        ("Lightning's WeightAveraging", r"weights: state_dict\.model; left aside: current_model_state\.model"),
        ("an average of nothing", r"weights: model; left aside: model_ema\.module"),
        ("an average without buffers", r"weights: model; not taken, .* same tensors: ema"),
    ],
)
def test_a_choice_is_said(tmp_path: Path, state: State, other: State, name: str, words: str | None) -> None:
    notes = load_checkpoint(saved(tmp_path / "a.pt", WRAPPED[name](state, other))).notes
    if words is None:
        assert not notes
    else:
        (note,) = notes
        assert re.fullmatch(words, note), note


def test_what_real_wrappers_write(tmp_path: Path, model: nn.Module, state: State) -> None:
    averaged = AveragedModel(model)
    averaged.update_parameters(model)
    for wrapped in (averaged, nn.DataParallel(model), torch.compile(model)):
        assert holds(saved(tmp_path / "a.pt", wrapped.state_dict()), state)
        assert holds(saved(tmp_path / "a.pt", {"model": wrapped}), state)


def test_lightnings_own_file(tmp_path: Path, model: nn.Module, state: State) -> None:
    lightning = pytest.importorskip("lightning")

    class Training(lightning.LightningModule):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self, lr: float, folder: Path) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.detector = model

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), self.hparams["lr"])

    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.strategy.connect(Training(0.1, tmp_path))
    trainer.save_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert holds(tmp_path / "a.ckpt", state)


def test_detectors_of_several_makes_are_not_chosen_between(tmp_path: Path, state: State) -> None:
    content = {"a": state, "b": build(SSDLITE, 7).state_dict()}
    with pytest.raises(CheckpointError, match="holds several detectors of different makes: a, b; save the one"):
        load_checkpoint(saved(tmp_path / "a.pt", content))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_any_width_are_read(tmp_path: Path, state: State, dtype: torch.dtype) -> None:
    narrow = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
    path = saved(tmp_path / "a.pt", narrow)
    assert holds(path, narrow)
    assert all(v.dtype in (torch.float32, torch.int64) for v in load_checkpoint(path).state_dict.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8), r"is (a tensor that is )?quantised"),
        (lambda value: value.to(torch.int8), r"is of int8, as if quantised"),
        (
            lambda value: value.to(torch.float8_e4m3fn),
            r"is (of float8_e4m3fn|a tensor that is of eight-bit floats)",
        ),
        (lambda value: value.to_sparse(), r"is a (sparse tensor|tensor that is sparse)"),
        (lambda value: value.to("meta"), r"is a (tensor that is a )?meta tensor"),
        (lambda value: torch.zeros(1).expand(10**10), r"is an expanded tensor"),
        (lambda value: value.to(torch.complex64), r"is of complex64"),
    ],
)
@pytest.mark.parametrize("code", [False, True], ids=["plain", "beside code"])
def test_tensors_that_are_no_plain_numbers_are_named(
    tmp_path: Path, state: State, change: Callable[[torch.Tensor], torch.Tensor], words: str, code: bool
) -> None:
    name = "backbone.features.0.0.0.weight"
    content = {"model": {**state, name: change(state[name])}, "code": nn.Identity() if code else 0}
    with pytest.raises(CheckpointError, match=f"{name} {words}.*; expected weights as float32"):
        load_checkpoint(saved(tmp_path / "a.pt", content))


@pytest.mark.parametrize(
    "wrap", [lambda optimiser: optimiser, lambda optimiser: {"optimizer": optimiser, "epoch": 1}]
)
def test_an_optimisers_state_is_no_model(tmp_path: Path, model: nn.Module, wrap: Callable[[Any], Any]) -> None:
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    with pytest.raises(CheckpointError, match="holds the state of an optimiser and no model"):
        load_checkpoint(saved(tmp_path / "a.pt", wrap(optimiser.state_dict())))


def test_whole_modules_are_taken_apart(tmp_path: Path, model: nn.Module, state: State) -> None:
    path = saved(tmp_path / "a.pt", {"model": nn.DataParallel(model), "names": {"1": "a", "2": "b", "3": "c"}})
    assert holds(path, state)
    checkpoint = load_checkpoint(path)
    assert checkpoint.names == ("a", "b", "c")
    assert checkpoint.inert is not None and checkpoint.inert.attributes["score_thresh"] == model.score_thresh
    inside = part_of(checkpoint.inert, "anchor_generator")
    assert inside is not None and not isinstance(inside, nn.Module)
    assert inside.attributes["aspect_ratios"] == model.anchor_generator.aspect_ratios  # type: ignore[union-attr]
    trusted = load_checkpoint(path, trust="code").module
    assert trusted is not None and type(trusted) is type(model)


def test_buffers_that_are_not_saved_are_not_read(tmp_path: Path, model: nn.Module, state: State) -> None:
    extra = build(SSDLITE, 4)
    extra.load_state_dict(state)
    extra.head.register_buffer("scratch", torch.ones(3), persistent=False)
    assert holds(saved(tmp_path / "a.pt", extra), state)


def test_a_torchscript_file_is_a_program(tmp_path: Path, model: nn.Module, state: State) -> None:
    path = tmp_path / "a.pt"
    torch.jit.save(torch.jit.script(model), path)
    with pytest.raises(UntrustedCheckpointError, match=r"TorchScript file .*--trust-checkpoint"):
        load_checkpoint(path)
    trusted = load_checkpoint(path, trust="code")
    assert trusted.module is None
    assert all(torch.equal(trusted.state_dict[name], state[name]) for name in state)


@pytest.mark.parametrize("metadata", [None, {"arch": SSDLITE, "num_classes": "4", "classes": '["a", "b", "c"]'}])
def test_safetensors(tmp_path: Path, state: State, metadata: dict[str, str] | None) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "a.safetensors"
    safetensors.save_file(prefixed("model.", state), path, metadata=metadata)
    assert holds(path, state)
    assert load_checkpoint(path).names == (("a", "b", "c") if metadata else ("class_1", "class_2", "class_3"))


def test_safetensors_are_told_from_graphs_by_their_first_bytes(tmp_path: Path, state: State) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    # Metadata long enough that the file begins with 0x08, as an ONNX file does.
    for padding in range(0, 2048, 8):
        content = safetensors.save(
            state, metadata={"arch": SSDLITE, "classes": '["a", "b", "c"]', "x": "x" * padding}
        )
        if content[0] == 8:
            break
    (tmp_path / "a.safetensors").write_bytes(content)
    (tmp_path / "renamed.weights").write_bytes(content)
    for name in ("a.safetensors", "renamed.weights"):
        assert read_card(tmp_path / name).names == ("a", "b", "c")
        assert not _is_onnx(tmp_path / name)


def test_safetensors_metadata_is_held_to_the_tensors(tmp_path: Path, state: State) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(state, tmp_path / "a.safetensors", metadata={"num_classes": "9"})
    with pytest.raises(CheckpointError, match="says num_classes is 9, but its class layer has 4"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_damaged_safetensors(tmp_path: Path, state: State) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "a.safetensors"
    safetensors.save_file(state, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(CheckpointError, match="safetensors file that cannot be read"):
        load_checkpoint(path)
    path.write_bytes(whole[:1000])
    with pytest.raises(CheckpointError, match="not a safetensors file: it is cut short"):
        load_checkpoint(path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "b"}}))
    with pytest.raises(CheckpointError, match="list of the files that a checkpoint was spread over"):
        load_checkpoint(index)


def test_the_architecture_in_a_training_scripts_arguments(tmp_path: Path) -> None:
    arch = "fasterrcnn_mobilenet_v3_large_fpn"
    content = {"model": build(arch, 3).state_dict(), "args": argparse.Namespace(model=arch, lr=0.1)}
    assert load_checkpoint(saved(tmp_path / "a.pt", content)).arch == arch


def test_code_without_tensors_needs_trust(tmp_path: Path) -> None:
    with pytest.raises(UntrustedCheckpointError, match=r"carries code \(fractions\.Fraction\).*--trust-checkpoint"):
        load_checkpoint(saved(tmp_path / "a.pt", {"model": Fraction(1, 3)}))
