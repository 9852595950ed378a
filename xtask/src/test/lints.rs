//! What can be said about the code without running it.

use std::process::Command;

use anyhow::Result;

use super::Outcome;
use crate::wasm::{TARGET, Toolchain};
use crate::{process, project, setup};

const CARGO_DENY: &str = "0.20.2";

pub(super) fn format() -> Result<Outcome> {
    process::run(project::cargo().args(["fmt", "--all", "--check"]))?;
    Ok(Outcome::Passed)
}

pub(super) fn clippy() -> Result<Outcome> {
    process::run(project::cargo().args(["clippy", "--all-targets", "--", "--deny", "warnings"]))?;
    Ok(Outcome::Passed)
}

/// The filter is for wasm32 only. Debian's toolchain has no clippy: without rustup's target, the host's looks at it.
pub(super) fn clippy_filter() -> Result<Outcome> {
    let mut cargo = project::cargo();
    cargo.args(["clippy", "--package", "otlp-gate-filter"]);
    if let Toolchain::Rustup = Toolchain::find()? {
        cargo.args(["--target", TARGET]);
    }
    process::run(cargo.args(["--", "--deny", "warnings"]))?;
    Ok(Outcome::Passed)
}

/// Licences, bans and sources. Advisories are left to a person with a network: their database is a git repository.
pub(super) fn deny() -> Result<Outcome> {
    let program = setup::cargo_tool("cargo-deny", CARGO_DENY, "cargo-deny")?;
    let mut deny = Command::new(program);
    deny.current_dir(project::root()).args(["check", "bans", "licenses", "sources"]);
    process::run(&mut deny)?;
    Ok(Outcome::Passed)
}
