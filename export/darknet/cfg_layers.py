"""From the sections of a ``.cfg`` to layers: sizes computed as Darknet does, what does not fit refused."""

from __future__ import annotations

import math
from collections.abc import Callable

from .cfg import Section
from .layer_records import (
    ACTIVATIONS,
    HEADS,
    IMAGE,
    Activation,
    AveragePool,
    Connected,
    Convolution,
    Crop,
    Detection,
    Layer,
    Local,
    MaxPool,
    Product,
    Region,
    Reorg,
    Route,
    Shape,
    Shortcut,
    Upsample,
    Yolo,
)
from .options import EVERYWHERE, NEVER, ONLY, SYNONYMS, TRAINING, USED


class Reader:
    """Reads sections one after the other; ``shapes`` are those of the layers so far."""

    def __init__(self, image: Shape) -> None:
        self.image = image
        self.layers: list[Layer] = []

    def read(self, section: Section) -> Layer:
        """The layer of the next section.

        Raises:
            CheckpointError: an unknown layer or option, or values that do not go together.
        """
        kind = SYNONYMS.get(section.kind, section.kind)
        if kind not in USED:
            section.refuse(f"edgedet does not know this layer; it knows {', '.join(f'[{name}]' for name in USED)}")
        section.require(
            USED[kind].split(), EVERYWHERE | frozenset(TRAINING[kind].split()), NEVER | ONLY.get(kind, {})
        )
        layer = READERS[kind](self, section)
        if min(layer.gives) < 1:
            section.refuse(
                f"would give {_words(layer.gives)} from {_words(layer.takes[0])}; the picture is too small"
            )
        self.layers.append(layer)
        return layer

    def before(self, section: Section) -> tuple[int, Shape]:
        """The layer before this one, as most read it."""
        return self.at(section, section.index - 1)

    def at(self, section: Section, index: int) -> tuple[int, Shape]:
        """A layer that ``section`` reads, and its shape."""
        if index == IMAGE and section.index == 0:
            return IMAGE, self.image
        if not 0 <= index < section.index:
            section.refuse(f"reads layer {index}, but there are layers 0 to {section.index - 1} before it")
        if isinstance(self.layers[index].kind, HEADS):
            section.refuse(f"reads layer {index}, [{self.layers[index].section.kind}], whose output is boxes")
        return index, self.layers[index].gives

    def named(self, section: Section, option: str) -> list[tuple[int, Shape]]:
        """The layers an option lists; negative numbers count back from this one."""
        numbers = section.integers(option)
        if not numbers:
            section.refuse(f"has no {option}=; expected numbers of layers")
        return [self.at(section, number if number >= 0 else section.index + number) for number in numbers]


def _words(shape: Shape) -> str:
    return f"{shape[1]}x{shape[2]} of {shape[0]} channels"


def _activation(section: Section, default: str) -> str:
    name = section.text("activation", default)
    if name not in ACTIVATIONS:
        section.refuse(f"has activation={name}; edgedet knows {', '.join(ACTIVATIONS)}")
    return name


def _strides(section: Section) -> tuple[int, int]:
    stride = section.integer("stride", 1, least=1)
    return section.integer("stride_y", stride, least=1), section.integer("stride_x", stride, least=1)


