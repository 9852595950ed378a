//! `apply`: the gate, put into the cluster.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{Api, ResourceExt as _};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::gate::{self, Target};
use super::serving::until_told_to_end;
use super::status;
use crate::cluster::{
    Change, Cluster, Discovery, Plan, Pruned, Standing, failed, prune, standing, terminating,
};
use crate::error::Error;
use crate::global::Global;
use crate::output::{self, Format};
use crate::resources::{Gate, Object};

/// How often the cluster is asked whether all is up.
const LOOK: Duration = Duration::from_millis(300);

/// Arguments of `apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate apply                       put the gate into the cluster, or bring it up to date
  otlp-gate apply --dry-run             only let the API server try it
  otlp-gate --context prod apply --timeout 10m")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Only let the API server try it; nothing is changed
    #[arg(long)]
    dry_run: bool,
    /// Take over fields that somebody else manages
    #[arg(long)]
    force_conflicts: bool,
    /// Do not wait until the gate is up; what is no longer wanted is then not removed either
    #[arg(long)]
    no_wait: bool,
    /// How long to wait until the gate is up, such as 90s or 10m
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

#[derive(Serialize)]
struct Outcome<'a> {
    ok: bool,
    objects: Vec<Applied<'a>>,
    removed: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<&'a Standing>,
}

#[derive(Serialize)]
struct Applied<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    change: &'static str,
}

/// Does it.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let config = gate::config(global)?;
    let gate = args.target.gate(&config)?;
    until_told_to_end(apply(args, global, gate))?
        .ok_or_else(|| Error::failed("interrupted; `otlp-gate status` shows how far it is"))
}

