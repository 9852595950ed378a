//! Checks that do not run the code.

use std::process::Command;

use anyhow::Result;

use super::Outcome;
use crate::wasm::{TARGET, Toolchain};
use crate::{advisories, debian, process, project, setup};

const ACTIONLINT: &str = "v1.7.12";

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
    // The native module is not among the default members either.
    let mut cargo = project::cargo();
    cargo.args(["clippy", "--package", "otlp-gate-native", "--all-targets", "--", "--deny", "warnings"]);
    process::run(&mut cargo)?;
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
/// not every machine can reach. `cargo xtask advisories` checks them.
pub(super) fn deny() -> Result<Outcome> {
    process::run(advisories::cargo_deny()?.args(["check", "bans", "licenses", "sources"]))?;
    Ok(Outcome::Passed)
}

/// The workflows of GitHub: their syntax, expressions and inputs of actions, and with ShellCheck their scripts.
pub(super) fn workflows() -> Result<Outcome> {
    if let Err(missing) = process::go() {
        return Ok(Outcome::Skipped(missing.to_string()));
    }
    if project::ci() {
        debian::require(&["shellcheck"])?;
    }
    let program = setup::go_tool("actionlint", "github.com/rhysd/actionlint/cmd/actionlint", ACTIONLINT)?;
    process::run(Command::new(program).args(["-no-color", "-pyflakes="]).current_dir(project::root()))?;
    Ok(Outcome::Passed)
}
