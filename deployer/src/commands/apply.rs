//! `apply`: installs or updates the gate in a cluster.

use std::io::IsTerminal as _;
use std::time::Duration;

use serde::Serialize;

use super::delete;
use crate::args::{self, InCluster, Inputs, InstallationArgs};
use crate::cluster::{
    Change, Cluster, Plan, Pruned, Status, ignores_dynamic_module, prune, retained, rollout,
};
use crate::error::Error;
use crate::global::Global;
use crate::model::{ExtensionKind, Installation, Object};
use crate::module::native;
use crate::output::{self, Format};
use crate::runtime::until_signal;

/// Arguments of `apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate apply                       install the gate in the cluster, or update it
  otlp-gate apply --dry-run             let the API server check the changes only
  otlp-gate --context prod apply --timeout 10m")]
pub(crate) struct Args {
    #[command(flatten)]
    installation: InstallationArgs,
    /// Let the API server check the changes without making them
    #[arg(long)]
    dry_run: bool,
    /// Take over fields that another field manager owns
    #[arg(long)]
    force_conflicts: bool,
    /// Do not wait until the gate is ready. Objects that the config no longer has are then not deleted
    #[arg(long)]
    no_wait: bool,
    /// How long to wait until the gate is ready, such as 90s or 10m
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

#[derive(Serialize)]
struct Outcome<'a> {
    ok: bool,
    objects: Vec<Applied<'a>>,
    removed: Vec<String>,
    #[serde(rename = "standing", skip_serializing_if = "Option::is_none")]
    status: Option<&'a Status>,
}

#[derive(Serialize)]
struct Applied<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    change: &'static str,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let loaded = args::loaded(global)?;
    let inputs = args.installation.read(&loaded)?;
    until_signal(apply(args, global, inputs))?
        .ok_or_else(|| Error::failed("interrupted; `otlp-gate status` shows the gate's status"))
}

async fn apply(args: &Args, global: &Global, inputs: Inputs<'_>) -> Result<(), Error> {
    let inputs = inputs.in_cluster(global).await?;
    inputs.require_references().await?;
    if let Some(why) = ignores_dynamic_module(&inputs.cluster, inputs.installation.config).await? {
        return Err(
            Error::failed(format_args!("`gateway.host` is `native`, and {why}")).hint(native::UPGRADE_HINT)
        );
    }
    let InCluster { cluster, installation, objects, mesh_summary, .. } = inputs;
    if let Some(summary) = mesh_summary {
        output::say(format_args!("mesh: {summary}"));
    }
    let certificate = args.installation.server_certificate();
    let plan = Plan::dry_run(&cluster, &installation, objects, &certificate, args.force_conflicts).await?;
    let table = global.output == Format::Table;
    let show = |object: &Object, change: Change| {
        if table && change != Change::Unchanged {
            let namespace = object.namespace.as_deref().unwrap_or_default();
            output::say(format_args!("{:<11} {} {namespace}", change.name(), object.short_title()));
        }
    };
    if args.dry_run {
        plan.objects.iter().for_each(|it| show(&it.desired, it.change));
    } else {
        plan.apply(&cluster, |it| show(&it.desired, it.change)).await?;
    }
    let status = match args.dry_run || args.no_wait {
        true => None,
        false => Some(wait(&cluster, &installation, &plan, args.timeout).await?),
    };
    let ready = status.as_ref().is_none_or(Status::ready);
    // Running pods may use objects that are no longer desired, until the pods that replace them are ready.
    let pruned = match ready && !args.no_wait {
        true => {
            let retained = retained(&installation, plan.desired().cloned())?;
            prune(&cluster, &installation.names, &retained, args.dry_run).await?
        }
        false => Pruned::default(),
    };
    pruned.notes().for_each(output::say);
    if let (true, ExtensionKind::WasmPlugin) = (installation.extension.replaces, installation.extension.kind)
        && !args.dry_run
        && !pruned.removed.is_empty()
    {
        output::say(
            "note: `otlp-gate apply` once more removes what the change to WasmPlugin needed in the EnvoyFilter",
        );
    }
    let removed = pruned.removed;
    delete::volumes_stay(&removed, &installation.names);
    if table {
        removed.iter().for_each(|it| output::say(format_args!("{:<11} {it}", "removed")));
        let (changed, unchanged) = (plan.changes(), plan.objects.len() - plan.changes());
        let dry_run = if args.dry_run { " (dry run)" } else { "" };
        output::say(format_args!(
            "{changed} changed, {unchanged} unchanged, {} removed{dry_run}",
            removed.len()
        ));
    } else {
        let objects = plan.objects.iter().map(|it| {
            let Object { kind, namespace, name, .. } = &it.desired;
            Applied { kind, namespace: namespace.as_deref(), name, change: it.change.name() }
        });
        let outcome = Outcome { ok: ready, objects: objects.collect(), removed, status: status.as_ref() };
        output::print(global.output, &outcome, String::new)?;
    }
    match status {
        Some(status) if !ready => Err(timed_out(&status, args.timeout)),
        Some(status) if table => {
            let address = status.addresses.first().map_or("?", String::as_str);
            output::say(endpoints(&installation, address));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Waits for the rollout and shows what is not ready: in a spinner on a terminal, else one line for each change.
async fn wait(
    cluster: &Cluster,
    installation: &Installation<'_>,
    plan: &Plan,
    timeout: Duration,
) -> Result<Status, Error> {
    let (bar, terminal) = (output::progress(), std::io::stderr().is_terminal());
    let mut shown = String::new();
    let status = rollout::wait(cluster, installation, plan, timeout, |waiting| {
        if terminal {
            bar.set_message(waiting);
        } else if waiting != shown {
            output::say(&waiting);
            shown = waiting;
        }
    });
    let status = status.await?;
    bar.finish_and_clear();
    Ok(status)
}

/// Where clients send to, now that the gate is ready.
fn endpoints(installation: &Installation<'_>, address: &str) -> String {
    let mut lines = Vec::new();
    let (gateway, node_local) = (&installation.config.gateway, &installation.config.node_local);
    if gateway.enabled {
        let listeners = &gateway.listeners;
        lines.push(format!(
            "the gate is ready: {} at {address}, ports {} (gRPC) and {} (HTTP)\n\
             `otlp-gate verify` tests it from outside, `otlp-gate client-config NAME` prints a client's configuration",
            gateway.hostname, listeners.grpc, listeners.http
        ));
    }
    if node_local.enabled {
        let names = &installation.names;
        let (name, namespace) = (names.node_local(), names.node_local_namespace(node_local));
        lines.push(format!(
            "the node-local gateway is ready: pods send to http://{name}.{namespace}, ports 4317 (gRPC) and 4318 (HTTP)"
        ));
    }
    lines.join("\n")
}

fn timed_out(status: &Status, timeout: Duration) -> Error {
    let mut message = format!("the gate is not ready after {} s", timeout.as_secs());
    for component in status.not_ready() {
        message.push_str(&format!("\n  {}: {}", component.name, component.detail));
        if let Some(diagnosis) = &component.diagnosis {
            message.push_str(&format!("\n    {}: {}", diagnosis.source, diagnosis.message));
        }
    }
    let hint = status.hint().unwrap_or(
        "`otlp-gate status` shows the current status, `otlp-gate doctor` checks the cluster; `--timeout 10m` waits longer",
    );
    Error::failed(message).hint(hint)
}
