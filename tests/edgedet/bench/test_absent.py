"""No run, one run, a meter that died, a hand-made file: figures without anything behind them are not made up."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet.bench.compare import MIN_BLOCKS
from edgedet.bench.latency import Rules, Series, measure_latency
from edgedet.bench.measured_parts import BenchResult
from edgedet.bench.result import read_result
from edgedet.bench.statistics import MIN_SERIES, settled_interval, summarise
from edgedet.bench.text import describe_comparison, describe_result
from edgedet.bench.throughput import measure_streams
from edgedet.cli import main
from edgedet.errors import UsageError
from edgedet.machine.power import PowerLog, energy_summary, mean_watts
from edgedet.machine.state import MachineState, summarise_states
from tests.edgedet.bench.test_compare import artifact, compared, noisy
from tests.edgedet.bench.test_latency import FRAMES, Clock, Worker
from tests.edgedet.report.results import bench


def test_of_no_frame_and_of_one_there_is_no_percentile_and_no_jitter() -> None:
    none = summarise([])
    assert {name for name, value in none.items() if value is None} == set(none["absent"])
    assert none["absent"]["p50"] == "no frame ran" and none["p50"] is none["max"] is None
    one = summarise([12.0])
    assert (one["p50"], one["jitter"], one["p90"]) == (12.0, None, None)
    assert one["absent"] == {
        "p90": "10 frames are needed, 1 ran",
        "p95": "20 frames are needed, 1 ran",
        "p99": "100 frames are needed, 1 ran",
        "jitter": "2 frames are needed, 1 ran",
    }
    assert summarise([1.0] * 100)["absent"] == {}


def series(blocks: int) -> Series:
    made = Series(warmup={"frames": 5, "seconds": 1.0, "settled": True, "median_s": 0.01}, settled=True)
    for turn in range(blocks):
        made.blocks.append(
            {"turn": turn, "begin_s": 0.0, "reference_ms": 2.0, "others_cpu_share": None, "samples_ms": [12.0]}
        )
    return made


@pytest.mark.parametrize("blocks", [0, 1, MIN_SERIES - 1])
def test_without_repeats_a_median_is_not_certain(blocks: int) -> None:
    """One block's bootstrap is a point: it was told as 12.00 to 12.00 ms with 99 %, settled."""
    latency = series(blocks).describe()
    assert latency["p50_interval"] is None and not latency["settled"]
    assert latency["absent"]["p50_interval"] == f"{MIN_SERIES} blocks are needed, {blocks} were measured"
    assert series(MIN_SERIES).describe()["p50_interval"] == [12.0, 12.0]
    assert settled_interval([1.0] * blocks) is None


def test_measuring_goes_on_until_there_are_repeats() -> None:
    """One block fills the least time and the least frames, and of one artifact alone its median cannot move."""
    clock = Clock()
    rules = Rules(warmup_frames=2, warmup_seconds=0.0, frames=1, seconds=0.1, max_seconds=60.0)
    (made,), _ = measure_latency([Worker(clock, lambda call: 0.1)], FRAMES, rules, clock=clock)
    assert len(made.blocks) >= MIN_SERIES and made.settled
    short = Rules(warmup_frames=2, warmup_seconds=0.0, frames=1, seconds=0.1, max_seconds=0.5)
    (made,), _ = measure_latency([Worker(clock, lambda call: 0.1)], FRAMES, short, clock=clock)
    assert len(made.blocks) < MIN_SERIES and not made.settled


def test_a_run_of_one_block_is_told_in_words() -> None:
    result = bench("one", 12.0, architecture="a")
    result["artifacts"][0]["latency"] = series(1).describe()
    text = "\n".join(describe_result(BenchResult.from_json(result)))
    assert "jitter not measured" in text and "not known: 5 blocks are needed, 1 were measured, NOT settled" in text
    assert "CPU used by other processes" in text


@pytest.mark.parametrize("same_run", [True, False])
@pytest.mark.parametrize("blocks", [0, 1, MIN_SERIES - 1])
def test_of_too_few_blocks_there_is_no_ratio(blocks: int, same_run: bool) -> None:
    before, after = artifact("a", noisy(10, 0.01, 0)), artifact("b", noisy(10, 0.01, 1))
    after["latency"]["blocks"] = after["latency"]["blocks"][:blocks]
    for first, second in ((before, after), (after, before)):
        comparison = compared(first, second, same_run=same_run)
        assert comparison.verdict == "undecided" and comparison.ratio is comparison.resolution is None
        assert f"only {blocks} blocks were measured, {MIN_BLOCKS} are needed" in comparison.reason
        described = comparison.describe()
        for name in ("ratio", "interval", "confidence", "resolution", "machine_ratio"):
            assert described[name] is None and described["absent"][name], name
        text = "\n".join(describe_comparison(comparison))
        assert "not measured" in text and "%" not in text.split("\n")[1]
        assert json.dumps(described, allow_nan=False)


def test_rounds_without_a_partner_give_no_ratio_of_one() -> None:
    before, after = artifact("a", noisy(10, 0.01, 0)), artifact("b", noisy(10, 0.01, 1))
    for block in after["latency"]["blocks"]:
        block["turn"] += 1000
    comparison = compared(before, after, same_run=True)
    assert comparison.ratio is None and comparison.verdict == "undecided"


