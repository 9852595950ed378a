//! `client-config`: all that a client needs to send through the gate, ready to use.

use std::collections::BTreeMap;
use std::fs;
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
use crate::output::{self, Format};
use crate::resources::{Names, clients_issuer, yaml};

/// Arguments of `client-config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate client-config acme-edge > otelcol.yaml                 a Collector on the client's host
  eval \"$(otlp-gate client-config acme-edge --for sdk)\"            any OpenTelemetry SDK
  otlp-gate client-config acme-edge --for secret | kubectl apply -f -    in the client's own cluster
  otlp-gate client-config acme-edge --address 203.0.113.7:4317     where the DNS has no hostname")]
pub struct Args {
    /// The client, as it was named to `certs client`
    #[arg(value_name = "NAME", value_parser = client_name)]
    name: String,
    /// Who the client is
    #[arg(long = "for", value_enum, value_name = "WHAT", default_value = "collector")]
    target: Target,
    /// Where the gate is for OTLP/gRPC [default: the configuration's hostname and port]
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

/// Prints it.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let Loaded { config, .. } = Loaded::read(global)?;
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
    let place = Place::of(args, &config, &client, &ca)?;
    match args.target {
        Target::Collector | Target::Sdk => {
            place.print(args.target, global.output, "`otlp-gate certs server --hostname ADDRESS --force`")
        }
        Target::Secret => {
            let secret = secret(&args.name, &client, &ca)?;
            match global.output {
                Format::Json => output::print(Format::Json, &secret, String::new),
                _ => output::print_text(&yaml(&secret)?),
            }
        }
    }
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
    let client = Files { certificate: dir.join("tls.crt"), key: dir.join("tls.key") };
    let place = Place::of(args, config, &client, &dir.join("ca.crt"))?;
    output::say(format_args!(
        "note: {} needs tls.crt and tls.key of the Secret that cert-manager makes for {}, and ca.crt of the \
         secret {} in {}: the one beside its own is of the clients' issuer",
        dir.display(),
        args.name,
        names.server(),
        names.namespace
    ));
    place.print(args.target, global.output, "`gateway.hostname` is what cert-manager writes there")
}

const COLLECTOR: &str = "\
# An OpenTelemetry Collector that sends through the gate. Over quota, the gate says when to try again: retry_on_failure heeds
# that, and the queue holds what waits. It is in memory: `sending_queue.storage` with the file_storage extension survives restarts.
";

/// Where the client finds the gate and its own files.
struct Place {
    /// `host:port`.
    endpoint: String,
    /// What the server's certificate says, where that is not in the endpoint.
    server_name: Option<String>,
    certificate: String,
    key: String,
    ca: String,
}

impl Place {
    fn of(args: &Args, config: &Config, client: &Files, ca: &Path) -> Result<Self, Error> {
        let hostname = &config.gateway.hostname;
        let own = || Address { host: hostname.clone(), port: config.gateway.listeners.grpc.get() };
        let address = args.address.clone().unwrap_or_else(own);
        let server_name = (address.host != *hostname).then(|| hostname.replacen('*', "otlp", 1));
        let endpoint = address.to_string();
        let shown = |path: &Path| -> Result<String, Error> {
            let path = match (&args.dir, path.file_name()) {
                (Some(dir), Some(name)) => dir.join(name),
                _ => absolute(path).map_err(|e| Error::failed(format_args!("{}: {e}", path.display())))?,
            };
            Ok(path.display().to_string())
        };
        let (certificate, key, ca) = (shown(&client.certificate)?, shown(&client.key)?, shown(ca)?);
        Ok(Place { endpoint, server_name, certificate, key, ca })
    }

    /// Prints the client's configuration, which is no Secret. `named` says how the server's certificate gets its name.
    fn print(&self, target: Target, format: Format, named: &str) -> Result<(), Error> {
        match (target, format) {
            (Target::Sdk, Format::Json) => {
                output::print(format, &BTreeMap::from(self.variables()), String::new)
            }
            (Target::Sdk, _) => {
                if self.server_name.is_some() {
                    output::say(format_args!(
                        "note: SDKs cannot be told the server's name, so the address must be in its certificate: {named}"
                    ));
                }
                let lines = self
                    .variables()
                    .into_iter()
                    .map(|(name, value)| format!("export {name}={}\n", quoted(&value)));
                output::print_text(&lines.collect::<String>())
            }
            (_, Format::Json) => output::print_text(&self.collector().to_string()),
            _ => output::print_text(&format!("{COLLECTOR}{}", yaml(&self.collector())?)),
        }
    }

    fn collector(&self) -> Value {
        let mut tls = json!({"ca_file": self.ca, "cert_file": self.certificate, "key_file": self.key, "reload_interval": "1m"});
        if let (Some(name), Some(tls)) = (&self.server_name, tls.as_object_mut()) {
            tls.insert("server_name_override".to_owned(), name.clone().into());
        }
        let pipeline = |receivers: &[&str]| json!({"receivers": receivers, "exporters": ["otlp_grpc"]});
        json!({
            "receivers": {
                "otlp": {"protocols": {"grpc": {"endpoint": "localhost:4317"}, "http": {"endpoint": "localhost:4318"}}},
                "host_metrics": {"collection_interval": "30s", "scrapers": {"cpu": {}, "load": {}, "memory": {}}},
            },
            "exporters": {"otlp_grpc": {
                "endpoint": self.endpoint,
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
    fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://{}", self.endpoint)),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", self.ca.clone()),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", self.certificate.clone()),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", self.key.clone()),
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
