//! `doctor`: checks whether the cluster has what the gate needs.

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::args::{self, InCluster, Inputs, InstallationArgs};
use crate::cluster::Discovery;
use crate::doctor::{Check, CheckResult, collector_config, examine};
use crate::error::Error;
use crate::global::Global;
use crate::output;
use crate::runtime::until_signal;

const GOOD: Style = AnsiColor::Green.on_default();
const WARN: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate doctor                       exit code 1 if a check fails
  otlp-gate doctor -o json")]
pub(crate) struct Args {
    #[command(flatten)]
    installation: InstallationArgs,
}

#[derive(Serialize)]
struct Outcome<'a> {
    ok: bool,
    checks: &'a [Check],
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let loaded = args::loaded(global)?;
    let inputs = args.installation.read(&loaded)?;
    until_signal(doctor(global, inputs))?.ok_or_else(Error::interrupted)
}

async fn doctor(global: &Global, inputs: Inputs<'_>) -> Result<(), Error> {
    let checked = inputs.checks_collectors();
    let InCluster { cluster, installation, objects, mesh_summary, bundles, .. } =
        inputs.in_cluster(global).await?;
    let discovery = Discovery::of_objects(&cluster, &objects).await?;
    let mut checks = examine(&cluster, &discovery, &installation, &objects, mesh_summary, &bundles).await?;
    checks.extend(collector_config::check(&objects, checked, &std::env::var_os("PATH").unwrap_or_default()));
    let ok = checks.iter().all(|check| check.result != CheckResult::Fail);
    output::print(global.output, &Outcome { ok, checks: &checks }, || table(&checks))?;
    if ok { Ok(()) } else { Err(Error::reported()) }
}

fn table(checks: &[Check]) -> String {
    let rows = checks.iter().flat_map(|check| {
        let result = match check.result {
            CheckResult::Pass => format!("{GOOD}ok{GOOD:#}"),
            CheckResult::Warn => format!("{WARN}warn{WARN:#}"),
            CheckResult::Fail => format!("{BAD}fail{BAD:#}"),
        };
        let own = [check.subject.clone(), result, check.found.clone()];
        let hint = check.hint.iter().map(|hint| [String::new(), String::new(), format!("hint: {hint}")]);
        std::iter::once(own).chain(hint).collect::<Vec<_>>()
    });
    output::columns(["CHECK", "RESULT", "DETAIL"], rows)
}
