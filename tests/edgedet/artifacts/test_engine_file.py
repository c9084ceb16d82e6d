"""Engines on disk: written and read back, matched with the machine, and whatever is done to the file, an error."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet import Detector
from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.engine_file import plan_version, read_engine_header, read_plan, write_engine
from edgedet.artifacts.engine_match import Host, require_match
from edgedet.artifacts.rtx_targets import target_facts
from edgedet.artifacts.wholeness import require_whole
from edgedet.cli import main
from edgedet.cli.inspect import inspect, lines
from edgedet.errors import ArtifactError, EdgedetError, EngineMismatchError, UsageError
from edgedet.opening import artifact_kind, read_card
from tests.rectangle_detector import save_rectangle_graph, ultralytics_metadata

ORIN = Host("10.3.0", "8.7", "Orin", "aarch64")
PLAN = b"ptrt" + bytes(20) + bytes([10, 3, 0, 0]) + np.random.default_rng(0).bytes(500)


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    facts = {"tensorrt": "10.3.0", "compute_capability": "8.7", "device": "Orin", "architecture": "aarch64"}
    return replace(save_rectangle_graph(tmp_path / "graph.onnx"), engine=facts)


def load(path: Path, host: Host = ORIN) -> bytes:
    """Everything that happens before TensorRT sees the plan."""
    read_card(path)
    engine = read_engine_header(path)
    plan = read_plan(engine)
    require_match(engine, plan, host)
    return plan


def ultralytics_engine(path: Path, plan: bytes = PLAN) -> Path:
    text = json.dumps(ultralytics_metadata() | {"batch": 1, "imgsz": [64, 64], "names": {"0": "cat"}}).encode()
    path.write_bytes(len(text).to_bytes(4, "little") + text + plan)
    return path


@pytest.mark.parametrize("container", ["file", "plan"])
def test_an_engine_comes_back_as_it_was_written(tmp_path: Path, card: ModelCard, container: Any) -> None:
    path = tmp_path / "model.trt"
    written = write_engine(path, card, PLAN, container=container)
    assert artifact_kind(path) == "engine"
    assert read_card(path) == written
    assert load(path) == PLAN
    assert path.read_bytes().startswith(PLAN[:4]) == (container == "plan")


def test_the_container_is_the_one_other_tools_read(tmp_path: Path, card: ModelCard) -> None:
    """Ultralytics' loader: four bytes of length, the JSON object, and the plan from there to the end."""
    write_engine(tmp_path / "model.engine", card, PLAN)
    with (tmp_path / "model.engine").open("rb") as file:
        metadata = json.loads(file.read(int.from_bytes(file.read(4), "little")).decode("utf-8"))
        assert file.read() == PLAN
    assert metadata["names"] == list(card.names)


def test_the_plan_can_be_taken_out(tmp_path: Path, card: ModelCard) -> None:
    write_engine(tmp_path / "model.trt", card, PLAN)
    assert main(["inspect", str(tmp_path / "model.trt"), "--plan", str(tmp_path / "bare.plan")]) == 0
    assert (tmp_path / "bare.plan").read_bytes() == PLAN


def test_ultralytics_engines_open_too(tmp_path: Path) -> None:
    assert load(ultralytics_engine(tmp_path / "yolo.engine")) == PLAN


MISMATCHES: dict[str, tuple[Host, str]] = {
    "version": (
        replace(ORIN, tensorrt="10.16.2.10"),
        r"built by TensorRT 10\.3\.0, this machine has TensorRT 10\.16",
    ),
    "capability": (
        replace(ORIN, compute_capability="11.0", device="Thor"),
        r"compute capability 8\.7 \(Orin\), this machine has 11\.0 \(Thor\)",
    ),
    "architecture": (replace(ORIN, architecture="x86_64"), "built on aarch64, this machine is x86_64"),
}


@pytest.mark.parametrize("what", MISMATCHES)
def test_an_engine_for_another_machine_names_both_sides(tmp_path: Path, card: ModelCard, what: str) -> None:
    write_engine(tmp_path / "model.trt", card, PLAN)
    host, said = MISMATCHES[what]
    with pytest.raises(EngineMismatchError, match=said) as caught:
        load(tmp_path / "model.trt", host)
    assert "edgedet export" in str(caught.value)


def test_a_foreign_engines_version_is_read_off_its_plan(tmp_path: Path) -> None:
    path = ultralytics_engine(tmp_path / "yolo.engine")
    with pytest.raises(EngineMismatchError, match=r"10\.3\.0.*11\.4\.0"):
        load(path, replace(ORIN, tensorrt="11.4.0.106"))
    assert plan_version(b"something else" * 10) is None


