//! What a built module asks of the proxy, and what it weighs.

use std::fmt;
use std::io::Write;

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use wasmparser::{Imports, Parser, Payload};

/// The size to stay under: seven tenths of the 1 MiB that a ConfigMap with the module in base64 holds, so that the module has room to
/// grow. Inflating zstd is 36 KB of it.
const GOAL: usize = 550_000;

/// An error unless everything the module imports is a proxy-wasm host call: a proxy refuses to load any other.
pub(crate) fn check(module: &[u8]) -> Result<()> {
    let foreign: Vec<String> =
        imports(module)?.into_iter().filter(|import| !import.starts_with("env.proxy_")).collect();
    if !foreign.is_empty() {
        bail!(
            "the module imports {}, and a proxy offers only env.proxy_*\n\nhint: `cargo tree --package \
             otlp-gate-filter --target wasm32-unknown-unknown` shows the dependency that asks for it",
            foreign.join(", ")
        );
    }
    Ok(())
}

/// The module's imports, as `module.name`.
fn imports(module: &[u8]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let Payload::ImportSection(section) = payload.context("reading the module")? else { continue };
        for import in section {
            let Imports::Single(_, import) = import? else {
                bail!("the module groups its imports, which proxies do not read");
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
    /// The size as it is, and packed by gzip as registries keep it.
    pub(crate) fn of(module: &[u8]) -> Result<Self> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(module)?;
        Ok(Size { raw: module.len(), gzip: gzip.finish()?.len() })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kb = |bytes: usize| bytes.div_ceil(1000);
        let verdict = if self.raw <= GOAL { "within" } else { "OVER" };
        let (raw, gzip, goal) = (kb(self.raw), kb(self.gzip), kb(GOAL));
        write!(f, "{raw} KB ({gzip} KB gzip), {verdict} the goal of {goal} KB")
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
    fn only_host_calls_of_a_proxy_are_let_through() {
        check(&module_that_imports("env", "proxy_log")).unwrap();
        for (module, name) in
            [("env", "abort"), ("__wbindgen_placeholder__", "__wbindgen_throw"), ("wasi", "proxy_log")]
        {
            let error = check(&module_that_imports(module, name)).unwrap_err().to_string();
            assert!(error.contains(&format!("imports {module}.{name},")), "{error}");
        }
    }
}
