"""Report what changed between benchmarks, and whether it is more than noise.

With one file, its artifacts are compared with the first of them: they were measured in turns, which gives a verdict
even on a busy machine. With two files, artifacts of the same name are compared (or the only ones there are), and
the machine's own change, which fixed work beside the frames shows, is taken out; where the machine changed too
much, was disturbed or is another one, the verdict is "undecided"."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgedet.cli.values import fraction

if TYPE_CHECKING:
    from edgedet.bench.compare import Comparison
    from edgedet.bench.measured_parts import BenchResult, MeasuredArtifact

EXAMPLES = """\
examples:
  edgedet bench old.onnx new.onnx --frames photos/ --json both.json && edgedet compare both.json
  edgedet compare monday.json today.json --min-effect 0.10     ignore changes below 10 %
  edgedet compare both.json --undecided fail                   a gate that insists on a verdict

exit codes: 0 nothing is slower, 1 something is slower (or, on request, undecided), 2 bad usage or input.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("before", metavar="A.json", help="a benchmark's result")
    parser.add_argument(
        "after", metavar="B.json", nargs="?", help="another result; without it, A's artifacts are compared"
    )
    parser.add_argument(
        "--min-effect",
        type=fraction,
        metavar="SHARE",
        help="share below which a change counts as none (0.03 for one run, 0.05 for separate runs)",
    )
    parser.add_argument(
        "--undecided",
        choices=("pass", "fail"),
        default="pass",
        help="exit code of an undecided comparison (pass)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Compare and print; 1 when something became slower."""
    from edgedet.bench.text import describe_comparison

    comparisons, notes = _compare(arguments.before, arguments.after, arguments.min_effect)
    if arguments.json:
        print(
            json.dumps({"comparisons": [each.describe() for each in comparisons], "differences": notes}, indent=1)
        )
    else:
        for comparison in comparisons:
            print("\n".join(describe_comparison(comparison)))
        for note in notes:
            print(f"note: {note}")
    verdicts = [comparison.verdict for comparison in comparisons]
    if "undecided" in verdicts and arguments.undecided == "pass" and not arguments.json:
        print("warning: undecided is not the same as unchanged (--undecided fail makes it fail)", file=sys.stderr)
    return int("slower" in verdicts or ("undecided" in verdicts and arguments.undecided == "fail"))


def _compare(
    before_path: str, after_path: str | None, min_effect: float | None
) -> tuple[list[Comparison], list[str]]:
    from edgedet.bench.compare import compare_artifacts, differences, other_machine
    from edgedet.bench.result import read_result
    from edgedet.errors import UsageError

    before = read_result(before_path)
    if after_path is None:
        first, *others = before.artifacts
        if not others:
            raise UsageError(
                f"{before_path} holds one artifact, and there is nothing to compare it with; give a second file, "
                "or bench both artifacts in one run: edgedet bench A B --json both.json"
            )
        return [compare_artifacts(first, other, same_run=True, min_effect=min_effect) for other in others], []
    after = read_result(after_path)
    pairs = _pairs(before.artifacts, after.artifacts)
    if not pairs:
        raise UsageError(
            f"no artifact has the same name in both files: {_names(before)} in {before_path}, {_names(after)} in "
            f"{after_path}; bench artifacts of the same file name, or one artifact in each"
        )
    elsewhere = other_machine(before, after)
    compared = [
        compare_artifacts(first, second, same_run=False, elsewhere=elsewhere, min_effect=min_effect)
        for first, second in pairs
    ]
    return compared, differences(before, after)


def _pairs(
    before: Sequence[MeasuredArtifact], after: Sequence[MeasuredArtifact]
) -> list[tuple[MeasuredArtifact, MeasuredArtifact]]:
    if len(before) == len(after) == 1:
        return [(before[0], after[0])]
    by_name = {artifact.name: artifact for artifact in after}
    return [(artifact, by_name[artifact.name]) for artifact in before if artifact.name in by_name]


def _names(result: BenchResult) -> str:
    return ", ".join(artifact.name for artifact in result.artifacts)
