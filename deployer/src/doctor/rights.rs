//! Whether whoever asks may do what `apply` does.

use std::collections::BTreeSet;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use tokio::task::JoinSet;

use super::Check;
use crate::cluster::{Cluster, Discovery, failed};
use crate::error::Error;
use crate::resources::Object;

pub(super) async fn checks(
    cluster: &Cluster,
    discovery: &Discovery,
    objects: &[Object],
) -> Result<Vec<Check>, Error> {
    let asked: BTreeSet<(String, String, Option<String>)> = objects
        .iter()
        .filter_map(|object| {
            let plural = discovery.plural(object.api_version(), &object.kind)?;
            let group = object.api_version().split_once('/').map_or("", |(group, _)| group);
            Some((group.to_owned(), plural.to_owned(), object.namespace.clone()))
        })
        .collect();
    let mut answers = JoinSet::new();
    for (group, plural, namespace) in asked {
        let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
        answers.spawn(async move {
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
    for (plural, namespace, answer) in answers.join_all().await {
        let answer = answer.map_err(|e| failed("cannot ask for your rights", &e))?;
        if !answer.status.is_some_and(|status| status.allowed) {
            let place = namespace.map_or_else(|| "the cluster".to_owned(), |it| format!("namespace {it}"));
            denied.push(format!("{plural} in {place}"));
        }
    }
    denied.sort_unstable();
    Ok(vec![if denied.is_empty() {
        Check::pass("rights", "you may apply all that the gate is made of")
    } else {
        Check::fail(
            "rights",
            format!("you may not patch {}", denied.join(", ")),
            "ask for a role with get, list, create, patch and delete on them",
        )
    }])
}
