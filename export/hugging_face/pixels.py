"""What an image processor of transformers does to a picture, in the words of a model card."""

from __future__ import annotations

from typing import Any, Literal

from edgedet.artifacts.card import InputSpec, ResizeRule
from edgedet.artifacts.hugging_face_folder import PREPROCESSOR, Folder
from edgedet.errors import CheckpointError, MissingDependencyError

from ..training.assumptions import Assumption

BILINEAR = 2
"""Pillow's number for it, which image processors keep."""
PIXELS: dict[str, Literal["uint8", "float32"]] = {
    "RTDetrImageProcessor": "uint8",
    "RfDetrImageProcessor": "float32",
}
"""Image processors that post-process by ranking sigmoids, and the numbers they resize: bytes with antialiasing,
floats without."""


def image_processor(
    transformers: Any, folder: Folder, imgsz: tuple[int, int] | None
) -> tuple[Any, tuple[Assumption, ...]]:
    """The image processor, of the size asked for, and what was assumed of it."""
    assumed: tuple[Assumption, ...] = ()
    if folder.preprocessor is not None:
        try:
            processor = transformers.AutoImageProcessor.from_pretrained(
                folder.path, local_files_only=True, trust_remote_code=False
            )
        except ImportError as error:
            raise MissingDependencyError(
                f"transformers needs more to read {folder.preprocessor} ({first_line(error)})"
            ) from error
        except Exception as error:
            raise CheckpointError(
                f"transformers cannot read {folder.preprocessor} ({first_line(error)})"
            ) from error
    elif folder.model_type == "rf_detr":
        if imgsz is None:
            raise CheckpointError(
                f"{folder.path} has no {PREPROCESSOR}, and nothing else says at which size this RF-DETR was "
                "trained: copy that file, or give --imgsz"
            )
        processor = transformers.RfDetrImageProcessor(size={"height": imgsz[0], "width": imgsz[1]}, do_pad=False)
    else:
        processor = transformers.RTDetrImageProcessor()
    if folder.preprocessor is None:
        size = processor.size
        said = f"{size['height']}x{size['width']}"
        smooth = ", antialiased" if _resized_as(folder, processor) == "uint8" else ""
        values = {"resize": f"stretched{smooth}"}
        values["mean/std"] = "ImageNet's" if processor.do_normalize else "none, pixels / 255"
        if imgsz is None:
            values["input size"] = said
        assumed = tuple(Assumption(what, value, PREPROCESSOR) for what, value in values.items())
    if imgsz is not None:
        processor.size = type(processor.size)(height=imgsz[0], width=imgsz[1])
    return processor, assumed


def _resized_as(folder: Folder, processor: Any) -> Literal["uint8", "float32"]:
    kind = type(processor).__name__.removesuffix("Fast").removesuffix("Pil")
    if kind not in PIXELS:
        raise CheckpointError(
            f"{folder.preprocessor} names the image processor {kind}, which edgedet does not know to resize and "
            f"post-process like; expected {' or '.join(PIXELS)}"
        )
    return PIXELS[kind]


def pixels(folder: Folder, processor: Any) -> tuple[InputSpec, ResizeRule]:
    """What the image processor does to a picture, in our words.

    Raises:
        CheckpointError: something that the device cannot do, or not exactly.
    """
    dtype = _resized_as(folder, processor)
    size: dict[str, Any] = dict(processor.size)
    height, width = size.get("height"), size.get("width")
    stated = {key: value for key, value in size.items() if value}
    padded = getattr(processor, "pad_size", None)
    resample = int(getattr(processor, "resample", None) or 0)
    trouble = None
    if not processor.do_resize:
        trouble = "do_resize false: frames in their own size"
    elif stated.keys() != {"height", "width"}:
        trouble = f"size {stated}: only height and width make a fixed input"
    elif resample != BILINEAR:
        trouble = f"resample {resample}: only bilinear ({BILINEAR}) is done alike on a device"
    elif getattr(processor, "do_center_crop", False):
        trouble = "do_center_crop"
    elif processor.do_pad and padded and (padded["height"], padded["width"]) != (height, width):
        trouble = f"do_pad to {padded['height']}x{padded['width']} around {height}x{width}"
    if trouble is not None:
        raise CheckpointError(
            f"{folder.preprocessor or PREPROCESSOR} asks for {trouble}; edgedet exports detectors of one input "
            "size that frames are stretched to (with --imgsz HEIGHTxWIDTH, if yours works so)"
        )
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if processor.do_normalize:
        mean, std = (_three(processor.image_mean), _three(processor.image_std))
    spec = InputSpec(
        height=int(size["height"]),
        width=int(size["width"]),
        dtype=dtype,
        scale=float(processor.rescale_factor) if processor.do_rescale else 1.0,
        mean=mean,
        std=std,
    )
    if dtype == "uint8":
        return spec, ResizeRule("stretch", antialias=True)
    return spec, ResizeRule("stretch", coordinates="half_pixel_float32")


def _three(values: Any) -> tuple[float, float, float]:
    """One number per colour: RGB."""
    red, green, blue = (values,) * 3 if isinstance(values, int | float) else values
    return float(red), float(green), float(blue)


def first_line(error: Exception) -> str:
    """What another library's error says, short enough to stand in one of ours."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