async fn apply(args: &Args, global: &Global, mut gate: Gate<'_>) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    if let Some(words) = gate::look_for_mesh(&cluster, &mut gate).await? {
        output::say(format_args!("mesh: {words}"));
    }
    let gate = &gate;
    let (plan, discovery, objects) = plan(&cluster, gate, args.target.certs(), args.force_conflicts).await?;
    let table = global.output == Format::Table;
    let mut applied = Vec::new();
    let show = |object: &Object, change: Change| {
        let (word, at) = (word(change), object.namespace.as_deref().unwrap_or_default());
        if table && change != Change::Unchanged {
            output::say(format_args!("{word:<11} {}/{} {at}", object.kind.to_lowercase(), object.name));
        }
    };
    if args.dry_run {
        plan.objects.iter().for_each(|it| show(&it.object, it.change));
    } else {
        plan.apply(&cluster, &discovery, args.force_conflicts, |it| show(&it.object, it.change)).await?;
    }
    for planned in &plan.objects {
        let Object { kind, namespace, name, .. } = &planned.object;
        applied.push(Applied { kind, namespace: namespace.as_deref(), name, change: word(planned.change) });
    }
    let standing = match args.dry_run || args.no_wait {
        true => None,
        false => Some(wait(&cluster, &discovery, gate, &objects, args.timeout).await?),
    };
    let up = standing.as_ref().is_none_or(Standing::ready);
    // What is running may still need what is no longer wanted, until what replaces it is up.
    let Pruned { removed, left } = match up && !args.no_wait {
        true => prune(&cluster, &gate.names, &kept(gate, objects)?, args.dry_run).await?,
        false => Pruned::default(),
    };
    tell_of_left(&left);
    if table {
        removed.iter().for_each(|it| output::say(format_args!("{:<11} {it}", "removed")));
        let unchanged = plan.objects.len() - plan.changes();
        let tried = if args.dry_run { " (tried only)" } else { "" };
        output::say(format_args!(
            "{} changed, {unchanged} unchanged, {} removed{tried}",
            plan.changes(),
            removed.len()
        ));
    } else {
        output::print(
            global.output,
            &Outcome { ok: up, objects: applied, removed, standing: standing.as_ref() },
            String::new,
        )?;
    }
    match standing {
        Some(standing) if !up => Err(timed_out(&standing, args.timeout)),
        Some(standing) if table => {
            let at = standing.addresses.first().map_or("?", String::as_str);
            output::say(ways_in(gate, at));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Names what has the gate's labels and is not removed.
pub(super) fn tell_of_left(left: &[String]) {
    for it in left {
        output::say(format_args!(
            "left        {it}: it has the gate's labels, and otlp-gate has not applied it"
        ));
    }
}

/// What is up, and how to send to it.
fn ways_in(gate: &Gate<'_>, at: &str) -> String {
    let mut lines = Vec::new();
    let (gateway, node_local) = (&gate.config.gateway, &gate.config.node_local);
    if gateway.enabled {
        let listeners = &gateway.listeners;
        lines.push(format!(
            "the gate is up: {} at {at}, ports {} (gRPC) and {} (HTTP)\n`otlp-gate verify` tries it from outside, `otlp-gate client-config NAME` says how to send",
            gateway.hostname, listeners.grpc, listeners.http
        ));
    }
    if node_local.enabled {
        let (name, namespace) = (gate.names.node_local(), gate.names.node_local_namespace(node_local));
        lines.push(format!(
            "the nodes' gateways are up: pods send to http://{name}.{namespace}, ports 4317 (gRPC) and 4318 (HTTP)"
        ));
    }
    lines.join("\n")
}

/// What would be changed, tried by the API server; with the kinds that the cluster has and the objects.
pub(super) async fn plan(
    cluster: &Cluster,
    gate: &Gate<'_>,
    certs: &Path,
    force: bool,
) -> Result<(Plan, Discovery, Vec<Object>), Error> {
    let mut objects = gate.objects()?;
    let discovery = Discovery::of_objects(cluster, &objects).await?;
    let missing = discovery.missing(&objects);
    if !missing.is_empty() {
        let mut errors: Vec<Error> = Vec::new();
        let mut cures: Vec<&str> = missing.iter().map(|it| it.cure).collect();
        cures.sort_unstable();
        cures.dedup();
        for cure in cures {
            let kinds: Vec<String> = missing
                .iter()
                .filter(|it| it.cure == cure)
                .map(|it| format!("{} ({})", it.kind, it.api_version))
                .collect();
            errors.push(Error::failed(format_args!("the cluster has no {}", kinds.join(", "))).hint(cure));
        }
        return Err(Error::all(errors));
    }
    expected(cluster, gate, certs).await?;
    namespaces(cluster, &mut objects).await?;
    let plan = Plan::of(cluster, &discovery, objects.clone(), force).await?;
    Ok((plan, discovery, objects))
}

/// Takes out the namespaces that are there and not the gate's, which stay as they are.
async fn namespaces(cluster: &Cluster, objects: &mut Vec<Object>) -> Result<(), Error> {
    let api = Api::<Namespace>::all(cluster.client.clone());
    let wanted = objects.iter().filter(|it| it.kind == "Namespace").map(|it| it.name.clone());
    for name in wanted.collect::<Vec<_>>() {
        let keep = match api.get_opt(&name).await {
            // Who may only work inside of it cannot see it either.
            Err(kube::Error::Api(status)) if status.is_forbidden() => false,
            found => {
                let found =
                    found.map_err(|e| failed(format_args!("cannot read the namespace {name}"), &e))?;
                if found.as_ref().is_some_and(|it| it.metadata.deletion_timestamp.is_some()) {
                    return Err(terminating(&name));
                }
                found.is_none_or(|it| {
                    it.labels().get("app.kubernetes.io/managed-by").is_some_and(|by| by == "otlp-gate")
                })
            }
        };
        objects.retain(|it| keep || it.kind != "Namespace" || it.name != name);
    }
    Ok(())
}

/// The certificates must be here or there.
async fn expected(cluster: &Cluster, gate: &Gate<'_>, certs: &Path) -> Result<(), Error> {
    if !gate.expects_certificates() {
        return Ok(());
    }
    let (client, namespace) = (cluster.client.clone(), &gate.names.namespace);
    let secrets = Api::<Secret>::namespaced(client, namespace);
    let name = gate.names.server();
    let there = secrets.get_metadata_opt(&name).await;
    let there = there.map_err(|e| failed(format_args!("cannot read secret {name} in {namespace}"), &e))?;
    if there.is_some() {
        return Ok(());
    }
    Err(Error::failed(format_args!(
        "there is no server certificate: neither {} nor secret {name} in {namespace}",
        certs.join("server.crt").display()
    ))
    .hint("`otlp-gate certs init` makes one; `--certs DIR` names the folder that it is in"))
}

/// What pruning leaves: the objects, and certificates that the cluster has and this machine does not.
pub(super) fn kept(gate: &Gate<'_>, mut objects: Vec<Object>) -> Result<Vec<Object>, Error> {
    if gate.expects_certificates() {
        let (server, ca) = (gate.names.server(), gate.names.client_ca());
        objects
            .push(Object::builtin(&Secret { metadata: gate.names.metadata(&server), ..Secret::default() })?);
        objects.push(Object::builtin(&ConfigMap {
            metadata: gate.names.metadata(&ca),
            ..ConfigMap::default()
        })?);
    }
    Ok(objects)
}

async fn wait(
    cluster: &Cluster,
    discovery: &Discovery,
    gate: &Gate<'_>,
    objects: &[Object],
    patience: Duration,
) -> Result<Standing, Error> {
    let begun = Instant::now();
    let bar = output::progress();
    let mut told = String::new();
    loop {
        let now = standing(cluster, discovery, gate, objects).await?;
        let waiting: Vec<String> = now
            .parts
            .iter()
            .filter(|part| !part.ready)
            .map(|part| format!("{}: {}", part.name, part.detail))
            .collect();
        if waiting.is_empty() || begun.elapsed() >= patience {
            bar.finish_and_clear();
            return Ok(now);
        }
        let first = waiting.first().cloned().unwrap_or_default();
        let more =
            if waiting.len() > 1 { format!(" (and {} more)", waiting.len() - 1) } else { String::new() };
        let words = format!("waiting for {first}{more}");
        if std::io::stderr().is_terminal() {
            bar.set_message(words);
        } else if words != told {
            output::say(&words);
            told = words;
        }
        sleep(LOOK).await;
    }
}

fn timed_out(standing: &Standing, patience: Duration) -> Error {
    let mut message = format!("the gate is not up after {} s", patience.as_secs());
    for part in standing.parts.iter().filter(|part| !part.ready) {
        message.push_str(&format!("\n  {}: {}", part.name, part.detail));
        if let Some(trouble) = &part.trouble {
            message.push_str(&format!("\n    {}: {}", trouble.seen, trouble.words));
        }
    }
    let hint = status::cure(standing).unwrap_or(
        "`otlp-gate status` shows it again, `otlp-gate doctor` what the cluster lacks; \
         `--timeout 10m` waits longer",
    );
    Error::failed(message).hint(hint)
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Created => "created",
        Change::Configured => "configured",
        Change::Unchanged => "unchanged",
    }
}
