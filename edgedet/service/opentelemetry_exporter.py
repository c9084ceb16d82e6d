"""``--opentelemetry``: the same counters and gauges through OpenTelemetry, as its own environment variables say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from edgedet.errors import MissingDependencyError
from edgedet.service.metrics import Metrics


def start_telemetry(metrics: Metrics, refresh: Callable[[], None]) -> Any:
    """Offer what ``metrics`` has to the meter provider of OpenTelemetry; returns the provider.

    Where a program has set one, it is used; else one is made that exports by OTLP, to where
    ``OTEL_EXPORTER_OTLP_…`` say.

    Raises:
        MissingDependencyError: its packages are not installed.
    """
    try:
        from opentelemetry import metrics as api
        from opentelemetry.sdk.metrics import MeterProvider
    except ImportError as error:
        raise MissingDependencyError(
            "--opentelemetry needs packages that are not installed: pip install opentelemetry-sdk "
            "opentelemetry-exporter-otlp-proto-http"
        ) from error
    provider = api.get_meter_provider()
    if not isinstance(provider, MeterProvider):
        provider = MeterProvider([_reader()])
    meter = provider.get_meter("edgedet")

    def values_of(name: str) -> Callable[[Any], Iterable[Any]]:
        def observe(_: Any) -> Iterable[Any]:
            refresh()
            values = next(values for each, _, _, values in metrics.current() if each == name)
            return [api.Observation(value, dict(labels)) for labels, value in values.items()]

        return observe

    for name, kind, meaning, _ in metrics.current():
        create = meter.create_observable_counter if kind == "counter" else meter.create_observable_gauge
        create(name.removesuffix("_total"), callbacks=[values_of(name)], description=meaning)
    return provider


def _reader() -> Any:
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    except ImportError as error:
        raise MissingDependencyError(
            "--opentelemetry needs a package that is not installed: pip install "
            "opentelemetry-exporter-otlp-proto-http"
        ) from error
    return PeriodicExportingMetricReader(OTLPMetricExporter())
