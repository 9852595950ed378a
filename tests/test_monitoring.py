"""Alarms and dashboards, in a real Prometheus that reads a gate, its Collector and its quota engine.

Takes about 25 s, most of it in Prometheus's own scrapes and rule evaluations.
"""

import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from support import config
from support.client import Http2, frame
from support.collector import OTELCOL, Collector, rendered
from support.dashboard_picture import picture
from support.engine import Engine
from support.gate import Certificates, Gate, otlp_gate
from support.ports import ReservedPort
from support.protobuf import ITEMS, attribute, request, resource, scope, traces
from support.sink import GRPC_PATHS, Sink
from support.waiting import wait_until

# The folder with `prometheus` and `promtool`.
PROMETHEUS = os.environ.get("PROMETHEUS", "")
# The folder for pictures of the dashboards; none are drawn without it.
PICTURES = os.environ.get("OTLP_GATE_PICTURES", "")
pytestmark = pytest.mark.skipif(not (PROMETHEUS and OTELCOL), reason="no Prometheus, or no Collector")
ROOT = Path(__file__).parents[1]

CONFIG = config.config(
    *(config.rule(name, {"spiffe": f"spiffe://named.example/{name}"}, tenant=name) for name in ("busy", "forger")),
    quotas={"tiers": {"default": {"spans": "1/s", "burst": "50s"}}, "total": {"spans": "10k/s"}},
    monitoring={},
)

# Alarms that fire on the gate of this test while its backend and engine work, and after they have failed.
WELL = {
    "OtlpGateTargetDown",  # a target that does not exist
    "OtlpGateWithoutFilter",  # a target without the filter's metrics
    "OtlpGateQuotaNearlyUsed",
    "OtlpGateOverQuota",
    "OtlpGateForgedAttributes",
    "OtlpGateUnknownClients",
    "OtlpGateCertificateExpires",  # the server's certificate is valid for 7 days
}
FAILED = {
    "OtlpGateQuotaEngineDown",
    "OtlpGateBackendFails",
    "OtlpGateCollectorRefuses",
    "OtlpGateCollectorSendFails",
}
# Metrics that this test cannot have, and where they come from.
ELSEWHERE = {
    "kube_cronjob_status_last_successful_time": "kube-state-metrics",
    "kube_cronjob_status_last_schedule_time": "kube-state-metrics",
    "envoy_cluster_ssl_certificate_expiration_unix_time_seconds": "Envoy, with TLS to the backend; `local` has none",
}
# Counters of the filter that exist from their first event on, and whose event this test does not cause.
RARE = {
    "otlp_gate_rejected_policies_total",
    "otlp_gate_unmetered_requests_total",
    "otlp_gate_quota_over_burst_total",
    "otlp_gate_foreign_client_cert_headers_total",
    "otlp_gate_shadow_throttled_requests_total",
}
# Counters of the Collector that exist from the first failure on.
FAILURES = {
    f"otelcol_{what}_{signal}"
    for what in ("receiver_refused", "exporter_send_failed")
    for signal in ("spans", "metric_points", "log_records")
}
# Results that this test does not cause.
UNCAUSED = ('result="busy"', 'result=~"certificate_.+"')
LABELS = {"envoy_tls_certificate", "envoy_http_conn_manager_prefix"}
NAME = re.compile(r"\b(?:otlp_gate|envoy|otelcol|kube)_\w+|\bup\b")


@dataclass
class Case:
    """An alarm in a rule test of promtool: with `values` it fires, with `quiet` it does not."""

    alarm: str
    # Each series, and its values if they are the same in both cases.
    series: dict[str, str | None]
    # The labels of the alarm, besides its name and severity.
    labels: str
    values: str
    quiet: str


def results(alarm: str, result: str, *labels: str, quiet: str = "0x?") -> Case:
    """Of a result of requests, by client where `client` is among the labels."""
    all_labels = {"gate": "a/b", "client": "c", "signal": "traces", "result": result, "instance": "i"}
    series = "otlp_gate_requests_total{" + ",".join(f'{key}="{value}"' for key, value in all_labels.items()) + "}"
    shown = ",".join(f'{key}="{all_labels[key]}"' for key in ("gate", *labels))
    return Case(alarm, {series: None}, shown, "0+5x?", quiet)


def once(alarm: str, series: str, labels: str = 'gate="a/b"') -> Case:
    """Of a counter that did not exist before its first event; what it counted long ago does not count."""
    return Case(alarm, {series: None}, labels, "_x20 1x?", "1x?")


