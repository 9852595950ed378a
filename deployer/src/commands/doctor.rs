//! `doctor`: what the cluster lacks or has wrong, each with its cure.

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::gate::{self, Target};
use super::serving::until_told_to_end;
use crate::cluster::{Cluster, Discovery, foreign};
use crate::doctor::{Check, Verdict, examine};
use crate::error::Error;
use crate::global::Global;
use crate::output;
use crate::resources::{Gate, Object};

const GOOD: Style = AnsiColor::Green.on_default();
const WARN: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate doctor                       exit code 1 if something is wrong
  otlp-gate doctor -o json")]
pub struct Args {
    #[command(flatten)]
    target: Target,
}

#[derive(Serialize)]
struct Outcome<'a> {
    ok: bool,
    checks: &'a [Check],
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let config = gate::config(global)?;
    let gate = args.target.gate(&config)?;
    until_told_to_end(doctor(global, gate))?.ok_or_else(Error::interrupted)
}

async fn doctor(global: &Global, mut gate: Gate<'_>) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    let mesh = gate::look_for_mesh(&cluster, &mut gate).await?;
    let gate = &gate;
    let objects = gate.objects()?;
    let discovery = Discovery::of_objects(&cluster, &objects).await?;
    let mut checks = examine(&cluster, &discovery, gate, &objects).await?;
    checks.extend(mesh.map(|words| Check::pass("mesh", words)));
    if gate.config.gateway.enabled {
        checks.extend(attached(&cluster, gate, &objects).await?);
    }
    let ok = checks.iter().all(|check| check.verdict != Verdict::Fail);
    output::print(global.output, &Outcome { ok, checks: &checks }, || table(&checks))?;
    if ok { Ok(()) } else { Err(Error::reported()) }
}

/// What others attached to the gateway.
async fn attached(cluster: &Cluster, gate: &Gate<'_>, objects: &[Object]) -> Result<Vec<Check>, Error> {
    let checks = foreign(cluster, gate, objects).await?.into_iter().map(|finding| Check {
        verdict: if finding.unsafe_ { Verdict::Fail } else { Verdict::Warn },
        subject: finding.object,
        found: finding.means,
        cure: Some("remove it, unless you know that it must be there".to_owned()),
    });
    Ok(checks.collect())
}

fn table(checks: &[Check]) -> String {
    let rows = checks.iter().flat_map(|check| {
        let word = match check.verdict {
            Verdict::Pass => format!("{GOOD}ok{GOOD:#}"),
            Verdict::Warn => format!("{WARN}warn{WARN:#}"),
            Verdict::Fail => format!("{BAD}fail{BAD:#}"),
        };
        let own = [check.subject.clone(), word, check.found.clone()];
        let cure = check.cure.iter().map(|cure| [String::new(), String::new(), format!("cure: {cure}")]);
        std::iter::once(own).chain(cure).collect::<Vec<_>>()
    });
    output::columns(["CHECK", "VERDICT", "FOUND"], rows)
}
