"""The benchmark's result as dataclasses: what is read is written again, letter by letter, as the schema has it."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from edgedet.bench import measured_conditions, measured_latency, measured_parts
from edgedet.bench.json_dataclass import Record
from edgedet.bench.measured_latency import Latency
from edgedet.bench.measured_parts import BenchResult, ColdStart, Memory
from edgedet.bench.reference_workload import SORTING
from edgedet.bench.result import SCHEMA_PATH, read_result, write_result
from edgedet.errors import UsageError
from edgedet.missing_figures import NotMeasured

WRITTEN = Path(__file__).with_name("result.json")
"""Written by ``edgedet bench`` before results were dataclasses; blocks and samples cut short."""


def stored() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(WRITTEN.read_text())
    return data


def test_a_result_is_written_as_it_was_read_letter_by_letter(tmp_path: Path) -> None:
    write_result(read_result(WRITTEN), tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == WRITTEN.read_bytes()


def test_figures_are_attributes() -> None:
    result, data = read_result(WRITTEN), stored()
    (artifact,) = result.artifacts
    entry = data["artifacts"][0]
    assert artifact.latency.p50 == entry["latency"]["p50"]
    assert artifact.latency.blocks[1].samples_ms == tuple(entry["latency"]["blocks"][1]["samples_ms"])
    assert isinstance(artifact.cold, ColdStart) and artifact.cold.import_ == entry["cold"]["import"]
    assert isinstance(artifact.memory, Memory) and isinstance(artifact.memory.device, NotMeasured)
    assert artifact.memory.device.reason == entry["memory"]["device"]["not_measured"]
    assert isinstance(artifact.energy, NotMeasured) and artifact.energy.reason == entry["energy"]["not_measured"]
    assert result.machine.jetson is None and result.during.why_missing("throttled")


def test_a_result_of_an_earlier_version_is_read_and_gains_nothing() -> None:
    data = stored()
    latency = data["artifacts"][0]["latency"]
    for section in (latency, data["during"], data["artifacts"][0]["memory"], *data["artifacts"][0]["streams"]):
        del section["absent"]
    del latency["reference"], data["rules"]["turn_seconds"], data["rules"]["resume_frames"]
    data["rules"]["rest_seconds"] = 0.1
    result = BenchResult.from_json(data)
    assert result.to_json() == data
    assert result.artifacts[0].latency.reference_work == SORTING
    assert result.artifacts[0].latency.why_missing("p99") is None


def test_null_is_not_the_same_as_left_out() -> None:
    data = stored()
    data["artifacts"][0]["latency"] |= {"p99": None, "jitter": None, "p50_interval": None}
    data["machine"]["clocks"]["governor"] = None
    assert BenchResult.from_json(data).to_json() == data


def test_what_a_result_says_beyond_the_schema_is_kept() -> None:
    data = stored()
    for place in (data, data["machine"], data["machine"]["cpu"], data["artifacts"][0]["latency"]["blocks"][0]):
        place["new"] = [1, {"list": [2]}]
    assert BenchResult.from_json(data).to_json() == data


@pytest.mark.parametrize("name", ["cold", "memory", "throughput", "streams", "energy"])
def test_a_part_that_was_left_out_keeps_its_reason(name: str) -> None:
    data = stored()
    data["artifacts"][0][name] = {"not_measured": "left out"}
    result = BenchResult.from_json(data)
    assert getattr(result.artifacts[0], name) == NotMeasured("left out")
    assert result.to_json() == data


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda data: data["artifacts"][0].pop("energy"), "'energy' is not there"),
        (lambda data: data["artifacts"][0].update(cold=5), "of the wrong kind"),
        (lambda data: data["machine"].pop("memory_total"), "'memory_total' is not there"),
        (lambda data: data["machine"].update(gpus=[{"name": "X"}]), "'driver' is not there"),
    ],
)
def test_a_part_that_is_missing_or_of_another_kind_is_named(damage: Any, complaint: str, tmp_path: Path) -> None:
    data = stored()
    damage(data)
    (tmp_path / "bad.json").write_text(json.dumps(data))
    with pytest.raises(UsageError, match=rf"bad\.json is damaged: .*{complaint}.*so run it again"):
        read_result(tmp_path / "bad.json")


def test_null_in_place_of_a_part_is_refused() -> None:
    with pytest.raises(TypeError, match="expected an object, found NoneType"):
        Latency.from_json(None)  # type: ignore[arg-type]


SECTIONS: list[tuple[type[Record], tuple[Any, ...]]] = [
    (measured_parts.BenchResult, ()),
    (measured_conditions.MeasuredMachine, ("properties", "machine")),
    (measured_conditions.Processor, ("properties", "machine", "properties", "cpu")),
    (measured_conditions.GraphicsCard, ("properties", "machine", "properties", "gpus", "items")),
    (measured_conditions.JetsonBoard, ("properties", "machine", "properties", "jetson")),
    (measured_conditions.Clocks, ("properties", "machine", "properties", "clocks")),
    (measured_conditions.During, ("properties", "during")),
    (measured_conditions.RulesFollowed, ("properties", "rules")),
    (measured_conditions.FramesUsed, ("properties", "frames")),
    (measured_parts.MeasuredArtifact, ("$defs", "artifact")),
    (measured_latency.Stages, ("$defs", "artifact", "properties", "stages")),
    (measured_parts.DetectionCounts, ("$defs", "artifact", "properties", "detections")),
    (measured_parts.BatchRate, ("$defs", "artifact", "properties", "throughput", "anyOf", 1, "items")),
    (measured_parts.StreamRate, ("$defs", "artifact", "properties", "streams", "anyOf", 1, "items")),
    (measured_parts.Energy, ("$defs", "artifact", "properties", "energy", "anyOf", 1)),
    (measured_parts.DutyCycle, ("$defs", "artifact", "properties", "duty_cycle", "anyOf", 1)),
    (measured_parts.SingleStream, ("$defs", "artifact", "properties", "single_stream", "anyOf", 1)),
    (measured_parts.ColdStart, ("$defs", "cold")),
    (measured_parts.Memory, ("$defs", "memory")),
    (measured_latency.Latency, ("$defs", "latency")),
    (measured_latency.Block, ("$defs", "latency", "properties", "blocks", "items")),
]
OLDER = {"turn_seconds", "resume_frames"}
"""Required today; results of earlier versions have none."""


@pytest.mark.parametrize(("record", "place"), SECTIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_the_dataclasses_and_the_schema_name_the_same_fields(record: type[Record], place: tuple[Any, ...]) -> None:
    schema = json.loads(SCHEMA_PATH.read_text())
    for step in place:
        schema = schema[step]
    names = {each.name.removesuffix("_") for each in fields(record)} - {"extra"}
    assert set(schema["required"]) - OLDER <= names - record.optional
    assert set(schema.get("properties", ())) <= names
    if schema.get("additionalProperties") is False:
        assert names == set(schema["properties"])


def test_every_record_of_the_result_is_compared_with_the_schema() -> None:
    defined = (vars(measured_conditions) | vars(measured_latency) | vars(measured_parts)).values()
    records = {each for each in defined if isinstance(each, type) and issubclass(each, Record)}
    assert records - {Record} == {record for record, _ in SECTIONS}
