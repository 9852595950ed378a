//! Checks whether RBAC allows the user to apply the gate's objects.

use std::collections::BTreeSet;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use tokio::task::JoinSet;

use super::Check;
use crate::cluster::{Cluster, Discovery, api_error};
use crate::error::Error;
use crate::model::Object;

pub(super) async fn check(
    cluster: &Cluster,
    discovery: &Discovery,
    objects: &[Object],
) -> Result<Check, Error> {
    let asked: BTreeSet<(String, String, Option<String>)> = objects
        .iter()
        .filter_map(|object| {
            let plural = discovery.plural(object.api_version(), &object.kind)?;
            let group = object.api_version().split_once('/').map_or("", |(group, _)| group);
            Some((group.to_owned(), plural.to_owned(), object.namespace.clone()))
        })
        .collect();
    let mut reviews = JoinSet::new();
    for (group, plural, namespace) in asked {
        let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
        reviews.spawn(async move {
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(ResourceAttributes {
                        group: Some(group),
                        resource: Some(plural.clone()),
                        namespace: namespace.clone(),
                        verb: Some("patch".to_owned()),
                        ..ResourceAttributes::default()
                    }),
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            (plural, namespace, api.create(&PostParams::default(), &review).await)
        });
    }
    let mut denied = Vec::new();
    for (plural, namespace, review) in reviews.join_all().await {
        let review = review.map_err(|e| api_error("cannot review your permissions", &e))?;
        if !review.status.is_some_and(|status| status.allowed) {
            let scope = namespace.map_or_else(|| "the cluster".to_owned(), |it| format!("namespace {it}"));
            denied.push(format!("{plural} in {scope}"));
        }
    }
    denied.sort_unstable();
    Ok(if denied.is_empty() {
        Check::pass("rights", "you may apply all of the gate's objects")
    } else {
        Check::fail(
            "rights",
            format!("you may not patch {}", denied.join(", ")),
            "ask for a role with get, list, create, patch and delete on them",
        )
    })
}
