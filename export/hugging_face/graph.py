"""Detectors that transformers saved (RT-DETR, RT-DETRv2, D-FINE, RF-DETR, DEIMv2): from the folder to a graph."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgedet.artifacts.card import InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.artifacts.hugging_face_folder import Folder, digests, open_folder
from edgedet.detections import Detections
from edgedet.errors import CheckpointError, MissingDependencyError, UsageError
from edgedet.geometry import plan_resize
from edgedet.postprocess import Postprocessor, settle_thresholds

from ..checkpoints.class_names import require_same_order
from ..families import detr
from ..families.base import Exported, GraphOptions
from ..families.torch_graph import to_onnx
from ..training.assumptions import Assumption
from .pixels import first_line, image_processor, pixels
from .runtime import HuggingFaceRuntime

OLDEST = 5
"""Major version of transformers: the first whose image processors resize on every machine alike."""
NO_OBJECT = {"background", "__background__", "no-object", "no_object", "no object"}
"""Names of columns that are no class: a detection of them is none."""
COUNTERS = "num_batches_tracked"
"""Entries of a state dict that no inference reads."""


@dataclass(frozen=True)
class Loaded:
    """A detector as transformers runs it, and what its folder says of it.

    ``classes``: columns of its logits that are objects, in the order of ``names``. ``spec``, ``resize``: the
    pixels it was trained on. ``assumed``: what the folder does not say.
    """

    folder: Folder
    model: Any
    processor: Any
    names: tuple[str, ...]
    classes: tuple[int, ...]
    queries: int
    columns: int
    spec: InputSpec
    resize: ResizeRule
    assumed: tuple[Assumption, ...]

    def card(self) -> ModelCard:
        """Card of the model itself: frames go in as they are."""
        return ModelCard(
            family="detr",
            architecture=self.folder.architecture,
            names=self.names,
            input=InputSpec(height=0, width=0, dtype="uint8"),
            resize=ResizeRule("none"),
            output=OutputSpec("detections", detr.SCORE_THRESHOLD, 1.0, self.queries),
            provenance={"checkpoint": self.folder.path.resolve().name, "nms": "none"},
        )


def load(
    path: Path,
    *,
    trust: Literal["weights", "code"] = "weights",
    classes: tuple[str, ...] | None = None,
    imgsz: tuple[int, int] | None = None,
) -> Loaded:
    """Let transformers load the detector in the folder ``path``, without a network and without code of the
    folder's.

    ``classes``: names for those that are objects, in place of the folder's. ``imgsz`` (height, width): in place of
    the folder's.

    Raises:
        MissingDependencyError: transformers is not installed, or too old.
        CheckpointError: not a whole folder of a known detector, weights that do not fit its description, or its own
            class names in another order.
        UsageError: class names in another number, or a size that the network cannot take.
    """
    folder = open_folder(path, trust=trust)
    transformers = _import_transformers(path)
    with _quiet(transformers):
        try:
            settings = transformers.AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # whatever a wrong value in it meets
            raise CheckpointError(
                f"transformers {transformers.__version__} cannot read {path / 'config.json'} ({first_line(error)})"
            ) from error
        model = _load_model(transformers, folder, settings)
        processor, assumed = image_processor(transformers, folder, imgsz)
    spec, resize = pixels(folder, processor)
    names, columns = _names(folder, settings, classes)
    if all(name.startswith("LABEL_") for name in names) and classes is None:
        assumed = (
            *assumed,
            Assumption("class names", f"{names[0]} to {names[-1]}, as config.json names none", "--classes"),
        )
    return Loaded(
        folder,
        model,
        processor,
        names,
        columns,
        int(settings.num_queries),
        int(settings.num_labels),
        spec,
        resize,
        assumed,
    )


def export(loaded: Loaded, options: GraphOptions) -> tuple[Exported, Reference]:
    """The graph, and transformers' own inference to compare it with.

    Raises:
        UsageError: an input size that the network cannot take, or options without meaning for it.
        ExportError: PyTorch could not export the network.
    """
    spec = replace(loaded.spec, batch=options.batch, dtype=options.input_dtype or loaded.spec.dtype)
    everything = loaded.classes == tuple(range(loaded.columns))
    head = detr.Head(loaded.queries, loaded.columns, None if everything else loaded.classes)
    # Before PyTorch's part, which takes seconds.
    detr.require_options(head, options)
    network = _network(loaded, spec)

    def build(asked: GraphOptions) -> Exported:
        return detr.export(network, head, spec, loaded.resize, asked)

    exported = build(options)
    return exported, Reference(loaded, exported.output, lambda conf: build(replace(options, conf=conf)).model)


class Reference:
    """transformers' own inference: a BGR frame in, detections in its pixels out.

    Boxes are clipped to the frame, which transformers leaves to its caller. ``graph_from`` makes the graph that
    goes with it anew, for another score threshold.
    """

    def __init__(self, loaded: Loaded, output: OutputSpec, graph_from: Any) -> None:
        self.graph_from = graph_from
        self.module: nn.Module = loaded.model
        card = replace(loaded.card(), output=output)
        self._card = card
        self._runtime = HuggingFaceRuntime(card, loaded.model, loaded.processor, loaded.classes, "cpu")
        self._postprocess = Postprocessor(
            card, settle_thresholds(card), tuple(spec.name for spec in self._runtime.outputs)
        )

    def __call__(self, frame: NDArray[np.uint8]) -> Detections:
        """What transformers finds."""
        geometry = plan_resize(self._card.resize, frame.shape[0], frame.shape[1], 0, 0)
        return self._postprocess(self._runtime.run({"images": frame[None]}), geometry)

    def candidates(self, frame: NDArray[np.uint8]) -> Detections:
        """What it would find were there no score threshold."""
        threshold, self._runtime.threshold = self._runtime.threshold, 0.0
        try:
            return self(frame)
        finally:
            self._runtime.threshold = threshold


def provenance(folder: Folder) -> dict[str, Any]:
    """What the card says of where the graph came from: a sha256 of every file that counts."""
    return {"nms": "none", "source_files": digests(folder)}


def _import_transformers(path: Path) -> Any:
    # Read when it is imported; nothing here may ask a server.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    install = "pip install 'edgedet[hf]'"
    try:
        import transformers
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} is a folder of Hugging Face transformers, and reading it needs that package: {install}"
        ) from error
    if int(transformers.__version__.partition(".")[0]) < OLDEST:
        raise MissingDependencyError(
            f"transformers {transformers.__version__} is too old for {path}, expected {OLDEST} or later: {install}"
        )
    return transformers


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without its progress bars and warnings: what they warn of is refused here."""
    words = transformers.utils.logging
    verbosity, bars = words.get_verbosity(), words.is_progress_bar_enabled()
    words.set_verbosity_error()
    words.disable_progress_bar()
    try:
        yield
    finally:
        words.set_verbosity(verbosity)
        if bars:
            words.enable_progress_bar()


