//! `schema`: the JSON Schema of the configuration.

use crate::config::schema;
use crate::error::Error;
use crate::output;

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate schema > otlp-gate.schema.json

Editors with a YAML language server complete and check a configuration whose first line is
  # yaml-language-server: $schema=./otlp-gate.schema.json")]
pub(crate) struct Args {}

/// Prints the schema.
pub(super) fn run() -> Result<(), Error> {
    let json = serde_json::to_string_pretty(&schema::json_schema())
        .map_err(|e| Error::failed(format_args!("cannot write JSON: {e}")))?;
    output::print_text(&json)
}
