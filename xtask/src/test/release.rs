//! What users get: the packages for crates.io.

use anyhow::Result;

use super::Outcome;
use crate::publish;

/// The packages for crates.io. They are not compiled, which `cargo xtask publish` does.
pub(super) fn packages() -> Result<Outcome> {
    publish::package()?;
    Ok(Outcome::Passed)
}
