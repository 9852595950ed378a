//! The filter's module as an OCI image that both Istio and Envoy Gateway accept: one layer, a gzipped tar that contains
//! `plugin.wasm` (Wasm OCI image specification, "compat" variant).

use std::io;

use flate2::{Compression, GzBuilder};
use oci_client::client::{Config, ImageLayer};
use oci_client::manifest::OciImageManifest;
use serde_json::json;

use crate::error::Error;
use crate::sha256;

/// The file in the layer. The specification defines its name.
const FILE: &str = "plugin.wasm";

/// An image, ready to be pushed.
pub(crate) struct Image {
    /// The only layer.
    pub(crate) layer: ImageLayer,
    /// The image configuration.
    pub(crate) config: Config,
    /// The manifest, byte for byte as it is pushed.
    pub(crate) manifest: Vec<u8>,
    /// The SHA-256 of the manifest in hex: the value of `gateway.module.sha256` for an image.
    pub(crate) sha256: String,
}

impl Image {
    /// The image of a module. The same module gives the same image, byte for byte.
    pub(crate) fn of(module: &[u8]) -> Result<Self, Error> {
        let cannot = |e: &dyn std::fmt::Display| Error::failed(format_args!("cannot create the image: {e}"));
        let tar = tar(module).map_err(|e| cannot(&e))?;
        let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        io::copy(&mut tar.as_slice(), &mut gzip).map_err(|e| cannot(&e))?;
        let layer = ImageLayer::oci_v1_gzip(gzip.finish().map_err(|e| cannot(&e))?, None);
        let config = json!({
            "architecture": "wasm",
            "os": "wasi",
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256::hex(&tar))]},
        });
        let config = Config::oci_v1(config.to_string().into_bytes(), None);
        let manifest = OciImageManifest::build(std::slice::from_ref(&layer), &config, None);
        let manifest = serde_json::to_vec(&manifest).map_err(|e| cannot(&e))?;
        Ok(Image { layer, config, sha256: sha256::hex(&manifest), manifest })
    }
}

fn tar(module: &[u8]) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(module.len() as u64);
    header.set_mode(0o644);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, FILE, module)?;
    tar.into_inner()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn an_image_contains_the_module_and_is_reproducible() {
        let image = Image::of(b"\0asm").unwrap();
        assert_eq!(image.sha256, Image::of(b"\0asm").unwrap().sha256);
        assert_ne!(image.sha256, Image::of(b"\0asn").unwrap().sha256);
        assert_eq!(image.layer.media_type, "application/vnd.oci.image.layer.v1.tar+gzip");
        let mut archive = tar::Archive::new(GzDecoder::new(&image.layer.data[..]));
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some("plugin.wasm"));
        let mut module = Vec::new();
        entry.read_to_end(&mut module).unwrap();
        assert_eq!(module, b"\0asm");
    }
}
