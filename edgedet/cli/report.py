"""Show accuracy against latency in one HTML file, and name the best choice for a budget.

Takes sweeps' folders and what `bench` and `eval` wrote. CSV, Markdown and PNG are written beside the page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgedet.budget_limits import LIMITS
from edgedet.cli.values import fraction, number_from_zero, positive_number

EXAMPLES = """\
examples:
  edgedet report sweep/ -o report.html --budget-ms 15
  edgedet report bench.json eval.json -o report.html --min-map 0.4
  edgedet report bench.json eval.json -o report.html --max-false-alarms-per-hour 1 --max-delay 0.5
"""
DEFAULT_TITLE = "Detector trade-offs"
DEFAULT_PERCENTILE = "p90"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="results (.json) and folders of sweeps")
    parser.add_argument("-o", "--output", default="report.html", metavar="OUT", help="page to write (report.html)")
    parser.add_argument("--title", default=DEFAULT_TITLE, help="headline of the page")
    budget = parser.add_argument_group("budget")
    budget.add_argument("--budget-ms", type=positive_number, metavar="MS", help="maximum latency per frame")
    budget.add_argument("--budget-watts", type=positive_number, metavar="W", help="maximum power")
    budget.add_argument("--min-map", type=fraction, metavar="X", help="minimum accuracy")
    for limit in LIMITS:
        kind = fraction if limit.metavar == "SHARE" else number_from_zero
        budget.add_argument(
            limit.option, dest=f"max_{limit.key}", type=kind, metavar=limit.metavar, help=limit.help
        )
    budget.add_argument(
        "--percentile",
        choices=("p50", "p90", "p95", "p99"),
        default=DEFAULT_PERCENTILE,
        help="percentile of the latency that is judged (p90)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the report and print the choice; 1 when a budget was given and nothing keeps it."""
    from edgedet.errors import MissingDependencyError, OutputError
    from edgedet.files import atomic_path
    from edgedet.report.choose import Budget, choose
    from edgedet.report.collect import collect
    from edgedet.report.page import html_page
    from edgedet.report.plot_png import write_png
    from edgedet.report.tables import csv_text, markdown_text

    output = Path(arguments.output)
    if output.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{output} does not end in .html; CSV, Markdown and PNG are written beside the page")
    collection = collect(arguments.files)
    asked = [(limit, getattr(arguments, f"max_{limit.key}")) for limit in LIMITS]
    limits = tuple((limit, most) for limit, most in asked if most is not None)
    budget = Budget(arguments.budget_ms, arguments.budget_watts, arguments.min_map, arguments.percentile, limits)
    choice = choose(collection.rows, budget)
    command = ["edgedet", "report", *arguments.files, "-o", arguments.output]
    for option, value in (
        ("--budget-ms", arguments.budget_ms),
        ("--budget-watts", arguments.budget_watts),
        ("--min-map", arguments.min_map),
        *((limit.option, most) for limit, most in limits),
    ):
        if value is not None:
            command += [option, f"{value:g}"]
    # The page's own command must make the same choice again.
    if arguments.percentile != DEFAULT_PERCENTILE:
        command += ["--percentile", arguments.percentile]
    if arguments.title != DEFAULT_TITLE:
        command += ["--title", arguments.title]
    page = html_page(collection, choice, title=arguments.title, command=command)
    texts = {output: page, output.with_suffix(".csv"): csv_text(collection.rows)}
    texts[output.with_suffix(".md")] = markdown_text(collection, choice)
    for path, text in texts.items():
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    written = [str(path) for path in texts]
    try:
        write_png(collection.rows, budget, output.with_suffix(".png"))
        written.append(str(output.with_suffix(".png")))
    except MissingDependencyError as error:
        print(f"warning: {error}", file=sys.stderr)
    print(choice.why)
    print(f"written: {', '.join(written)}", file=sys.stderr)
    return int(budget.given and choice.chosen is None)
