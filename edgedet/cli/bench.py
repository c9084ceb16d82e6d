"""Measure how long artifacts take on this machine, from frame to detections.

Cold start, warm latency with its tail, stages, throughput, several streams, memory and energy. Several artifacts
are measured in turns, in one run, which makes them comparable on a busy machine."""

from __future__ import annotations

import argparse
import json
import sys

from edgedet.cli.then_option import add_then_options, then_settings
from edgedet.cli.values import list_of, positive_integer, positive_number, whole_number
from edgedet.runtimes import spellings

EXAMPLES = """\
examples:
  edgedet bench model.onnx --frames photos/                    real frames: figures that count
  edgedet bench fp32.onnx int8.onnx --frames clip.mp4 --json both.json
  edgedet bench model.onnx --frames photos/ --duty-cycle 5     does it burn a core between frames?
  edgedet bench persons.onnx --then hands.onnx --then-class person --frames photos/     both as one
  edgedet bench int8.onnx --frames photos/ --single-stream fp32.onnx
  edgedet compare both.json                                    is one slower, or was it noise?
"""


def _numbers(text: str) -> tuple[int, ...]:
    return () if text == "none" else list_of(positive_integer)(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("artifacts", nargs="+", metavar="ARTIFACT", help="graphs, engines or files for ncnn")
    parser.add_argument(
        "--frames", metavar="SOURCE", help="dataset, folder, image or video to run on (synthetic scenes without it)"
    )
    parser.add_argument(
        "--frame-count", type=positive_integer, default=32, metavar="N", help="number of frames held in memory (32)"
    )
    parser.add_argument("--runtime", default="auto", help=f"{spellings()} (auto)")
    parser.add_argument(
        "--threads", type=positive_integer, metavar="N", help="CPU threads (the runtime's own choice)"
    )
    rules = parser.add_argument_group("rules")
    rules.add_argument(
        "--warmup", type=positive_integer, default=20, metavar="N", help="number of warm-up frames (20)"
    )
    rules.add_argument(
        "--min-frames", type=positive_integer, default=100, metavar="N", help="minimum number of frames (100)"
    )
    rules.add_argument(
        "--seconds",
        type=positive_number,
        default=10.0,
        metavar="S",
        help="minimum time (10); warm-up and each batch size and number of streams (3 s) take no longer",
    )
    rules.add_argument(
        "--max-seconds",
        type=positive_number,
        metavar="S",
        help="maximum time for each artifact, by the clock (six times --seconds)",
    )
    parts = parser.add_argument_group("parts")
    parts.add_argument(
        "--batches", type=_numbers, default=(1, 4), metavar="N,N", help="batch sizes; none leaves them out (1,4)"
    )
    parts.add_argument(
        "--streams",
        type=_numbers,
        default=(1, 2),
        metavar="N,N",
        help="numbers of streams; none leaves them out (1,2)",
    )
    parts.add_argument(
        "--cold-starts",
        type=whole_number,
        default=3,
        metavar="N",
        help="number of fresh processes; 0 leaves them out (3)",
    )
    parts.add_argument(
        "--duty-cycle",
        type=positive_number,
        metavar="FPS",
        help="CPU time per frame at so many frames a second, beside back to back",
    )
    parts.add_argument(
        "--single-stream",
        metavar="FP32",
        help="MLPerf's single stream in kind: p90 of 1,024 queries, valid where FP32, the float graph, agrees",
    )
    add_then_options(parser)
    parser.add_argument("--json", metavar="OUT", help="file for the result; - prints it instead of the summary")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    from edgedet.bench.frames import load_frames
    from edgedet.bench.latency import MAX_WARMUP, Rules
    from edgedet.bench.result import write_result
    from edgedet.bench.suite import BenchOptions, run_bench
    from edgedet.bench.text import describe_result
    from edgedet.cli.progress import Progress, duration
    from edgedet.errors import UsageError
    from edgedet.files import require_writable_parent

    crops = then_settings(arguments)
    longest = arguments.max_seconds or 6 * arguments.seconds
    if longest < arguments.seconds:
        raise UsageError(f"--max-seconds {longest:g} is less than --seconds {arguments.seconds:g}; expected more")
    if arguments.json and arguments.json != "-":
        require_writable_parent(arguments.json)
    options = BenchOptions(
        rules=Rules(
            warmup_frames=max(2, arguments.warmup),
            warmup_seconds=min(Rules.warmup_seconds, arguments.seconds / MAX_WARMUP),
            frames=arguments.min_frames,
            seconds=arguments.seconds,
            max_seconds=longest,
        ),
        runtime=arguments.runtime,
        threads=arguments.threads,
        batches=arguments.batches,
        streams=arguments.streams,
        load_seconds=min(BenchOptions.load_seconds, arguments.seconds),
        cold_starts=arguments.cold_starts,
        duty_cycle=arguments.duty_cycle,
        single_stream=arguments.single_stream,
        then=arguments.then,
        crops=crops | {"conf": arguments.then_conf},
    )
    count = len(arguments.artifacts)
    starts = f", after {count * options.cold_starts} cold starts" if options.cold_starts else ""
    with Progress() as progress:
        progress.say(f"measuring takes at most {duration(count * options.max_seconds)}{starts}")
        progress("reading frames")
        frames = load_frames(arguments.frames, count=arguments.frame_count)
        result = run_bench(arguments.artifacts, frames, options, progress=progress)
    if arguments.json == "-":
        print(json.dumps(result.to_json(), indent=1))
        return 0
    for line in describe_result(result):
        print(line)
    if arguments.json:
        write_result(result, arguments.json)
        print(f"\nwritten to {arguments.json}", file=sys.stderr)
    return 0
