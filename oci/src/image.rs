//! One image: a layer, its configuration, and the manifest that names both.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use flate2::{Compression, GzBuilder};
use oci_spec::OciSpecError;
use oci_spec::image::{
    Arch, Config, Descriptor, ImageConfigurationBuilder, ImageManifestBuilder, MediaType, Os,
    PlatformBuilder, RootFsBuilder, SCHEMA_VERSION,
};
use sha2::{Digest, Sha256};

/// Why an image cannot be put together.
#[derive(Debug)]
pub struct Error(String);

/// A piece of an image, as registries and layouts store it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its media type.
    pub media_type: MediaType,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// An image for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The only layer.
    pub layer: Blob,
    /// The image configuration.
    pub config: Blob,
    /// The manifest, byte for byte as it is pushed.
    pub manifest: Blob,
    architecture: Arch,
    os: Os,
}

/// An entry of a layer.
pub(crate) enum Entry<'a> {
    File { path: &'a str, mode: u32, content: &'a [u8] },
    Folder { path: &'a str, mode: u32 },
}

impl Image {
    /// An image with one layer. `run` says how a container of it runs.
    pub(crate) fn new(
        entries: &[Entry<'_>],
        architecture: Arch,
        os: Os,
        run: Option<Config>,
    ) -> Result<Self, Error> {
        let tar = tar(entries)?;
        let rootfs = RootFsBuilder::default().typ("layers").diff_ids(vec![digest(&tar)]).build()?;
        let config = ImageConfigurationBuilder::default()
            .architecture(architecture.clone())
            .os(os.clone())
            .rootfs(rootfs);
        let config = match run {
            Some(run) => config.config(run),
            None => config,
        };
        let config = Blob::json(MediaType::ImageConfig, &config.build()?)?;
        let layer = Blob { media_type: MediaType::ImageLayerGzip, data: gzip(&tar)? };
        let manifest = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageManifest)
            .config(config.descriptor()?)
            .layers(vec![layer.descriptor()?])
            .build()?;
        let manifest = Blob::json(MediaType::ImageManifest, &manifest)?;
        Ok(Image { layer, config, manifest, architecture, os })
    }

    /// The descriptor of the manifest, with the platform.
    pub(crate) fn descriptor(&self) -> Result<Descriptor, Error> {
        let mut descriptor = self.manifest.descriptor()?;
        let platform = PlatformBuilder::default().architecture(self.architecture.clone()).os(self.os.clone());
        descriptor.set_platform(Some(platform.build()?));
        Ok(descriptor)
    }
}

impl Blob {
    /// An object as JSON. No object here has a map with several keys, whose order would be random.
    pub(crate) fn json(media_type: MediaType, object: &impl serde::Serialize) -> Result<Self, Error> {
        Ok(Blob { media_type, data: serde_json::to_vec(object).map_err(|e| Error(e.to_string()))? })
    }

    /// Its SHA-256, in hex.
    pub fn sha256(&self) -> String {
        let mut hex = String::new();
        for byte in Sha256::digest(&self.data) {
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }

    /// Its digest, such as `sha256:9f86...`.
    pub fn digest(&self) -> String {
        format!("sha256:{}", self.sha256())
    }

    pub(crate) fn descriptor(&self) -> Result<Descriptor, Error> {
        let digest: oci_spec::image::Digest = self.digest().parse()?;
        Ok(Descriptor::new(self.media_type.clone(), self.data.len() as u64, digest))
    }
}

fn digest(data: &[u8]) -> String {
    Blob { media_type: MediaType::ImageLayer, data: data.to_vec() }.digest()
}

fn tar(entries: &[Entry<'_>]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        let (path, content) = match *entry {
            Entry::File { path, mode, content } => {
                header.set_mode(mode);
                (path, content)
            }
            Entry::Folder { path, mode } => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(mode);
                (path, &[][..])
            }
        };
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content)?;
    }
    tar.into_inner()
}

fn gzip(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(data)?;
    gzip.finish()
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<OciSpecError> for Error {
    fn from(error: OciSpecError) -> Self {
        Error(error.to_string())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error(error.to_string())
    }
}
