//! Debian's toolchain for wasm32, for machines where rustup cannot download.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{debian, process, project};

/// The packages of the toolchain. It is newer than Debian's `rustc`, because browsers need it.
pub(crate) const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";

/// Debian's rustc and cargo, ready to build the standard library from source.
pub(crate) struct Debian {
    version: String,
    source: PathBuf,
    linker: PathBuf,
}

impl Debian {
    /// Finds the toolchain.
    pub(crate) fn find() -> Result<Self> {
        debian::require(&PACKAGES)?;
        let sysroot = process::stdout(&mut rustc(&["--print", "sysroot"]))?;
        // A link into /usr/src. The compiler resolves it before it writes paths into the module.
        let source = Path::new(&sysroot).join("lib/rustlib/src/rust");
        let source = source.canonicalize().with_context(|| format!("reading {}", source.display()))?;
        let version = process::stdout(&mut rustc(&["--version"]))?;
        let version = version.split(' ').take(2).collect::<Vec<_>>().join(" ");
        Ok(Debian { version, source, linker: linker()? })
    }

    /// The compiler's version, such as `rustc 1.96.0`.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The source of the standard library.
    pub(crate) fn source(&self) -> &Path {
        &self.source
    }

    /// Debian's cargo with Debian's rustc, started in the root of the work tree.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(CARGO);
        cargo
            .current_dir(project::root())
            // -Zbuild-std is unstable.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", RUSTC)
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &self.linker)
            // `cargo run` sets this to rustup's libraries.
            .env_remove("LD_LIBRARY_PATH");
        cargo
    }
}

fn rustc(args: &[&str]) -> Command {
    let mut rustc = Command::new(RUSTC);
    rustc.args(args).env_remove("LD_LIBRARY_PATH");
    rustc
}

/// The rust-lld of rustup's toolchain, because the one in Debian's packages is a dangling link.
fn linker() -> Result<PathBuf> {
    let mut rustc = Command::new("rustc");
    let sysroot = process::stdout(rustc.args(["--print", "sysroot"]).current_dir(project::root()))?;
    let host =
        process::stdout(Command::new("rustc").args(["--print", "host-tuple"]).current_dir(project::root()))?;
    let linker = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
    if !linker.is_file() {
        bail!("{} is missing", linker.display());
    }
    Ok(linker)
}
