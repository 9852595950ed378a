//! Objects as files, for GitOps.

use std::path::Path;

use serde_json::json;

use crate::error::Error;
use crate::file::{Access, Existing, Staged};
use crate::model::{Object, yaml};

/// Writes one file per object, and the `kustomization.yaml` that kustomize and `kubectl apply -k` read. Files of
/// objects that are no longer rendered stay in the folder, but not in the list.
pub(crate) fn write_folder(folder: &Path, objects: &[Object]) -> Result<(), Error> {
    let mut names: Vec<String> = objects.iter().map(Object::file_name).collect();
    for (name, object) in names.iter().zip(objects) {
        put(&folder.join(name), &object.to_yaml()?)?;
    }
    names.sort_unstable();
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": names,
    });
    put(&folder.join("kustomization.yaml"), &yaml(&kustomization)?)
}

fn put(path: &Path, text: &str) -> Result<(), Error> {
    Staged::new(path, text.as_bytes(), Access::Public)?.commit(Existing::Replace)
}
