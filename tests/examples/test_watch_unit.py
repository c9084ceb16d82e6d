"""The unit and the recipe for a device that watches for good say what the command understands."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from pathlib import Path

from tests.docs.test_commands import parser_of

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_unit_starts_a_command_that_exists_and_tells_systemd() -> None:
    unit = configparser.RawConfigParser(strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((EXAMPLES / "watch.service").read_text("utf-8").replace("\\\n", " "))
    program, command, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).name == "edgedet" and command == "watch"
    asked = parser_of("watch").parse_args(arguments)
    assert asked.metrics == 9100 and asked.max_temp == 80
    assert unit["Service"]["Type"] == "notify" and int(unit["Service"]["WatchdogSec"]) >= 30
    # The command refuses a rate that the watchdog would end.
    assert 2 / asked.max_fps < int(unit["Service"]["WatchdogSec"])


def test_the_container_does_the_same() -> None:
    lines = (EXAMPLES / "watch.Dockerfile").read_text("utf-8").splitlines()
    found = {name: rest for name, _, rest in (line.partition(" ") for line in lines)}
    assert json.loads(found["ENTRYPOINT"]) == ["edgedet", "watch"]
    parser_of("watch").parse_args(json.loads(found["CMD"]))
    assert re.search(r"'/opt/edgedet\[mqtt\]'", found["RUN"])
