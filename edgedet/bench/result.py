"""The benchmark's result file: one versioned JSON object, described by ``schema.json`` beside this module."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgedet.errors import UsageError
from edgedet.files import atomic_path

KIND = "edgedet-bench"
VERSION = 1
SCHEMA_PATH = Path(__file__).with_name("schema.json")

Result = dict[str, Any]


def not_measured(reason: str) -> dict[str, str]:
    """What stands in the place of a figure that could not be had."""
    return {"not_measured": reason}


def reason_missing(value: Any) -> str | None:
    """Why ``value`` was not measured; None when it was.

    >>> reason_missing(not_measured("no power monitor")), reason_missing(3.5)
    ('no power monitor', None)
    """
    return value["not_measured"] if isinstance(value, dict) and "not_measured" in value else None


def write_result(result: Result, path: str | Path) -> None:
    """Write the result as JSON, whole or not at all.

    Raises:
        OutputError: the place is not writable.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")


def read_result(path: str | Path) -> Result:
    """Read a benchmark's result.

    Raises:
        UsageError: no such file, not a benchmark's result, or written by a newer edgedet.
    """
    try:
        data = json.loads(Path(path).read_text())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON ({error}); expected what `edgedet bench --json` wrote") from error
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise UsageError(f"{path} is not a benchmark's result; expected what `edgedet bench --json` wrote")
    if not isinstance(data.get("version"), int) or data["version"] > VERSION:
        raise UsageError(
            f"{path} has version {data.get('version')!r}, this edgedet reads up to {VERSION}; update edgedet"
        )
    if not data.get("artifacts"):
        raise UsageError(f"{path} holds no artifact; run `edgedet bench ARTIFACT --json {path}` again")
    return data
