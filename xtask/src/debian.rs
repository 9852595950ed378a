//! Debian's packages.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// Installs those of these packages that are missing: as root by `apt-get`, else one message that says what to type.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if process::find("apt-get").is_none() {
        bail!("{list}: missing, and this is no Debian where apt-get could install it");
    }
    if process::stdout(Command::new("id").arg("-u"))? != "0" {
        bail!("{list}: missing\n\nhint: sudo apt-get install {list}");
    }
    eprintln!("installing Debian's {list}");
    let apt_get = |args: &[&str]| {
        process::run(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    // The lists may be missing or old: then the first try fails, and a look at the mirror mends it.
    let install = [
        &["install", "--yes", "-qq", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends"],
        missing.as_slice(),
    ]
    .concat();
    apt_get(&install)
        .or_else(|_| apt_get(&["update", "-qq"]).and_then(|()| apt_get(&install)))
        .with_context(|| format!("installing {list}"))
}

fn installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    query.output().is_ok_and(|output| output.stdout == b"installed")
}
