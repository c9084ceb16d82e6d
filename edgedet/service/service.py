"""What a long run is watched and slowed down by, in one place for every command that looks at live sources."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from edgedet.errors import UsageError
from edgedet.files import file_sha256
from edgedet.machine.state import read_state
from edgedet.pictures.frames import Frame
from edgedet.pictures.live.fault import Fault
from edgedet.service.metrics import Metrics
from edgedet.service.metrics_server import MetricsServer
from edgedet.service.opentelemetry_exporter import start_telemetry
from edgedet.service.overload_relief import Relief
from edgedet.service.systemd import Notifier

FAMILIES = (
    ("edgedet_frames_total", "counter", "Frames whose result was delivered."),
    ("edgedet_dropped_frames_total", "counter", "Frames of live sources that gave way to newer ones."),
    ("edgedet_age_seconds", "histogram", "Age of a frame when its result was delivered."),
    ("edgedet_stage_seconds", "histogram", "Duration of a stage: pre, run, post."),
    ("edgedet_faults_total", "counter", "Faults of live sources."),
    ("edgedet_detections_total", "counter", "Objects found, by class."),
    ("edgedet_alerts_total", "counter", "Alerts that began."),
    ("edgedet_alerts_active", "gauge", "Alerts that have begun and not ended."),
    ("edgedet_duty", "gauge", "Share of the time that the detector may run."),
    ("edgedet_model_info", "gauge", "The artifact by name and SHA-256 of its file; always 1."),
    ("edgedet_temperature_celsius", "gauge", "Temperature of a zone of the machine."),
    ("edgedet_throttle_events_total", "counter", "How often the machine throttled itself, since it started."),
    ("edgedet_start_time_seconds", "gauge", "When the run began, in seconds since 1970."),
    ("process_resident_memory_bytes", "gauge", "Memory of the process."),
)


class Rated(Protocol):
    """A stream whose limits can change while it runs."""

    def set_limits(self, *, max_fps: float | None = None, duty: float = 1.0) -> None: ...


class Timed(Protocol):
    """Stages of a detection, in milliseconds."""

    @property
    def pre(self) -> float: ...
    @property
    def run(self) -> float: ...
    @property
    def post(self) -> float: ...


@dataclass(frozen=True)
class ServiceOptions:
    """What is asked for. ``metrics``: port on 127.0.0.1. ``max_temp``: °C. ``max_age``: milliseconds."""

    metrics: int | None = None
    telemetry: bool = False
    max_temp: float | None = None
    max_age: float | None = None
    max_fps: float | None = None
    duty: float = 1.0


class Service:
    """Counts what a run does, tells systemd that it lives, and lets it rest more where it must.

    Raises:
        UsageError: the port cannot be had, there is no temperature, or systemd's watchdog is shorter than a frame.
        MissingDependencyError: OpenTelemetry is asked for and not installed.
    """

    def __init__(self, options: ServiceOptions, artifact: Path | str, names: Mapping[int, str]) -> None:
        self.metrics = Metrics()
        for name, kind, meaning in FAMILIES:
            self.metrics.declare(name, kind, meaning)  # type: ignore[arg-type]
        self._names = names
        self._max_fps = options.max_fps
        self._notifier = Notifier()
        interval = self._notifier.interval
        if interval is not None and options.max_fps is not None and 2 / options.max_fps > interval:
            raise UsageError(
                f"systemd wants a sign of life every {interval:g} s, and --max-fps {options.max_fps:g} gives one "
                f"in {1 / options.max_fps:g} s; raise WatchdogSec"
            )
        self._relief = Relief(options.duty, max_temp=options.max_temp, max_age=options.max_age)
        self._dropped: dict[str, int] = {}
        self._ready = False
        self.metrics.put("edgedet_start_time_seconds", time.time())
        self.metrics.put("edgedet_model_info", 1, **_model(artifact))
        self.metrics.put("edgedet_duty", self._relief.duty)
        self._server = None if options.metrics is None else MetricsServer(options.metrics, self.text)
        self._provider: Any = None
        if options.telemetry:
            try:
                self._provider = start_telemetry(self.metrics, self._refresh)
            except BaseException:
                self.close()
                raise

    @property
    def port(self) -> int | None:
        """Port of the metrics; None where nobody serves them."""
        return None if self._server is None else self._server.port

    def text(self) -> str:
        """The figures, as Prometheus reads them."""
        self._refresh()
        return self.metrics.text()

    def frame(self, frame: Frame, labels: Any, timing: Timed, stream: Rated, status: str = "") -> None:
        """A result was delivered. ``labels``: int [N] of its detections."""
        metrics, source = self.metrics, frame.source
        age = frame.age
        metrics.add("edgedet_frames_total", source=source)
        metrics.observe("edgedet_age_seconds", age, source=source)
        for stage in ("pre", "run", "post"):
            metrics.observe("edgedet_stage_seconds", getattr(timing, stage) / 1e3, stage=stage)
        for label in labels:
            metrics.add("edgedet_detections_total", **{"class": self._names[int(label)]})
        more = frame.dropped - self._dropped.get(source, 0)
        self._dropped[source] = frame.dropped
        metrics.add("edgedet_dropped_frames_total", more, source=source)
        duty = self._relief.look(age * 1e3)
        if duty is not None:
            stream.set_limits(max_fps=self._max_fps, duty=duty)
            metrics.put("edgedet_duty", duty)
        if not self._ready:
            self._ready = True
            self._notifier.ready()
        self._notifier.alive(status)

    def fault(self, fault: Fault) -> None:
        """A source failed, and the run goes on: a camera that is away is no reason to be ended by a watchdog."""
        self.metrics.add("edgedet_faults_total", source=fault.source, kind=fault.kind)
        if self._ready:
            self._notifier.alive(fault.reason)

    def misfit(self, source: str) -> None:
        """The frames of a source took a size that no alert is meant for."""
        self.metrics.add("edgedet_faults_total", source=source, kind="misfit")

    def alert(self, rule: str, source: str) -> None:
        """An alert begins."""
        self.metrics.add("edgedet_alerts_total", rule=rule, source=source)

    def active(self, count: int) -> None:
        """So many alerts have begun and not ended."""
        self.metrics.put("edgedet_alerts_active", count)

    def close(self) -> None:
        """End; calling twice is harmless."""
        self._notifier.stopping()
        server, self._server = self._server, None
        if server is not None:
            server.close()
        provider, self._provider = self._provider, None
        if provider is not None:
            provider.shutdown(500)

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _refresh(self) -> None:
        """What is looked up when somebody asks."""
        state = read_state()
        for zone, degrees in state.temperatures.items():
            self.metrics.put("edgedet_temperature_celsius", degrees, zone=zone)
        for kind, count in state.throttle_events.items():
            self.metrics.put("edgedet_throttle_events_total", count, kind=kind)
        resident = _resident()
        if resident is not None:
            self.metrics.put("process_resident_memory_bytes", resident)


def _model(artifact: Path | str) -> dict[str, str]:
    path = Path(artifact)
    return {"name": path.name} | ({"sha256": file_sha256(path)} if path.is_file() else {})


def _resident() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
