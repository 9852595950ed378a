//! `client-config`: all that a client needs to send through the gate, ready to use.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf, absolute};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::core::ObjectMeta;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::address::Address;
use crate::certs::{Files, Folder, Role, client_name, is_revoked};
use crate::config::{CertManager, Config, Loaded};
use crate::error::Error;
use crate::global::Global;
use crate::model::{Names, yaml};
use crate::output::{self, Format};
use crate::resources::cert_manager::clients_issuer;
use crate::x509::Certificate;

/// Arguments of `client-config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate client-config acme-edge > otelcol.yaml                 a Collector on the client's host
  eval \"$(otlp-gate client-config acme-edge --for sdk)\"            any OpenTelemetry SDK
  otlp-gate client-config acme-edge --for sdk --protocol http/protobuf    such as JavaScript's
  otlp-gate client-config acme-edge --for secret | kubectl apply -f -    in the client's own cluster
  otlp-gate client-config acme-edge --address 203.0.113.7:4317     where the DNS has no hostname")]
pub struct Args {
    /// The client, as it was named to `certs client`
    #[arg(value_name = "NAME", value_parser = client_name)]
    name: String,
    /// Who the client is
    #[arg(long = "for", value_enum, value_name = "WHAT", default_value = "collector")]
    target: Target,
    /// How the client sends: OTLP/gRPC or OTLP/HTTP. JavaScript's gRPC exporter never tries again, so give it HTTP
    #[arg(long, value_enum, value_name = "PROTOCOL", default_value = "grpc")]
    protocol: Protocol,
    /// Where the gate is for that protocol [default: the configuration's hostname and port]
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<Address>,
    /// The folder with the client's certificate
    #[arg(long, value_name = "DIR", default_value = "certs", env = "OTLP_GATE_CERTS")]
    certs: PathBuf,
    /// Where the client has its files, in what is printed [default: where they are here]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What the client's configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    /// An OpenTelemetry Collector's configuration
    Collector,
    /// Environment variables that OpenTelemetry's SDKs read
    Sdk,
    /// A Kubernetes Secret with the certificate, its key and the server's CA
    Secret,
}

/// How telemetry is sent, by its name in OpenTelemetry's specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Protocol {
    /// OTLP/gRPC
    Grpc,
    /// OTLP/HTTP
    #[value(name = "http/protobuf", alias = "http")]
    HttpProtobuf,
}

/// Prints it.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let Loaded { config, .. } = Loaded::read(&global.file, global.namespace.as_deref())?;
    if !config.gateway.enabled && args.address.is_none() {
        return Err(Error::failed("the configuration has no gateway that a client could send to").hint(
            "`-f FILE` names the configuration of the cluster that has one; `--address HOST:PORT` says where it is",
        ));
    }
    if let Some(cert_manager) = &config.certificates.cert_manager {
        return managed(args, global, &config, cert_manager);
    }
    let folder = Folder::at(&args.certs);
    let client = folder.client_files(&args.name);
    if !client.certificate.exists() || !client.key.exists() {
        return Err(Error::failed(format_args!(
            "{} has no certificate: there are no {} and {}",
            args.name,
            client.certificate.display(),
            client.key.display()
        ))
        .hint(format_args!("`otlp-gate certs client {}` makes them", args.name)));
    }
    warn(&folder, &args.name, &client)?;
    let ca = folder.authority_files(Role::Server).certificate;
    let hostname = &config.gateway.hostname;
    let named = |host: &str| {
        format!(
            "`otlp-gate certs server --force --hostname {hostname} --hostname {host}` makes one that has it, `otlp-gate apply` puts it \
             to the gate"
        )
    };
    match args.target {
        Target::Collector | Target::Sdk => {
            let mut place = Place::of(args, &config, &client, &ca)?;
            if folder.server_files().certificate.exists() {
                place.named = certifies(&folder.certificate(&folder.server_files())?, &place.host);
            }
            place.print(args.target, global.output, named)
        }
        Target::Secret => {
            let secret = secret(&args.name, &client, &ca)?;
            match global.output {
                Format::Json => output::print(Format::Json, &secret, String::new),
                _ => {
                    let dir = args.dir.as_deref().unwrap_or(Path::new(MOUNTED));
                    let mounted = Place::of(args, &config, &mounted(dir), &dir.join("ca.crt"))?;
                    output::print_text(&format!("{}{}", mounted.for_a_pod(dir), yaml(&secret)?))
                }
            }
        }
    }
}

