//! `cargo xtask setup`: installs what the other recipes need beside Rust into the cache.

pub(crate) mod cache;
mod cargo_tool;
mod go_tool;
mod pdata;
mod prometheus;
mod protobufjs;
mod python;
mod telemetrygen;

use std::path::PathBuf;

use anyhow::Result;

pub(crate) use cargo_tool::cargo_tool;
pub(crate) use go_tool::go_tool;
pub(crate) use pdata::pdata;
pub(crate) use prometheus::prometheus;
pub(crate) use protobufjs::protobufjs;
pub(crate) use python::python;
pub(crate) use telemetrygen::telemetrygen;

use crate::{debian, project};

/// The Debian package with h2load, for the bench.
pub(crate) const LOAD_PACKAGES: [&str; 1] = ["nghttp2-client"];

/// Installs everything that the recipes use, and prints the paths. Programs for the bench or for some tests only may be
/// missing.
pub(crate) fn recipe() -> Result<()> {
    let python = python()?;
    let optional = [
        ("telemetrygen", telemetrygen()),
        ("pdata", pdata()),
        ("protobufjs", protobufjs()),
        ("prometheus", prometheus()),
        ("h2load", debian::require(&LOAD_PACKAGES).map(|()| PathBuf::from("/usr/bin/h2load"))),
    ];
    eprintln!("cache         {}", project::cache_dir()?.display());
    eprintln!("python        {}", python.interpreter.display());
    eprintln!("envoy         {}", python.envoy.display());
    for (name, found) in optional {
        match found {
            Ok(path) => eprintln!("{name:<13} {}", path.display()),
            Err(error) => eprintln!("{name:<13} missing: {error:#}"),
        }
    }
    Ok(())
}
