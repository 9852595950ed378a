//! The gate's namespace.

use k8s_openapi::api::core::v1::Namespace;

use crate::error::Error;
use crate::model::{Installation, Object};

/// The gate's namespace; none for `default`, which belongs to the cluster.
pub(crate) fn namespace(installation: &Installation<'_>) -> Result<Option<Object>, Error> {
    let names = &installation.names;
    if names.namespace == "default" {
        return Ok(None);
    }
    let mut metadata = names.metadata(&names.namespace);
    metadata.namespace = None;
    // Istio's gateway pods have no seccomp profile, so they meet the level `baseline` but not `restricted`.
    let levels = [("enforce", "baseline"), ("warn", "restricted")];
    let levels = levels.map(|(mode, level)| (format!("pod-security.kubernetes.io/{mode}"), level.to_owned()));
    metadata.labels.get_or_insert_default().extend(levels);
    Object::builtin(&Namespace { metadata, ..Namespace::default() }).map(Some)
}
