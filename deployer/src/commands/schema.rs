//! `schema`: the JSON Schema of the config.

use crate::config::schema;
use crate::error::Error;
use crate::output;

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate schema > otlp-gate.schema.json

Editors with a YAML language server then complete and check the config if its first line is
  # yaml-language-server: $schema=./otlp-gate.schema.json")]
pub struct Args {}

/// Prints the schema.
pub(super) fn run() -> Result<(), Error> {
    let json = serde_json::to_string_pretty(&schema::json_schema())
        .map_err(|e| Error::failed(format_args!("cannot write JSON: {e}")))?;
    output::print_text(&json)
}