def collector(alarm: str, counter: str, **more: str) -> Case:
    own = ",".join(f'{key}="{value}"' for key, value in {"gate": "a/b", "job": "otlp-gate/node", **more}.items())
    return Case(alarm, {f'{counter}{{{own},instance="i",transport="grpc"}}': None}, own, "0+5x?", "3x?")


CRONJOB = '{cronjob="otlp-gate-verify-b",namespace="a"}'
CASES = [
    Case(
        "OtlpGateTargetDown",
        {'up{gate="a/b",job="otlp-gate/gateway",instance="i"}': None},
        'gate="a/b",job="otlp-gate/gateway",instance="i"',
        "0x?",
        "1x?",
    ),
    Case(
        "OtlpGateWithoutFilter",
        {
            'up{gate="a/b",job="otlp-gate/gateway",instance="i"}': "1x?",
            'otlp_gate_policy_revision{gate="a/b",job="otlp-gate/gateway",instance="i"}': None,
        },
        'gate="a/b",job="otlp-gate/gateway",instance="i"',
        "_x?",
        "7x?",
    ),
    results("OtlpGateNoPolicy", "no_policy"),
    once("OtlpGatePolicyRejected", 'otlp_gate_rejected_policies_total{gate="a/b",instance="i"}'),
    Case(
        "OtlpGatePoliciesDiffer",
        {
            'otlp_gate_policy_revision{gate="a/b",instance="i"}': "123727567398169x?",
            'otlp_gate_policy_revision{gate="a/b",instance="j"}': None,
            'otlp_gate_policy_revision{gate="a/c",instance="k"}': "3x?",
        },
        'gate="a/b"',
        "123727567398170x?",
        "123727567398169x?",
    ),
    once(
        "OtlpGateUnmetered",
        'otlp_gate_unmetered_requests_total{gate="a/b",client="c",signal="traces",instance="i"}',
        'gate="a/b",client="c"',
    ),
    Case(
        "OtlpGateQuotaEngineDown",
        {'otlp_gate_quota_engine_up{gate="a/b",instance="i"}': None},
        'gate="a/b",instance="i"',
        "0x?",
        "1x?",
    ),
    Case(
        "OtlpGateQuotaReportsFail",
        {
            'otlp_gate_quota_reports_total{gate="a/b",result="answered",instance="i"}': "0+90x?",
            'otlp_gate_quota_reports_total{gate="a/b",result="failed",instance="i"}': None,
        },
        'gate="a/b"',
        "0+10x?",
        "0+1x?",
    ),
    Case(
        "OtlpGateQuotaLimitsDiffer",
        {'otlp_gate_quota_engine_replicas_with_other_limits{gate="a/b",instance="i"}': None},
        'gate="a/b"',
        "1x?",
        "0x?",
    ),
    Case(
        "OtlpGateQuotaOverBurst",
        {'otlp_gate_quota_over_burst_total{gate="a/b",instance="i"}': None},
        'gate="a/b"',
        "0+90x?",
        "0+30x?",
    ),
    once(
        "OtlpGateCertificateWithheld",
        'otlp_gate_requests_total{gate="a/b",result="certificate_withheld",instance="i"}',
    ),
    once(
        "OtlpGateForeignCertificateHeaders",
        'otlp_gate_foreign_client_cert_headers_total{gate="a/b",instance="i"}',
    ),
    results("OtlpGateBackendFails", "backend_failed", "result"),
    results("OtlpGateNotServing", "not_serving"),
    results("OtlpGateBusy", "busy"),
    Case(
        "OtlpGateQuotaNearlyUsed",
        {
            # It keeps its last value when the client stops.
            'otlp_gate_quota_used_percent{gate="a/b",client="c",instance="i"}': "95x?",
            'otlp_gate_requests_total{gate="a/b",client="c",result="accepted",instance="i"}': None,
        },
        'gate="a/b",client="c"',
        "0+5x?",
        "9x?",
    ),
    results("OtlpGateOverQuota", "over_quota", "client", quiet="0+5x5 25x?"),
    results("OtlpGateOverTotal", "over_total"),
    Case(
        "OtlpGateForgedAttributes",
        {'otlp_gate_forged_attributes_total{gate="a/b",client="c",instance="i"}': None},
        'gate="a/b",client="c"',
        "0+1x?",
        "4x?",
    ),
    results("OtlpGateCertificateRejected", "certificate_expired", "client", "result"),
    results("OtlpGateUnknownClients", "unknown_client", "result"),
    collector("OtlpGateCollectorRefuses", "otelcol_receiver_refused_log_records"),
    Case(
        "OtlpGateCollectorQueueFills",
        {
            'otelcol_exporter_queue_size{gate="a/b",job="j",exporter="e",data_type="logs",instance="i"}': None,
            'otelcol_exporter_queue_capacity{gate="a/b",job="j",exporter="e",data_type="logs",instance="i"}': "100x?",
        },
        'gate="a/b",job="j",exporter="e",instance="i"',
        "90x?",
        "70x?",
    ),
    collector("OtlpGateCollectorSendFails", "otelcol_exporter_send_failed_spans", exporter="e"),
    Case(
        "OtlpGateCertificateExpires",
        {'envoy_server_days_until_first_cert_expiring{gate="a/b",instance="i"}': None},
        'gate="a/b"',
        "13x?",
        "14x?",
    ),
    Case(
        "OtlpGateCertificateExpiresSoon",
        {'envoy_server_days_until_first_cert_expiring{gate="a/b",instance="i"}': None},
        'gate="a/b"',
        "2x?",
        "3x?",
    ),
    Case(
        "OtlpGateVerifyFails",
        {
            f"kube_cronjob_status_last_schedule_time{CRONJOB}": "1000x?",
            f"kube_cronjob_status_last_successful_time{CRONJOB}": None,
        },
        CRONJOB.strip("{}"),
        "900x?",
        "1010x?",
    ),
    Case(
        "OtlpGateVerifyFails",
        {
            f"kube_cronjob_status_last_schedule_time{CRONJOB}": "1000x?",
            f"kube_cronjob_status_last_successful_time{CRONJOB}": None,
        },
        CRONJOB.strip("{}"),
        "_x?",
        "1010x?",
    ),
]


