//! `verify`: whether the gate does what it is there for, tried from outside.

use std::path::PathBuf;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde::Serialize;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep, timeout};

use super::gate;
use super::serving::until_told_to_end;
use crate::address::Address;
use crate::certs::Folder;
use crate::cluster::{Cluster, failed, gateway_address};
use crate::config::{self, Loaded};
use crate::error::Error;
use crate::global::Global;
use crate::output;
use crate::resources::Names;
use crate::verify::{Backend, Case, Kept, Shown, Target, Verdict, verify};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();
/// How long a gate that has just come up may take to be reached: a Service is refused until the nodes know of its pods.
const ARRIVAL: Duration = Duration::from_secs(5);
/// How long a name server may take.
const LOOKUP: Duration = Duration::from_secs(3);

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate verify                           the gate of otlp-gate.yaml, and what arrives behind it
  otlp-gate verify -o json | jq .ok          for CI; exit code 1 if anything is not as it should be
  otlp-gate verify --address 203.0.113.7     where the hostname is not in the DNS
  otlp-gate verify --address localhost --no-cluster          a gate of `otlp-gate local`

It sends a few items as a client that is reserved for it, with the certificates that
`otlp-gate certs init` made.")]
pub struct Args {
    /// Where the gate is [default: the configuration's hostname; where that is not in the DNS, what the cluster has given
    /// the gateway]
    #[arg(long, value_name = "HOST[:PORT]", value_parser = place)]
    address: Option<String>,
    /// Where it is for OTLP/HTTP [default: the same host, and the configuration's port]
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<Address>,
    /// The folder with the certificates
    #[arg(long, value_name = "DIR", default_value = "certs", env = "OTLP_GATE_CERTS")]
    certs: PathBuf,
    /// Do not look into the cluster at what arrives
    #[arg(long)]
    no_cluster: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    ok: bool,
    grpc: String,
    http: String,
    seconds: f64,
    cases: Vec<Case>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let loaded = gate::loaded(global)?;
    until_told_to_end(tried(args, global, &loaded))?.ok_or_else(Error::interrupted)
}

async fn tried(args: &Args, global: &Global, loaded: &Loaded) -> Result<(), Error> {
    let gateway = &loaded.config.gateway;
    if !gateway.enabled {
        return Err(Error::failed("there is no gateway to try, since `gateway.enabled` is false")
            .hint("`otlp-gate status` says whether the nodes' gateways are up"));
    }
    let server_name = gateway.hostname.replacen('*', "otlp", 1);
    let names = Names::of(gateway);
    let (shown, cluster) = if loaded.config.certificates.cert_manager.is_some() {
        let cluster = Cluster::connect(global).await?;
        (Shown::kept(kept(&cluster, &names).await?, &server_name), Ok(cluster))
    } else {
        let shown = Shown::from(&Folder::at(&args.certs), &server_name, loaded)?;
        let cluster = match args.no_cluster {
            true => Err("--no-cluster".to_owned()),
            false => Cluster::connect(global).await.map_err(|e| e.to_string()),
        };
        (shown, cluster)
    };
    let host = host(args, &server_name, cluster.as_ref(), &names).await?;
    let (host, port) = split(&host);
    let grpc = format!("{host}:{}", port.unwrap_or_else(|| gateway.listeners.grpc.to_string()));
    let http = args.http.as_ref().map(ToString::to_string);
    let http = http.unwrap_or_else(|| format!("{host}:{}", gateway.listeners.http));
    let backend = match (&loaded.config.backend, cluster) {
        (config::Backend::Service(service), _) => {
            Backend::Unseen(format!("the backend is {}, which otlp-gate does not look into", service.name))
        }
        (config::Backend::Collector(_), Err(reason)) => Backend::Unseen(reason),
        (config::Backend::Collector(_), Ok(cluster)) => {
            Backend::Collector { cluster, labels: names.collector_selector(), namespace: names.namespace }
        }
    };
    let target = Target { grpc, http, loaded, shown, backend };
    let begun = Instant::now();
    let bar = output::progress();
    bar.set_message("waiting for somebody to listen there");
    tokio::join!(reach(&target.grpc), reach(&target.http));
    let cases = verify(&target, &|step| bar.set_message(step.to_owned())).await;
    bar.finish_and_clear();
    let cases = cases?;
    let ok = !cases.iter().any(|it| it.result == Verdict::Fail);
    let seconds = (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    let Target { grpc, http, .. } = target;
    let outcome = Outcome { ok, grpc, http, seconds, cases };
    output::print(global.output, &outcome, || table(&outcome.cases))?;
    summary(&outcome);
    if ok { Ok(()) } else { Err(Error::reported()) }
}

/// Waits until a connection is not refused. That all are, after all, is for the cases to tell.
async fn reach(address: &str) {
    let refused = |e: std::io::Error| e.kind() == std::io::ErrorKind::ConnectionRefused;
    let listening = async {
        while TcpStream::connect(address).await.is_err_and(refused) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let _ = timeout(ARRIVAL, listening).await;
}

/// What cert-manager made for the gate.
async fn kept(cluster: &Cluster, names: &Names) -> Result<Kept, Error> {
    let secrets = Api::<Secret>::namespaced(cluster.client.clone(), &names.namespace);
    let texts = async |name: String, keys: &[&str]| -> Result<Vec<String>, Error> {
        let found = secrets.get_opt(&name).await;
        let found = found.map_err(|e| failed(format_args!("cannot read secret {name}"), &e))?;
        let found = found.ok_or_else(|| {
            Error::failed(format_args!("cert-manager has not made the secret {name} in {}", names.namespace))
                .hint("`otlp-gate status` shows what it waits for")
        })?;
        let text = |key: &&str| {
            let bytes = found.data.as_ref().and_then(|data| data.get(*key)).map(|it| it.0.clone());
            bytes.and_then(|it| String::from_utf8(it).ok()).ok_or_else(|| {
                Error::failed(format_args!("the secret {name} in {} has no {key}", names.namespace))
                    .hint("its issuer does not say by which CA it is known, so that the gate cannot be told from another")
            })
        };
        keys.iter().map(text).collect()
    };
    let server_ca = texts(names.server(), &["ca.crt"]).await?.concat();
    let [certificate, key] = texts(names.client_trust(), &["tls.crt", "tls.key"])
        .await?
        .try_into()
        .map_err(|_| Error::failed("a secret without its two parts"))?;
    Ok(Kept { server_ca, client: (certificate, key) })
}

/// Where the gate is, as a user would find it.
async fn host(
    args: &Args,
    name: &str,
    cluster: Result<&Cluster, &String>,
    names: &Names,
) -> Result<String, Error> {
    if let Some(address) = &args.address {
        return Ok(address.clone());
    }
    if let Ok(Ok(mut addresses)) = timeout(LOOKUP, lookup_host((name, 443))).await
        && addresses.next().is_some()
    {
        return Ok(name.to_owned());
    }
    let hint = "`--address HOST` says where the gate is";
    let Ok(cluster) = cluster else {
        return Err(Error::failed(format_args!("{name} is not in the DNS")).hint(hint));
    };
    match gateway_address(cluster, names).await? {
        Some(address) => {
            output::say(format_args!("{name} is not in the DNS; the cluster has the gateway at {address}"));
            Ok(address)
        }
        None => Err(Error::failed(format_args!(
            "{name} is not in the DNS, and the cluster has no gateway {} in {} with an address",
            names.gateway, names.namespace
        ))
        .hint(format_args!("{hint}; `otlp-gate apply` puts it into the cluster"))),
    }
}

/// A place that [`split`] can tell the parts of.
fn place(text: &str) -> Result<String, String> {
    let whole = match split(text) {
        (host, None) if host.starts_with('[') || !host.contains(':') => format!("{host}:1"),
        _ => text.to_owned(),
    };
    whole.parse::<Address>().map(|_| text.to_owned())
}

/// `host:port`, `host`, or an IPv6 address with or without brackets.
fn split(address: &str) -> (String, Option<String>) {
    if address.parse::<std::net::Ipv6Addr>().is_ok() {
        return (format!("[{address}]"), None);
    }
    match address.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host.to_owned(), Some(port.to_owned())),
        _ => (address.to_owned(), None),
    }
}

