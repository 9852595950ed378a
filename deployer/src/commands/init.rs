//! `init`: a configuration to start from.

use crate::config::check_namespace;
use crate::error::Error;
use crate::file::{Access, Existing, Staged};
use crate::global::Global;
use crate::output;

const TEMPLATE: &str = include_str!("init.yaml");

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate init                    write otlp-gate.yaml
  otlp-gate -f edge.yaml init       write edge.yaml
  otlp-gate init --stdout           print it")]
pub(crate) struct Args {
    /// Print the file instead of writing it; the same as -f -
    #[arg(long)]
    stdout: bool,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
}

/// Writes or prints the configuration.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let text = template(global.namespace.as_deref())?;
    if args.stdout || global.file_is_stdin() {
        return output::print_text(&text);
    }
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    Staged::new(&global.file, text.as_bytes(), Access::Public)?.commit(existing)?;
    let name = global.file.display();
    output::say(format_args!("wrote {name}; edit it, then run `otlp-gate check`"));
    Ok(())
}

/// The configuration, with this namespace.
fn template(namespace: Option<&str>) -> Result<String, Error> {
    let Some(namespace) = namespace else { return Ok(TEMPLATE.to_owned()) };
    check_namespace(namespace)?;
    Ok(TEMPLATE.replacen("gateway:\n", &format!("gateway:\n  namespace: \"{namespace}\"\n"), 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    #[test]
    fn the_template_has_no_mistakes_and_no_warnings() {
        let source = Source { name: "otlp-gate.yaml".to_owned(), text: TEMPLATE.to_owned() };
        let loaded = source.load().unwrap_or_else(|report| panic!("{report}"));
        assert!(loaded.warnings.findings.is_empty(), "{}", loaded.warnings);
    }
}