@pytest.mark.parametrize(
    ("options", "host", "fits"),
    [
        ({"version_compatible": True}, replace(ORIN, tensorrt="10.16.1"), True),
        ({"version_compatible": True}, replace(ORIN, tensorrt="11.4.0"), True),
        ({"version_compatible": True}, replace(ORIN, tensorrt="10.2.0"), False),
        ({"hardware_compatibility": "ampere_plus"}, replace(ORIN, compute_capability="9.0"), True),
        ({"hardware_compatibility": "ampere_plus"}, replace(ORIN, compute_capability="7.5"), False),
        ({"hardware_compatibility": "same_compute_capability"}, replace(ORIN, compute_capability="8.6"), False),
        ({}, Host(None, None), True),
        ({}, replace(ORIN, tensorrt="10.3.0.30"), True),
    ],
)
def test_compatible_engines_fit_more_machines(
    tmp_path: Path, card: ModelCard, options: dict[str, Any], host: Host, fits: bool
) -> None:
    write_engine(tmp_path / "model.trt", replace(card, engine={**(card.engine or {}), "options": options}), PLAN)
    if fits:
        assert load(tmp_path / "model.trt", host) == PLAN
    else:
        with pytest.raises(EngineMismatchError):
            load(tmp_path / "model.trt", host)


def damaged_copies(originals: Sequence[bytes], seed: int = 1) -> Iterator[tuple[bytes, bytes]]:
    """Two thousand (original, damaged): truncated, flipped, overwritten, grown."""
    random = np.random.default_rng(seed)
    for index in range(2000):
        original = originals[index % len(originals)]
        damaged = bytearray(original)
        place = int(random.integers(len(damaged)))
        match index % 5:
            case 0:
                del damaged[place:]
            case 1:
                damaged[place] ^= 1 << int(random.integers(8))
            case 2:
                damaged[place : place + 16] = random.bytes(16)
            case 3:
                damaged[: int(random.integers(1, 12))] = random.bytes(5)
            case _:
                damaged[place:place] = random.bytes(int(random.integers(1, 40)))
        yield original, bytes(damaged)


def test_two_thousand_damaged_files_give_our_errors_or_the_whole_plan(tmp_path: Path, card: ModelCard) -> None:
    """What reaches TensorRT is the plan that was written, or nothing."""
    write_engine(tmp_path / "ours.trt", card, PLAN)
    whole = (tmp_path / "ours.trt").read_bytes()
    foreign = ultralytics_engine(tmp_path / "foreign.engine").read_bytes()
    path = tmp_path / "damaged.trt"
    refused = 0
    for original, damaged in damaged_copies([foreign, whole, whole, whole]):
        path.write_bytes(damaged)
        try:
            plan = load(path)
        except ArtifactError as error:
            assert str(path) in str(error) or "card" in str(error)
            refused += 1
        else:
            # A foreign container has no hash: there only the header can be checked.
            assert plan == PLAN or original is foreign
    assert refused > 1400


RTX = Host("1.7.1.116", "8.9", "RTX 4070", "x86_64")
RTX_PLAN = b"vtrt" + bytes(20) + bytes([1, 7, 1, 116]) + np.random.default_rng(0).bytes(500)


@pytest.fixture
def rtx_card(card: ModelCard) -> ModelCard:
    facts = {"library": "tensorrt-rtx", "tensorrt_rtx": "1.7.1.116", "architecture": "x86_64"}
    return replace(card, engine=facts | target_facts(None))


@pytest.mark.parametrize("container", ["file", "plan"])
def test_an_rtx_engine_comes_back_and_fits_any_processor(
    tmp_path: Path, rtx_card: ModelCard, container: Any
) -> None:
    path = tmp_path / "model.rtx"
    written = write_engine(path, rtx_card, RTX_PLAN, container=container)
    assert artifact_kind(path) == "engine" and read_card(path) == written
    assert load(path, replace(RTX, architecture="aarch64")) == RTX_PLAN
    assert plan_version(RTX_PLAN) == "1.7.1"


RTX_MISMATCHES: dict[str, tuple[tuple[str, ...] | None, Host, str]] = {
    "version": (
        None,
        replace(RTX, tensorrt="1.8.0.12"),
        r"RTX 1\.7\.1\.116, .* has TensorRT-RTX 1\.8\.0\.12",
    ),
    "Orin": (None, replace(RTX, compute_capability="8.7", device="Orin"), r"8\.6 \(RTX 30 .*has 8\.7 \(Orin\)"),
    "H100": (
        None,
        replace(RTX, compute_capability="9.0", device="H100"),
        r"later, this machine has 9\.0 \(H100\)",
    ),
    "RTX 20": (None, replace(RTX, compute_capability="7.5"), r"this machine has 7\.5"),
    "narrow": (("sm86",), RTX, r"for compute capability 8\.6 \(RTX 30 series\), .* has 8\.9 \(RTX 4070\)"),
}


@pytest.mark.parametrize("what", RTX_MISMATCHES)
def test_an_rtx_engine_for_another_machine_names_both_sides(tmp_path: Path, rtx_card: ModelCard, what: str) -> None:
    targets, host, said = RTX_MISMATCHES[what]
    card = replace(rtx_card, engine={**(rtx_card.engine or {}), **target_facts(targets)})
    write_engine(tmp_path / "model.rtx", card, RTX_PLAN)
    with pytest.raises(EngineMismatchError, match=said) as caught:
        load(tmp_path / "model.rtx", host)
    assert "\n" not in str(caught.value) and "edgedet export" in str(caught.value)