/// The client's files where a Secret is mounted, by the names that the Secret gives them.
fn mounted(dir: &Path) -> Files {
    Files { certificate: dir.join("tls.crt"), key: dir.join("tls.key") }
}

/// Whether the server's certificate has this name or address.
fn certifies(server: &Certificate, host: &str) -> bool {
    match host.parse() {
        Ok(ip) => server.ips.contains(&ip),
        Err(_) => server.dns.iter().any(|name| covers(name, host)),
    }
}

/// Whether this is the name, or one that the pattern `*.example.com` stands for.
fn covers(pattern: &str, host: &str) -> bool {
    let parent = pattern.strip_prefix("*.");
    pattern.eq_ignore_ascii_case(host)
        || parent.zip(host.split_once('.')).is_some_and(|(own, (_, rest))| own.eq_ignore_ascii_case(rest))
}

/// Of a certificate with which nobody gets in.
fn warn(folder: &Folder, name: &str, client: &Files) -> Result<(), Error> {
    let certificate = folder.certificate(client)?;
    if is_revoked(&folder.revocations()?, &certificate.serial) {
        output::say(format_args!(
            "warning: the certificate of {name} is revoked: `otlp-gate certs client {name} --force` makes another"
        ));
    } else if certificate.not_after < OffsetDateTime::now_utc() {
        output::say(format_args!(
            "warning: the certificate of {name} has expired: `otlp-gate certs renew {name}` makes another"
        ));
    }
    Ok(())
}

/// Where a Secret is mounted in a client's pod, if nothing else is said.
const MOUNTED: &str = "/etc/otlp-gate";

/// The same where cert-manager makes the client's certificate, key and Secret.
fn managed(args: &Args, global: &Global, config: &Config, cert_manager: &CertManager) -> Result<(), Error> {
    let names = Names::of(&config.gateway);
    let issuer = clients_issuer(&names, cert_manager);
    if args.target == Target::Secret {
        return Err(Error::failed(
            "cert-manager makes the clients' Secrets, with their certificates and keys",
        )
        .hint(format_args!(
            "make a Certificate of the {} {} with a URI or DNS name by which the config knows {}; \
                 examples/cert-manager shows one",
            issuer.kind.name(),
            issuer.name,
            args.name
        )));
    }
    // As the keys of a Secret of cert-manager's are called.
    let dir = args.dir.as_deref().unwrap_or(Path::new(MOUNTED));
    let place = Place::of(args, config, &mounted(dir), &dir.join("ca.crt"))?;
    output::say(format_args!(
        "note: {} needs tls.crt and tls.key of the Secret that cert-manager makes for {}, and ca.crt of the \
         secret {} in {}: the one beside its own is of the clients' issuer",
        dir.display(),
        args.name,
        names.server(),
        names.namespace
    ));
    let hostname = &config.gateway.hostname;
    place.print(args.target, global.output, |host| {
        let own = format!("cert-manager writes `gateway.hostname` ({hostname}) there and nothing else");
        match host.parse::<IpAddr>() {
            Ok(_) => {
                format!("{own}, which is no IP address: let the client's DNS or hosts file know {hostname}")
            }
            Err(_) => {
                format!("{own}: make that {host}, or let the client's DNS or hosts file know {hostname}")
            }
        }
    })
}

