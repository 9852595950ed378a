//! `diff`: what `apply` would change.

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::apply::{kept, plan};
use super::gate::{self, Target};
use super::serving::until_told_to_end;
use crate::cluster::{Change, Cluster, Planned, prune};
use crate::error::Error;
use crate::global::Global;
use crate::output::{self, Format};
use crate::resources::{Gate, Object, yaml};
use crate::sha256;

const ADDED: Style = AnsiColor::Green.on_default();
const REMOVED: Style = AnsiColor::Red.on_default();

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate diff                         exit code 0: nothing would change, 1: something would
  otlp-gate diff -o json")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// As if `apply` took over fields that somebody else manages
    #[arg(long)]
    force_conflicts: bool,
}

#[derive(Serialize)]
struct Outcome {
    changed: Vec<String>,
    removed: Vec<String>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let config = gate::config(global)?;
    let gate = args.target.gate(&config)?;
    until_told_to_end(diff(args, global, gate))?.ok_or_else(Error::interrupted)
}

async fn diff(args: &Args, global: &Global, mut gate: Gate<'_>) -> Result<(), Error> {
    let cluster = Cluster::connect(global).await?;
    gate::look_for_mesh(&cluster, &mut gate).await?;
    let gate = &gate;
    let (plan, _, objects) = plan(&cluster, gate, args.target.certs(), args.force_conflicts).await?;
    let kept = kept(gate, objects)?;
    let removed = prune(&cluster, &gate.names, &kept, true).await?.removed;
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
        let changed = changed.iter().map(|it| name(&it.object)).collect();
        output::print(global.output, &Outcome { changed, removed: removed.clone() }, String::new)?;
    }
    if changed.is_empty() && removed.is_empty() { Ok(()) } else { Err(Error::reported()) }
}

fn name(object: &Object) -> String {
    format!("{}/{}", object.kind.to_lowercase(), object.name)
}

fn unified(planned: &Planned) -> Result<String, Error> {
    let object = &planned.object;
    let text =
        |value: Option<&Value>| value.map_or_else(|| Ok(String::new()), |it| yaml(&shown(&object.kind, it)));
    let (live, then) = (text(planned.live.as_ref())?, text(planned.then.as_ref().or(Some(&object.value)))?);
    let diff = TextDiff::from_lines(&live, &then);
    let mut out = format!("--- {0} in the cluster\n+++ {0} as wanted\n", name(object));
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

/// An object without what nobody should see or can read.
fn shown(kind: &str, object: &Value) -> Value {
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
