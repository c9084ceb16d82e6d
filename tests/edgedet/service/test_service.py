"""Figures, signs of life, and rest."""

from __future__ import annotations

import os
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet.errors import UsageError
from edgedet.inference_lane import Timing
from edgedet.pictures.frames import Frame
from edgedet.pictures.live.fault import Fault
from edgedet.service.metrics import Metrics
from edgedet.service.metrics_server import MetricsServer
from edgedet.service.overload_relief import Relief
from edgedet.service.service import Service, ServiceOptions
from edgedet.service.systemd import Notifier


class Stream:
    """Remembers its limits."""

    def __init__(self) -> None:
        self.limits: list[dict[str, Any]] = []

    def set_limits(self, **limits: Any) -> None:
        self.limits.append(limits)


def frame(index: int = 0, *, age: float = 0.0, dropped: int = 0) -> Frame:
    image = np.zeros((4, 4, 3), np.uint8)
    return Frame(image, "x", index, captured=time.monotonic() - age, source='camera "0"\\', dropped=dropped)


class TestMetrics:
    def test_histograms_count_what_is_below_each_bound(self) -> None:
        metrics = Metrics()
        metrics.declare("age_seconds", "histogram", "Age.")
        for value in (0.001, 0.3, 0.3, 70.0):
            metrics.observe("age_seconds", value, source="a")
        text = metrics.text()
        assert "# HELP age_seconds Age.\n# TYPE age_seconds histogram\n" in text
        assert 'age_seconds_bucket{source="a",le="0.001"} 1' in text
        assert 'age_seconds_bucket{source="a",le="0.25"} 1' in text
        assert 'age_seconds_bucket{source="a",le="0.5"} 3' in text
        assert 'age_seconds_bucket{source="a",le="+Inf"} 4' in text
        assert 'age_seconds_count{source="a"} 4' in text
        assert re.search(r'age_seconds_sum\{source="a"\} 70\.60\d*', text)

    def test_names_with_quotes_and_lines_are_escaped(self) -> None:
        metrics = Metrics()
        metrics.declare("n", "counter", "N.")
        metrics.add("n", what='a"b\\c\nd')
        assert metrics.text().splitlines()[-1] == 'n{what="a\\"b\\\\c\\nd"} 1'

    def test_prometheus_own_parser_reads_it(self) -> None:
        parser = pytest.importorskip("prometheus_client.parser")
        with Service(ServiceOptions(), "gone.onnx", {0: "camera"}) as service:
            service.frame(frame(age=0.2), np.array([0, 0]), Timing(1.0, 20.0, 0.5), Stream())
            service.fault(Fault("camera 0", "stalled", "stalled", 1, 0.0, 0.1))
            families = {family.name: family for family in parser.text_string_to_metric_families(service.text())}
        (frames,) = families["edgedet_frames"].samples
        assert frames.value == 1 and frames.labels == {"source": 'camera "0"\\'}
        assert families["edgedet_detections"].samples[0].value == 2
        ages = {sample.labels.get("le"): sample.value for sample in families["edgedet_age_seconds"].samples}
        assert (ages["0.1"], ages["0.25"]) == (0, 1)
        assert {sample.labels["kind"] for sample in families["edgedet_faults"].samples} == {"stalled"}


class TestServer:
    @pytest.fixture
    def server(self) -> Iterator[MetricsServer]:
        running = MetricsServer(0, lambda: "x 1\n")
        yield running
        running.close()

    def test_it_answers_on_this_machine(self, server: MetricsServer) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as answer:
            assert answer.read() == b"x 1\n" and answer.headers["Content-Type"].startswith(
                "text/plain; version=0.0.4"
            )
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=10)

    def test_it_listens_to_nobody_else(self, server: MetricsServer) -> None:
        """127.0.0.2 is this machine too, and not the address it listens at."""
        with socket.socket() as other, pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.2", server.port))

    def test_a_port_that_is_taken_is_an_error(self, server: MetricsServer) -> None:
        with pytest.raises(UsageError, match=f"cannot listen at 127.0.0.1:{server.port}: .*; choose another port"):
            MetricsServer(server.port, str)

    def test_one_that_says_nothing_holds_nobody_up(self, server: MetricsServer) -> None:
        with socket.create_connection(("127.0.0.1", server.port)):
            self.test_it_answers_on_this_machine(server)


def test_figures_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"abc")
    with Service(ServiceOptions(metrics=None), tmp_path / "model.onnx", {0: "camera"}) as service:
        for index, dropped in enumerate((0, 3, 5)):
            service.frame(frame(index, dropped=dropped), np.array([0]), Timing(1.0, 20.0, 0.5), Stream())
        service.alert("camera", "a")
        service.active(1)
        text = service.text()
    for line in (
        r'edgedet_frames_total{source="camera \"0\"\\"} 3',
        r'edgedet_dropped_frames_total{source="camera \"0\"\\"} 5',
        'edgedet_stage_seconds_bucket{stage="run",le="0.025"} 3',
        'edgedet_alerts_total{rule="camera",source="a"} 1',
        "edgedet_alerts_active 1",
        'edgedet_model_info{name="model.onnx",'
        'sha256="ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"} 1',
        "edgedet_duty 1",
    ):
        assert line in text.splitlines()


