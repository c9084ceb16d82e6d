"""The whole suite on a real runtime and a tiny graph: the result follows its schema and says what is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet.artifacts.card import METADATA_KEY, InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.bench.frames import load_frames
from edgedet.bench.latency import Rules
from edgedet.bench.measured_parts import BenchResult
from edgedet.bench.result import KIND, SCHEMA_PATH, VERSION, read_result, write_result
from edgedet.bench.suite import BenchOptions, run_bench
from edgedet.bench.text import describe_result
from edgedet.cli import main
from edgedet.errors import UsageError
from tests.masked_detector import save_masked_graph
from tests.rectangle_detector import save_rectangle_graph

onnx = pytest.importorskip("onnx")


def tiny_graph(path: Path) -> Path:
    """A graph that finds the same two objects in every frame."""
    from onnx import TensorProto, helper, numpy_helper

    card = ModelCard(
        family="ssd",
        architecture="tiny",
        names=("cat", "dog"),
        input=InputSpec(height=32, width=48),
        resize=ResizeRule(rule="stretch"),
        output=OutputSpec(format="detections", score_threshold=0.3, iou_threshold=0.5, max_detections=2),
    )
    values = {
        "boxes": np.array([[[1, 1, 20, 20], [5, 5, 40, 30]]], np.float32),
        "scores": np.array([[0.9, 0.5]], np.float32),
        "labels": np.array([[0, 1]], np.int32),
        "count": np.array([2], np.int32),
    }
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"{name}_value"], [name]) for name in values],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [1, 32, 48, 3])],
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in values.items()
        ],
        [numpy_helper.from_array(value, f"{name}_value") for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save(model, path)
    return path


OPTIONS = BenchOptions(
    rules=Rules(warmup_frames=2, warmup_seconds=0.01, frames=5, seconds=0.05, max_seconds=0.2, block_seconds=0.01),
    batches=(1, 2),
    streams=(1, 2),
    load_seconds=0.02,
    cold_starts=1,
    threads=1,
)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_graph(tmp_path_factory.mktemp("bench") / "tiny.onnx")


@pytest.fixture(scope="module")
def result(graph: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("machine")
    return run_bench([graph, graph], load_frames(None), OPTIONS, root=root).to_json()


def check(data: Any) -> None:
    # It loads grammars for seconds: not in every process that only collects this file.
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(json.loads(SCHEMA_PATH.read_text())).validate(data)


def test_the_result_follows_the_schema_and_survives_the_file(result: dict[str, Any], tmp_path: Path) -> None:
    check(result)
    write_result(BenchResult.from_json(result), tmp_path / "result.json")
    assert read_result(tmp_path / "result.json").to_json() == result
    assert json.loads((tmp_path / "result.json").read_text()) == result


def test_what_is_asked_for_is_in_the_result_and_in_the_summary(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgedet.bench.duty_cycle.PACED_SECONDS", 0.1)
    asked = replace(OPTIONS, cold_starts=0, batches=(), streams=(), duty_cycle=50.0, single_stream=graph)
    found = run_bench([graph], load_frames(None), asked, root=tmp_path)
    check(found.to_json())
    write_result(found, tmp_path / "result.json")
    assert read_result(tmp_path / "result.json") == found
    (artifact,) = found.artifacts
    assert artifact.single_stream.queries == 1024 and artifact.single_stream.valid is True
    assert artifact.duty_cycle.frames_per_second == 50
    said = "\n".join(describe_result(found))
    assert "ms of CPU a frame at 50 a second" in said and "of 1,024 queries; valid: 1.0000 of the fp32" in said


def test_what_nobody_asked_for_is_not_in_the_result(result: dict[str, Any]) -> None:
    assert not {"duty_cycle", "single_stream"} & set(result["artifacts"][0])


def test_accuracy_is_judged_by_a_float_graph_of_the_same_classes(graph: Path, tmp_path: Path) -> None:
    quick = replace(OPTIONS, cold_starts=0, batches=(), streams=())
    for change, words in (({"precision": "int8"}, "is int8, and accuracy is judged by the fp32 graph"),
                          ({"names": ("cat", "cow")}, "do not detect the same classes")):  # fmt: skip
        model = onnx.load(graph)
        card = ModelCard.from_json(next(p.value for p in model.metadata_props if p.key == METADATA_KEY))
        onnx.helper.set_model_props(model, {METADATA_KEY: replace(card, **change).to_json()})
        onnx.save(model, tmp_path / "other.onnx")
        with pytest.raises(UsageError, match=words):
            run_bench(
                [graph], load_frames(None), replace(quick, single_stream=tmp_path / "other.onnx"), root=tmp_path
            )


def test_a_float_graph_without_masks_does_not_judge_masks(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_rectangle_graph(tmp_path / "plain.onnx")
    save_masked_graph(tmp_path / "masked.onnx")
    monkeypatch.setattr("edgedet.bench.suite.measure_latency", None)  # it is refused before
    asked = replace(OPTIONS, cold_starts=0, batches=(), streams=(), single_stream=tmp_path / "plain.onnx")
    with pytest.raises(UsageError, match="one gives masks and one does not"):
        run_bench([tmp_path / "masked.onnx"], load_frames(None), asked, root=tmp_path)


def test_the_schema_and_the_code_name_the_same_version() -> None:
    schema = json.loads(SCHEMA_PATH.read_text())
    assert schema["properties"]["kind"]["const"] == KIND
    assert schema["properties"]["version"]["const"] == VERSION


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data["artifacts"][0].pop("energy"),
        lambda data: data["artifacts"][0]["energy"].update(not_measured=""),
        lambda data: data["artifacts"][0]["latency"].update(p50="fast"),
        lambda data: data["rules"].update(clipping="3 sigma"),
        lambda data: data.update(version=2),
    ],
)
def test_the_schema_refuses_what_is_not_a_result(result: dict[str, Any], damage: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    data = json.loads(json.dumps(result))
    damage(data)
    with pytest.raises(jsonschema.ValidationError):
        check(data)


def test_two_artifacts_of_one_name_are_told_apart(result: dict[str, Any]) -> None:
    assert [artifact["name"] for artifact in result["artifacts"]] == ["tiny.onnx#1", "tiny.onnx#2"]


def test_figures_that_could_not_be_had_say_why(result: dict[str, Any]) -> None:
    artifact = result["artifacts"][0]
    assert artifact["energy"]["not_measured"]
    assert "synthetic" in artifact["stages"]["capture"]["not_measured"]
    assert result["frames"]["note"]
    assert result["during"]["throttled"] is None
    text = "\n".join(describe_result(BenchResult.from_json(result)))
    assert "energy      not measured: " in text
    assert "throttled: unknown" in text


def test_power_and_memory_are_told_in_readable_units(result: dict[str, Any]) -> None:
    data = json.loads(json.dumps(result))
    data["artifacts"][0]["memory"] |= {"peak_rss": 120 * 2**20, "device": 2**30}
    data["artifacts"][0]["energy"] = {
        "source": "INA3221",
        "covers": "the module",
        "watts": {"total": 8.0},
        "idle_watts": {"total": 5.0},
        "joules_per_frame": 0.4,
    }
    text = "\n".join(describe_result(BenchResult.from_json(data)))
    assert "host 120 MiB, device 1024 MiB" in text
    assert "8.00 W, 400.0 mJ a frame (INA3221: the module)" in text


def test_cold_start_and_memory_come_from_a_fresh_process(result: dict[str, Any]) -> None:
    cold, memory = result["artifacts"][0]["cold"], result["artifacts"][0]["memory"]
    steps = sum(cold[step] for step in ("interpreter", "import", "open", "first_frame"))
    assert cold["total"] == pytest.approx(steps, abs=0.01)
    assert min(cold[step] for step in ("interpreter", "import", "open", "first_frame")) > 0
    assert 10e6 < memory["rss_after_import"] <= memory["rss_after_open"] <= memory["peak_rss"]


def test_detections_and_rates_are_those_of_the_detector(result: dict[str, Any]) -> None:
    artifact = result["artifacts"][0]
    assert artifact["detections"] == {"min": 2, "median": 2.0, "max": 2}
    assert [row["batch"] for row in artifact["throughput"]] == [1, 2]
    assert [row["streams"] for row in artifact["streams"]] == [1, 2]
    assert artifact["input"] == [32, 48]


def test_graphs_on_the_cpu_are_measured_beside_the_reference_network(result: dict[str, Any]) -> None:
    from edgedet.bench.reference_workload import network

    for artifact in result["artifacts"]:
        assert artifact["latency"]["reference"] == network(result["rules"]["threads"]).name
        assert all(block["reference_ms"] > 0 for block in artifact["latency"]["blocks"])


def test_the_command_writes_a_result_that_compare_reads(
    graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "both.json"
    command = ["bench", str(graph), str(graph), "--seconds", "0.1", "--min-frames", "5", "--warmup", "2"]
    assert main([*command, "--batches", "none", "--streams", "none", "--cold-starts", "0", "--json", str(out)]) == 0
    measured = json.loads(out.read_text())
    check(measured)
    assert measured["rules"]["warmup_seconds"] == pytest.approx(0.01), "and at most ten times as long, --seconds"
    # One turn each decides nothing, whatever else the machine did meanwhile.
    for artifact in measured["artifacts"]:
        artifact["latency"]["blocks"] = artifact["latency"]["blocks"][:1]
    out.write_text(json.dumps(measured))
    assert "left out on request" in capsys.readouterr().out
    assert main(["compare", str(out), "--undecided", "fail"]) == 1
    assert main(["compare", str(out)]) == 0
    captured = capsys.readouterr()
    assert "UNDECIDED: tiny.onnx#2 against tiny.onnx#1" in captured.out
    assert "not the same as unchanged" in captured.err


def test_a_slower_artifact_fails_the_gate_and_a_faster_one_passes(
    result: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {}
    for name, milliseconds in (("fast", 10.0), ("slow", 12.0)):
        data = json.loads(json.dumps(result))
        data["artifacts"] = data["artifacts"][:1]
        rng = np.random.default_rng(len(name))
        data["artifacts"][0]["latency"] |= {
            "p50": milliseconds,
            "blocks": [
                {
                    "turn": turn,
                    "begin_s": float(turn),
                    "reference_ms": 2.0 + 0.01 * float(rng.standard_normal()),
                    "others_cpu_share": 0.0,
                    "samples_ms": [milliseconds + 0.1 * float(rng.standard_normal())],
                }
                for turn in range(30)
            ],
        }
        paths[name] = tmp_path / f"{name}.json"
        write_result(BenchResult.from_json(data), paths[name])
    assert main(["compare", str(paths["fast"]), str(paths["slow"])]) == 1
    assert "SLOWER" in capsys.readouterr().out
    assert main(["compare", str(paths["slow"]), str(paths["fast"]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["comparisons"][0]["verdict"] == "faster"


def blocks_of(milliseconds: float, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    blocks = [
        {
            "turn": turn,
            "begin_s": float(turn),
            "reference_ms": 2.0,
            "others_cpu_share": 0.0,
            "samples_ms": [milliseconds * (1 + 0.002 * float(rng.standard_normal()))],
        }
        for turn in range(30)
    ]
    return {"p50": milliseconds, "blocks": blocks}


def renamed(result: dict[str, Any], path: Path, times: dict[str, float]) -> str:
    """A result whose artifacts have these names and latencies."""
    data = json.loads(json.dumps(result))
    data["artifacts"] = [
        json.loads(json.dumps(result["artifacts"][0]))
        | {"name": name, "latency": result["artifacts"][0]["latency"] | blocks_of(milliseconds, seed)}
        for seed, (name, milliseconds) in enumerate(times.items())
    ]
    write_result(BenchResult.from_json(data), path)
    return str(path)


def test_artifacts_of_one_name_are_compared_and_one_slower_is_enough(
    result: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monday = renamed(result, tmp_path / "monday.json", {"gone": 5.0, "a": 10.0, "b": 20.0})
    today = renamed(result, tmp_path / "today.json", {"b": 22.0, "a": 10.0, "new": 7.0})
    assert main(["compare", monday, today, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["comparisons"]
    assert [(each["before"], each["after"], each["verdict"]) for each in found] == [
        ("a", "a", "no change"),
        ("b", "b", "slower"),
    ]
    other = renamed(result, tmp_path / "other.json", {"x": 1.0, "y": 1.0})
    assert main(["compare", monday, other]) == 2
    assert "no artifact has the same name" in capsys.readouterr().err


@pytest.mark.parametrize("files", [1, 2])
def test_the_least_effect_is_the_askers(
    files: int, result: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if files == 1:
        paths = [renamed(result, tmp_path / "both.json", {"a": 10.0, "b": 11.0})]
    else:
        paths = [renamed(result, tmp_path / f"{value}.json", {"a": value}) for value in (10.0, 11.0)]
    assert main(["compare", *paths]) == 1
    assert main(["compare", *paths, "--min-effect", "0.2"]) == 0
    assert "NO CHANGE" in capsys.readouterr().out


def test_mistakes_are_explained(result: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.json").write_text('{"kind": "something"}')
    alone = tmp_path / "alone.json"
    write_result(BenchResult.from_json(result | {"artifacts": result["artifacts"][:1]}), alone)
    for command, words in (
        (["compare", str(tmp_path / "none.json")], "cannot read"),
        (["compare", str(tmp_path / "other.json")], "not a benchmark's result"),
        (["compare", str(alone)], "nothing to compare it with"),
        (["bench", str(tmp_path / "none.onnx")], "none.onnx"),
        (["bench", "x.onnx", "--batches", "0"], "--batches"),
        (["bench", "x.onnx", "--seconds", "5", "--max-seconds", "1"], "--max-seconds 1"),
    ):
        assert main(command) == 2
        assert words in capsys.readouterr().err
    with pytest.raises(UsageError, match="two artifacts are called a"):
        run_bench(["x", "y"], load_frames(None), OPTIONS, names=["a", "a"])
