"""Clocks, throttling and power rails, read from trees made like those of real machines."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgedet.machine.power import Ina3221, Nvml, PowerLog, energy_summary, find_meter, find_rails, mean_watts
from edgedet.machine.state import MachineState, describe_clocks, others_share, read_state, summarise_states

TICK = 1 / os.sysconf("SC_CLK_TCK")


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.fixture
def orin(tmp_path: Path) -> Path:
    """A Jetson Orin NX as Linux for Tegra lays it out, monitors not in the order of their names."""
    files = {
        "proc/stat": "cpu  100 0 100 700 50 0 0 50 0 0",
        "sys/class/hwmon/hwmon0/name": "tmp451",
        "sys/class/hwmon/hwmon4/name": "ina3221",
        "sys/class/hwmon/hwmon3/name": "soctherm_oc",
        "sys/class/hwmon/hwmon3/oc1_event_cnt": "0",
        "sys/class/hwmon/hwmon3/oc3_event_cnt": "7",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": "48250",
        "sys/class/thermal/thermal_zone1/type": "cv0-thermal",
        "sys/class/devfreq/17000000.gpu/cur_freq": "624750000",
        "sys/class/devfreq/17000000.gpu/min_freq": "306000000",
        "sys/class/devfreq/17000000.gpu/max_freq": "918000000",
    }
    for channel, (label, millivolts, milliamperes) in enumerate(
        (("VDD_IN", 5000, 1600), ("VDD_CPU_GPU_CV", 5000, 500), ("VDD_SOC", 5000, 300)), 1
    ):
        files[f"sys/class/hwmon/hwmon4/in{channel}_label"] = label
        files[f"sys/class/hwmon/hwmon4/in{channel}_input"] = str(millivolts)
        files[f"sys/class/hwmon/hwmon4/curr{channel}_input"] = str(milliamperes)
    files["sys/class/hwmon/hwmon4/in7_label"] = "sum of shunt voltages"
    for core in (0, 1):
        policy = f"sys/devices/system/cpu/cpu{core}/cpufreq"
        files |= {
            f"{policy}/scaling_cur_freq": "1510400",
            f"{policy}/scaling_min_freq": "729600",
            f"{policy}/scaling_max_freq": "1984000",
            f"{policy}/scaling_governor": "schedutil",
        }
    return plant(tmp_path, files)


def test_rails_are_found_by_label_wherever_the_chip_is(orin: Path) -> None:
    assert [rail.label for rail in find_rails(orin)] == ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]
    meter, _ = find_meter(orin)
    assert isinstance(meter, Ina3221)
    assert meter.read() == {"VDD_IN": 8.0, "VDD_CPU_GPU_CV": 2.5, "VDD_SOC": 1.5, "total": 8.0}
    assert "VDD_IN" in meter.covers


def test_agx_orin_sums_three_rails_and_does_not_count_the_memory_twice(tmp_path: Path) -> None:
    files = {}
    for chip, rails in ((1, ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")), (2, ("NC", "VDDQ_VDD2_1V8AO", "NC"))):
        files[f"sys/class/hwmon/hwmon{chip}/name"] = "ina3221"
        for channel, label in enumerate(rails, 1):
            files[f"sys/class/hwmon/hwmon{chip}/in{channel}_label"] = label
            files[f"sys/class/hwmon/hwmon{chip}/in{channel}_input"] = "20000"
            files[f"sys/class/hwmon/hwmon{chip}/curr{channel}_input"] = "100"
    watts = Ina3221(find_rails(plant(tmp_path, files))).read()
    assert watts["total"] == pytest.approx(6.0)
    assert watts["VDDQ_VDD2_1V8AO"] == pytest.approx(2.0)


def test_unknown_rails_have_no_total(tmp_path: Path) -> None:
    files = {
        "sys/class/hwmon/hwmon0/name": "ina3221",
        "sys/class/hwmon/hwmon0/in1_label": "CAM_5V",
        "sys/class/hwmon/hwmon0/in1_input": "5000",
        "sys/class/hwmon/hwmon0/curr1_input": "100",
    }
    meter = Ina3221(find_rails(plant(tmp_path, files)))
    assert meter.read() == {"CAM_5V": 0.5}
    assert "not the module" in meter.covers


def test_power_is_integrated_over_uneven_readings() -> None:
    readings = [(0.0, {"total": 2.0}), (1.0, {"total": 2.0}), (1.5, {"total": 10.0}), (4.0, {"total": 10.0})]
    assert mean_watts(readings, 1.0, 4.0)["total"] == pytest.approx((0.5 * 6 + 2.5 * 10) / 3, abs=1e-3)


def test_energy_is_power_times_the_time_of_a_frame() -> None:
    meter = Ina3221(())
    summary = energy_summary(meter, {"VDD_IN": 8.0, "total": 8.0}, {"total": 5.0}, seconds=2.0, frames=40)
    assert summary["joules_per_frame"] == pytest.approx(0.4)  # 8 W for 50 ms
    assert (summary["watts"]["total"], summary["idle_watts"], summary["source"]) == (8.0, {"total": 5.0}, "INA3221")
    assert energy_summary(meter, {"CAM_5V": 0.5}, {}, seconds=2.0, frames=40)["joules_per_frame"] is None
    assert energy_summary(meter, {"total": 8.0}, {}, seconds=2.0, frames=0)["joules_per_frame"] is None


def test_a_boards_milliwatts_become_watts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: f"board {index}",
        nvmlDeviceGetPowerUsage=lambda board: {"board 0": 71_500}[board],
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    meter, _ = find_meter(tmp_path)
    assert isinstance(meter, Nvml)
    assert meter.read() == {"total": 71.5}


def test_the_power_log_reads_at_the_beginning_and_the_end() -> None:
    class Meter:
        source = covers = "test"

        def read(self) -> dict[str, float]:
            return {"total": 3.0}

    with PowerLog(Meter(), interval=60.0) as log:
        pass
    assert len(log.readings) == 2


def test_a_jetsons_clocks_temperatures_and_overcurrent_counters(orin: Path) -> None:
    state = read_state(orin)
    assert state.cpu_mhz == (1510.4, 1510.4)
    assert state.gpu_mhz == 624.75
    assert state.temperatures == {"cpu-thermal": 48.25}
    assert state.throttle_events == {"undervoltage": 0, "instantaneous overcurrent": 7}
    assert describe_clocks(orin) == {
        "governor": "schedutil",
        "cpu_max_mhz": 1984.0,
        "gpu_max_mhz": 918.0,
        "pinned": False,
    }


def test_clocks_count_as_pinned_when_lowest_and_highest_are_one(orin: Path) -> None:
    for path in orin.glob("sys/devices/system/cpu/cpu*/cpufreq/scaling_min_freq"):
        path.write_text("1984000")
    assert describe_clocks(orin)["pinned"] is False, "the GPU may still change"
    (orin / "sys/class/devfreq/17000000.gpu/min_freq").write_text("918000000")
    assert describe_clocks(orin)["pinned"] is True


def test_a_counter_that_grew_means_throttled_and_one_that_was_high_already_does_not(orin: Path) -> None:
    first = read_state(orin)
    assert summarise_states([first, read_state(orin)], orin)["throttled"] is False
    (orin / "sys/class/hwmon/hwmon3/oc3_event_cnt").write_text("9")
    summary = summarise_states([first, read_state(orin)], orin)
    assert summary["throttled"] is True
    assert summary["throttle_events"] == {"instantaneous overcurrent": 2}


def test_a_machine_without_counters_does_not_claim_to_be_unthrottled(tmp_path: Path) -> None:
    state = read_state(tmp_path)
    assert state == MachineState(own_busy=state.own_busy)
    assert summarise_states([state, state], tmp_path)["throttled"] is None


def test_cpu_time_of_others_leaves_out_this_process_and_counts_stolen_time(tmp_path: Path) -> None:
    plant(tmp_path, {"proc/stat": "cpu  100 0 100 700 50 0 0 50 0 0"})
    state = read_state(tmp_path)
    assert state.cpu_busy == pytest.approx(250 * TICK)
    assert state.cpu_total == pytest.approx(1000 * TICK)
    before = MachineState(cpu_busy=10.0, own_busy=1.0, cpu_total=20.0)
    after = MachineState(cpu_busy=16.0, own_busy=5.0, cpu_total=30.0)
    assert others_share(before, after) == pytest.approx(0.2)
    assert others_share(before, MachineState()) is None
