//! `diff`: shows what `apply` would change.

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::args::{self, InCluster, Inputs, InstallationArgs};
use crate::cluster::{Change, Plan, Planned, prune, retained};
use crate::error::Error;
use crate::global::Global;
use crate::model::yaml;
use crate::output::{self, Format};
use crate::runtime::until_signal;
use crate::sha256;

const ADDED: Style = AnsiColor::Green.on_default();
const REMOVED: Style = AnsiColor::Red.on_default();

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate diff                         exit code 0 without changes, 1 with changes
  otlp-gate diff -o json")]
pub(crate) struct Args {
    #[command(flatten)]
    installation: InstallationArgs,
    /// Show what `apply --force-conflicts` would change
    #[arg(long)]
    force_conflicts: bool,
}

#[derive(Serialize)]
struct Outcome {
    changed: Vec<String>,
    removed: Vec<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let loaded = args::loaded(global)?;
    let inputs = args.installation.read(&loaded)?;
    until_signal(diff(args, global, inputs))?.ok_or_else(Error::interrupted)
}

async fn diff(args: &Args, global: &Global, inputs: Inputs<'_>) -> Result<(), Error> {
    let inputs = inputs.in_cluster(global).await?;
    inputs.require_references().await?;
    let InCluster { cluster, installation, objects, .. } = inputs;
    let certificate = args.installation.server_certificate();
    let plan = Plan::dry_run(&cluster, &installation, objects, &certificate, args.force_conflicts).await?;
    let retained = retained(&installation, plan.desired().cloned())?;
    let removed = prune(&cluster, &installation.names, &retained, true).await?.removed;
    let changed: Vec<&Planned> = plan.objects.iter().filter(|it| it.change != Change::Unchanged).collect();
    if global.output == Format::Table {
        let mut text = String::new();
        for planned in &changed {
            text.push_str(&unified(planned)?);
        }
        for title in &removed {
            text.push_str(&format!("{REMOVED}removed {title}{REMOVED:#}\n"));
        }
        output::print_text(&text)?;
    } else {
        let changed = changed.iter().map(|it| it.desired.short_title()).collect();
        output::print(global.output, &Outcome { changed, removed: removed.clone() }, String::new)?;
    }
    if changed.is_empty() && removed.is_empty() { Ok(()) } else { Err(Error::reported()) }
}

/// The difference in the unified format.
fn unified(planned: &Planned) -> Result<String, Error> {
    let object = &planned.desired;
    let text = |value: Option<&Value>| {
        value.map_or_else(|| Ok(String::new()), |it| yaml(&without_contents(&object.kind, it)))
    };
    let (live, result) =
        (text(planned.live.as_ref())?, text(planned.result.as_ref().or(Some(&object.value)))?);
    let diff = TextDiff::from_lines(&live, &result);
    let mut out = format!("--- {0} in the cluster\n+++ {0} desired\n", object.short_title());
    for group in diff.grouped_ops(3) {
        out.push_str("@@\n");
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let (sign, style) = match change.tag() {
                ChangeTag::Delete => ("-", REMOVED),
                ChangeTag::Insert => ("+", ADDED),
                ChangeTag::Equal => (" ", Style::new()),
            };
            out.push_str(&format!("{style}{sign}{}{style:#}\n", change.value().trim_end_matches('\n')));
        }
    }
    Ok(out)
}

/// An object with size and digest in place of secret and binary contents.
fn without_contents(kind: &str, object: &Value) -> Value {
    let mut object = object.clone();
    for key in ["data", "binaryData"] {
        let hide = kind == "Secret" || key == "binaryData";
        if let (true, Some(data)) = (hide, object.get_mut(key).and_then(Value::as_object_mut)) {
            for value in data.values_mut() {
                let text = value.as_str().unwrap_or_default();
                *value =
                    format!("({} bytes in base64, sha256 {})", text.len(), sha256::short(text, 12)).into();
            }
        }
    }
    object
}
