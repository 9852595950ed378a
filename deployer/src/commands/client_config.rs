//! `client-config`: print the configuration with which a client sends through the gate.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::address::Address;
use crate::certs::{Folder, client_name, is_revoked};
use crate::client_config::{ClientFiles, Connection, Protocol, concrete_hostname, covers};
use crate::config::{CertManager, Config, Gateway, Loaded};
use crate::error::Error;
use crate::global::Global;
use crate::model::{Names, yaml};
use crate::output::{self, Format};
use crate::resources::cert_manager::clients_issuer;
use crate::x509::Certificate;

/// Arguments of `client-config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate client-config acme-edge > otelcol.yaml                  for a Collector
  eval \"$(otlp-gate client-config acme-edge --for sdk)\"             for an OpenTelemetry SDK
  otlp-gate client-config acme-edge --for sdk --protocol http/protobuf    for JavaScript
  otlp-gate client-config acme-edge --for secret | kubectl apply -f -     for a pod
  otlp-gate client-config acme-edge --address 203.0.113.7:4317      without a DNS name")]
pub(crate) struct Args {
    /// The client's name, as given to `certs client`
    #[arg(value_name = "NAME", value_parser = client_name)]
    name: String,
    /// What reads the configuration
    #[arg(long = "for", value_enum, value_name = "WHAT", default_value = "collector")]
    kind: ConfigKind,
    /// OTLP/gRPC or OTLP/HTTP. JavaScript needs OTLP/HTTP: its gRPC exporter never retries
    #[arg(long, value_enum, value_name = "PROTOCOL", default_value = "grpc")]
    protocol: Protocol,
    /// The gate's address for that protocol [default: the configuration's hostname and port]
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<Address>,
    /// The folder of the certificates
    #[arg(long, value_name = "DIR", default_value = "certs", env = "OTLP_GATE_CERTS")]
    certs: PathBuf,
    /// The directory of the files on the client's machine [default: their directories on this machine]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What reads the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ConfigKind {
    /// The configuration of an OpenTelemetry Collector
    Collector,
    /// Environment variables for OpenTelemetry SDKs
    Sdk,
    /// A Kubernetes Secret with the certificate, its key and the server's CA
    Secret,
}

/// The directory at which a client's pod mounts its Secret, unless `--dir` names another.
const MOUNT: &str = "/etc/otlp-gate";

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let Loaded { config, .. } = Loaded::read(&global.file, global.namespace.as_deref())?;
    if !config.gateway.enabled && args.address.is_none() {
        return Err(Error::failed("the configuration has no gateway for clients").hint(
            "give the configuration of the cluster with the gateway with `-f FILE`, or the gateway's address with \
            `--address HOST:PORT`",
        ));
    }
    match &config.certificates.cert_manager {
        Some(cert_manager) if config.issues_client_certificates() => {
            from_cert_manager(args, global.output, &config, cert_manager)
        }
        _ => from_folder(args, global.output, &config),
    }
}

/// For a client whose certificate is in the folder.
fn from_folder(args: &Args, format: Format, config: &Config) -> Result<(), Error> {
    let (gateway, server_ca) = (&config.gateway, config.certificates.server_ca);
    let folder = Folder::at(&args.certs);
    let files = ClientFiles::in_folder(&folder, &args.name).trusting(server_ca);
    if !files.certificate.exists() {
        return Err(Error::failed(format_args!(
            "{} has no certificate: there is no file {}",
            args.name,
            files.certificate.display()
        ))
        .hint(format_args!("`otlp-gate certs client {}` issues one", args.name)));
    }
    let has_key = files.key.exists();
    if !has_key && args.kind == ConfigKind::Secret {
        return Err(Error::failed(format_args!(
            "there is no file {}: the client has its key",
            files.key.display()
        ))
        .hint(format_args!(
            "create the Secret where the key is: `kubectl create secret generic {} --type=kubernetes.io/tls \
                 --from-file=tls.crt=FILE --from-file=tls.key=FILE --from-file=ca.crt=FILE`",
            args.name
        )));
    }
    warn_if_invalid(&folder, &args.name)?;
    let by_cert_manager = config.certificates.cert_manager.is_some();
    if let Some(ca) = files.ca.as_ref().filter(|ca| by_cert_manager && !ca.exists()) {
        let names = Names::of(gateway);
        output::say(format_args!(
            "note: there is no {0}: cert-manager issues the server's certificate. Save its CA with `kubectl get secret \
             {1} -n {2} -o jsonpath='{{.data.ca\\.crt}}' | base64 -d > {0}`, or set `certificates: {{serverCA: public}}` \
             if every system trusts it",
            ca.display(),
            names.server(),
            names.namespace
        ));
    }
    if args.kind == ConfigKind::Secret {
        let secret = files.secret(&args.name)?;
        if format == Format::Json {
            return output::print(Format::Json, &secret, String::new);
        }
        let dir = args.dir.as_deref().unwrap_or(Path::new(MOUNT));
        let connection = connect(args, gateway, ClientFiles::mounted(dir).trusting(server_ca));
        return output::print_text(&format!("{}{}", connection.pod_comment(dir), yaml(&secret)?));
    }
    let files = match &args.dir {
        Some(dir) => files.moved(dir),
        None => files
            .absolute()
            .map_err(|e| Error::failed(format_args!("{}: {e}", files.certificate.display())))?,
    };
    let connection = connect(args, gateway, files);
    if !has_key {
        output::say(format_args!(
            "note: the client has its key; it must be {}",
            connection.files.key.display()
        ));
    }
    let host = &connection.address.host;
    let certified = match folder.server_files() {
        server if server.certificate.exists() => certifies(&folder.certificate(&server)?, host),
        _ => covers(&gateway.hostname, host),
    };
    if args.kind == ConfigKind::Sdk && !certified {
        let hostname = &gateway.hostname;
        note_server_name(
            host,
            &match by_cert_manager {
                true => cert_managers_name(hostname, host),
                false => format!(
                    "`otlp-gate certs server --force --hostname {hostname} --hostname {host}` issues one with both \
                     names; run `otlp-gate apply` to deploy it"
                ),
            },
        );
    }
    print(&connection, args.kind, format)
}

