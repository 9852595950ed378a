//! Prometheus and promtool, which evaluate alarms and the queries of dashboards.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cache;
use crate::process;

/// The Debian package with both programs.
const PACKAGE: &str = "prometheus";

/// The folder with `prometheus` and `promtool`: that of the programs on `PATH`, else from Debian's package. The package is
/// only unpacked, because installing it starts a Prometheus as a service.
pub(crate) fn prometheus() -> Result<PathBuf> {
    if let (Some(program), Some(_)) = (process::find("prometheus"), process::find("promtool")) {
        return Ok(program.parent().map(PathBuf::from).unwrap_or_default());
    }
    if process::find("apt-get").is_none() || process::find("dpkg-deb").is_none() {
        bail!("prometheus and promtool are not on PATH\n\nhint: see https://prometheus.io/download");
    }
    let dir = cache::folder("prometheus-debian", |dir| {
        let download =
            || process::run(Command::new("apt-get").args(["download", "-qq", PACKAGE]).current_dir(dir));
        // The first try fails if the package lists are missing or outdated.
        download().or_else(|_| {
            process::run(Command::new("apt-get").args(["update", "-qq"]))?;
            download()
        })?;
        let mut files = std::fs::read_dir(dir)?.filter_map(|entry| Some(entry.ok()?.path()));
        let archive = files.find(|it| it.extension().is_some_and(|end| end == "deb"));
        let archive = archive.context("apt-get has downloaded no package")?;
        process::run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(dir))?;
        std::fs::remove_file(archive).context("removing the package")
    })?;
    Ok(dir.join("usr/bin"))
}
