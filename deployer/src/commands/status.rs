//! `status`: whether the gate in the cluster is up, what it admits, and what acts on it from outside.

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::gate::{self, Target};
use super::serving::until_told_to_end;
use crate::cluster::{Cluster, Discovery, Finding, Part, Standing, foreign, standing};
use crate::error::Error;
use crate::global::Global;
use crate::output;
use crate::resources::Gate;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate status                       whether every part is up; exit code 1 if one is not
  otlp-gate status -o json | jq .ready")]
pub struct Args {
    #[command(flatten)]
    target: Target,
}

#[derive(Serialize)]
struct Outcome<'a> {
    ready: bool,
    #[serde(flatten)]
    standing: &'a Standing,
    replicas: u32,
    foreign: &'a [Finding],
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let config = gate::config(global)?;
    let gate = args.target.gate(&config)?;
    until_told_to_end(status(global, gate))?.ok_or_else(Error::interrupted)
}

async fn status(global: &Global, mut gate: Gate<'_>) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    gate::look_for_mesh(&cluster, &mut gate).await?;
    let gate = &gate;
    let objects = gate.objects()?;
    let discovery = Discovery::of_objects(&cluster, &objects).await?;
    let standing = standing(&cluster, &discovery, gate, &objects).await?;
    let foreign = match gate.config.gateway.enabled {
        true => foreign(&cluster, gate, &objects).await?,
        false => Vec::new(),
    };
    let replicas = if gate.config.gateway.enabled { gate.config.gateway.replicas.get() } else { 0 };
    let ready = standing.ready() && !foreign.iter().any(|it| it.unsafe_);
    let outcome = Outcome { ready, standing: &standing, replicas, foreign: &foreign };
    output::print(global.output, &outcome, || table(&outcome))?;
    if let (false, Some(cure)) = (standing.ready(), cure(&standing)) {
        output::say(format_args!("hint: {cure}"));
    }
    if ready { Ok(()) } else { Err(Error::reported()) }
}

fn table(outcome: &Outcome<'_>) -> String {
    let ready = |ready| match ready {
        true => format!("{GOOD}yes{GOOD:#}"),
        false => format!("{BAD}no{BAD:#}"),
    };
    let rows = outcome.standing.parts.iter().flat_map(|part| {
        let own = [part.name.clone(), ready(part.ready), part.detail.clone()];
        let trouble = part
            .trouble
            .iter()
            .map(|it| [String::new(), String::new(), format!("{}: {}", it.seen, it.words)]);
        std::iter::once(own).chain(trouble).collect::<Vec<_>>()
    });
    let mut text = output::columns(["PART", "READY", "DETAIL"], rows);
    if outcome.replicas > 1 {
        text.push_str(&format!(
            "\na quota holds for one replica: with {} a client can get up to {0} times of it (`otlp-gate check`)\n",
            outcome.replicas
        ));
    }
    for finding in outcome.foreign {
        let (style, word) = if finding.unsafe_ { (BAD, "unsafe") } else { (Style::new(), "note") };
        text.push_str(&format!("\n{style}{word}{style:#}: {} {}\n", finding.object, finding.means));
    }
    text
}

/// The cure of what is most often wrong.
pub(super) fn cure(standing: &Standing) -> Option<&'static str> {
    let waits = |words: &str| {
        let says = |part: &Part| {
            part.detail.contains(words) || part.trouble.as_ref().is_some_and(|it| it.words.contains(words))
        };
        standing.parts.iter().any(|part| !part.ready && says(part))
    };
    if waits("InvalidCertificateRef") {
        return Some(
            "the server's Secret is missing or has other keys: `otlp-gate certs init`, then `otlp-gate apply`",
        );
    }
    // Envoy Gateway's words (its internal/wasm/httpserver.go). It counts failures by the module's address, a wrong digest is one, and after
    // too many it refuses the address for an hour, whatever is there by then.
    if waits("failed to get Wasm module") {
        return Some(
            "Envoy Gateway has given up on this address of the module for an hour, after too many failures or a wrong digest: once \
             what `gateway.module` names is right, \
             `kubectl rollout restart deployment/envoy-gateway -n envoy-gateway-system`",
        );
    }
    // Envoy Gateway's words (its internal/wasm/httpfetcher.go). It gives up for good after five attempts.
    if waits("wasm module download failed") {
        return Some(
            "Envoy Gateway must reach what `gateway.module` names, and does not try again by itself: \
             `kubectl rollout restart deployment/envoy-gateway -n envoy-gateway-system`",
        );
    }
    // Istio's words (its pkg/wasm). It tries again when something changes, and refuses everybody until then.
    if waits("cannot fetch Wasm module") {
        return Some(
            "the gateway's pods must reach what `gateway.module` names, and it must have the digest named there; they \
             do not try again by themselves: `kubectl rollout restart` their deployment once they can",
        );
    }
    // Last, since it may come of each of the others.
    if waits("AddressNotAssigned") || waits("AddressNotUsable") || waits("no address") {
        return Some(
            "the cluster has given the gateway's Service no address: it needs a load balancer, or with Istio \
             `gateway.annotations: {networking.istio.io/service-type: ClusterIP}`",
        );
    }
    None
}
