//! Packages of Debian and its derivatives.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use crate::{process, project};

/// Set by `--install`.
static INSTALL: AtomicBool = AtomicBool::new(false);

/// Allows [`require`] to install packages, for the rest of this process.
pub(crate) fn allow_installation() {
    INSTALL.store(true, Ordering::Relaxed);
}

/// Makes sure that these packages are installed. With `--install` or in CI, missing ones are installed.
///
/// # Errors
///
/// The missing packages, with the command that installs them.
pub(crate) fn require(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if process::find("apt-get").is_none() {
        bail!(
            "missing programs of the Debian packages {list}\n\nhint: install the same programs with this system's \
             package manager"
        );
    }
    let root = process::is_root()?;
    if !root || !(INSTALL.load(Ordering::Relaxed) || project::ci()) {
        let sudo = if root { "" } else { "sudo " };
        let option = if root { ", or add `--install`" } else { "" };
        bail!("missing Debian packages: {list}\n\nhint: run `{sudo}apt-get install {list}`{option}");
    }
    eprintln!("installing Debian packages: {list}");
    let apt_get = |args: &[&str]| {
        process::run(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let options = ["install", "--yes", "-qq", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends"];
    let install = [&options, missing.as_slice()].concat();
    // The first try fails if the package lists are missing or outdated.
    apt_get(&install)
        .or_else(|_| apt_get(&["update", "-qq"]).and_then(|()| apt_get(&install)))
        .with_context(|| format!("installing {list}"))
}

fn installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    query.output().is_ok_and(|output| output.stdout == b"installed")
}