class TestSystemd:
    @pytest.fixture
    def inbox(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(str(tmp_path / "notify"))
            listening.settimeout(5)
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            monkeypatch.setenv("WATCHDOG_USEC", "30000000")
            monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
            yield listening

    def test_it_is_ready_with_the_first_result_and_alive_with_further_ones(self, inbox: socket.socket) -> None:
        with Service(ServiceOptions(), "x", {}) as service:
            service.fault(Fault("camera 0", "unreachable", "away", 0, 0.0, 0.1))
            service.frame(frame(), [], Timing(1, 1, 1), Stream(), "8 frames/s")
            assert inbox.recv(100) == b"READY=1"
            assert inbox.recv(100) == b"WATCHDOG=1\nSTATUS=8 frames/s"
            service.frame(frame(), [], Timing(1, 1, 1), Stream())
        assert inbox.recv(100) == b"STOPPING=1"

    def test_signs_of_life_come_several_times_in_an_interval_and_with_faults_too(
        self, inbox: socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [100.0]
        monkeypatch.setattr("edgedet.service.systemd.time.monotonic", lambda: now[0])
        notifier = Notifier()
        assert notifier.interval == 30
        notifier.alive()
        for _ in range(60):
            now[0] += 0.5
            notifier.alive()
        inbox.setblocking(False)
        count = 0
        while True:
            try:
                assert inbox.recv(100) == b"WATCHDOG=1"
                count += 1
            except BlockingIOError:
                break
        assert count == 7

    def test_a_rate_that_the_watchdog_would_end_is_refused(self, inbox: socket.socket) -> None:
        with pytest.raises(UsageError, match=r"every 30 s, and --max-fps 0\.05 gives one in 20 s"):
            Service(ServiceOptions(max_fps=0.05), "x", {})

    def test_without_systemd_nothing_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        notifier = Notifier()
        notifier.ready()
        notifier.alive()
        notifier.stopping()
        assert notifier.interval is None

    def test_a_systemd_that_is_gone_is_no_fault(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
        Notifier().ready()


class TestRelief:
    def run(self, relief: Relief, now: list[float], heat: list[float], *steps: tuple[float, float, int]) -> None:
        """(temperature, age in ms, looks) each, a look every two seconds."""
        for degrees, age, looks in steps:
            heat[0] = degrees
            for _ in range(looks):
                now[0] += 2.0
                relief.look(age)

    def made(self, **limits: float) -> tuple[Relief, list[float], list[float]]:
        now, heat = [0.0], [50.0]
        return Relief(0.8, temperature=lambda: heat[0], clock=lambda: now[0], **limits), now, heat

    def test_heat_lowers_the_rate_and_coolness_gives_it_back(self) -> None:
        relief, now, heat = self.made(max_temp=70.0)
        self.run(relief, now, heat, (60, 10, 3))
        assert relief.duty == 0.8
        self.run(relief, now, heat, (75, 10, 2))
        assert relief.duty == pytest.approx(0.45)
        # Between the limit and three degrees below, it stays.
        self.run(relief, now, heat, (68, 10, 20))
        assert relief.duty == pytest.approx(0.45)
        self.run(relief, now, heat, (60, 10, 20))
        assert relief.duty == 0.8

    def test_it_never_stops(self) -> None:
        relief, now, heat = self.made(max_temp=70.0)
        self.run(relief, now, heat, (99, 10, 200))
        assert relief.duty == pytest.approx(0.02)

    def test_old_results_lower_the_rate(self) -> None:
        relief, now, heat = self.made(max_age=100.0)
        self.run(relief, now, heat, (99, 150, 1))
        assert relief.duty == pytest.approx(0.6)
        self.run(relief, now, heat, (99, 90, 5))
        assert relief.duty == pytest.approx(0.6)
        self.run(relief, now, heat, (99, 50, 9))
        assert relief.duty == 0.8

    def test_one_late_result_is_no_reason(self) -> None:
        relief, now, _ = self.made(max_age=100.0)
        for number in range(100):
            now[0] += 0.1
            relief.look(5000.0 if number % 10 == 0 else 50.0)
        assert relief.duty == 0.8

    def test_a_machine_without_a_temperature_is_told(self) -> None:
        with pytest.raises(UsageError, match="this machine tells no temperature"):
            Relief(max_temp=70.0, temperature=lambda: None)

    def test_the_stream_is_told(self) -> None:
        stream = Stream()
        with Service(ServiceOptions(max_age=10.0, max_fps=5.0), "x", {}) as service:
            service.frame(frame(age=1.0), [], Timing(1, 1, 1), stream)
            assert stream.limits == [{"max_fps": 5.0, "duty": 0.75}]
            assert "edgedet_duty 0.75" in service.text()


def test_opentelemetry_has_the_same_counters() -> None:
    pytest.importorskip("opentelemetry.sdk.metrics", reason="opentelemetry-sdk is not installed")
    from opentelemetry import metrics as api
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    api.set_meter_provider(MeterProvider([reader]))
    with Service(ServiceOptions(telemetry=True), "x", {}) as service:
        service.frame(frame(), [], Timing(1, 1, 1), Stream())
        data: Any = reader.get_metrics_data()
        found = {
            metric.name: metric.data.data_points[0].value
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.data.data_points
        }
    assert found["edgedet_frames"] == 1 and found["edgedet_model_info"] == 1


def test_without_opentelemetry_asking_for_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from edgedet.errors import MissingDependencyError

    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingDependencyError, match="pip install opentelemetry-sdk"):
        Service(ServiceOptions(telemetry=True), "x", {})
