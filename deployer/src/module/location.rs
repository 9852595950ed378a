//! Where the gateway's proxies get the filter's module.

use crate::error::Error;
use crate::sha256;

/// The most bytes that Kubernetes allows in a ConfigMap (api/core/v1 `MaxSecretSize`, which applies to both).
const LARGEST_CONFIG_MAP: usize = 1 << 20;

/// Where the gateway's proxies get the filter's module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// From a ConfigMap that contains it.
    ConfigMap {
        /// The module.
        bytes: Vec<u8>,
        /// The module's SHA-256, in hex.
        sha256: String,
    },
    /// From an OCI registry.
    Oci {
        /// The image reference, without `oci://`.
        image: String,
        /// The SHA-256 of the image's manifest in hex, if it is to be verified.
        sha256: Option<String>,
    },
    /// From a web server.
    Http {
        /// The URL, `http://` or `https://`.
        url: String,
        /// The module's SHA-256, in hex.
        sha256: String,
    },
}

impl Location {
    /// A ConfigMap with these bytes.
    ///
    /// # Errors
    /// The module is too large for a ConfigMap.
    pub(crate) fn config_map(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > LARGEST_CONFIG_MAP {
            return Err(Error::failed(format_args!(
                "the filter's module has {} bytes, and a ConfigMap holds {LARGEST_CONFIG_MAP}",
                bytes.len()
            ))
            .hint("push it to a registry with `otlp-gate wasm push`, and name it: `--module oci://...`"));
        }
        Ok(Location::ConfigMap { bytes: bytes.to_owned(), sha256: sha256::hex(bytes) })
    }

    /// A text that differs between any two locations and contents.
    pub(crate) fn source(&self) -> String {
        match self {
            Location::ConfigMap { sha256, .. } => sha256.clone(),
            Location::Oci { image, sha256 } => format!("{image} {}", sha256.as_deref().unwrap_or_default()),
            Location::Http { url, sha256 } => format!("{url} {sha256}"),
        }
    }

    /// The location that a URL names. A web server's module must have the digest `sha256`, or by default the digest
    /// `embedded` of the module that this command contains.
    ///
    /// # Errors
    /// The URL's scheme is not `oci://`, `http://` or `https://`, or `sha256` is not a SHA-256 digest.
    pub(crate) fn at(url: &str, sha256: Option<&str>, embedded: &str) -> Result<Self, Error> {
        let sha256 = sha256.map(|digest| digest.strip_prefix("sha256:").unwrap_or(digest).to_owned());
        if let Some(digest) = &sha256
            && !(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return Err(Error::usage(format_args!("`{}` is not a SHA-256 digest", digest.escape_debug()))
                .hint("use 64 hex digits"));
        }
        if let Some(image) = url.strip_prefix("oci://").filter(|image| !image.is_empty()) {
            return Ok(Location::Oci { image: image.to_owned(), sha256 });
        }
        if url.starts_with("http://") || url.starts_with("https://") {
            let sha256 = sha256.unwrap_or_else(|| embedded.to_owned());
            return Ok(Location::Http { url: url.to_owned(), sha256 });
        }
        Err(Error::usage(format_args!("`{}` is not a URL for the filter's module", url.escape_debug()))
            .hint("use oci://REGISTRY/IMAGE:TAG, https://... or http://..."))
    }
}
