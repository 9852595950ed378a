//! `delete`: deletes the gate from the cluster.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::args;
use crate::cluster::{Cluster, prune};
use crate::error::Error;
use crate::global::Global;
use crate::model::Names;
use crate::output::{self, Format};
use crate::runtime::{in_thread, until_signal};

/// Arguments of `delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate delete                       asks for confirmation on a terminal
  otlp-gate delete --yes
  otlp-gate delete --dry-run             list what would be removed")]
pub(crate) struct Args {
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    /// List what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Outcome {
    removed: Vec<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let config = args::config(global)?;
    let names = Names::of(&config.gateway);
    until_signal(delete(args, global, &names))?
        .ok_or_else(|| Error::failed("interrupted; `otlp-gate delete --dry-run` lists what is left"))
}

async fn delete(args: &Args, global: &Global, names: &Names) -> Result<(), Error> {
    let cluster = Cluster::connect(global.context.as_deref()).await?;
    let pruned = prune(&cluster, names, &[], true).await?;
    let notes: Vec<String> = pruned.notes().collect();
    let found = pruned.removed;
    if !args.dry_run
        && !args.yes
        && !found.is_empty()
        && io::stdin().is_terminal()
        && io::stderr().is_terminal()
    {
        confirm(&found, names, &cluster).await?;
    }
    let removed = if args.dry_run { found } else { prune(&cluster, names, &[], false).await?.removed };
    notes.into_iter().for_each(output::say);
    if global.output != Format::Table {
        return output::print(global.output, &Outcome { removed }, String::new);
    }
    let verb = if args.dry_run { "would remove" } else { "removed" };
    removed.iter().for_each(|it| output::say(format_args!("{verb} {it}")));
    volumes_stay(&removed, names);
    match (removed.is_empty(), args.dry_run) {
        (true, _) => output::say(format_args!(
            "there are no objects of the gate {} in namespace {}",
            names.gateway, names.namespace
        )),
        (false, true) => {}
        (false, false) => output::say(format_args!(
            "the namespace stays, because it may contain other objects: `kubectl delete namespace {}` deletes it",
            names.namespace
        )),
    }
    Ok(())
}

/// Says what becomes of a durable queue's volumes, where its StatefulSet is removed.
pub(super) fn volumes_stay(removed: &[String], names: &Names) {
    if removed.iter().any(|title| title.starts_with("statefulset/")) {
        output::say(format_args!(
            "note: the volumes of the durable queue stay, with what is not delivered: `kubectl delete pvc -n {} -l \
             {}` deletes them",
            names.namespace,
            names.selector()
        ));
    }
}

async fn confirm(found: &[String], names: &Names, cluster: &Cluster) -> Result<(), Error> {
    found.iter().for_each(|it| output::say(format_args!("  {it}")));
    let mut err = io::stderr();
    let what = match found.len() {
        1 => "this object".to_owned(),
        number => format!("these {number} objects"),
    };
    let asked = write!(err, "remove {what} of {} from {}? [y/N] ", names.gateway, cluster.url)
        .and_then(|()| err.flush());
    asked.map_err(|e| Error::failed(format_args!("cannot ask for confirmation: {e}")))?;
    let answer = in_thread(|| {
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = answer.await.map_err(|e| Error::failed(format_args!("cannot read the answer: {e}")))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Error::failed("nothing was removed")),
    }
}