def test_what_others_did_unseen_is_unknown_and_not_quiet() -> None:
    before, after = artifact("a", noisy(10, 0.01, 0)), artifact("a", noisy(12, 0.01, 1))
    seen = compared(before, after, same_run=False)
    assert "not known" not in seen.reason
    for block in before["latency"]["blocks"]:
        block["others_cpu_share"] = None
    unseen = compared(before, after, same_run=False)
    assert unseen.verdict == "slower" and "is not known for all of the time" in unseen.reason
    for block in after["latency"]["blocks"]:
        block["others_cpu_share"] = 0.4
    busy = compared(before, after, same_run=False)
    assert busy.verdict == "undecided" and "an unknown part of the CPUs before and 40% after" in busy.reason


BAD: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda latency: latency["blocks"][0].update(reference_ms=0), "block 0: reference_ms is 0, expected millisec"),
    (lambda latency: latency["blocks"][3].update(reference_ms=-1.0), "block 3: reference_ms is -1.0"),
    (lambda latency: latency["blocks"][0].update(reference_ms=None), "reference_ms is None"),
    (lambda latency: latency["blocks"][0].update(samples_ms=[]), "block 0: no sample"),
    (lambda latency: latency["blocks"][0].update(samples_ms=[0.0]), "a sample is 0.0"),
    (lambda latency: latency["blocks"][0].update(samples_ms=[float("nan")]), "a sample is nan"),
    (lambda latency: latency["blocks"][0].update(others_cpu_share=7), "others_cpu_share is 7"),
    (lambda latency: latency["blocks"][0].pop("turn"), "'turn' is not there"),
    (lambda latency: latency.update(p50=None), "p50 is None"),
    (lambda latency: latency.pop("blocks"), "'blocks' is not there"),
    (lambda latency: latency.update(blocks=5), "of the wrong kind"),
]


@pytest.mark.parametrize(("damage", "message"), BAD)
def test_a_hand_made_file_is_refused_in_one_line(
    tmp_path: Path, damage: Callable[[dict[str, Any]], Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good = bench("a", 12.0, architecture="a")
    bad = copy.deepcopy(good)
    damage(bad["artifacts"][0]["latency"])
    (tmp_path / "good.json").write_text(json.dumps(good))
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    read_result(tmp_path / "good.json")
    with pytest.raises(UsageError, match=r"bad\.json is damaged"):
        read_result(tmp_path / "bad.json")
    for command in (
        ["compare", str(tmp_path / "good.json"), str(tmp_path / "bad.json")],
        ["report", str(tmp_path / "bad.json"), "-o", str(tmp_path / "report.html")],
    ):
        assert main(command) == 2
        complaint = capsys.readouterr().err
        assert message in complaint and complaint.count("\n") == 1 and "unexpected" not in complaint
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("part", ["machine", "during", "rules", "frames"])
def test_a_result_that_lacks_a_part_is_refused(tmp_path: Path, part: str) -> None:
    result = bench("a", 12.0, architecture="a")
    del result[part]
    (tmp_path / "a.json").write_text(json.dumps(result))
    with pytest.raises(UsageError, match=f"'{part}' is not there"):
        read_result(tmp_path / "a.json")


def test_a_meter_that_fell_silent_gives_no_power() -> None:
    """The last reading before the work, carried on over all of it, is no measurement."""
    readings = [(0.0, {"total": 4.0}), (0.5, {"total": 4.0}), (1.0, {}), (30.0, {}), (60.0, {})]
    assert mean_watts(readings, 0.0, 0.5) == {"total": 4.0}
    assert mean_watts(readings, 1.5, 60.0) == {}
    assert mean_watts(readings, 0.0, 60.0) == {}, "nor is the first second of a minute"
    assert mean_watts([], 0.0, 1.0) == {}

    class Meter:
        source, covers = "INA3221", "the module (VDD_IN)"

        def read(self) -> dict[str, float]:
            raise OSError("gone")

    with PowerLog(Meter(), interval=0.01) as log:
        time.sleep(0.05)
    assert log.readings and all(watts == {} for _, watts in log.readings)
    energy = energy_summary(Meter(), {}, {}, 10.0, 100)
    assert energy["joules_per_frame"] is None
    assert energy["absent"] == {"joules_per_frame": "INA3221 gave no reading during all of the work"}


def test_rails_that_are_not_the_whole_and_no_frame_give_no_energy_per_frame() -> None:
    class Meter:
        source, covers = "INA3221", "single rails only; their sum is not the module"

        def read(self) -> dict[str, float]:
            return {}

    single = energy_summary(Meter(), {"VDD_CPU": 2.0}, {}, 10.0, 100)
    assert "single rails only" in single["absent"]["joules_per_frame"]
    idle = energy_summary(Meter(), {"total": 2.0}, {}, 10.0, 0)
    assert idle["joules_per_frame"] is None and idle["absent"] == {"joules_per_frame": "no frame was counted"}
    assert energy_summary(Meter(), {"total": 2.0}, {}, 10.0, 100)["absent"] == {}


def test_what_a_machine_does_not_tell_is_null_with_a_reason(tmp_path: Path) -> None:
    during = summarise_states([MachineState(), MachineState()], tmp_path)
    missing = {name for name, value in during.items() if value is None}
    assert missing == set(during["absent"]) == {"cpu_mhz", "gpu_mhz", "throttled", "others_cpu_share"}
    assert during["absent"]["throttled"] == "this machine has no counters to tell"


def test_few_frames_of_several_streams_have_no_tail() -> None:
    clock = Clock()
    (row,) = measure_streams(
        lambda threads: Worker(clock, lambda call: 0.1), FRAMES, [1], cores=1, seconds=0.2, clock=clock
    )
    assert row["p95"] is None and row["absent"] == {"p95": f"20 frames are needed, {row['frames']} ran"}
    assert np.isfinite(row["p50"])
