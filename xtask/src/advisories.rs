//! `cargo xtask advisories`: known vulnerabilities of dependencies, by the RustSec database.

use std::process::Command;

use anyhow::Result;

use crate::{process, project, setup};

const CARGO_DENY: &str = "0.20.2";

/// Fails if a crate in Cargo.lock has an advisory that deny.toml does not explain. It downloads the database with git.
pub(crate) fn recipe() -> Result<()> {
    process::run(cargo_deny()?.args(["check", "advisories"]))
}

/// cargo-deny, which reads deny.toml, started in the root of the work tree.
pub(crate) fn cargo_deny() -> Result<Command> {
    let mut deny = Command::new(setup::cargo_tool("cargo-deny", CARGO_DENY, "cargo-deny")?);
    deny.current_dir(project::root());
    Ok(deny)
}
