"""What ``edgedet doctor`` says on a Jetson: the JetPack, what goes with it, and what is here instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgedet.installed_packages import Environment
from edgedet.machine.jetpack import OLDEST_TENSORRT, TABLE, Board, Compared, compared


def against_table(board: Board, environment: Environment) -> tuple[Compared, ...]:
    """The board's row of the table against what is here; empty for a release that the table does not know."""
    if board.row is None:
        return ()
    imported = next(found.version for found in environment.packages if found.package.module == "tensorrt")
    found = {
        "tensorrt": imported or board.tensorrt,
        "cuda": environment.cuda.get("driver"),
        "python": environment.python,
    }
    return tuple(compared(board.row, found))


def jetson_lines(board: Board, environment: Environment) -> Iterator[str]:
    """The JetPack and its row of the table, one fact a line."""
    chip = (
        f"{board.chip.name}, compute capability {board.chip.compute_capability}" if board.chip else "unknown chip"
    )
    row = board.row
    if row is None:
        known = f"this edgedet knows {TABLE[0].name} to {TABLE[-1].name}"
        yield f"jetpack     - {board.jetpack or 'unknown'} ({chip}): what goes with it is not known; {known}"
        return
    yield f"jetpack     + {board.jetpack} ({chip}, Ubuntu {row.ubuntu}), which has"
    for line in against_table(board, environment):
        if line.agrees:
            yield f"            + {line.what} {line.expected}: here {line.found}"
        elif line.found is None:
            yield f"            - {line.what} {line.expected}: none found here"
        else:
            yield f"            - {line.what} {line.expected}: here {line.found}; {line.cost}"
    if row.onnxruntime:
        why = f"newer ones have no wheel for Python {row.python}"
        yield f"            . ONNX Runtime {row.onnxruntime} at most, on the CPU: {why}"
    else:
        yield "            . ONNX Runtime on the CPU: PyPI's onnxruntime-gpu has no kernels for a Jetson"
    for deepstream in row.deepstream:
        yield (
            f"            . DeepStream {deepstream.version} is made for engines of TensorRT {deepstream.tensorrt}: "
            "build them with the one it loads, in its container if it has one"
        )


def jetson_advice(board: Board) -> Iterator[str]:
    """What to do about the board's system as a whole."""
    row, chip = board.row, board.chip
    if board.l4t is None:
        yield (
            "this is a Jetson, but neither /etc/nv_tegra_release nor the package nvidia-l4t-core says with which "
            "release of Jetson Linux (in a container: docker run -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro)"
        )
    if row is not None and not row.has_engines:
        newer = [other.name for other in TABLE if chip and chip.name in other.boards and other.has_engines]
        way = f"flash JetPack {newer[-1]}" if newer else "there is none for this board: run graphs, on the CPU"
        yield f"JetPack {board.jetpack} has TensorRT {row.tensorrt}, engines need {OLDEST_TENSORRT} or newer; {way}"
    if row is not None and chip is not None and chip.name not in row.boards:
        yield f"JetPack {row.name} is made for {' and '.join(row.boards)}, this board is {chip.name}"


def jetson_facts(board: Board, environment: Environment) -> dict[str, Any]:
    """The same for ``--json``."""
    row = board.row
    return {
        "jetpack": board.jetpack,
        "l4t": board.l4t,
        "chip": board.chip.name if board.chip else None,
        "compute_capability": board.chip.compute_capability if board.chip else None,
        "goes_with": [
            {"what": line.what, "expected": line.expected, "found": line.found, "agrees": line.agrees}
            for line in against_table(board, environment)
        ],
        "onnxruntime_at_most": (row.onnxruntime or None) if row else None,
        "deepstream": {found.version: found.tensorrt for found in row.deepstream} if row else {},
    }
