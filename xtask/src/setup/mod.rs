//! `cargo xtask setup`: what the other recipes need beside Rust, installed into the cache once.

pub(crate) mod cache;
mod cargo_tool;
mod pdata;
mod protobufjs;
mod python;
mod telemetrygen;

use std::path::PathBuf;

use anyhow::Result;

pub(crate) use cargo_tool::cargo_tool;
pub(crate) use pdata::pdata;
pub(crate) use protobufjs::protobufjs;
pub(crate) use python::python;
pub(crate) use telemetrygen::telemetrygen;

use crate::{debian, project};

/// The Debian package of the bench: h2load.
pub(crate) const LOAD_PACKAGES: [&str; 1] = ["nghttp2-client"];

/// Installs everything that the recipes use and says where it is. What only the bench or only some tests need, and
/// cannot be had here, is named and left out.
pub(crate) fn recipe() -> Result<()> {
    let python = python()?;
    let optional = [
        ("telemetrygen", telemetrygen()),
        ("pdata", pdata()),
        ("protobufjs", protobufjs()),
        ("h2load", debian::install(&LOAD_PACKAGES).map(|()| PathBuf::from("/usr/bin/h2load"))),
    ];
    eprintln!("cache         {}", project::cache_dir()?.display());
    eprintln!("python        {}", python.interpreter.display());
    eprintln!("envoy         {}", python.envoy.display());
    for (name, found) in optional {
        match found {
            Ok(path) => eprintln!("{name:<13} {}", path.display()),
            Err(error) => eprintln!("{name:<13} left out: {error:#}"),
        }
    }
    Ok(())
}
