"""Frozen dataclasses that stand for JSON objects: fields by the file's names, in the file's order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

from edgedet.missing_figures import NotMeasured, reason_missing

R = TypeVar("R", bound="Record")


@dataclass(frozen=True, kw_only=True)
class Record:
    """A part of a result file: one JSON object.

    A field whose name Python keeps for itself ends in an underscore here, and does not in the file (``import_``).
    Fields may be other records, tuples of them, or either with :class:`NotMeasured` in its place.

    Attributes:
        optional: names of fields that are None where the file does not have them, and are then not written.
        extra: what else the file says, kept and written again.

    >>> from edgedet.bench import DetectionCounts
    >>> counts = DetectionCounts.from_json({"min": 0, "median": 1.5, "max": 3, "later": True})
    >>> counts.median, counts.extra, counts.to_json() | {"max": 4}
    (1.5, {'later': True}, {'min': 0, 'median': 1.5, 'max': 4, 'later': True})
    """

    optional: ClassVar[frozenset[str]] = frozenset()
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls: type[R], data: Mapping[str, Any]) -> R:
        """Read the object.

        Args:
            data: parsed JSON.

        Returns:
            The record.

        Raises:
            KeyError: a name is not there.
            TypeError: a value is of the wrong kind.
        """
        if not isinstance(data, dict):
            raise TypeError(f"expected an object, found {type(data).__name__}")
        readers = _readers(cls)
        values = {
            name: None if _spelt(name) not in data and name in cls.optional else read(data[_spelt(name)])
            for name, read in readers.items()
        }
        known = {_spelt(name) for name in readers}
        return cls(**values, extra={name: value for name, value in data.items() if name not in known})

    def to_json(self) -> dict[str, Any]:
        """The object as the file has it.

        Returns:
            Plain values.
        """
        values = {name: getattr(self, name) for name in _readers(type(self))}
        written = {
            _spelt(name): _json(value)
            for name, value in values.items()
            if value is not None or name not in self.optional
        }
        return written | dict(self.extra)


def _spelt(name: str) -> str:
    return name.removesuffix("_")


_READERS: dict[type[Any], dict[str, Callable[[Any], Any]]] = {}
"""Readers by record: a result holds thousands of blocks, and hints take long to resolve."""


def _readers(record: type[Record]) -> dict[str, Callable[[Any], Any]]:
    """Readers of every field but ``extra``, by name."""
    if record not in _READERS:
        hints = get_type_hints(record)
        _READERS[record] = {each.name: _reader(hints[each.name]) for each in fields(record) if each.name != "extra"}
    return _READERS[record]


def _reader(hint: Any) -> Callable[[Any], Any]:
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    record = next((kind for kind in kinds if _is_record(kind)), None)
    of_list = next(
        (get_args(kind)[0] for kind in kinds if get_origin(kind) is tuple and _is_record(get_args(kind)[0])), None
    )

    def read(data: Any) -> Any:
        reason = reason_missing(data) if NotMeasured in kinds else None
        if reason is not None:
            return NotMeasured(reason)
        if data is None and NoneType in kinds:
            return None
        if record is not None:
            return record.from_json(data)
        return _plain(data) if of_list is None else tuple(of_list.from_json(each) for each in data)

    return read


def _is_record(kind: Any) -> bool:
    # A generic alias is a type to isinstance() before Python 3.11, and none to issubclass().
    return get_origin(kind) is None and isinstance(kind, type) and issubclass(kind, Record)


def _plain(value: Any) -> Any:
    return tuple(_plain(each) for each in value) if isinstance(value, list) else value


def _json(value: Any) -> Any:
    if isinstance(value, Record | NotMeasured):
        return value.to_json()
    if isinstance(value, tuple | list):
        return [_json(each) for each in value]
    return dict(value) if isinstance(value, Mapping) else value
