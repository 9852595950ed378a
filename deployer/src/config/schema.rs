//! The JSON Schema of the config from its types.

use schemars::Schema;
use schemars::generate::SchemaSettings;

use super::Config;

/// The JSON Schema, draft 2020-12.
pub fn json_schema() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>()
}
