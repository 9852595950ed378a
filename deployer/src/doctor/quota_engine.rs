//! Checks the engine of shared quotas, and the gates that share it.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};

use super::Check;
use crate::address::Address;
use crate::cluster::{Cluster, api_error, if_allowed, other_limits};
use crate::error::Error;
use crate::model::{Installation, QuotaEngine};

const SUBJECT: &str = "quota engine";

pub(super) async fn checks(cluster: &Cluster, installation: &Installation<'_>) -> Result<Vec<Check>, Error> {
    let Some(engine) = installation.quota_engine() else { return Ok(Vec::new()) };
    let is_deployed = installation.config.deployed_engine().is_some();
    let mut checks = vec![address(cluster, &engine, is_deployed).await?];
    checks.extend(other_limits(cluster, installation).await?.into_iter().map(|it| {
        Check::fail(
            it.object,
            it.effect,
            "give both gates the same limits, or other names in `quotas.engine.name`",
        )
    }));
    Ok(checks)
}

/// Whether something is behind the address, as far as the API server tells. Only the proxies resolve and reach it as they
/// do. `is_deployed`: whether `apply` makes it.
async fn address(cluster: &Cluster, engine: &QuotaEngine, is_deployed: bool) -> Result<Check, Error> {
    let address = &engine.address;
    let Some((name, namespace)) = service_of(&address.host) else {
        let found = format!(
            "{address}: outside of the cluster; `otlp-gate status` shows whether the proxies reach it"
        );
        return Ok(Check::pass(SUBJECT, found));
    };
    let title = format!("service/{name} in {namespace}");
    let cannot = |e: &kube::Error| api_error(format_args!("cannot read {title}"), e);
    let services: Api<Service> = Api::namespaced(cluster.client.clone(), namespace);
    let Some(service) = if_allowed(services.get_opt(name).await).map_err(|e| cannot(&e))? else {
        return Ok(Check::pass(SUBJECT, format!("unknown: {title} may not be read")));
    };
    let Some(service) = service else {
        if is_deployed {
            return Ok(Check::pass(
                SUBJECT,
                format!("{title} is not there yet; `otlp-gate apply` deploys it"),
            ));
        }
        let hint = format!(
            "correct `quotas.engine.address`, or create the Service; `kubectl get services -n {namespace}` lists them"
        );
        return Ok(Check::fail(SUBJECT, format!("there is no {title}"), hint));
    };
    if let Some(found) = without_port(&service, address) {
        return Ok(Check::fail(
            SUBJECT,
            format!("{title} {found}"),
            "correct the port in `quotas.engine.address`",
        ));
    }
    let slices: Api<EndpointSlice> = Api::namespaced(cluster.client.clone(), namespace);
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
    let slices = if_allowed(slices.list(&of_service).await).map_err(|e| cannot(&e))?;
    let ready = slices.map(|slices| slices.items.iter().map(ready).sum::<usize>());
    let is_external = service.spec.as_ref().is_some_and(|it| it.type_.as_deref() == Some("ExternalName"));
    let is_headless = service.spec.as_ref().is_some_and(|it| it.cluster_ip.as_deref() == Some("None"));
    Ok(match ready {
        Some(0) if is_deployed => Check::fail(
            SUBJECT,
            format!("{title} has no ready endpoint"),
            "`otlp-gate status` shows what its pod reports",
        ),
        Some(0) if !is_external => Check::fail(
            SUBJECT,
            format!("{title} has no ready endpoint"),
            format!(
                "`kubectl get endpointslices -n {namespace} -l kubernetes.io/service-name={name}` shows them"
            ),
        ),
        Some(number) if number > 1 => Check::warn(
            SUBJECT,
            format!(
                "{title} has {number} ready endpoints{}",
                if is_headless { ", and its name the addresses of all" } else { "" }
            ),
            "the proxies must all use the same primary: name a Service that selects the primary only",
        ),
        _ => Check::pass(
            SUBJECT,
            format!("{title} is ready; `otlp-gate status` shows whether the proxies reach it"),
        ),
    })
}

/// The name and the namespace of a Service by its name in the cluster's DNS, as far as it is a full one.
fn service_of(host: &str) -> Option<(&str, &str)> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let (service, _) =
        host.split_once(".svc").filter(|(_, rest)| rest.is_empty() || rest.starts_with('.'))?;
    let (name, namespace) = service.split_once('.')?;
    (!namespace.contains('.')).then_some((name, namespace))
}

/// What is wrong with the Service's ports, if it lacks that of the address.
fn without_port(service: &Service, address: &Address) -> Option<String> {
    let spec = service.spec.as_ref()?;
    let ports: Vec<i32> = spec.ports.iter().flatten().map(|it| it.port).collect();
    // A headless Service has the ports of its pods.
    let is_headless = spec.cluster_ip.as_deref() == Some("None");
    if is_headless || ports.is_empty() || ports.contains(&i32::from(address.port)) {
        return None;
    }
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    Some(format!("has no port {}, only {}", address.port, ports.join(", ")))
}

fn ready(slice: &EndpointSlice) -> usize {
    let is_ready = |it: &&k8s_openapi::api::discovery::v1::Endpoint| {
        it.conditions.as_ref().is_none_or(|it| it.ready != Some(false))
    };
    slice.endpoints.iter().filter(is_ready).count()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

    use super::*;

    #[test]
    fn a_service_is_found_by_its_name_in_the_clusters_dns() {
        for (host, service) in [
            ("valkey.quotas.svc", Some(("valkey", "quotas"))),
            ("valkey.quotas.svc.cluster.local", Some(("valkey", "quotas"))),
            ("valkey.quotas.svc.cluster.local.", Some(("valkey", "quotas"))),
            ("valkey-0.valkey.quotas.svc.cluster.local", None),
            ("valkey.example.com", None),
            ("valkey.svcs.example.com", None),
            ("10.0.0.1", None),
        ] {
            assert_eq!(service_of(host), service, "{host}");
        }
    }

    #[test]
    fn a_port_that_the_service_lacks_is_found() {
        let service = |cluster_ip: &str| Service {
            spec: Some(ServiceSpec {
                cluster_ip: Some(cluster_ip.to_owned()),
                ports: Some(vec![ServicePort { port: 6379, ..ServicePort::default() }]),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        };
        let found =
            |cluster_ip: &str, address: &str| without_port(&service(cluster_ip), &address.parse().unwrap());
        assert_eq!(found("10.0.0.1", "a:6379"), None);
        assert_eq!(found("None", "a:6380"), None);
        assert_eq!(found("10.0.0.1", "a:6380").as_deref(), Some("has no port 6380, only 6379"));
    }
}