fn table(cases: &[Case]) -> String {
    let rows = cases.iter().map(|it| {
        let (style, word) = match it.result {
            Verdict::Pass => (GOOD, "pass"),
            Verdict::Fail => (BAD, "FAIL"),
            Verdict::Skipped => (DIM, "skipped"),
        };
        let seen = match it.result {
            Verdict::Fail => format!("{} (expected: {})", it.seen, it.expected),
            _ => it.seen.clone(),
        };
        [it.case.clone(), it.listener.name().to_owned(), format!("{style}{word}{style:#}"), seen]
    });
    output::columns(["CASE", "LISTENER", "RESULT", "SEEN"], rows)
}

fn summary(outcome: &Outcome) {
    let count = |verdict| outcome.cases.iter().filter(|it| it.result == verdict).count();
    output::say(format_args!(
        "\n{} passed, {} failed, {} skipped in {} s at {} and {}",
        count(Verdict::Pass),
        count(Verdict::Fail),
        count(Verdict::Skipped),
        outcome.seconds,
        outcome.grpc,
        outcome.http
    ));
    let got_in = |it: &&Case| it.case == "revoked certificate" && it.result == Verdict::Fail;
    if outcome.cases.iter().any(|it| got_in(&it)) {
        output::say("hint: the gateway may have an older revocation list: `otlp-gate apply`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_ports() {
        for (address, host, port) in [
            ("localhost", "localhost", None),
            ("localhost:4317", "localhost", Some("4317")),
            ("203.0.113.7", "203.0.113.7", None),
            ("203.0.113.7:1", "203.0.113.7", Some("1")),
            ("::1", "[::1]", None),
            ("2001:db8::4317", "[2001:db8::4317]", None),
            ("[::1]:4317", "[::1]", Some("4317")),
        ] {
            assert_eq!(split(address), (host.to_owned(), port.map(str::to_owned)), "{address}");
            assert_eq!(place(address).as_deref(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (address, wrong) in [
            ("", "no host"),
            ("localhost:", "no port between"),
            ("localhost:x", "no port between"),
            ("localhost:70000", "no port between"),
            ("https://localhost", "a URL"),
            ("a b", "no host"),
        ] {
            let error = place(address).unwrap_err();
            assert!(error.contains(wrong), "{address}: {error}");
        }
    }
}
