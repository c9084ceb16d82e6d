"""Race the runtimes that are installed for an artifact, and use the quickest from now on.

Each must find the boxes that the default finds. The winner is kept in your cache for this artifact, this machine
and these versions; whatever opens the artifact with the runtime on auto uses it and says so. Where nothing is
quicker beyond doubt, the default stays."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgedet.cli.values import list_of, positive_integer, positive_number

EXAMPLES = """\
examples:
  edgedet tune model.onnx --frames photos/       ONNX Runtime, OpenVINO, ...: which is the quickest here?
                                                 A model.ncnn of the same detector beside it takes part.
  edgedet tune fp32.onnx int8.onnx               each of them
  edgedet tune model.onnx --forget               back to the default
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("artifacts", nargs="+", metavar="ARTIFACT", help="graphs, engines or files for ncnn")
    parser.add_argument(
        "--frames", metavar="SOURCE", help="dataset, folder, image or video to run on (synthetic scenes without it)"
    )
    parser.add_argument(
        "--threads",
        type=list_of(positive_integer),
        default=(),
        metavar="N,N",
        help="CPU threads to try beside each runtime's own choice (all cores and half of them)",
    )
    parser.add_argument(
        "--seconds", type=positive_number, default=5.0, metavar="S", help="minimum time for each finalist (5)"
    )
    parser.add_argument("--forget", action="store_true", help="remove what was kept for the artifacts")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Race, keep the winner and print."""
    from edgedet.errors import UsageError
    from edgedet.opening import artifact_kind
    from edgedet.tuned_choice import forget

    paths = [Path(artifact) for artifact in arguments.artifacts]
    for path in paths:
        if artifact_kind(path) == "checkpoint":
            raise UsageError(
                f"{path} is a checkpoint, which runs in its framework alone; export it and race the graph"
            )
    if arguments.forget:
        forgotten = {str(path): forget(path) for path in paths}
        if arguments.json:
            print(json.dumps([{"artifact": path, "forgotten": was} for path, was in forgotten.items()], indent=1))
            return 0
        for name, was in forgotten.items():
            print(f"{name}: " + ("back to the default" if was else "nothing was kept"))
        return 0
    return _race(arguments, paths)


def _race(arguments: argparse.Namespace, paths: list[Path]) -> int:
    from dataclasses import asdict

    from edgedet.bench.frames import load_frames
    from edgedet.cli.progress import Progress
    from edgedet.tune import race
    from edgedet.tuned_choice import remember, require_cache

    require_cache()
    with Progress() as progress:
        progress("reading frames")
        frames = load_frames(arguments.frames)
        results = []
        for path in paths:
            result = race(
                path, frames.frames, threads=arguments.threads, seconds=arguments.seconds, progress=progress
            )
            results.append((path, result, remember(path, result.choice)))
    if arguments.json:
        told = [{"artifact": str(path), "kept": str(kept), **asdict(result)} for path, result, kept in results]
        print(json.dumps(told, indent=1))
        return 0
    for path, result, kept in results:
        print(path)
        for one in result.entrants:
            threads = (
                "default threads"
                if one.threads is None
                else f"{one.threads} {'thread' if one.threads == 1 else 'threads'}"
            )
            if one.dropped:
                what = f"left out: {one.dropped}"
            else:
                ratio = one.ratio
                against = f"  {ratio.value:.2f} x ({ratio.low:.2f} to {ratio.high:.2f})" if ratio else ""
                if ratio is None and one is not result.entrants[0]:
                    against = "  in the heat"
                what = f"{one.milliseconds:8.2f} ms{against}" + ("  <- in use" if one == result.winner else "")
            print(f"  {one.runtime:12} {threads:16} {what}" + (f"  ({one.artifact})" if one.artifact else ""))
        print(f"  {result.choice.words}; kept in {kept}")
    return 0
