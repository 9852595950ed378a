//! What the Collector may read of the cluster, to know which pod sends: names and labels, and nothing that is secret.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};

use super::Place;

pub(super) fn role(place: &Place<'_>) -> ClusterRole {
    ClusterRole {
        metadata: place.global(),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["namespaces".to_owned(), "nodes".to_owned(), "pods".to_owned()]),
            verbs: ["get", "list", "watch"].map(str::to_owned).into(),
            ..PolicyRule::default()
        }]),
        ..ClusterRole::default()
    }
}

pub(super) fn binding(place: &Place<'_>) -> ClusterRoleBinding {
    let metadata = place.global();
    ClusterRoleBinding {
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: metadata.name.clone().unwrap_or_default(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: place.name.clone(),
            namespace: Some(place.namespace.clone()),
            ..Subject::default()
        }]),
        metadata,
    }
}
