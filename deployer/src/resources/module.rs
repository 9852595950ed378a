//! How the filter's module gets to the gateway.

use crate::error::Error;
use crate::sha256;

/// Kubernetes' bound on what a ConfigMap holds, in bytes (api/core/v1 `MaxSecretSize`, which holds for both).
const LARGEST_CONFIG_MAP: usize = 1 << 20;

/// Where the gateway gets the filter's module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Module {
    /// From a ConfigMap that holds it.
    ConfigMap {
        /// The module.
        bytes: Vec<u8>,
        /// Its SHA-256 in hex.
        sha256: String,
    },
    /// From a registry: `oci://`, and what an image's name is.
    Oci {
        /// The image's name, without `oci://`.
        image: String,
        /// The SHA-256 of the image's manifest in hex, where it is to be checked.
        sha256: Option<String>,
    },
    /// From a web server.
    Http {
        /// Its URL.
        url: String,
        /// Its SHA-256 in hex.
        sha256: String,
    },
}

impl Module {
    /// The module in a ConfigMap.
    ///
    /// # Errors
    /// It is too large for one.
    pub fn in_config_map(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > LARGEST_CONFIG_MAP {
            return Err(Error::failed(format_args!(
                "the filter's module has {} bytes, and a ConfigMap holds {LARGEST_CONFIG_MAP}",
                bytes.len()
            ))
            .hint("push it to a registry with `otlp-gate wasm push`, and name it: `--module oci://...`"));
        }
        Ok(Module::ConfigMap { bytes: bytes.to_owned(), sha256: sha256::hex(bytes) })
    }

    /// What tells it from any other.
    pub(crate) fn source(&self) -> String {
        match self {
            Module::ConfigMap { sha256, .. } => sha256.clone(),
            Module::Oci { image, sha256 } => format!("{image} {}", sha256.as_deref().unwrap_or_default()),
            Module::Http { url, sha256 } => format!("{url} {sha256}"),
        }
    }

    /// The module at a URL. Where no digest is given, a web server must have the module with this one.
    ///
    /// # Errors
    /// It is neither `oci://`, `http://` nor `https://`, or the digest is none.
    pub fn at(url: &str, sha256: Option<&str>, carried: &str) -> Result<Self, Error> {
        let sha256 = sha256.map(|digest| digest.strip_prefix("sha256:").unwrap_or(digest).to_owned());
        if let Some(digest) = &sha256
            && !(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return Err(Error::usage(format_args!("`{}` is no SHA-256", digest.escape_debug()))
                .hint("it has 64 hex digits"));
        }
        if let Some(image) = url.strip_prefix("oci://").filter(|image| !image.is_empty()) {
            return Ok(Module::Oci { image: image.to_owned(), sha256 });
        }
        if url.starts_with("http://") || url.starts_with("https://") {
            let sha256 = sha256.unwrap_or_else(|| carried.to_owned());
            return Ok(Module::Http { url: url.to_owned(), sha256 });
        }
        Err(Error::usage(format_args!("`{}` is no place for the filter's module", url.escape_debug()))
            .hint("use oci://REGISTRY/IMAGE:TAG, https://... or http://..."))
    }
}