/// What to do where the server's certificate of cert-manager does not have the host's name.
fn cert_managers_name(hostname: &str, host: &str) -> String {
    let own = format!("cert-manager issues it for `gateway.hostname` ({hostname}) only");
    let dns = format!("make {hostname} resolve on the client, by DNS or its hosts file");
    match host.parse::<IpAddr>() {
        Ok(_) => format!("{own}, which cannot be an IP address: {dns}"),
        Err(_) => format!("{own}: change that to {host}, or {dns}"),
    }
}

/// For a client whose Secret cert-manager creates.
fn from_cert_manager(
    args: &Args,
    format: Format,
    config: &Config,
    cert_manager: &CertManager,
) -> Result<(), Error> {
    let gateway = &config.gateway;
    let names = Names::of(gateway);
    if args.kind == ConfigKind::Secret {
        let issuer = clients_issuer(&names, cert_manager);
        return Err(Error::failed("cert-manager creates the clients' Secrets").hint(format_args!(
            "create a Certificate with the {} {} and a URI or DNS name that the rule of {} matches; \
             examples/cert-manager has one",
            issuer.kind.name(),
            issuer.name,
            args.name
        )));
    }
    let dir = args.dir.as_deref().unwrap_or(Path::new(MOUNT));
    let connection =
        connect(args, gateway, ClientFiles::mounted(dir).trusting(config.certificates.server_ca));
    let ca = match connection.files.ca {
        None => String::new(),
        Some(_) => format!(
            ", and ca.crt from the Secret {} in {}; the ca.crt in the client's Secret is of the clients' issuer",
            names.server(),
            names.namespace
        ),
    };
    output::say(format_args!(
        "note: {} must have tls.crt and tls.key from the Secret that cert-manager creates for {}{ca}",
        dir.display(),
        args.name,
    ));
    let (host, hostname) = (&connection.address.host, &gateway.hostname);
    if args.kind == ConfigKind::Sdk && !covers(hostname, host) {
        note_server_name(host, &cert_managers_name(hostname, host));
    }
    print(&connection, args.kind, format)
}

fn connect(args: &Args, gateway: &Gateway, files: ClientFiles) -> Connection {
    let concrete = concrete_hostname(gateway);
    if args.address.is_none() && concrete != gateway.hostname {
        output::say(format_args!(
            "note: `gateway.hostname` is {}; using {concrete}, unless `--address HOST:PORT` gives another name",
            gateway.hostname
        ));
    }
    Connection::new(gateway, args.protocol, args.address.as_ref(), files)
}

fn print(connection: &Connection, kind: ConfigKind, format: Format) -> Result<(), Error> {
    match (kind, format) {
        (ConfigKind::Sdk, Format::Json) => {
            let variables: BTreeMap<_, _> = connection.variables().into_iter().collect();
            output::print(format, &variables, String::new)
        }
        (ConfigKind::Sdk, _) => output::print_text(&connection.shell_script()),
        (_, Format::Json) => output::print_text(&connection.collector().to_string()),
        _ => output::print_text(&connection.collector_yaml()?),
    }
}

/// Whether the server's certificate has this name or address.
fn certifies(server: &Certificate, host: &str) -> bool {
    let names = server.identity();
    match host.parse() {
        Ok(ip) => names.ips.contains(&ip),
        Err(_) => names.dns.iter().any(|name| covers(name, host)),
    }
}

/// Prints a note that the server's certificate must have the host's name. An SDK cannot verify another one.
fn note_server_name(host: &str, remedy: &str) {
    output::say(format_args!(
        "note: SDKs verify the server's certificate for {host}, which it does not have: {remedy}"
    ));
}

/// Prints a warning if the gate rejects the client's certificate.
fn warn_if_invalid(folder: &Folder, name: &str) -> Result<(), Error> {
    let certificate = folder.certificate(&folder.client_files(name))?;
    if is_revoked(&folder.revocations()?, &certificate.serial) {
        output::warn(format_args!(
            "the certificate of {name} is revoked: `otlp-gate certs client {name} --force` issues a new one"
        ));
    } else if certificate.not_after < OffsetDateTime::now_utc() {
        output::warn(format_args!(
            "the certificate of {name} has expired: `otlp-gate certs renew {name}` issues a new one"
        ));
    }
    Ok(())
}
