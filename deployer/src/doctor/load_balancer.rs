//! Checks whether Services of type LoadBalancer get addresses.

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::Check;
use crate::cluster::Cluster;
use crate::config::Config;

/// A cluster without any such Service shows nothing.
pub(super) async fn check(cluster: &Cluster, config: &Config) -> Check {
    let subject = "load balancer";
    let services = Api::<Service>::all(cluster.client.clone()).list(&ListParams::default()).await;
    let Ok(services) = services else {
        let hint = "run `otlp-gate status` after `otlp-gate apply`";
        return Check::warn(subject, "unknown: Services may not be listed", hint);
    };
    if config.gateway.annotations.contains_key("networking.istio.io/service-type") {
        return Check::pass(subject, "not needed, by an annotation in the config");
    }
    let is_balancer =
        |it: &&Service| it.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
    let has_address = |it: &Service| {
        let balancer = it.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        balancer.and_then(|it| it.ingress.as_ref()).is_some_and(|it| !it.is_empty())
    };
    let balancers: Vec<&Service> = services.items.iter().filter(is_balancer).collect();
    match balancers.iter().find(|it| has_address(it)) {
        Some(found) => Check::pass(subject, format!("Service {} has an address", found.name_any())),
        None if balancers.is_empty() => Check::pass(subject, "unknown: no Service has the type LoadBalancer"),
        None => Check::warn(
            subject,
            format!("none of {} Services of type LoadBalancer has an address", balancers.len()),
            "install a load balancer, such as MetalLB, or your cloud's controller",
        ),
    }
}