def _load_model(transformers: Any, folder: Folder, settings: Any) -> Any:
    try:
        model, report = transformers.AutoModelForObjectDetection.from_pretrained(
            folder.path,
            config=settings,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=folder.weights.suffix == ".safetensors",
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except ImportError as error:  # backbones of timm
        raise MissingDependencyError(
            f"transformers needs more to load {folder.path} ({first_line(error)})"
        ) from error
    except Exception as error:
        raise CheckpointError(
            f"transformers {transformers.__version__} cannot load {folder.weights} ({first_line(error)}); it must "
            "be whole and belong to the config.json beside it"
        ) from error
    # transformers itself fills what is missing with random numbers and goes on.
    for what, keys in (
        ("another shape", report["mismatched_keys"]),
        ("no value", report["missing_keys"]),
        ("no place in the model", report["unexpected_keys"]),
    ):
        wrong = sorted(_key_text(key) for key in keys if COUNTERS not in _key_text(key))
        if wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise CheckpointError(
                f"{folder.weights} does not fit the config.json beside it: {what} for {wrong[0]}{more}; both must "
                "come from one save_pretrained"
            )
    return model.eval()


def _key_text(key: Any) -> str:
    """A tensor's name, with its two shapes where they differ."""
    if isinstance(key, str):
        return key
    name, *shapes = key
    return f"{name} ({' in the file, '.join(str(list(shape)) for shape in shapes)} in the model)"


def _names(folder: Folder, settings: Any, given: tuple[str, ...] | None) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Class names, and the columns of the logits they belong to."""
    labels = dict(settings.id2label)
    if sorted(labels) != list(range(settings.num_labels)):
        raise CheckpointError(
            f"{folder.path / 'config.json'}: id2label numbers its {len(labels)} classes {min(labels)} to "
            f"{max(labels)}, but the network's columns are 0 to {settings.num_labels - 1}; number them so"
        )
    columns = tuple(column for column in range(len(labels)) if str(labels[column]).lower().strip() not in NO_OBJECT)
    if not columns:
        raise CheckpointError(f"{folder.path / 'config.json'} names no class but the background")
    if given is None:
        return tuple(str(labels[column]) for column in columns), columns
    if len(given) != len(columns):
        raise UsageError(
            f"{folder.path} has {len(columns)} classes, but {len(given)} names were given; one name per class, "
            "also for those that never come out (as ids of COCO that nothing has)"
        )
    require_same_order(given, [str(labels[column]) for column in columns], folder.path)
    return given, columns


class _Network(nn.Module):
    """Normalised RGB images [N, 3, H, W] to logits [N, Q, C] and boxes [N, Q, 4]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.model(pixel_values=images, return_dict=True)
        return found.logits, found.pred_boxes


def _network(loaded: Loaded, spec: InputSpec) -> onnx.ModelProto:
    network = _Network(_thawed(copy.deepcopy(loaded.model))).eval()
    example = torch.zeros(spec.batch, 3, spec.height, spec.width)
    _keep_positions(network)
    try:
        with torch.inference_mode():
            logits, boxes = network(example)
    except Exception as error:  # every backbone refuses a size in its own way
        raise UsageError(
            f"{loaded.folder.path} cannot take images of {spec.height}x{spec.width} ({first_line(error)}); sizes "
            "are usually multiples of 32, or of patch size times windows"
        ) from error
    expected = (spec.batch, loaded.queries, loaded.columns), (spec.batch, loaded.queries, 4)
    if (tuple(logits.shape), tuple(boxes.shape)) != expected:
        raise CheckpointError(
            f"{loaded.folder.path} gives logits {list(logits.shape)} and boxes {list(boxes.shape)}, expected "
            f"{list(expected[0])} and {list(expected[1])} by its config.json"
        )
    return to_onnx(network, example, inputs=["images"], outputs=["logits", "boxes"])


def _keep_positions(network: nn.Module) -> None:
    """Position embeddings come from weights and the image's size alone; ONNX knows no antialiased bicubic to make
    them with. What the trial run makes is what later runs get."""
    for module in network.modules():
        make = getattr(module, "interpolate_pos_encoding", None)
        if callable(make):
            module.interpolate_pos_encoding = _remembering(make)


def _remembering(make: Any) -> Any:
    kept: list[Tensor] = []

    def remembered(*arguments: Any, **named: Any) -> Tensor:
        if not kept:
            kept.append(make(*arguments, **named).detach().clone())
        return kept[0]

    return remembered


def _thawed(module: nn.Module) -> nn.Module:
    """Each of these models has a frozen BatchNorm of its own; the ordinary one folds into the convolution."""
    for name, child in module.named_children():
        if type(child).__name__.endswith("FrozenBatchNorm2d"):
            values = dict(child.named_buffers())
            norm = nn.BatchNorm2d(len(values["weight"]), eps=getattr(child, "eps", 1e-5))
            norm.load_state_dict(values, strict=False)
            setattr(module, name, norm.eval())
        else:
            _thawed(child)
    return module
