//! The filter as a dynamic module of Envoy, as `cargo xtask build-native` built it. It is a file, not a part of the
//! command: it runs inside of Envoy's process, so it is built for its machine.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The name by which Envoy finds it: `lib`, this, and `.so`.
pub(crate) const NAME: &str = "otlp_gate";

/// The file's name.
pub(crate) const FILE: &str = "libotlp_gate.so";

/// Why it has no quotas over several replicas.
pub(crate) const NO_ENGINE: &str = "the native module cannot share quotas with other gates: Envoy lets a dynamic \
                                    module call a quota engine only while a request is open";

/// What to do where Envoy Gateway takes no dynamic modules.
pub(crate) const UPGRADE_HINT: &str =
    "upgrade Envoy Gateway and its CRDs to 1.8 or later, or remove `gateway.host`";

/// Why a module that is no image is an error.
pub(crate) const NO_IMAGE: &str =
    "with `host: native`, the module comes in an image of Envoy that contains it";

/// How to make an image for proxies in a cluster.
pub(crate) const IMAGE_HINT: &str = "build the image as docs/guides/native-module.md shows, and set `gateway.module.url` to oci://REGISTRY/IMAGE:TAG";

/// What a module of this version contains (`VERSION` in native/src/lib.rs).
const VERSION: &[u8] = concat!("otlp-gate native module ", env!("CARGO_PKG_VERSION"), "\0").as_bytes();
const ANY_VERSION: &[u8] = b"otlp-gate native module ";

/// The minor versions of Envoy 1 that its ABI fits: it is that of the first, and each version of Envoy runs modules of
/// the one before.
const ENVOYS: [u32; 2] = [40, 41];

/// The bytes of a native module of this version.
#[derive(Debug)]
pub(crate) struct NativeModule(Vec<u8>);

impl NativeModule {
    /// Reads `named`, or the file beside the command.
    ///
    /// # Errors
    /// There is no such file, or it is not a module of this version.
    pub(crate) fn read(named: Option<&Path>) -> Result<Self, Error> {
        let file = named.map_or_else(beside_the_command, Path::to_path_buf);
        let bytes = fs::read(&file).map_err(|error| {
            let hint = match named {
                Some(_) => "`cargo xtask build-native` builds the module and prints its path",
                None => "build it with `cargo xtask build-native`, and pass `--module FILE`",
            };
            Error::failed(format!("cannot read the native module {}: {error}", file.display())).hint(hint)
        })?;
        if contains(&bytes, VERSION) {
            return Ok(NativeModule(bytes));
        }
        let message = if contains(&bytes, ANY_VERSION) {
            format!(
                "the native module {} is not of version {}, as this command is",
                file.display(),
                env!("CARGO_PKG_VERSION")
            )
        } else {
            format!("{} is not a native module of otlp-gate", file.display())
        };
        Err(Error::failed(message).hint("build it with `cargo xtask build-native` from the same source"))
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Checks that a version of Envoy runs native modules of this build, before Envoy loads one.
///
/// # Errors
/// It does not.
pub(crate) fn check_envoy(binary: &Path, (major, minor): (u32, u32)) -> Result<(), Error> {
    if major == 1 && ENVOYS.contains(&minor) {
        return Ok(());
    }
    let [first, last] = ENVOYS;
    let message = format!(
        "the native module fits Envoy 1.{first} and 1.{last}, and {} is Envoy {major}.{minor}",
        binary.display()
    );
    Err(Error::failed(message).hint("pass another Envoy with `--envoy FILE`, or leave out `--native`"))
}

fn beside_the_command() -> PathBuf {
    let command = env::current_exe().unwrap_or_default();
    command.with_file_name(FILE)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<NativeModule, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        fs::write(&file, bytes).unwrap();
        let place = file.display().to_string();
        NativeModule::read(Some(&file)).map_err(|error| error.to_string().replace(&place, "FILE"))
    }

    #[test]
    fn only_a_module_of_this_version_is_taken() {
        assert_eq!(read(&[b"\x7fELF", VERSION, b"more"].concat()).unwrap().bytes().len(), VERSION.len() + 8);
        let other = read(b"\x7fELF otlp-gate native module 0.0.1\0").unwrap_err();
        assert!(other.contains("FILE is not of version"), "{other}");
        let none = read(b"\x7fELF").unwrap_err();
        assert!(none.contains("FILE is not a native module"), "{none}");
    }

    #[test]
    fn only_the_envoys_of_its_abi_are_taken() {
        for (version, fits) in
            [((1, 39), false), ((1, 40), true), ((1, 41), true), ((1, 42), false), ((2, 40), false)]
        {
            assert_eq!(check_envoy(Path::new("envoy"), version).is_ok(), fits, "{version:?}");
        }
    }
}
