//! The imports and the size of a built module.

use std::fmt;
use std::io::Write;

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use wasmparser::{Imports, Parser, Payload};

/// The largest size intended, in bytes. A ConfigMap holds 1 MiB, or 786 KB before base64, so this leaves room to grow.
/// The zstd decompressor is 36 KB, shared quotas are 33 KB.
const GOAL: usize = 600_000;

/// The calls of WASI that the module uses, for the environment. Proxies provide them.
const WASI: [&str; 2] = ["wasi_snapshot_preview1.environ_get", "wasi_snapshot_preview1.environ_sizes_get"];

/// Checks that the module imports only what proxies provide. A proxy does not load it otherwise.
pub(crate) fn check(module: &[u8]) -> Result<()> {
    let foreign: Vec<String> = imports(module)?.into_iter().filter(|import| !provided(import)).collect();
    if !foreign.is_empty() {
        bail!(
            "the module imports {}, but a proxy provides only env.proxy_*\n\nhint: `cargo tree --package \
             otlp-gate-filter --target wasm32-unknown-unknown` shows the dependencies",
            foreign.join(", ")
        );
    }
    Ok(())
}

fn provided(import: &str) -> bool {
    import.starts_with("env.proxy_") || WASI.contains(&import)
}

/// The module's imports, as `module.name`.
fn imports(module: &[u8]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let Payload::ImportSection(section) = payload.context("reading the module")? else { continue };
        for import in section {
            let Imports::Single(_, import) = import? else {
                bail!("the module groups its imports, which proxies do not support");
            };
            names.push(format!("{}.{}", import.module, import.name));
        }
    }
    Ok(names)
}

/// The module's size in bytes.
pub(crate) struct Size {
    raw: usize,
    gzip: usize,
}

impl Size {
    /// The size as it is, and compressed with gzip as in registries.
    pub(crate) fn of(module: &[u8]) -> Result<Self> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(module)?;
        Ok(Size { raw: module.len(), gzip: gzip.finish()?.len() })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kb = |bytes: usize| bytes.div_ceil(1000);
        let relation = if self.raw <= GOAL { "within" } else { "OVER" };
        let (raw, gzip, goal) = (kb(self.raw), kb(self.gzip), kb(GOAL));
        write!(f, "{raw} KB ({gzip} KB gzip), {relation} the goal of {goal} KB")
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    /// A module that imports one function of no arguments and no result.
    fn module_that_imports(module: &str, name: &str) -> Vec<u8> {
        let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        let import = [vec![1], text(module), text(name), vec![0, 0]].concat();
        let section = [vec![2, import.len() as u8], import].concat();
        [b"\0asm\x01\0\0\0".as_slice(), &[1, 4, 1, 0x60, 0, 0], &section].concat()
    }

    #[test]
    fn only_imports_of_host_calls_are_accepted() {
        check(&module_that_imports("env", "proxy_log")).unwrap();
        for (module, name) in
            [("env", "abort"), ("__wbindgen_placeholder__", "__wbindgen_throw"), ("wasi", "proxy_log")]
        {
            let error = check(&module_that_imports(module, name)).unwrap_err().to_string();
            assert!(error.contains(&format!("imports {module}.{name},")), "{error}");
        }
    }
}
