"""What training knew of a detector and its tensors do not hold: the ``detector`` section of a checkpoint.

The same keys are read from a TOML file and from the command line; docs/checkpoints.md lists them.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from edgedet.errors import CheckpointError, UsageError

SECTION = "detector"
"""Key of a checkpoint, and table of a TOML file, that holds the settings."""

Triple = tuple[float, float, float]
Weights = tuple[float, float, float, float]
Levels = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class TrainingSettings:
    """Settings a detector was trained with; None where nothing says.

    Attributes:
        arch: architecture, a key of :data:`edgedet.export.families.torchvision_architectures.ARCHITECTURES`.
        classes: names without the background, in the order of the class layer.
        background: whether the background is the class layer's first row or its last.
        colour: channel order of the images that training saw.
        image_mean, image_std: subtracted from and divided by, of values in 0..1, in ``colour`` order.
        input_size: (height, width) every image is stretched to (SSD).
        min_size, max_size: shortest side, and limit of the longest, in pixels (Faster R-CNN).
        anchor_sizes, anchor_ratios: sides in pixels, and height / width, for each feature level (Faster R-CNN).
        default_box_ratios, default_box_scales, default_box_steps, default_box_clip: torchvision's
            ``DefaultBoxGenerator``: one list of ratios a level, one scale more than levels, as shares of the input;
            steps in pixels, empty where boxes lie on the feature maps' own grid (SSD).
        box_weights, rpn_box_weights: by which (dx, dy, dw, dh) were multiplied for training: of the detections,
            and of the region proposals.
        pool_size, pool_sampling_ratio, pool_levels, pool_canonical_scale, pool_canonical_level: RoIAlign's bins
            a side, samples a bin and side, feature levels by name, and what assigns proposals to levels.
        norm_eps: BatchNorm's epsilon.
        keypoint_names, keypoint_links: of a Keypoint R-CNN, the keypoints in their order, and pairs of their
            numbers, from 0, that a picture joins.

    >>> stated = TrainingSettings(colour="BGR", image_mean=(0.5, 0.5, 0.5))
    >>> stated.stated()
    {'colour': 'BGR', 'image_mean': [0.5, 0.5, 0.5]}
    >>> stated.over(TrainingSettings(colour="RGB", norm_eps=1e-3)).colour
    'BGR'
    """

    arch: str | None = None
    classes: tuple[str, ...] | None = None
    background: Literal["first", "last"] | None = None
    colour: Literal["RGB", "BGR"] | None = None
    image_mean: Triple | None = None
    image_std: Triple | None = None
    input_size: tuple[int, int] | None = None
    min_size: int | None = None
    max_size: int | None = None
    anchor_sizes: Levels | None = None
    anchor_ratios: Levels | None = None
    default_box_ratios: Levels | None = None
    default_box_scales: tuple[float, ...] | None = None
    default_box_steps: tuple[float, ...] | None = None
    default_box_clip: bool | None = None
    box_weights: Weights | None = None
    rpn_box_weights: Weights | None = None
    pool_size: int | None = None
    pool_sampling_ratio: int | None = None
    pool_levels: tuple[str, ...] | None = None
    pool_canonical_scale: int | None = None
    pool_canonical_level: int | None = None
    norm_eps: float | None = None
    keypoint_names: tuple[str, ...] | None = None
    keypoint_links: tuple[tuple[int, int], ...] | None = None

    def stated(self) -> dict[str, Any]:
        """Settings that are not None.

        Returns:
            By name, with tuples as lists, ready for JSON, TOML and ``torch.save``.
        """
        return {name: _plain(value) for name, value in vars(self).items() if value is not None}

    def over(self, other: TrainingSettings) -> TrainingSettings:
        """These settings, completed by others.

        Args:
            other: settings that hold where these are None.

        Returns:
            Both together.
        """
        return dataclasses.replace(
            other, **{name: value for name, value in vars(self).items() if value is not None}
        )

    def contradictions(self, other: TrainingSettings) -> list[str]:
        """Settings that two sources state differently.

        Args:
            other: settings to compare with.

        Returns:
            Names.
        """
        return [
            name
            for name, value in vars(self).items()
            if value is not None and getattr(other, name) not in (None, value)
        ]


NOTHING_STATED = TrainingSettings()


def read_settings(values: Mapping[str, Any], *, where: str) -> TrainingSettings:
    """Settings from parsed values, every one checked.

    Raises:
        CheckpointError: a key that is none of them, or a value of another kind or out of range.
    """
    hints = get_type_hints(TrainingSettings)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        near = [name for name in hints if unknown[0] in name] or difflib.get_close_matches(unknown[0], hints, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"expected {', '.join(sorted(hints))}"
        raise CheckpointError(f"{where}: {unknown[0]!r} is no setting of a detector; {hint}")
    read = {
        name: _coerce(hints[name], value, f"{where}: {name}") for name, value in values.items() if value is not None
    }
    settings = TrainingSettings(**read)
    _check_ranges(settings, where)
    return settings


def section_of_checkpoint(content: Any, *, where: str) -> TrainingSettings:
    """The ``detector`` section of a checkpoint.

    Raises:
        CheckpointError: one that cannot be understood.
    """
    values = content.get(SECTION) if isinstance(content, Mapping) else None
    # safetensors keeps everything as text.
    values = _parsed(values) if isinstance(values, str) else values
    if values is None:
        return NOTHING_STATED
    if not isinstance(values, Mapping):
        raise CheckpointError(
            f"{where}: its {SECTION!r} section is a {type(values).__name__}, expected a dict of settings"
        )
    return read_settings(values, where=f"{where}, section {SECTION!r}")


def read_toml(path: Path) -> TrainingSettings:
    """The table ``[detector]`` of a TOML file, or all of a file without tables.

    Raises:
        UsageError: no such file, or not TOML. CheckpointError: see :func:`read_settings`.
    """
    try:
        values = _toml(path.read_text(encoding="utf-8-sig"), where=str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"cannot read the detector's settings from {path}: {reason}") from error
    table = values.get(SECTION, values)
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {SECTION} is {table!r:.60}, expected a table: [{SECTION}]")
    return read_settings(table, where=str(path))


def beside(source: Path) -> Path | None:
    """The TOML file of the same name beside a checkpoint, where it has a ``[detector]`` table."""
    path = source.with_suffix(".toml")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    tables = (line.partition("#")[0].replace(" ", "").strip() for line in text.splitlines())
    return path if f"[{SECTION}]" in tables else None


def parse_settings(text: str) -> TrainingSettings:
    """A ``--detector`` argument: ``NAME=VALUE`` in TOML's notation, or the name of a TOML file.

    >>> parse_settings("image_mean=[0.5, 0.5, 0.5]").image_mean
    (0.5, 0.5, 0.5)
    >>> parse_settings("background=last").background
    'last'

    Raises:
        UsageError, CheckpointError: neither.
    """
    name, equals, value = text.partition("=")
    if not equals or Path(text).is_file():
        return read_toml(Path(text))
    name = name.strip()
    try:
        values = _toml(f"{name} = {value}", where=text)
    except UsageError:
        # A bare word is text: quoting what the shell then unquotes is nobody's idea of help.
        values = {name: value.strip()}
    return read_settings(values, where=f"--detector {text}")


def _toml(text: str, *, where: str) -> dict[str, Any]:
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib  # type: ignore[no-redef,unused-ignore]
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"{where} is not TOML ({error}); expected lines such as image_mean = [0.5, 0.5, 0.5]"
        ) from error


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _coerce(hint: Any, value: Any, where: str) -> Any:
    """``value`` as ``hint`` wants it; lists become tuples, whole numbers become floats."""
    options = [part for part in get_args(hint) if part is not type(None)]
    if type(None) in get_args(hint):
        return _coerce(options[0], value, where)
    if get_origin(hint) is Literal:
        if value in options:
            return value
        raise CheckpointError(f"{where} is {value!r:.60}, expected {' or '.join(map(repr, options))}")
    if get_origin(hint) is tuple:
        if hasattr(value, "tolist"):  # arrays and tensors
            value = value.tolist()
        if not _is_list(value) or (options[-1] is not Ellipsis and len(value) != len(options)):
            size = "" if options[-1] is Ellipsis else f"{len(options)} "
            raise CheckpointError(f"{where} is {value!r:.60}, expected a list of {size}{_kind(options[0])}")
        flat = next((item for item in value if not _is_list(item)), None) if hint == Levels else None
        if flat is not None:
            raise CheckpointError(
                f"{where} is {flat!r:.60}, expected a list of lists, one for each level or one for all, such as "
                "[[32, 64, 128]]"
            )
        return tuple(_coerce(options[0], item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise CheckpointError(f"{where} is {value!r:.60}, expected {_kind(hint)}")
    return value


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _kind(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return f"lists of {_kind(get_args(hint)[0])}"
    return {float: "numbers", int: "a whole number", str: "text", bool: "true or false"}[hint]


POSITIVE = (
    "image_std", "input_size", "min_size", "max_size", "anchor_sizes", "anchor_ratios", "default_box_ratios",
    "default_box_scales", "default_box_steps", "box_weights", "rpn_box_weights", "pool_size",
    "pool_canonical_scale",
)  # fmt: skip


def _check_ranges(settings: TrainingSettings, where: str) -> None:
    for name, value in settings.stated().items():
        numbers = list(_numbers(value))
        if not all(abs(number) < 1e9 for number in numbers):  # NaN and infinity too
            raise CheckpointError(f"{where}: {name} is {value!r:.60}, expected finite numbers")
        if name in POSITIVE and not all(number > 0 for number in numbers):
            raise CheckpointError(f"{where}: {name} is {value!r:.60}, expected numbers above 0")
        if isinstance(value, list) and name != "default_box_steps" and not value:
            raise CheckpointError(f"{where}: {name} is empty, expected at least one entry")
    if settings.norm_eps is not None and not 0 <= settings.norm_eps < 1:
        raise CheckpointError(f"{where}: norm_eps is {settings.norm_eps:g}, expected 0 or a small number above")
    if settings.image_mean is not None and max(map(abs, settings.image_mean)) > 2:
        raise CheckpointError(
            f"{where}: image_mean is {list(settings.image_mean)}, expected values for pixels in 0..1; divide by 255"
        )
    if settings.image_std is not None and max(settings.image_std) > 2:
        raise CheckpointError(
            f"{where}: image_std is {list(settings.image_std)}, expected values for pixels in 0..1; divide by 255"
        )
    classes = settings.classes or ()
    twice = next((name for name in classes if classes.count(name) > 1), None)
    if twice is not None:
        raise CheckpointError(f"{where}: classes names {twice!r} twice; every class needs a name of its own")
    sizes, ratios = settings.anchor_sizes, settings.anchor_ratios
    if (
        sizes is not None
        and ratios is not None
        and len(sizes) != len(ratios)
        and 1 not in (len(sizes), len(ratios))
    ):
        raise CheckpointError(
            f"{where}: anchor_sizes has {len(sizes)} levels and anchor_ratios {len(ratios)}; expected as many, or "
            "one for all"
        )
    ratios_of_levels, scales = settings.default_box_ratios, settings.default_box_scales
    if ratios_of_levels is not None and scales is not None and len(scales) != len(ratios_of_levels) + 1:
        raise CheckpointError(
            f"{where}: default_box_scales has {len(scales)} entries for {len(ratios_of_levels)} levels; expected "
            "one more than levels"
        )


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)
