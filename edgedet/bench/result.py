"""The benchmark's result file: one versioned JSON object, described by ``schema.json`` beside this module."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from edgedet.bench.measured_parts import BenchResult
from edgedet.errors import UsageError
from edgedet.files import atomic_path

KIND = "edgedet-bench"
VERSION = 1
SCHEMA_PATH = Path(__file__).with_name("schema.json")


def write_result(result: BenchResult, path: str | Path) -> None:
    """Write a benchmark's result as JSON, whole or not at all.

    Args:
        result: what :func:`run_bench` gave.
        path: file to write.

    Raises:
        OutputError: the place is not writable.

    >>> write_result(read_result("bench.json"), "copy.json")
    >>> read_result("copy.json") == read_result("bench.json")
    True
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(result.to_json(), indent=1, allow_nan=False) + "\n")


def read_result(path: str | Path) -> BenchResult:
    """Read a benchmark's result.

    Args:
        path: what ``edgedet bench --json`` or :func:`write_result` wrote.

    Returns:
        The result, checked.

    Raises:
        UsageError: no such file, not a benchmark's result, damaged, or written by a newer edgedet.

    >>> read_result("bench.json").artifacts[1].name
    'slow.onnx'
    """
    try:
        data = json.loads(Path(path).read_text())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON ({error}); expected what `edgedet bench --json` wrote") from error
    return result_from_json(data, path)


def result_from_json(data: Any, path: str | Path) -> BenchResult:
    """Read what stands in a file already parsed; ``path``: named in complaints.

    Raises:
        UsageError: not a benchmark's result, damaged, or written by a newer edgedet.
    """
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise UsageError(f"{path} is not a benchmark's result; expected what `edgedet bench --json` wrote")
    if not isinstance(data.get("version"), int) or data["version"] > VERSION:
        raise UsageError(
            f"{path} has version {data.get('version')!r}, this edgedet reads up to {VERSION}; update edgedet"
        )
    if not data.get("artifacts"):
        raise UsageError(f"{path} holds no artifact; run `edgedet bench ARTIFACT --json {path}` again")
    try:
        for artifact in data["artifacts"]:
            _check_latency(artifact["latency"], str(artifact["name"]))
            for stage in ("pre", "run", "post", "between"):
                value = artifact["stages"][stage]
                number = isinstance(value, int | float) and math.isfinite(value)
                _require(number, f"{artifact['name']}: stage {stage} is {value!r}, expected milliseconds")
        machine = data["machine"]
        for section, names in (
            (machine, ("cpu", "gpus", "jetson", "clocks")),
            (machine["cpu"], ("model", "cores")),
            (machine["clocks"], ("governor",)),
            (data["during"], ("throttled", "others_cpu_share")),
            (data["rules"], ("threads",)),
            (data["frames"], ("kind", "source", "count")),
        ):
            for name in names:
                section[name]
        return BenchResult.from_json(data)
    except (KeyError, TypeError) as error:
        lacking = (
            f"{error} is not there" if isinstance(error, KeyError) else f"a value is of the wrong kind ({error})"
        )
        raise UsageError(f"{path} is damaged: {lacking}; {AGAIN}") from error
    except ValueError as error:
        raise UsageError(f"{path} is damaged: {error}; {AGAIN}") from error


AGAIN = "expected what `edgedet bench --json` wrote, so run it again"


def _check_latency(latency: dict[str, Any], name: str) -> None:
    """Times are divided by one another and drawn on logarithmic axes: none may be 0 or less, or missing."""
    _require_time(latency["p50"], f"{name}: p50")
    for number, block in enumerate(latency["blocks"]):
        where = f"{name}, block {number}"
        _require(isinstance(block["turn"], int), f"{where}: turn is {block['turn']!r}, expected a number")
        _require_time(block["reference_ms"], f"{where}: reference_ms")
        _require(len(block["samples_ms"]) > 0, f"{where}: no sample")
        for sample in block["samples_ms"]:
            _require_time(sample, f"{where}: a sample")
        share = block["others_cpu_share"]
        _require(
            share is None or (isinstance(share, int | float) and 0 <= share <= 1),
            f"{where}: others_cpu_share is {share!r}, expected null or a share",
        )


def _require_time(value: Any, what: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    _require(number and 0 < value < math.inf, f"{what} is {value!r}, expected milliseconds above 0")


def _require(condition: bool, complaint: str) -> None:
    if not condition:
        raise ValueError(complaint)