def promtool(*args: object) -> str:
    done = subprocess.run(
        [f"{PROMETHEUS}/promtool", *map(str, args)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass
class Files:
    """What `render --monitoring` writes."""

    folder: Path
    # The groups of rules.yaml, as they are in the PrometheusRule.
    groups: list[dict]

    @property
    def rules(self) -> list[dict]:
        return [rule for group in self.groups for rule in group["rules"]]

    @property
    def alarms(self) -> list[dict]:
        return [rule for rule in self.rules if "alert" in rule]

    @property
    def panels(self) -> dict[str, str]:
        """The queries of all panels by their names, as Grafana sends them for all gates."""
        found = {}
        for file in sorted((self.folder / "dashboards").glob("*.json")):
            for panel in json.loads(file.read_text())["panels"]:
                for target in panel["targets"]:
                    query = target["expr"].replace("$gate", ".*").replace("$__rate_interval", "1m")
                    found[f"{file.stem}: {panel['title']} {target['refId']}"] = query
        return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("monitoring")
    file = folder / "otlp-gate.yaml"
    file.write_text(str(CONFIG.replace(monitoring={"prometheusOperator": "on"})))
    otlp_gate("-f", file, "render", "--monitoring", folder / "out")
    objects = json.loads(otlp_gate("-f", file, "render", "-o", "json").stdout)["items"]
    (rule,) = (it for it in objects if it["kind"] == "PrometheusRule")
    return Files(folder / "out", rule["spec"]["groups"])


class Prometheus:
    """A Prometheus that reads these targets, and evaluates every rule each second without its waiting time."""

    def __init__(self, folder: Path, files: Files, targets: list[dict]):
        at_once = [[{**rule, "for": "0s"} if "alert" in rule else rule for rule in it["rules"]] for it in files.groups]
        pairs = zip(files.groups, at_once, strict=True)
        rules = {"groups": [{"name": group["name"], "interval": "1s", "rules": own} for group, own in pairs]}
        (folder / "rules.yaml").write_text(json.dumps(rules))
        timing = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        settings = {"global": timing, "rule_files": ["rules.yaml"], "scrape_configs": targets}
        (folder / "prometheus.yaml").write_text(json.dumps(settings))
        self.port = ReservedPort()
        self.log = folder / "prometheus.log"
        command = [
            f"{PROMETHEUS}/prometheus",
            f"--config.file={folder}/prometheus.yaml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={self.port.address}",
        ]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(lambda: self.query("vector(1)"), f"Prometheus answers: {self.log}")

    def get(self, path: str, **parameters: object) -> dict:
        url = f"http://{self.port.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[dict]:
        return self.get("query", query=expression)["result"]

    def firing(self) -> dict[str, list[dict]]:
        """The alarms that fire, by name."""
        found: dict[str, list[dict]] = {}
        for alert in self.get("alerts")["alerts"]:
            assert alert["state"] == "firing"
            found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def draw(files: Files, prometheus: Prometheus) -> None:
    """Writes a picture of each dashboard."""
    end = time.time()

    def query_range(expression: str) -> list[dict]:
        query = expression.replace("$gate", ".*").replace("$__rate_interval", "10s")
        return prometheus.get("query_range", query=query, start=end - 40, end=end, step=1)["result"]

    for file in (files.folder / "dashboards").glob("*.json"):
        text = picture(json.loads(file.read_text()), query_range)
        (Path(PICTURES) / file.with_suffix(".svg").name).write_text(text)


@dataclass
class Watched:
    """A gate under load, its Collector, its engine, and the Prometheus that reads them."""

    prometheus: Prometheus
    gate: Gate
    engine: Engine
    sink: Sink
    identities: dict

    def send(self, name: str, message: bytes, signal: str = "traces") -> int:
        connection = Http2(self.gate.grpc, self.identities[name])
        try:
            return connection.grpc(GRPC_PATHS[signal], frame(message)).grpc_status
        finally:
            connection.socket.close()

    def load(self, well: bool = True) -> None:
        """Every signal, forged attributes, more than a quota, and a stranger."""
        for signal, item in ITEMS.items():
            message = request(resource(attribute("tenant.id", "x")), scope(item("a")))
            status = self.send("forger", message, signal)
            assert (status == 0) is well, (signal, status)
        self.send("busy", traces(*"a" * 40))
        assert self.send("stranger", traces("a")) == 7


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, files: Files, certificates: Certificates) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    sink = Sink().start()
    engine = Engine(folder).start()
    certs = certificates.copy(folder / "certs")
    certs.run("server", "--force", "--local", "--days", "7")
    exporter = {
        "endpoint": f"127.0.0.1:{sink.grpc_port}",
        "tls": {"insecure": True},
        "compression": "none",
        "retry_on_failure": {"enabled": False},
        "timeout": "1s",
    }
    gate_config = CONFIG.quotas(engine={"address": engine.address, "tls": "off"}).replace(
        backend={"collector": {"exporters": {"otlp_grpc": exporter}}}
    )
    collector_config = rendered(folder, gate_config.quotas(scope="replica"))
    with ReservedPort() as metrics:
        rendered_text = collector_config.read_text()
        assert rendered_text.count("8888") == 1, rendered_text
        collector_config.write_text(rendered_text.replace("8888", str(metrics.number)))
        collector = Collector(folder, collector_config, **{"service::telemetry::metrics::level": "normal"})
    (folder / "otlp-gate.yaml").write_text(str(gate_config))
    gate = Gate(folder / "otlp-gate.yaml", certs.folder, collector.grpc_port, collector.http_port).ready()
    nothing = ReservedPort()

    def scrape(job: str, path: str, address: str) -> dict:
        targets = [{"targets": [address], "labels": {"job": f"otlp-gate/{job}", "gate": "otel/otel-gateway"}}]
        return {"job_name": f"{job} {address}", "metrics_path": path, "static_configs": targets}

    prometheus = Prometheus(
        folder,
        files,
        [
            scrape("gateway", "/stats/prometheus", gate.admin),
            scrape("collector", "/metrics", metrics.address),
            scrape("node", "/metrics", nothing.address),
            # An Envoy without the filter's metrics: the admin address again, under a name of its own.
            {
                **scrape("gateway", "/stats/prometheus", gate.admin.replace("127.0.0.1", "localhost")),
                "params": {"filter": ["server"]},
            },
        ],
    )
    identities = {
        name: certs.client(f"watched-{name}", "--spiffe", f"spiffe://named.example/{name}")
        for name in ("busy", "forger", "stranger")
    }
    it = Watched(prometheus, gate, engine, sink, identities)
    yield it
    prometheus.stop()
    gate.stop()
    collector.stop()
    engine.stop()
    sink.stop()
    nothing.close()


def test_promtool_accepts_the_rules_and_scrape_configs(files: Files) -> None:
    promtool("check", "rules", "--lint-fatal", files.folder / "rules.yaml")
    check = [f"{PROMETHEUS}/promtool", "check", "config", str(files.folder / "scrape.yaml")]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    # Debian builds Prometheus without Kubernetes.
    wrong = re.findall(r"line \d+: (.*)", done.stderr + done.stdout)
    assert set(wrong) <= {"field kubernetes_sd_configs not found in type config.ScrapeConfig"}, done.stderr
    assert done.returncode == 0 or wrong, done.stderr


def test_grafana_has_every_key_of_the_dashboards(files: Files) -> None:
    """By Grafana's own types, which leave out keys that they do not have."""
    plugins.register_default_plugins()
    dashboards = sorted((files.folder / "dashboards").glob("*.json"))
    assert len(dashboards) == 4
    for file in dashboards:
        ours = json.loads(file.read_text())
        theirs = json.loads(JSONEncoder().encode(Dashboard.from_json(ours)))
        assert not list(lost(ours, theirs)), file.name


def lost(ours: object, theirs: object, path: str = "") -> Iterator[str]:
    """The places of values that differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from lost(value, theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(one, other, f"{path}[{index}]")
    elif ours != theirs:
        yield f"{path}: {ours!r} != {theirs!r}"


def test_every_runbook_is_a_heading(files: Files) -> None:
    headings = re.findall(r"^#+ (\w+)$", (ROOT / "docs/guides/monitoring.md").read_text(), re.MULTILINE)
    anchors = {it.lower() for it in headings}
    for alarm in files.alarms:
        page, _, anchor = alarm["annotations"]["runbook_url"].partition("#")
        assert page.endswith("docs/guides/monitoring.md") and anchor in anchors, alarm


def test_every_query_and_alarm_on_a_gate_under_load(files: Files, watched: Watched) -> None:
    prometheus = watched.prometheus
    recorded = {rule["record"]: rule["expr"] for rule in files.rules if "record" in rule}
    queries = {**files.panels, **recorded}

    def without_series() -> set[str]:
        watched.load()
        return {name for name, query in queries.items() if not prometheus.query(query)}

    # 1. While all is well: every query but those about failures has a series, and only these alarms fire.
    of_failures = {name for name, query in queries.items() if set(NAME.findall(query)) & (ELSEWHERE.keys() | RARE)}
    of_failures |= {name for name, query in queries.items() if set(NAME.findall(query)) & FAILURES}
    of_failures |= {name for name, query in queries.items() if any(it in query for it in UNCAUSED)}
    wait_until(lambda: without_series() <= of_failures, "every query has a series", 20, interval=1)
    wait_until(lambda: set(prometheus.firing()) == WELL, "the alarms that fire while all is well", 20, interval=1)
    # 2. After the backend and the engine have failed, more fire, and no other.
    watched.engine.stop()
    watched.sink.stop()

    def firing() -> bool:
        watched.load(well=False)
        # A gate reports less often to an engine that does not answer, so these failures may be too few to count.
        assert prometheus.firing().keys() - {"OtlpGateQuotaReportsFail"} == WELL | FAILED
        return True

    wait_until(firing, "the alarms that fire after failures", 60, interval=1)
    for alerts in prometheus.firing().values():
        for alert in alerts:
            assert re.fullmatch(r"[^{}]*[^ {}]", alert["annotations"]["summary"]), alert
    if PICTURES:
        draw(files, prometheus)
    # 3. Now every metric exists, but those that this test cannot cause.
    names = set(prometheus.get("label/__name__/values"))
    source = (ROOT / "core/src/gate/metrics.rs").read_text()
    for query in [*files.panels.values(), *(rule["expr"] for rule in files.rules)]:
        for name in set(NAME.findall(query)) - LABELS:
            assert name in names or name in ELSEWHERE or (name in RARE and f'"{name}"' in source), name


def test_each_alarm_fires_for_its_reason_only(files: Files, tmp_path: Path) -> None:
    alarms = {it["alert"]: it for it in files.alarms}
    tests = []
    for case in CASES:
        alarm = alarms[case.alarm]
        # When all has lasted long enough, and rules are evaluated.
        at = 25 + int(alarm.get("for", "0m").removesuffix("m")) // 5 * 5
        expression = f'ALERTS{{alertname="{case.alarm}",alertstate="firing"}}'
        labels = f'{expression[:-1]},severity="{alarm["labels"]["severity"]}",{case.labels}}}'
        for values, samples in ((case.values, [{"labels": labels, "value": 1}]), (case.quiet, [])):
            shown = {series: fixed or values for series, fixed in case.series.items()}
            series = [{"series": it, "values": text.replace("?", str(at + 5))} for it, text in shown.items()]
            query = {"expr": expression, "eval_time": f"{at}m", "exp_samples": samples}
            tests.append({"interval": "1m", "input_series": series, "promql_expr_test": [query]})
    rules = {"rule_files": [str(files.folder / "rules.yaml")], "evaluation_interval": "5m", "tests": tests}
    (tmp_path / "test.yaml").write_text(json.dumps(rules))
    promtool("test", "rules", tmp_path / "test.yaml")
    assert {case.alarm for case in CASES} == set(alarms)