const COLLECTOR: &str = "\
# An OpenTelemetry Collector that sends through the gate. Over quota, the gate says when to try again: retry_on_failure heeds
# that, and the queue holds what waits. It is in memory: `sending_queue.storage` with the file_storage extension survives restarts.
";

/// Where the client finds the gate and its own files.
struct Place {
    protocol: Protocol,
    /// The host of the endpoint.
    host: String,
    /// `host:port`.
    endpoint: String,
    /// Whether the server's certificate is known to have the host.
    named: bool,
    /// What the server's certificate says, where that is not in the endpoint.
    server_name: Option<String>,
    certificate: String,
    key: String,
    ca: String,
}

impl Place {
    fn of(args: &Args, config: &Config, client: &Files, ca: &Path) -> Result<Self, Error> {
        let gateway = &config.gateway;
        let port = match args.protocol {
            Protocol::Grpc => gateway.listeners.grpc,
            Protocol::HttpProtobuf => gateway.listeners.http,
        };
        // Of a pattern, any name will do.
        let one = gateway.hostname.replacen('*', "otlp", 1);
        if args.address.is_none() && one != gateway.hostname {
            output::say(format_args!(
                "note: `gateway.hostname` is {}, and {one} stands for it: `--address HOST:PORT` names another",
                gateway.hostname
            ));
        }
        let own = || Address { host: one.clone(), port: port.get() };
        let address = args.address.clone().unwrap_or_else(own);
        let named = covers(&gateway.hostname, &address.host);
        let server_name = (!named).then_some(one);
        let endpoint = address.to_string();
        let (protocol, host) = (args.protocol, address.host);
        let shown = |path: &Path| -> Result<String, Error> {
            let path = match (&args.dir, path.file_name()) {
                (Some(dir), Some(name)) => dir.join(name),
                _ => absolute(path).map_err(|e| Error::failed(format_args!("{}: {e}", path.display())))?,
            };
            Ok(path.display().to_string())
        };
        let (certificate, key, ca) = (shown(&client.certificate)?, shown(&client.key)?, shown(ca)?);
        Ok(Place { protocol, host, endpoint, named, server_name, certificate, key, ca })
    }

    /// Prints the client's configuration, which is no Secret. `named` says how the server's certificate gets the host's name.
    fn print(&self, target: Target, format: Format, named: impl Fn(&str) -> String) -> Result<(), Error> {
        if target == Target::Sdk && !self.named {
            output::say(format_args!(
                "note: SDKs cannot be told the server's name, so {} must be in its certificate: {}",
                self.host,
                named(&self.host)
            ));
        }
        match (target, format) {
            (Target::Sdk, Format::Json) => {
                output::print(format, &BTreeMap::from(self.variables()), String::new)
            }
            (Target::Sdk, _) => {
                let variables = self.variables().into_iter();
                let lines = variables.map(|(name, value)| format!("export {name}={}\n", quoted(&value)));
                output::print_text(&format!("{}{}", self.which(), lines.collect::<String>()))
            }
            (_, Format::Json) => output::print_text(&self.collector().to_string()),
            _ => {
                let other = match self.protocol {
                    Protocol::Grpc => "# This is OTLP/gRPC; --protocol http/protobuf gives OTLP/HTTP.\n",
                    Protocol::HttpProtobuf => "# This is OTLP/HTTP; --protocol grpc gives OTLP/gRPC.\n",
                };
                output::print_text(&format!("{COLLECTOR}{other}{}", yaml(&self.collector())?))
            }
        }
    }

