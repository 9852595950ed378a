//! `init`: a config to start from.

use std::io::{ErrorKind, Write};

use tempfile::NamedTempFile;

use crate::cli::Global;
use crate::error::Error;
use crate::output;

const TEMPLATE: &str = include_str!("init.yaml");

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate init                    write otlp-gate.yaml
  otlp-gate -f edge.yaml init       write edge.yaml
  otlp-gate init --stdout           print it")]
pub struct Args {
    /// Print the file instead of writing it; the same as -f -
    #[arg(long)]
    stdout: bool,
    /// Overwrite the file if it is there
    #[arg(long)]
    force: bool,
}

/// Writes or prints the config.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    if args.stdout || global.file_is_stdin() {
        return output::print_text(TEMPLATE);
    }
    let file = &global.file;
    let name = file.display();
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(".".as_ref());
    let cannot = |error: &std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => Error::failed(format_args!("{name} is there already"))
            .hint("`--force` overwrites it; `--stdout` prints instead"),
        _ => Error::failed(format_args!("cannot write {name}: {error}")),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut new: NamedTempFile = builder.tempfile_in(folder).map_err(|e| cannot(&e))?;
    new.write_all(TEMPLATE.as_bytes()).map_err(|e| cannot(&e))?;
    let written = if args.force { new.persist(file) } else { new.persist_noclobber(file) };
    written.map_err(|e| cannot(&e.error))?;
    output::say(format_args!("wrote {name}; edit it, then run `otlp-gate check`"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    #[test]
    fn what_init_writes_has_no_mistakes_and_no_warnings() {
        let source = Source { name: "otlp-gate.yaml".to_owned(), text: TEMPLATE.to_owned() };
        let loaded = source.load().unwrap_or_else(|report| panic!("{report}"));
        assert!(loaded.warnings.findings.is_empty(), "{}", loaded.warnings);
    }
}
