//! OCI images of otlp-gate: its module, as Istio and Envoy Gateway take it, and its command. They are made without a
//! container engine, and the same content gives the same bytes.

mod archive;
mod image;

use oci_spec::image::{Arch, ConfigBuilder, Os};

pub use archive::archive;
pub use image::{Blob, Error, Image};

use image::Entry;

/// The image of the filter's module: one layer, which contains `plugin.wasm` (Wasm OCI image specification, "compat"
/// variant).
///
/// # Errors
/// The image cannot be put together.
pub fn of_module(module: &[u8]) -> Result<Image, Error> {
    let file = Entry::File { path: "plugin.wasm", mode: 0o644, content: module };
    Image::new(&[file], Arch::Other("wasm".to_owned()), Os::Other("wasi".to_owned()), None)
}

/// The user of the command's image. No system has a user of this number; it is the one of distroless images.
const USER: &str = "65532:65532";

/// The image of the command: a static binary, and nothing else but a folder for temporary files. `architecture` is
/// that of Go, such as `amd64`.
///
/// # Errors
/// The image cannot be put together.
pub fn of_command(binary: &[u8], architecture: &str) -> Result<Image, Error> {
    let entries = [
        Entry::File { path: "otlp-gate", mode: 0o755, content: binary },
        Entry::Folder { path: "tmp/", mode: 0o1777 },
        Entry::Folder { path: "work/", mode: 0o1777 },
    ];
    let run = ConfigBuilder::default()
        .entrypoint(vec!["/otlp-gate".to_owned()])
        .env(vec!["PATH=/".to_owned(), "HOME=/tmp".to_owned()])
        .user(USER)
        .working_dir("/work")
        .build()?;
    Image::new(&entries, Arch::from(architecture), Os::Linux, Some(run))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use serde_json::Value;

    use super::*;

    /// The files of a tar, with their modes.
    fn untar(tar: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut archive = tar::Archive::new(tar);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            (path, (entry.header().mode().unwrap(), content))
        });
        entries.collect()
    }

    fn layer(image: &Image) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut tar = Vec::new();
        GzDecoder::new(&image.layer.data[..]).read_to_end(&mut tar).unwrap();
        untar(&tar)
    }

    #[test]
    fn the_modules_image_contains_the_module_and_is_reproducible() {
        let image = of_module(b"\0asm").unwrap();
        assert_eq!(image, of_module(b"\0asm").unwrap());
        assert_ne!(image.manifest.sha256(), of_module(b"\0asn").unwrap().manifest.sha256());
        let manifest: Value = serde_json::from_slice(&image.manifest.data).unwrap();
        let only = &manifest["layers"][0];
        assert_eq!(only["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
        assert_eq!(only["digest"], image.layer.digest());
        assert_eq!(layer(&image)["plugin.wasm"].1, b"\0asm");
    }

    #[test]
    fn the_commands_image_runs_it_as_a_user_without_rights() {
        let image = of_command(b"\x7fELF", "arm64").unwrap();
        assert_eq!(layer(&image)["otlp-gate"], (0o755, b"\x7fELF".to_vec()));
        let config: Value = serde_json::from_slice(&image.config.data).unwrap();
        assert_eq!((&config["architecture"], &config["os"]), (&"arm64".into(), &"linux".into()));
        assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/otlp-gate"]));
        assert_eq!(config["config"]["User"], USER);
    }

    #[test]
    fn an_archive_leads_from_its_index_to_every_platform() {
        let images = ["amd64", "arm64"].map(|it| of_command(it.as_bytes(), it).unwrap());
        let archived = archive(&images, "0.1.0").unwrap();
        assert_eq!(archived, archive(&images, "0.1.0").unwrap());
        let files = untar(&archived);
        let json = |path: &str| -> Value { serde_json::from_slice(&files[path].1).unwrap() };
        let blob = |digest: &Value| format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"));
        assert_eq!(json("oci-layout")["imageLayoutVersion"], "1.0.0");
        let root = json("index.json")["manifests"][0].clone();
        assert_eq!(root["annotations"]["org.opencontainers.image.ref.name"], "0.1.0");
        let index = json(&blob(&root["digest"]));
        for (number, name) in ["amd64", "arm64"].into_iter().enumerate() {
            let entry = &index["manifests"][number];
            assert_eq!(entry["platform"]["architecture"], name);
            let manifest = json(&blob(&entry["digest"]));
            let layer = &files[&blob(&manifest["layers"][0]["digest"])].1;
            assert_eq!(manifest["layers"][0]["size"], layer.len());
            let config = json(&blob(&manifest["config"]["digest"]));
            assert_eq!(config["architecture"], name);
        }
    }
}
