//! docs/reference/config.md: every key of otlp-gate.yaml, one section for each part of the file.

use std::fmt::Write;

use super::{assert_current, first_sentence, wrap};
use crate::config::Source;
use crate::config::schema::{Key, json_schema, keys};

/// The longest description that stays whole in its table; of a longer one the table has the first sentence.
const CELL: usize = 110;

/// A part of the file with a heading of its own.
struct Section {
    /// The heading.
    heading: &'static str,
    /// The section has the keys below these, and these themselves if they have no keys.
    roots: &'static [&'static str],
    /// What the part is for.
    purpose: &'static str,
    /// A valid fragment of otlp-gate.yaml.
    example: &'static str,
}

const INTRODUCTION: &str = "\
# otlp-gate.yaml

The config file of one gate: the gateway, the backend behind it, the clients, the attributes that are set on their
telemetry, and their quotas.

- `otlp-gate init` writes a commented file to start from.
- `otlp-gate check` reports every mistake with its line and a hint.
- `otlp-gate schema` prints the JSON Schema for editors. A copy is [otlp-gate.schema.json](otlp-gate.schema.json).

The only required keys are `apiVersion` and `clients`. Unknown keys and keys that occur twice are errors.

";

const VALUES: &str = "\
## Values

| Type | Form | Examples |
|---|---|---|
| rate | whole number, optional unit `k`, `M`, `G` (1000) or `KiB`, `MiB`, `GiB` (1024), then `/s` | `200/s`, `50k/s`, `8MiB/s` |
| size | whole number of bytes, with the same units | `16MiB` |
| duration | whole number, then `s` or `ms` | `4s`, `500ms` |
| pattern | text with `*`, `{capture}` and `**`, see [match](#match) | `spiffe://acme.example/edge/*` |
| template | text with placeholders, see [attributes and headers](#attributes-and-headers) | `{org}-prod` |
";

const SECTIONS: [Section; 25] = [
    Section {
        heading: "gateway",
        roots: &["gateway"],
        purpose: "The Gateway object, its Envoy proxies and the ports that clients connect to.",
        example: "\
gateway:
  provider: istio
  hostname: otel.example.com
  replicas: 3
  listeners: {grpc: 4317, http: 4318}
  annotations:
    service.beta.kubernetes.io/aws-load-balancer-scheme: internet-facing",
    },
    Section {
        heading: "gateway.module",
        roots: &["gateway.module"],
        purpose: "The registry or web server from which the gateway fetches the filter's module. Envoy Gateway requires \
                  it ([how to push the module](../get-started/envoy-gateway.md)). With Istio, leave it out: the module \
                  comes from a ConfigMap.",
        example: "\
gateway:
  provider: envoy-gateway
  module: {url: \"oci://registry.example/otlp-gate:0.1.0\"}",
    },
    Section {
        heading: "certificates",
        roots: &["certificates"],
        purpose: "The issuer of the server's and the clients' certificates. By default `otlp-gate certs` issues them \
                  into the folder `certs`. See [Certificates](../guides/certificates.md).",
        example: "\
certificates:
  certManager:
    server: {name: company-ca, kind: ClusterIssuer}",
    },
    Section {
        heading: "backend",
        roots: &["backend"],
        purpose: "The receiver of accepted telemetry: either `collector` or `service`, not both. By default otlp-gate \
                  deploys a Collector.",
        example: "",
    },
    Section {
        heading: "backend.collector",
        roots: &["backend.collector"],
        purpose: "A Collector that `otlp-gate apply` deploys.",
        example: "\
backend:
  collector:
    replicas: 2
    maxReplicas: 6
    exporters:
      otlp_grpc: {endpoint: \"tempo-distributor.observability:4317\", tls: {insecure: true}}",
    },
    Section {
        heading: "backend.collector.pipelines",
        roots: &["backend.collector.pipelines"],
        purpose: "The processors, exporters and connectors of each pipeline, by the pipeline's name. A pipeline that is not \
                  given has no processors and all exporters. See [Collector](../guides/collector.md).",
        example: "\
backend:
  collector:
    processors:
      filter/health: {traces: {span: ['name == \"GET /healthz\"']}}
    connectors:
      spanmetrics: {}
    exporters:
      otlp_http/tempo: {endpoint: \"https://tempo.example.com\"}
      otlp_http/mimir: {endpoint: \"https://mimir.example.com/otlp\"}
    pipelines:
      traces: {processors: [filter/health], exporters: [otlp_http/tempo, spanmetrics]}
      metrics: {receivers: [spanmetrics], exporters: [otlp_http/mimir]}
      logs: {exporters: [otlp_http/tempo]}",
    },
    Section {
        heading: "backend.collector.routes",
        roots: &["backend.collector.routes"],
        purpose: "Exporters for the telemetry of some clients. Only owned attributes can be matched, so a client cannot \
                  choose its route. See [Collector](../guides/collector.md#send-tenants-to-different-backends).",
        example: "\
attributes: {otlp_gate.client: \"{name}\"}
clients:
  - name: acme-edge
    match: {dns: acme.example}
    attributes: {tenant.id: acme}
backend:
  collector:
    exporters:
      otlp_http/acme: {endpoint: \"https://otlp.acme.example\"}
      otlp_http/ours: {endpoint: \"https://otlp.example.com\"}
    routes:
      - {match: {tenant.id: acme}, exporters: [otlp_http/acme]}",
    },
    Section {
        heading: "pod",
        roots: &["backend.collector.pod"],
        purpose: "Where pods run, what they may use, and their labels, in the words of Kubernetes' pods: \
                  `backend.collector.pod` for the Collector, `gateway.pod` for the gateway's proxies, `nodeLocal.pod` for \
                  the node-local gateway, `quotas.engine.deploy.pod` for the quota engine.",
        example: "\
gateway:
  pod:
    resources: {requests: {cpu: \"2\", memory: 1Gi}, limits: {memory: 2Gi}}
    topologySpreadConstraints:
      - {topologyKey: topology.kubernetes.io/zone, maxSkew: 1, whenUnsatisfiable: ScheduleAnyway}
backend:
  collector:
    pod:
      annotations: {example.com/team: telemetry}
      nodeSelector: {kubernetes.io/arch: arm64}
      tolerations: [{key: dedicated, value: telemetry, effect: NoSchedule}]
      priorityClassName: high",
    },
    Section {
        heading: "backend.service",
        roots: &["backend.service"],
        purpose: "A Service that receives OTLP and exists already. Its NetworkPolicy must admit only the gateway, and its \
                  receiver must accept messages of `limits.inflated` and a quarter more. See [TLS to a Service of your \
                  own](../guides/certificates.md#tls-to-a-service-of-your-own).",
        example: "\
backend:
  service:
    name: otel-collector
    namespace: observability
    tls:
      caConfigMap: internal-ca          # its ca.crt verifies the Service's certificate
      clientSecret: otel-gateway-client # the certificate that the gateway presents",
    },
    Section {
        heading: "clientCAs",
        roots: &["clientCAs"],
        purpose: "The CAs that issue client certificates, as trust domains: a rule with `match: {ca: NAME}` is for the \
                  clients of that CA only. See [Several client CAs](../guides/certificates.md#several-client-cas).",
        example: "\
clientCAs:
  - name: own                          # the CAs in certs/client-ca.crt
  - name: partners
    certificates: partners-ca.pem
    revocationList: partners.crl",
    },
    Section {
        heading: "clients",
        roots: &["clients"],
        purpose: "The rules that map certificates to clients. The first rule that matches a certificate applies. \
                  `otlp-gate whoami CERT` shows which one that is. See [Clients](../guides/clients.md).",
        example: "\
clients:
  - name: acme-edge
    match: {spiffe: \"spiffe://acme.example/edge/*\"}
    attributes: {tenant.id: acme}
    quota: gold
  - name: \"{site}.{org}\"               # any number of clients, named from their certificates
    match: {dns: \"{site}.{org}.partners.example\"}
    attributes: {tenant.id: \"{org}\", site.id: \"{site}\"}
    quotaPer: \"{org}\"                  # the sites of one organisation share a token bucket
quotas:
  tiers:
    gold: {requests: 1k/s, bytes: 64MiB/s, items: 500k/s}",
    },
    Section {
        heading: "match",
        roots: &["clients[].match"],
        purpose: "The certificates that a rule applies to. All given keys must match. A list of matches applies if one of \
                  them matches. `trustedHops` has the same keys.\n\n\
                  In a pattern, `*` is one or more characters of one DNS label, of one URI path segment, of the part of \
                  an e-mail address between `.` and `@`, or of the part of a subject's value between `.` and `/`. \
                  `{capture}` is a `*` whose text the rule can use in its name, attributes, headers and `quotaPer`. \
                  `**` is one or more characters of any kind.\n\n\
                  A certificate may have several names of one kind, and several values of one subject key. Any of them \
                  may match, in any order. If several match and give different captures, the match does not hold. See \
                  [match certificates](../guides/clients.md#match-certificates).",
        example: "\
clients:
  - name: \"team-{team}\"
    match:
      - spiffe: \"spiffe://example.com/telemetry/{team}\"
      - subject: {O: Example, OU: [Canary, \"{team}\"]}
  - name: \"user-{user}\"
    match: {email: \"{user}@acme.example\", issuer: {subject: {O: Acme}}, extendedKeyUsage: clientAuth}
  - name: lab
    match: {ip: 10.20.0.0/16}",
    },
    Section {
        heading: "words",
        roots: &["clients[].words.NAME"],
        purpose: "Longer captures, or captures with further characters. By default a capture has 1 to 63 characters of \
                  `A-Z a-z 0-9 _ -`, and in URIs also `.`. Other characters than `.`, `:` and `@` cannot be allowed, so \
                  that a capture is valid in names, headers, attributes and `quotaPer`. See \
                  [longer captures](../guides/clients.md#longer-captures).",
        example: "\
clients:
  - name: \"agent-{id}\"
    match: {spiffe: \"spiffe://example.org/spire/agent/tpm/{id}\"}
    words: {id: {max: 64}}
  - name: \"user-{principal}\"
    match: {subject: {O: Acme, CN: \"{principal}\"}}
    words: {principal: {allow: \".:@\"}}",
    },
    Section {
        heading: "trustedHops",
        roots: &["trustedHops"],
        purpose: "Proxies in front of the gateway that terminate the clients' TLS and forward their identities. The keys \
                  are those of [match](#match), and one more. See [Clients behind a \
                  proxy](../guides/trusted-proxies.md).",
        example: "\
trustedHops:
  - spiffe: \"spiffe://acme.example/edge-proxy\"    # an Envoy
  - dns: nginx.acme.example
    header: ssl-client-cert",
    },
    Section {
        heading: "unknown, deny, corsOrigins",
        roots: &["unknown", "deny", "corsOrigins"],
        purpose: "Certificates that match no rule, clients that are locked out, and web pages that may send. See \
                  [lock out a client](../guides/clients.md#lock-out-a-client) and [Browsers](../guides/browsers.md).",
        example: "\
unknown: quarantine
deny: [\"name:acme-edge\"]
corsOrigins: [\"https://*.shop.example.com\"]
quotas:
  tiers:
    quarantine: {requests: 5/s, bytes: 1MiB/s, items: 2100/s}",
    },
    Section {
        heading: "attributes and headers",
        roots: &["attributes", "ownedSpellings", "headers"],
        purpose: "Owned resource attributes and headers, for every client. Values a client sends under these keys are \
                  removed. See [Identity and trust](../concepts/identity-and-trust.md).",
        example: "\
attributes:
  otlp_gate.client: \"{name}\"
headers:
  X-Scope-OrgID: \"{otlp_gate.client}\"
ownedSpellings: folded",
    },
    Section {
        heading: "quotas",
        roots: &["quotas"],
        purpose: "Rate limits of clients. `tiers` are limits for each client (or for each `quotaPer`), `total` limits all \
                  clients together. See [Set quotas](../guides/quotas.md).",
        example: "\
quotas:
  mode: shadow
  total: {bytes: 200MiB/s}
  tiers:
    default: {requests: 200/s, bytes: 8MiB/s, items: 50k/s, burst: 4s}",
    },
    Section {
        heading: "quotas.engine",
        roots: &["quotas.engine"],
        purpose: "The Valkey or Redis that adds up what all replicas charge. See [One quota over all \
                  replicas](../guides/quotas.md#one-quota-over-all-replicas).",
        example: "\
quotas:
  engine: {deploy: {}}                 # or one that exists:
  # engine:
  #   address: valkey-primary.valkey.svc.cluster.local:6379
  #   tls: {caConfigMap: valkey-ca}
  #   credentials: {secret: quota-engine}",
    },
    Section {
        heading: "quotas.tiers.NAME, quotas.total",
        roots: &["quotas.tiers.NAME"],
        purpose: "The limits of a tier, or of all clients together. A limit that is not given does not exist; tiers do \
                  not inherit. Each limit holds over the replicas of `quotas.scope`.",
        example: "",
    },
    Section {
        heading: "limits",
        roots: &["limits"],
        purpose: "Bounds on the size of requests and on the memory of one Envoy worker. See \
                  [Isolation](../concepts/isolation.md).",
        example: "limits: {wire: 8MiB, inflated: 32MiB}",
    },
    Section {
        heading: "metrics",
        roots: &["metrics"],
        purpose: "Which clients the filter's metrics name. See [Client names](metrics.md#client-names).",
        example: "metrics: {busiestClients: 50}",
    },
    Section {
        heading: "nodeLocal",
        roots: &["nodeLocal"],
        purpose: "The node-local gateway: a Collector DaemonSet that receives plain OTLP from the pods of its node. See \
                  [Node-local gateway](../guides/node-local.md).",
        example: "\
nodeLocal:
  enabled: true
  queue: durable",
    },
    Section {
        heading: "nodeLocal.clients",
        roots: &["nodeLocal.clients"],
        purpose: "The rules that map pods to clients, by namespace and labels. The first rule that matches a pod applies.",
        example: "\
nodeLocal:
  enabled: true
  clients:
    - name: \"{team}\"
      match: {namespace: \"team-{team}\"}
      attributes: {tenant.id: \"{team}\"}",
    },
    Section {
        heading: "nodeLocal.export",
        roots: &["nodeLocal.export"],
        purpose: "Where the node-local gateway sends: `exporters` of your own, or `gate`, the gateway of an otlp-gate in \
                  another cluster. By default it sends to this gate's backend. See \
                  [another cluster](../guides/another-cluster.md).",
        example: "\
nodeLocal:
  enabled: true
  export:
    gate: {endpoint: \"otel-gateway.example.com:4317\", clientSecret: otlp-gate-client-edge-berlin}",
    },
    Section {
        heading: "monitoring",
        roots: &["monitoring"],
        purpose: "Objects that let Prometheus and Grafana watch the gate, and NetworkPolicies that open metrics to them \
                  only. See [Monitoring](../guides/monitoring.md).",
        example: "\
monitoring:
  labels: {release: kube-prometheus-stack}
  from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: observability}}}]",
    },
];

/// Sections that describe the keys of two parts of the file: the part that is listed, and the one that is not.
const SAME: [(&str, &str); 5] = [
    ("clients[].match", "trustedHops[]"),
    ("quotas.tiers.NAME", "quotas.total"),
    ("backend.collector.pod", "gateway.pod"),
    ("backend.collector.pod", "nodeLocal.pod"),
    ("backend.collector.pod", "quotas.engine.deploy.pod"),
];

/// The text of docs/reference/config.md. Writing to a string cannot fail.
fn markdown() -> String {
    let keys = keys();
    let mut page = INTRODUCTION.to_owned();
    page.push_str("## Top-level keys\n\n| Key | Type | Default | Description |\n|---|---|---|---|\n");
    for key in keys.iter().filter(|key| !key.path.contains('.') && !key.path.contains('[')) {
        let section = SECTIONS
            .iter()
            .find(|it| it.heading.split(", ").any(|it| it == key.path) || it.roots.contains(&&*key.path));
        let name = match section {
            Some(section) => format!("[`{}`](#{})", key.path, anchor(section.heading)),
            None => format!("`{}`", key.path),
        };
        let (summary, _) = first_sentence(&key.meaning);
        writeln!(page, "| {name} | {} | {} | {} |", kind(&key.kind), key.default, cell(summary)).unwrap();
    }
    page.push('\n');
    page.push_str(VALUES);
    for section in &SECTIONS {
        section.write(&keys, &mut page);
    }
    page
}

impl Section {
    fn write(&self, keys: &[Key], page: &mut String) {
        let heading = self.heading;
        write!(page, "\n## {heading}\n").unwrap();
        for paragraph in self.purpose.split("\n\n") {
            write!(page, "\n{}", wrap("", paragraph)).unwrap();
        }
        let own: Vec<_> = keys.iter().filter_map(|key| Some((self.relative(key)?, key))).collect();
        if !own.is_empty() {
            page.push_str("\n| Key | Type | Default | Description |\n|---|---|---|---|\n");
        }
        let mut details = String::new();
        for (path, key) in own {
            let (summary, rest) = match key.meaning.as_str() {
                short if short.len() <= CELL => (short, ""),
                long => first_sentence(long),
            };
            writeln!(page, "| `{path}` | {} | {} | {} |", kind(&key.kind), key.default, cell(summary))
                .unwrap();
            if !rest.is_empty() {
                details.push_str(&wrap("- ", &format!("`{path}`: {rest}")));
            }
        }
        if !details.is_empty() {
            write!(page, "\n{details}").unwrap();
        }
        if !self.example.is_empty() {
            write!(page, "\n```yaml\n{}\n```\n", self.example).unwrap();
        }
    }

    /// A key's path below the section's root; none if the key belongs to another section.
    fn relative<'k>(&self, key: &'k Key) -> Option<&'k str> {
        let root = root(&key.path).filter(|_| !described_elsewhere(&key.path))?;
        if !self.roots.contains(&root) {
            return None;
        }
        let below = key.path.strip_prefix(root)?;
        Some(if below.is_empty() {
            &key.path
        } else {
            below.trim_start_matches("[]").trim_start_matches('.')
        })
    }
}

/// Whether a key is one of those that another section describes.
fn described_elsewhere(path: &str) -> bool {
    SAME.iter().any(|(one, other)| {
        let rest = path.strip_prefix(other).filter(|rest| rest.starts_with('.'));
        rest.is_some_and(|rest| keys().iter().any(|key| key.path.strip_prefix(one) == Some(rest)))
    })
}

/// The longest root of a section that a key is below, or that it is.
fn root(path: &str) -> Option<&'static str> {
    let roots = SECTIONS.iter().flat_map(|section| section.roots.iter().copied());
    let below = |root: &str| match path.strip_prefix(root) {
        Some("") => !path.contains('.') && !is_map(path),
        Some(rest) => rest.starts_with('.') || rest.starts_with("[]."),
        None => false,
    };
    roots.filter(|root| below(root)).max_by_key(|root| root.len())
}

/// Whether a key has keys of its own.
fn is_map(path: &str) -> bool {
    keys().iter().filter_map(|key| key.path.strip_prefix(path)).any(|rest| rest.starts_with(['.', '[']))
}

/// A type as the reference calls it.
fn kind(kind: &str) -> String {
    match kind {
        "text" => "string".to_owned(),
        "whole number" => "integer".to_owned(),
        "`true` or `false`" => "boolean".to_owned(),
        "list of texts" => "list of strings".to_owned(),
        "map of any keys" | "map of anything" | "map with one key" => "map".to_owned(),
        _ if kind.starts_with("a rate") => "rate".to_owned(),
        _ if kind.starts_with("a size") => "size".to_owned(),
        _ if kind.starts_with("a time") => "duration".to_owned(),
        _ => cell(kind),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// A heading as links name it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn the_schema_and_the_page_are_current() {
    let schema = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    assert_current("otlp-gate.schema.json", &schema);
    assert_current("config.md", &markdown());
}

#[test]
fn every_key_has_one_section() {
    let top = |path: &str| !path.contains('.') && !path.contains('[');
    for key in keys().iter().filter(|key| !top(&key.path) && !described_elsewhere(&key.path)) {
        let sections = SECTIONS.iter().filter(|it| it.relative(key).is_some()).count();
        assert_eq!(sections, 1, "{}", key.path);
    }
}

#[test]
fn sections_that_describe_two_parts_are_true_for_both() {
    let below = |root: &str| -> Vec<_> {
        let path = |key: &Key| Some(key.path.strip_prefix(root)?.strip_prefix('.')?.to_owned());
        let keys = keys();
        keys.iter().filter_map(|key| Some((path(key)?, key.kind.clone(), key.meaning.clone()))).collect()
    };
    for (one, other) in SAME {
        assert!(!below(one).is_empty());
        let mut same = below(other);
        same.retain(|(path, ..)| described_elsewhere(&format!("{other}.{path}")));
        assert_eq!(below(one), same);
    }
}

#[test]
fn every_example_is_valid() {
    for Section { heading, example, .. } in SECTIONS.iter().filter(|it| !it.example.is_empty()) {
        let clients = if example.contains("\nclients:") || example.starts_with("clients:") {
            ""
        } else {
            "clients: []\n"
        };
        let text = format!("apiVersion: otlp-gate/v1\n{clients}{example}\n");
        let source = Source { name: (*heading).to_owned(), text };
        let loaded = source.load();
        assert!(loaded.is_ok(), "{heading}: {:?}", loaded.err());
    }
}
