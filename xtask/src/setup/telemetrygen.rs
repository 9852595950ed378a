//! OpenTelemetry's load generator, as a client of another project.

use std::path::PathBuf;

use anyhow::Result;

use super::{cache, go_tool};

const PACKAGE: &str = "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen";
const VERSION: &str = "v0.149.0";

/// The program's path; built with Go if it is not in the cache.
pub(crate) fn telemetrygen() -> Result<PathBuf> {
    cache::program("telemetrygen", &go_tool("telemetrygen", PACKAGE, VERSION)?)
}
