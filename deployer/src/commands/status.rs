//! `status`: shows whether the gate in the cluster is ready, and what acts on its gateway.

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::args::{self, InCluster, Inputs, InstallationArgs};
use crate::cluster::{Attachment, Component, Discovery, Status, attached, other_limits, status};
use crate::error::Error;
use crate::global::Global;
use crate::output;
use crate::runtime::until_signal;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate status                       exit code 1 if a component is not ready
  otlp-gate status -o json | jq .ready")]
pub(crate) struct Args {
    #[command(flatten)]
    installation: InstallationArgs,
}

#[derive(Serialize)]
struct Outcome<'a> {
    ready: bool,
    #[serde(flatten)]
    status: &'a Status,
    replicas: u32,
    #[serde(rename = "sharesQuotas")]
    shares_quotas: bool,
    #[serde(rename = "foreign")]
    attached: &'a [Attachment],
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let loaded = args::loaded(global)?;
    let inputs = args.installation.read(&loaded)?;
    until_signal(show(global, inputs))?.ok_or_else(Error::interrupted)
}

async fn show(global: &Global, inputs: Inputs<'_>) -> Result<(), Error> {
    let InCluster { cluster, installation, objects, bundles, .. } = inputs.in_cluster(global).await?;
    let discovery = Discovery::of_objects(&cluster, &objects).await?;
    let mut status = status(&cluster, &discovery, &installation, &objects).await?;
    status.components.extend(bundles.iter().map(Component::of_bundle));
    let gateway = &installation.config.gateway;
    let mut others = Vec::new();
    if gateway.enabled {
        others = attached(&cluster, &installation, &objects).await?;
        others.extend(other_limits(&cluster, &installation).await?);
    }
    let replicas = if gateway.enabled { gateway.replicas.get() } else { 0 };
    let shares_quotas = installation.quota_engine().is_some();
    let ready = status.ready() && !others.iter().any(|it| it.is_unsafe);
    let outcome = Outcome { ready, status: &status, replicas, shares_quotas, attached: &others };
    output::print(global.output, &outcome, || table(&outcome))?;
    if let Some(hint) = status.hint() {
        output::say(format_args!("hint: {hint}"));
    }
    if ready { Ok(()) } else { Err(Error::reported()) }
}

fn table(outcome: &Outcome<'_>) -> String {
    let ready = |ready| match ready {
        true => format!("{GOOD}yes{GOOD:#}"),
        false => format!("{BAD}no{BAD:#}"),
    };
    let rows = outcome.status.components.iter().flat_map(|component| {
        let own = [component.name.clone(), ready(component.ready), component.detail.clone()];
        let diagnosis = component
            .diagnosis
            .iter()
            .map(|it| [String::new(), String::new(), format!("{}: {}", it.source, it.message)]);
        std::iter::once(own).chain(diagnosis).collect::<Vec<_>>()
    });
    let mut text = output::columns(["COMPONENT", "READY", "DETAIL"], rows);
    if outcome.replicas > 1 && !outcome.shares_quotas {
        text.push_str(&format!(
            "\nquotas apply per replica: with {} replicas a client can get up to {0} times its quota (`otlp-gate check`)\n",
            outcome.replicas
        ));
    }
    for it in outcome.attached {
        let (style, label) = if it.is_unsafe { (BAD, "unsafe") } else { (Style::new(), "note") };
        text.push_str(&format!("\n{style}{label}{style:#}: {} {}\n", it.object, it.effect));
    }
    text
}