@pytest.mark.parametrize("container", ["file", "plan"])
@pytest.mark.parametrize("suffix", [".rtx", ".trt", ".engine", ".plan"])
def test_an_engine_named_as_the_other_librarys_is_told_from_it(
    tmp_path: Path, card: ModelCard, rtx_card: ModelCard, suffix: str, container: Any
) -> None:
    named, held, engine = (
        ("TensorRT-RTX", "TensorRT", (card, PLAN))
        if suffix == ".rtx"
        else ("TensorRT", "TensorRT-RTX", (rtx_card, RTX_PLAN))
    )
    path = tmp_path / f"model{suffix}"
    write_engine(path, *engine, container=container)
    said = f"model{suffix} is named as an engine for {named}, and holds one for {held}: name it model"
    for look in (read_card, inspect, Detector):
        with pytest.raises(ArtifactError, match=said):
            look(path)


def test_a_damaged_header_is_laid_to_the_library_that_the_name_says(tmp_path: Path) -> None:
    (tmp_path / "model.rtx").write_bytes(b"\x00\x00\x00\x80{" + bytes(200))
    with pytest.raises(ArtifactError, match="bare TensorRT-RTX plan without a description"):
        read_engine_header(tmp_path / "model.rtx")


def test_a_card_of_the_other_library_is_not_believed(tmp_path: Path, rtx_card: ModelCard) -> None:
    write_engine(tmp_path / "model.trt", rtx_card, PLAN)
    with pytest.raises(ArtifactError, match="is of TensorRT, its card is of an engine for TensorRT-RTX"):
        load(tmp_path / "model.trt")


def test_the_other_librarys_runtime_is_refused(tmp_path: Path, rtx_card: ModelCard) -> None:
    write_engine(tmp_path / "model.rtx", rtx_card, RTX_PLAN)
    with pytest.raises(UsageError, match=r"tensorrt cannot run .*model\.rtx, which is an engine of TensorRT-RTX"):
        Detector(tmp_path / "model.rtx", runtime="tensorrt")


def test_two_thousand_damaged_rtx_engines_crash_neither_inspect_nor_detector(
    tmp_path: Path, rtx_card: ModelCard
) -> None:
    """A whole one is not opened here either: no GPU, or none that the plan was made on."""
    write_engine(tmp_path / "whole.rtx", rtx_card, RTX_PLAN)
    path = tmp_path / "damaged.rtx"
    looked = 0
    for _, damaged in damaged_copies([(tmp_path / "whole.rtx").read_bytes()], seed=2):
        path.write_bytes(damaged)
        try:
            looked += bool(list(lines(inspect(path))))
        except ArtifactError as error:
            assert str(path) in str(error) or "card" in str(error)
        with pytest.raises(EdgedetError):
            Detector(path)
    assert 300 < looked < 1500, "looking needs the header alone"


@pytest.mark.parametrize("container", ["file", "plan"])
def test_an_engine_without_a_seal_opens_as_before(tmp_path: Path, card: ModelCard, container: Any) -> None:
    """One of an edgedet that wrote none: its plan has a digest, its card has not."""
    path = tmp_path / "model.trt"
    old = replace(card, engine={**(card.engine or {}), "plan_sha256": hashlib.sha256(PLAN).hexdigest()})
    text = old.to_json().encode()
    if container == "file":
        path.write_bytes(len(text).to_bytes(4, "little") + text + PLAN)
    else:
        path.write_bytes(PLAN)
        path.with_suffix(".json").write_bytes(text)
    assert read_card(path) == old and load(path) == PLAN
    assert require_whole(path, "engine") == "the plan is as edgedet wrote it; its card states no digest of itself"


def test_a_threshold_that_changed_on_the_way_is_found(tmp_path: Path, card: ModelCard) -> None:
    path = tmp_path / "model.trt"
    write_engine(path, card, PLAN)
    assert require_whole(path, "engine") == "plan and card are as edgedet wrote them"
    path.write_bytes(path.read_bytes().replace(b'"score_threshold": 0.25', b'"score_threshold": 0.75'))
    for look in (read_card, inspect, Detector):
        with pytest.raises(ArtifactError, match=r"model\.trt is damaged, or changed since edgedet wrote it"):
            look(path)


def test_an_engine_is_read_from_memory_as_from_its_file(tmp_path: Path, card: ModelCard) -> None:
    path = tmp_path / "model.trt"
    write_engine(path, card, PLAN)
    held = read_engine_header(path, path.read_bytes())
    assert read_plan(held) == PLAN and held.header == read_engine_header(path).header
    write_engine(path, card, PLAN, container="plan")
    with pytest.raises(ArtifactError, match="is a bare plan, whose description is another file"):
        Detector(path.read_bytes())
