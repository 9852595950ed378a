//! OpenTelemetry's load generator, as a client of another project.

use std::path::PathBuf;

use anyhow::Result;

use super::cache;
use crate::process;

const PACKAGE: &str = "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen";
const VERSION: &str = "v0.149.0";

/// The program's path; built with Go if it is not in the cache.
pub(crate) fn telemetrygen() -> Result<PathBuf> {
    let dir = cache::folder(&format!("telemetrygen-{VERSION}"), |dir| {
        process::run(process::go()?.args(["install", &format!("{PACKAGE}@{VERSION}")]).env("GOBIN", dir))
    })?;
    cache::program("telemetrygen", &dir.join("telemetrygen"))
}
