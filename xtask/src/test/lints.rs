//! Checks that do not run the code.

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

/// The format and the lints of all Python code, by ruff.toml.
pub(super) fn ruff() -> Result<Outcome> {
    let python = setup::python()?;
    for arguments in [["format", "--check"], ["check", "--no-fix"]] {
        let mut ruff = Command::new(&python.interpreter);
        ruff.current_dir(project::root()).args(["-m", "ruff"]).args(arguments).args(["--quiet", "."]);
        process::run(&mut ruff)?;
    }
    Ok(Outcome::Passed)
}

pub(super) fn clippy() -> Result<Outcome> {
    process::run(project::cargo().args(["clippy", "--all-targets", "--", "--deny", "warnings"]))?;
    Ok(Outcome::Passed)
}

/// The filter is for wasm32 only. Debian's toolchain has no clippy, so it is checked for the host there.
pub(super) fn clippy_filter() -> Result<Outcome> {
    let mut cargo = project::cargo();
    cargo.args(["clippy", "--package", "otlp-gate-filter"]);
    if let Toolchain::Rustup = Toolchain::find()? {
        cargo.args(["--target", TARGET]);
    }
    process::run(cargo.args(["--", "--deny", "warnings"]))?;
    Ok(Outcome::Passed)
}

/// Rustdoc of all crates, also of private items, without a warning such as a broken link.
pub(super) fn docs() -> Result<Outcome> {
    let mut cargo = project::cargo();
    cargo.args(["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"]);
    process::run(cargo.env("RUSTDOCFLAGS", "--deny warnings --allow rustdoc::private_intra_doc_links"))?;
    Ok(Outcome::Passed)
}

/// Licences, bans and sources of dependencies. Advisories are not checked: their database is a git repository, which
/// not every machine can reach.
pub(super) fn deny() -> Result<Outcome> {
    let program = setup::cargo_tool("cargo-deny", CARGO_DENY, "cargo-deny")?;
    let mut deny = Command::new(program);
    deny.current_dir(project::root()).args(["check", "bans", "licenses", "sources"]);
    process::run(&mut deny)?;
    Ok(Outcome::Passed)
}
