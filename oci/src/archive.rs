//! Images in one file: a tar of an OCI image layout, as `skopeo copy oci-archive:FILE` and `ctr images import` take it.

use std::collections::BTreeMap;

use oci_spec::image::{
    ANNOTATION_REF_NAME, ImageIndex, ImageIndexBuilder, MediaType, OciLayoutBuilder, SCHEMA_VERSION,
};

use super::image::{Blob, Error, Image};

/// The archive of an image for one or several platforms, with a tag.
///
/// # Errors
/// It cannot be put together.
pub fn archive(images: &[Image], tag: &str) -> Result<Vec<u8>, Error> {
    let mut files = BTreeMap::new();
    let mut store = |blob: &Blob| files.insert(format!("blobs/sha256/{}", blob.sha256()), blob.data.clone());
    for blob in images.iter().flat_map(|image| [&image.layer, &image.config, &image.manifest]) {
        store(blob);
    }
    let descriptors: Vec<_> = images.iter().map(Image::descriptor).collect::<Result<_, _>>()?;
    // An image for several platforms is an index of its own.
    let mut root = match descriptors.as_slice() {
        [only] => only.clone(),
        _ => {
            let index = Blob::json(MediaType::ImageIndex, &index(descriptors)?)?;
            store(&index);
            index.descriptor()?
        }
    };
    root.set_annotations(Some([(ANNOTATION_REF_NAME.to_owned(), tag.to_owned())].into()));
    let layout = OciLayoutBuilder::default().image_layout_version("1.0.0").build()?;
    files.insert("oci-layout".to_owned(), Blob::json(MediaType::Other(String::new()), &layout)?.data);
    files.insert("index.json".to_owned(), Blob::json(MediaType::ImageIndex, &index(vec![root])?)?.data);
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_slice())?;
    }
    Ok(tar.into_inner()?)
}

fn index(manifests: Vec<oci_spec::image::Descriptor>) -> Result<ImageIndex, Error> {
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests);
    Ok(index.build()?)
}
