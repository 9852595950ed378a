//! `delete`: the gate, removed from the cluster.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use super::apply::tell_of_left;
use super::gate;
use super::serving::{elsewhere, until_told_to_end};
use crate::cluster::{Cluster, Pruned, prune};
use crate::error::Error;
use crate::global::Global;
use crate::output::{self, Format};
use crate::resources::Names;

/// Arguments of `delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate delete                       asks first, where there is a terminal
  otlp-gate delete --yes
  otlp-gate delete --dry-run             only say what would be removed")]
pub struct Args {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Outcome {
    removed: Vec<String>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let config = gate::config(global)?;
    let names = Names::of(&config.gateway);
    until_told_to_end(delete(args, global, &names))?
        .ok_or_else(|| Error::failed("interrupted; `otlp-gate delete --dry-run` shows what is left"))
}

async fn delete(args: &Args, global: &Global, names: &Names) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    let Pruned { removed: found, left } = prune(&cluster, names, &[], true).await?;
    if !args.dry_run
        && !args.yes
        && !found.is_empty()
        && io::stdin().is_terminal()
        && io::stderr().is_terminal()
    {
        ask(&found, names, &cluster).await?;
    }
    let removed = if args.dry_run { found } else { prune(&cluster, names, &[], false).await?.removed };
    tell_of_left(&left);
    if global.output != Format::Table {
        return output::print(global.output, &Outcome { removed }, String::new);
    }
    let word = if args.dry_run { "would remove" } else { "removed" };
    removed.iter().for_each(|it| output::say(format_args!("{word} {it}")));
    match (removed.is_empty(), args.dry_run) {
        (true, _) => output::say(format_args!(
            "there is nothing of the gate {} of namespace {}",
            names.gateway, names.namespace
        )),
        (false, true) => {}
        (false, false) => output::say(format_args!(
            "the namespace stays, since it may hold more: `kubectl delete namespace {}` removes it",
            names.namespace
        )),
    }
    Ok(())
}

async fn ask(found: &[String], names: &Names, cluster: &Cluster) -> Result<(), Error> {
    found.iter().for_each(|it| output::say(format_args!("  {it}")));
    let mut err = io::stderr();
    let what = match found.len() {
        1 => "this object".to_owned(),
        number => format!("these {number} objects"),
    };
    let asked = write!(err, "remove {what} of {} from {}? [y/N] ", names.gateway, cluster.url)
        .and_then(|()| err.flush());
    asked.map_err(|e| Error::failed(format_args!("cannot ask: {e}")))?;
    let answer = elsewhere(|| {
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = answer.await.map_err(|e| Error::failed(format_args!("cannot read the answer: {e}")))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Error::failed("nothing was removed")),
    }
}
