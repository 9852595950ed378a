//! OpenTelemetry's own load generator, as a client that nobody here wrote.

use std::path::PathBuf;

use anyhow::Result;

use super::cache;
use crate::process;

const PACKAGE: &str = "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen";
const VERSION: &str = "v0.149.0";

/// The program, built with Go when it is not there.
pub(crate) fn telemetrygen() -> Result<PathBuf> {
    let dir = cache::folder(&format!("telemetrygen-{VERSION}"), |dir| {
        process::run(process::go()?.args(["install", &format!("{PACKAGE}@{VERSION}")]).env("GOBIN", dir))
    })?;
    cache::program("telemetrygen", &dir.join("telemetrygen"))
}
