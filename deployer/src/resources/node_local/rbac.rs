//! RBAC for the node-local Collector, which identifies pods by their address: it reads names and labels, and no
//! Secrets.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};

use super::NodeGateway;

pub(super) fn role(node_gateway: &NodeGateway<'_>) -> ClusterRole {
    ClusterRole {
        metadata: node_gateway.cluster_metadata(),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["namespaces".to_owned(), "nodes".to_owned(), "pods".to_owned()]),
            verbs: ["get", "list", "watch"].map(str::to_owned).into(),
            ..PolicyRule::default()
        }]),
        ..ClusterRole::default()
    }
}

pub(super) fn binding(node_gateway: &NodeGateway<'_>) -> ClusterRoleBinding {
    let metadata = node_gateway.cluster_metadata();
    ClusterRoleBinding {
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: metadata.name.clone().unwrap_or_default(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: node_gateway.name.clone(),
            namespace: Some(node_gateway.namespace.clone()),
            ..Subject::default()
        }]),
        metadata,
    }
}