    /// Which languages want which protocol (docs/guides/quotas.md), as comments of a shell or of YAML.
    fn which(&self) -> &'static str {
        match self.protocol {
            Protocol::Grpc => {
                "\
# OTLP/gRPC. JavaScript (Node) wants OTLP/HTTP: its gRPC exporter gives up at once where the gate says when to try again.
# `--protocol http/protobuf` gives that. For Python and Java it makes no difference.
"
            }
            Protocol::HttpProtobuf => {
                "\
# OTLP/HTTP, as JavaScript (Node) wants it: its gRPC exporter gives up at once where the gate says when to try again.
# `--protocol grpc` gives OTLP/gRPC. For Python and Java it makes no difference.
"
            }
        }
    }

    /// What a pod sets that has the Secret mounted, as comments.
    fn for_a_pod(&self, dir: &Path) -> String {
        let variables = self.variables().into_iter();
        let lines =
            variables.map(|(name, value)| format!("#   - {{name: {name}, value: {}}}\n", json!(value)));
        format!(
            "# For a pod that mounts it at {}:\n#   env:\n{}{}",
            dir.display(),
            lines.collect::<String>(),
            self.which()
        )
    }

    /// The exporter's name in a Collector, and the endpoint as it wants it.
    fn exporter(&self) -> (&'static str, String) {
        match self.protocol {
            Protocol::Grpc => ("otlp_grpc", self.endpoint.clone()),
            Protocol::HttpProtobuf => ("otlp_http", format!("https://{}", self.endpoint)),
        }
    }

    fn collector(&self) -> Value {
        let mut tls = json!({"ca_file": self.ca, "cert_file": self.certificate, "key_file": self.key, "reload_interval": "1m"});
        if let (Some(name), Some(tls)) = (&self.server_name, tls.as_object_mut()) {
            tls.insert("server_name_override".to_owned(), name.clone().into());
        }
        let (exporter, endpoint) = self.exporter();
        let pipeline = |receivers: &[&str]| json!({"receivers": receivers, "exporters": [exporter]});
        json!({
            "receivers": {
                "otlp": {"protocols": {"grpc": {"endpoint": "localhost:4317"}, "http": {"endpoint": "localhost:4318"}}},
                "host_metrics": {"collection_interval": "30s", "scrapers": {"cpu": {}, "load": {}, "memory": {}}},
            },
            "exporters": {exporter: {
                "endpoint": endpoint,
                "tls": tls,
                "compression": "gzip",
                "retry_on_failure": {"enabled": true, "max_elapsed_time": "0s"},
                "sending_queue": {"enabled": true, "queue_size": 1000},
            }},
            "service": {"pipelines": {
                "traces": pipeline(&["otlp"]),
                "metrics": pipeline(&["otlp", "host_metrics"]),
                "logs": pipeline(&["otlp"]),
            }},
        })
    }

    /// The variables of OpenTelemetry's specification ("OTLP Exporter Configuration").
    fn variables(&self) -> [(&'static str, String); 6] {
        let protocol = match self.protocol {
            Protocol::Grpc => "grpc",
            Protocol::HttpProtobuf => "http/protobuf",
        };
        [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://{}", self.endpoint)),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", self.ca.clone()),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", self.certificate.clone()),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", self.key.clone()),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip".to_owned()),
        ]
    }
}

fn secret(name: &str, client: &Files, ca: &Path) -> Result<Secret, Error> {
    let read = |path: &Path| {
        fs::read(path)
            .map(ByteString)
            .map_err(|e| Error::failed(format_args!("cannot read {}: {e}", path.display())))
    };
    let data =
        [("tls.crt", read(&client.certificate)?), ("tls.key", read(&client.key)?), ("ca.crt", read(ca)?)];
    Ok(Secret {
        // Kubernetes' names have no capitals, dots at the ends, or underscores.
        metadata: ObjectMeta {
            name: Some(format!(
                "otlp-gate-client-{}",
                name.to_lowercase().replace('_', "-").trim_end_matches(['.', '-'])
            )),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.map(|(key, value)| (key.to_owned(), value)).into()),
        ..Secret::default()
    })
}

/// For a POSIX shell.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._:-".contains(&byte);
    if value.bytes().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', "'\\''")) }
}
