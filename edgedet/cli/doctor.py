"""Report what this machine can run, what is missing, and how to get it.

Exit code 0 when graphs, and the ARTIFACTs named, can be run here; 1 when something is missing or broken.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

from edgedet.cli.doctor_jetson import jetson_advice, jetson_facts, jetson_lines
from edgedet.cli.values import human_bytes
from edgedet.errors import EdgedetError
from edgedet.installed_packages import Environment, describe_environment
from edgedet.machine.hardware import Machine, describe_machine
from edgedet.machine.jetpack import recognise

EXAMPLES = """\
examples:
  edgedet doctor
  edgedet doctor model.trt model.onnx      will these run here?
  edgedet doctor --json > machine.json
"""

SMALL_MEMORY = 1_000_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``edgedet doctor``."""
    parser.add_argument("artifacts", metavar="ARTIFACT", type=Path, nargs="*", help="artifacts to try")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Look, and print what was found."""
    machine, environment, board = describe_machine(), describe_environment(), recognise()
    advice = [*environment.advice, *machine_advice(machine), *(jetson_advice(board) if board else ())]
    artifacts = {str(path): problem(path, machine, environment) for path in arguments.artifacts}
    ok, summary = verdict(environment, artifacts)
    if arguments.json:
        found = {
            "machine": dataclasses.asdict(machine),
            "environment": dataclasses.asdict(environment),
            "jetpack": jetson_facts(board, environment) if board else None,
            "can_detect": environment.can_detect,
            "advice": advice,
            "artifacts": artifacts,
            "ok": ok,
            "summary": summary,
        }
        print(json.dumps(found, indent=2))
    else:
        about_board = jetson_lines(board, environment) if board else ()
        for line in (*machine_lines(machine), *about_board, "", *environment_lines(environment)):
            print(line)
        for index, (path, reason) in enumerate(artifacts.items()):
            title = "artifacts" if index == 0 else ""
            print(f"{title:<12}{'-' if reason else '+'} {path}{f': {reason}' if reason else ' fits this machine'}")
        print()
        for line in advice:
            print(f"! {line}")
        print(summary)
    return 0 if ok else 1


def verdict(environment: Environment, artifacts: dict[str, str]) -> tuple[bool, str]:
    """Whether all is well, which is the exit code, and the same in words, which is the last line.

    ``artifacts``: path to what is wrong with it, empty where nothing is.
    """
    refused = [path for path, reason in artifacts.items() if reason]
    wanting = [found for found in environment.packages if found.package.required and found.state != "ok"]
    why = ", ".join(f"{found.package.module} is {found.state}" for found in wanting)
    graphs = f"graphs cannot be run here yet: {why}" if wanting else "graphs can be run here"
    if not artifacts:
        return not wanting, graphs
    if refused:
        if len(refused) == len(artifacts) > 1:
            return False, f"none of the {len(artifacts)} artifacts can be run here; {graphs}"
        named = refused[0] if len(artifacts) == 1 else f"{len(refused)} of the {len(artifacts)} artifacts"
        return False, f"{named} cannot be run here; {graphs}"
    named = next(iter(artifacts)) if len(artifacts) == 1 else f"all {len(artifacts)} artifacts"
    if wanting:
        # What an engine needs may be here while what graphs need is not.
        return False, f"{graphs}; {named} would fit this machine"
    return True, f"{named} can be run here"


def problem(path: Path, machine: Machine, environment: Environment) -> str:
    """Why an artifact will not run here, as far as that can be told without running it; empty if it will."""
    from edgedet.artifacts.engine_file import library_of, read_engine_header, read_plan
    from edgedet.artifacts.engine_match import Host, require_match
    from edgedet.artifacts.wholeness import require_whole
    from edgedet.opening import artifact_kind, held_artifact, read_card, runtime_of

    try:
        kind = artifact_kind(path)
        held = held_artifact(path)
        content = None if held is None else held.content
        needed = runtime_of(kind, path=path, content=content).name
        read_card(path, content)
        if kind == "graph":
            require_whole(path, kind, None if held is None else held.main)
        if kind == "engine":
            engine = read_engine_header(path, content)
            module = library_of(engine).module
            version = next(found.version for found in environment.packages if found.package.module == module)
            capability, name = _gpu(machine)
            require_match(engine, read_plan(engine), Host(version, capability, name, machine.architecture))
    except EdgedetError as error:
        return str(error)
    runtime = next(found for found in environment.runtimes if found.name == needed)
    return "" if runtime.usable else f"{needed} cannot run here: {' '.join(runtime.reason.split())}"


def _gpu(machine: Machine) -> tuple[str | None, str | None]:
    """Compute capability and name of the GPU engines would run on, as far as the driver or CUDA tells them."""
    from edgedet.runtimes.cuda.device import Cuda

    gpu = machine.gpus[0] if machine.gpus else None
    if gpu is not None and gpu.compute_capability is not None:
        return gpu.compute_capability, gpu.name
    try:
        cuda = Cuda()
    except EdgedetError:
        return None, gpu.name if gpu is not None else None
    return cuda.compute_capability, cuda.name


def machine_lines(machine: Machine) -> Iterator[str]:
    """The machine, one fact a line."""
    cpu = machine.cpu
    yield f"system      {machine.system}; {machine.kernel}; {machine.architecture}"
    of_all = f" of {cpu.cores_of_machine}" if cpu.cores < cpu.cores_of_machine else ""
    quota = f", at most {cpu.quota:g} CPUs' worth of time" if cpu.quota and cpu.quota < cpu.cores else ""
    yield f"cpu         {cpu.model}, {cpu.cores}{of_all} cores{quota}"
    yield f"            {' '.join(cpu.features) or 'no known vector instructions'}"
    if machine.memory_total is not None:
        free = f", {human_bytes(machine.memory_available)} free" if machine.memory_available is not None else ""
        yield f"memory      {human_bytes(machine.memory_total)}{free}"
    for gpu in machine.gpus:
        memory = f", {gpu.memory_mib} MiB" if gpu.memory_mib else ""
        capability = gpu.compute_capability or "unknown"
        yield f"gpu         {gpu.name}, compute capability {capability}, driver {gpu.driver}{memory}"
    if not machine.gpus and machine.jetson is None:
        yield "gpu         no NVIDIA GPU found"
    if machine.jetson is not None:
        jetson = machine.jetson
        jetpack = f" (JetPack {jetson.jetpack})" if jetson.jetpack else ""
        yield f"jetson      {jetson.model}, L4T {jetson.l4t}{jetpack}, power mode {jetson.power_mode or 'unknown'}"


def environment_lines(environment: Environment) -> Iterator[str]:
    """Packages and runtimes, one a line."""
    place = "virtual environment" if environment.virtual_environment else "system"
    yield f"python      {environment.python} ({place}: {environment.executable})"
    for index, found in enumerate(environment.packages):
        title = "packages" if index == 0 else ""
        versions = ", ".join(f"{name} {version}" for name, version in found.distributions.items())
        if found.state == "ok":
            text = versions or f"{found.package.module}, version unknown"
        elif found.state == "missing":
            text = f"{found.package.module} not installed; for {found.package.needed_for}: {found.package.install}"
        else:
            text = f"{versions or found.package.module} is broken: {' '.join(found.reason.split())}"
        yield f"{title:<12}{'+' if found.state == 'ok' else '-'} {text}"
    if cuda := environment.cuda:
        facts = (("runtime ", cuda["cuda"]), ("driver up to ", cuda["driver"]), ("NVRTC ", cuda["nvrtc"]))
        yield "cuda        " + ", ".join(
            f"{name}{version}" if version else f"no {name.split()[0]}" for name, version in facts
        )
    for index, runtime in enumerate(environment.runtimes):
        title = "runtimes" if index == 0 else ""
        providers = f" ({', '.join(runtime.providers)})" if runtime.providers else ""
        reason = f": {' '.join(runtime.reason.split())}" if runtime.reason else ""
        yield f"{title:<12}{'+' if runtime.usable else '-'} {runtime.name}{providers}{reason}"


def machine_advice(machine: Machine) -> Iterator[str]:
    """What will make figures from this machine worse than they need be."""
    if not machine.cpu.has_int8_dot_product:
        yield "this CPU has no integer dot products: INT8 makes files smaller here, but hardly faster"
    available = machine.memory_available
    if available is not None and available < SMALL_MEMORY:
        yield f"only {human_bytes(available)} of memory is free: exporting needs about 1 GB; export elsewhere"
    jetson = machine.jetson
    if jetson and jetson.power_mode and not jetson.power_mode.upper().startswith("MAXN"):
        yield (
            f"power mode is {jetson.power_mode}: for full speed choose the MAXN mode (grep POWER_MODEL "
            "/etc/nvpmodel.conf lists their numbers; sudo nvpmodel -m NUMBER) and sudo jetson_clocks"
        )
