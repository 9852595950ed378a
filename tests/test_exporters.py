"""The exporters of the OpenTelemetry SDK: all that they send arrives, with the client's attributes."""

from collections.abc import Callable

import grpc
import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcTraces
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpTraces
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from support.client import Identity
from support.gate import Gate
from support.sink import HTTP_PATHS, Sink

COUNT = 1200
NAMES = {f"record {number}" for number in range(COUNT)}
# One attribute that a client may set, and two owned ones.
RESOURCE = Resource({"service.name": "shop", "tenant.id": "forged", "otlp_gate.client": "forged too"})
EXPECTED = {"service.name": "shop", "tenant.id": "acme", "otlp_gate.client": "acme-edge"}


def send_traces(exporter: object) -> None:
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=2 * COUNT))
    tracer = provider.get_tracer("test")
    for name in NAMES:
        tracer.start_span(name).end()
    provider.shutdown()


def send_logs(exporter: object) -> None:
    provider = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, max_queue_size=2 * COUNT))
    logger = provider.get_logger("test")
    for name in NAMES:
        logger.emit(LogRecord(timestamp=1, severity_number=SeverityNumber.INFO, body=name))
    provider.shutdown()


def send_metrics(exporter: object) -> None:
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider(metric_readers=[reader], resource=RESOURCE, shutdown_on_exit=False)
    meter = provider.get_meter("test")
    for name in NAMES:
        meter.create_counter(name.replace(" ", "_")).add(1)
    provider.shutdown()


SEND = {"traces": send_traces, "metrics": send_metrics, "logs": send_logs}
GRPC = {"traces": GrpcTraces, "metrics": GrpcMetrics, "logs": GrpcLogs}
HTTP = {"traces": HttpTraces, "metrics": HttpMetrics, "logs": HttpLogs}


@pytest.fixture
def exporter(gate: Gate, acme: Identity) -> Callable[[str, str, str], object]:
    def exporter(protocol: str, signal: str, compression: str) -> object:
        if protocol == "grpc":
            return GRPC[signal](
                # The server's certificate is for localhost.
                endpoint=f"https://localhost:{gate.grpc.rsplit(':', 1)[1]}",
                credentials=acme.credentials(),
                compression=grpc.Compression[compression],
            )
        return HTTP[signal](
            endpoint=f"https://localhost:{gate.http.rsplit(':', 1)[1]}{HTTP_PATHS[signal]}",
            certificate_file=str(acme.ca),
            client_certificate_file=str(acme.certificate),
            client_key_file=str(acme.key),
            compression=Compression["Gzip" if compression == "Gzip" else "NoCompression"],
        )

    return exporter


@pytest.mark.parametrize("compression", ["NoCompression", "Gzip"])
@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_every_record_arrives_once_with_its_clients_attributes(
    exporter: Callable, sink: Sink, protocol: str, signal: str, compression: str
) -> None:
    SEND[signal](exporter(protocol, signal, compression))

    received = sink.rest()
    assert {request.signal for request in received} == {signal}
    names = [name for request in received for name in request.names()]
    assert sorted(names) == sorted(name.replace(" ", "_") if signal == "metrics" else name for name in NAMES)
    for request in received:
        for attributes in request.resources():
            assert attributes.items() >= EXPECTED.items()
        assert request.headers["x-scope-orgid"] == "acme"
        # The gate forwards messages without compression.
        assert "content-encoding" not in request.headers
        assert request.headers.get("grpc-encoding", "identity") == "identity"