def _convolutional(reader: Reader, section: Section) -> Layer:
    source, (channels, rows, columns) = reader.before(section)
    size = section.integer("size", 1, least=1)
    padding = size // 2 if section.flag("pad") else section.integer("padding", 0)
    kind = Convolution(
        filters=section.integer("filters", 1, least=1),
        size=size,
        stride=_strides(section),
        padding=padding,
        groups=section.integer("groups", 1, least=1),
        dilation=section.integer("dilation", 1, least=1) if size > 1 else 1,
        batch_normalize=section.flag("batch_normalize"),
        activation=_activation(section, "logistic"),
    )
    if channels % kind.groups or kind.filters % kind.groups:
        section.refuse(
            f"has groups={kind.groups}, which divides {channels} channels and {kind.filters} filters not"
        )
    # Darknet pads by padding * dilation, but takes the size of the result for one without dilation.
    reach, border = kind.dilation * (size - 1) + 1, padding * kind.dilation
    gives = [
        (side + 2 * padding - size) // step + 1 for side, step in zip((rows, columns), kind.stride, strict=True)
    ]
    for side, step, given in zip((rows, columns), kind.stride, gives, strict=True):
        if (side + 2 * border - reach) // step + 1 != given:
            section.refuse(f"has dilation={kind.dilation}, which does not go with size={size} and this padding")
    normalised = ("scales", "mean", "variance") if kind.batch_normalize else ()
    return Layer(
        section,
        kind,
        (source,),
        ((channels, rows, columns),),
        (kind.filters, gives[0], gives[1]),
        (
            ("biases", (kind.filters,)),
            *((name, (kind.filters,)) for name in normalised),
            ("weights", (kind.filters, channels // kind.groups, size, size)),
        ),
    )


def _local(reader: Reader, section: Section) -> Layer:
    source, (channels, rows, columns) = reader.before(section)
    kind = Local(
        filters=section.integer("filters", 1, least=1),
        size=section.integer("size", 1, least=1),
        stride=section.integer("stride", 1, least=1),
        padding=section.integer("pad", 0),
        activation=_activation(section, "logistic"),
    )
    # Darknet computes one number of places, and gathers pixels for another where these differ.
    gives = [(side - (1 if kind.padding else kind.size)) // kind.stride + 1 for side in (rows, columns)]
    gathered = [(side + 2 * kind.padding - kind.size) // kind.stride + 1 for side in (rows, columns)]
    if gives != gathered:
        section.refuse(f"has size={kind.size} and pad={kind.padding}, which contradict each other in Darknet too")
    places = gives[0] * gives[1]
    return Layer(
        section,
        kind,
        (source,),
        ((channels, rows, columns),),
        (kind.filters, gives[0], gives[1]),
        (
            ("biases", (kind.filters, gives[0], gives[1])),
            ("weights", (places, kind.filters, channels * kind.size**2)),
        ),
    )


def _connected(reader: Reader, section: Section) -> Layer:
    source, shape = reader.before(section)
    kind = Connected(
        section.integer("output", 1, least=1), section.flag("batch_normalize"), _activation(section, "logistic")
    )
    normalised = ("scales", "mean", "variance") if kind.batch_normalize else ()
    parameters = (
        ("biases", (kind.outputs,)),
        ("weights", (kind.outputs, math.prod(shape))),
        *((name, (kind.outputs,)) for name in normalised),
    )
    return Layer(section, kind, (source,), (shape,), (kind.outputs, 1, 1), parameters)


def _maxpool(reader: Reader, section: Section) -> Layer:
    source, shape = reader.before(section)
    stride = _strides(section)
    size = section.integer("size", section.integer("stride", 1, least=1), least=1)
    # Both sides together, the smaller half first; of the program's padding only as much as windows reach.
    padding = section.integer("padding", size - 1)
    gives = [(side + padding - size) // step + 1 for side, step in zip(shape[1:], stride, strict=True)]
    before = padding // 2
    after = [
        max((given - 1) * step + size - before - side, 0)
        for given, step, side in zip(gives, stride, shape[1:], strict=True)
    ]
    if max(before, *after) >= size:
        section.refuse(f"has padding={padding}, so that windows of {size} would lie outside the picture")
    kind = MaxPool(size, stride, before, (after[0], after[1]))
    return Layer(section, kind, (source,), (shape,), (shape[0], gives[0], gives[1]))


def _avgpool(reader: Reader, section: Section) -> Layer:
    source, shape = reader.before(section)
    return Layer(section, AveragePool(), (source,), (shape,), (shape[0], 1, 1))


def _dropout(reader: Reader, section: Section) -> Layer:
    source, shape = reader.before(section)
    return Layer(section, Activation("linear"), (source,), (shape,), shape)


def _activation_layer(reader: Reader, section: Section) -> Layer:
    source, shape = reader.before(section)
    return Layer(section, Activation(_activation(section, "linear")), (source,), (shape,), shape)


def _crop(reader: Reader, section: Section) -> Layer:
    source, (channels, rows, columns) = reader.before(section)
    height, width = section.integer("crop_height", 1, least=1), section.integer("crop_width", 1, least=1)
    if height > rows or width > columns:
        section.refuse(f"cuts {height}x{width} out of {rows}x{columns}")
    kind = Crop((rows - height) // 2, (columns - width) // 2, not section.flag("noadjust"))
    return Layer(section, kind, (source,), ((channels, rows, columns),), (channels, height, width))


def _route(reader: Reader, section: Section) -> Layer:
    found = reader.named(section, "layers")
    kind = Route(section.integer("groups", 1, least=1), section.integer("group_id", 0))
    shapes = [shape for _, shape in found]
    for index, shape in found[1:]:
        if shape[1:] != shapes[0][1:]:
            section.refuse(
                f"joins layer {found[0][0]}, {_words(shapes[0])}, and layer {index}, {_words(shape)}; width and "
                "height of [net], or --imgsz, are to be multiples of 32"
            )
    if kind.group >= kind.groups or any(shape[0] % kind.groups for shape in shapes):
        section.refuse(f"has groups={kind.groups} and group_id={kind.group}, which do not fit {_words(shapes[0])}")
    channels = sum(shape[0] for shape in shapes) // kind.groups
    return Layer(
        section, kind, tuple(index for index, _ in found), tuple(shapes), (channels, shapes[0][1], shapes[0][2])
    )


def _shortcut(reader: Reader, section: Section) -> Layer:
    for name in ("weights_type", "weights_normalization"):
        if section.text(name, "none") != "none":
            section.refuse(f"has {name}={section.options[name]}; edgedet adds layers without weights")
    source, shape = reader.before(section)
    found = reader.named(section, "from")
    for index, other in found:
        if other[1:] != shape[1:]:
            section.refuse(f"adds layer {index}, {_words(other)}, to {_words(shape)}; expected the same size")
    kind = Shortcut(_activation(section, "linear"))
    reads = (source, *(index for index, _ in found))
    return Layer(section, kind, reads, (shape, *(other for _, other in found)), shape)


def _upsample(reader: Reader, section: Section) -> Layer:
    source, shape = reader.before(section)
    kind = Upsample(section.integer("stride", 2, least=1), section.number("scale", 1.0))
    return Layer(section, kind, (source,), (shape,), (shape[0], shape[1] * kind.stride, shape[2] * kind.stride))


def _reorg(reader: Reader, section: Section) -> Layer:
    source, (channels, rows, columns) = reader.before(section)
    stride = section.integer("stride", 1, least=1)
    kind = Reorg(stride, "darknet" if section.kind == "reorg" else "space_to_depth")
    if rows % stride or columns % stride or (kind.order == "darknet" and channels % stride**2):
        section.refuse(f"has stride={stride}, which does not divide {_words((channels, rows, columns))}")
    return Layer(
        section,
        kind,
        (source,),
        ((channels, rows, columns),),
        (channels * stride**2, rows // stride, columns // stride),
    )


def _product(reader: Reader, section: Section) -> Layer:
    source, shape = reader.before(section)
    ((index, other),) = reader.named(section, "from")[:1]
    wanted = (other[0], 1, 1) if section.kind == "scale_channels" else other
    if shape != wanted:
        section.refuse(f"multiplies layer {index}, {_words(other)}, by {_words(shape)}; expected {_words(wanted)}")
    kind = Product(_activation(section, "linear"))
    return Layer(section, kind, (source, index), (shape, other), other)


def _pairs(section: Section, count: int) -> tuple[tuple[float, float], ...]:
    numbers = section.numbers("anchors")
    if len(numbers) < 2 * count:
        section.refuse(
            f"has {len(numbers)} numbers in anchors=, expected {2 * count}: a width and a height for each"
        )
    return tuple(zip(numbers[: 2 * count : 2], numbers[1 : 2 * count : 2], strict=True))


def _head(section: Section, shape: Shape, wanted: int, why: str) -> None:
    if shape[0] != wanted:
        section.refuse(f"reads {shape[0]} channels, expected {wanted}: {why} (filters= of the layer before)")


def _yolo(reader: Reader, section: Section) -> Layer:
    source, shape = reader.before(section)
    classes, count = section.integer("classes", 20, least=1), section.integer("num", 1, least=1)
    anchors, mask = _pairs(section, count), section.integers("mask") or tuple(range(count))
    if any(not 0 <= number < count for number in mask):
        section.refuse(f"has mask={section.options['mask']}, expected numbers of its {count} anchors, from 0")
    _head(section, shape, len(mask) * (5 + classes), f"{len(mask)} anchors of 5 + {classes} numbers")
    nms_kind = section.text("nms_kind", "default")
    chosen = tuple(anchors[number] for number in mask)
    squared = section.flag("new_coords")
    kind = Yolo(classes, chosen, mask, count, section.number("scale_x_y", 1.0), squared, nms_kind)
    return Layer(section, kind, (source,), (shape,), shape)


def _region(reader: Reader, section: Section) -> Layer:
    if "tree" in section.options:
        section.refuse("has a tree of classes (YOLO9000), which edgedet does not do")
    source, shape = reader.before(section)
    classes, count = section.integer("classes", 20, least=1), section.integer("num", 1, least=1)
    _head(section, shape, count * (5 + classes), f"{count} anchors of 5 + {classes} numbers")
    kind = Region(classes, _pairs(section, count), section.flag("softmax"))
    return Layer(section, kind, (source,), (shape,), shape)


def _detection(reader: Reader, section: Section) -> Layer:
    if section.integer("coords", 1) != 4:
        section.refuse("has no coords=4, without which boxes are no boxes")
    source, shape = reader.before(section)
    kind = Detection(
        classes=section.integer("classes", 1, least=1),
        boxes=section.integer("num", 1, least=1),
        side=section.integer("side", 7, least=1),
        softmax=section.flag("softmax"),
        square=section.flag("sqrt"),
    )
    wanted = kind.side**2 * (5 * kind.boxes + kind.classes)
    if math.prod(shape) != wanted:
        section.refuse(
            f"reads {math.prod(shape)} numbers, expected {wanted}: {kind.side}x{kind.side} cells of {kind.classes} "
            f"classes and {kind.boxes} boxes (output= of the layer before)"
        )
    return Layer(section, kind, (source,), (shape,), shape)


READERS: dict[str, Callable[[Reader, Section], Layer]] = {
    "convolutional": _convolutional,
    "local": _local,
    "connected": _connected,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "dropout": _dropout,
    "crop": _crop,
    "route": _route,
    "shortcut": _shortcut,
    "upsample": _upsample,
    "reorg": _reorg,
    "reorg3d": _reorg,
    "activation": _activation_layer,
    "scale_channels": _product,
    "sam": _product,
    "yolo": _yolo,
    "region": _region,
    "detection": _detection,
}
