//! The Gateway: one listener for each protocol, both with mutual TLS.

use gateway_api::apis::standard::gateways::{
    GatewayInfrastructure, GatewayListeners, GatewayListenersAllowedRoutes,
    GatewayListenersAllowedRoutesKinds, GatewayListenersAllowedRoutesNamespaces,
    GatewayListenersAllowedRoutesNamespacesFrom, GatewayListenersTls, GatewayListenersTlsCertificateRefs,
    GatewayListenersTlsMode, GatewaySpec, GatewayTls, GatewayTlsFrontend, GatewayTlsFrontendDefault,
    GatewayTlsFrontendDefaultValidation, GatewayTlsFrontendDefaultValidationCaCertificateRefs,
    GatewayTlsFrontendDefaultValidationMode,
};

use crate::error::Error;
use crate::model::{Installation, Object, ProviderSettings};

/// Group and version of the Gateway API's kinds.
pub(super) const API_VERSION: &str = "gateway.networking.k8s.io/v1";
/// Names of the listeners, to which routes attach.
pub(super) const GRPC: &str = "grpc";
pub(super) const HTTP: &str = "http";

/// The Gateway.
pub(crate) fn gateway(installation: &Installation<'_>, provider: &ProviderSettings) -> Result<Object, Error> {
    let gateway = &installation.config.gateway;
    let listeners = &gateway.listeners;
    let spec = GatewaySpec {
        gateway_class_name: gateway.class.clone().unwrap_or_else(|| provider.class.to_owned()),
        infrastructure: Some(GatewayInfrastructure {
            annotations: (!gateway.annotations.is_empty()).then(|| gateway.annotations.clone()),
            labels: (!gateway.labels.is_empty()).then(|| gateway.labels.clone()),
            parameters_ref: Some(provider.parameters.clone()),
        }),
        listeners: vec![
            listener(installation, provider, GRPC, listeners.grpc.get(), "GRPCRoute"),
            listener(installation, provider, HTTP, listeners.http.get(), "HTTPRoute"),
        ],
        tls: provider.client_ca.as_ref().map(|(kind, name)| client_validation(kind, name)),
        ..GatewaySpec::default()
    };
    Object::custom(API_VERSION, "Gateway", installation.names.metadata(&installation.names.gateway), spec)
}

/// Requires client certificates that the CA in this object has issued.
fn client_validation(kind: &str, name: &str) -> GatewayTls {
    let ca = GatewayTlsFrontendDefaultValidationCaCertificateRefs {
        group: String::new(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        namespace: None,
    };
    let validation = GatewayTlsFrontendDefaultValidation {
        ca_certificate_refs: vec![ca],
        mode: Some(GatewayTlsFrontendDefaultValidationMode::AllowValidOnly),
    };
    let default = GatewayTlsFrontendDefault { validation: Some(validation) };
    GatewayTls { frontend: Some(GatewayTlsFrontend { default, per_port: None }), ..GatewayTls::default() }
}

fn listener(
    installation: &Installation<'_>,
    provider: &ProviderSettings,
    name: &str,
    port: u16,
    route: &str,
) -> GatewayListeners {
    let options = provider.listener_options.clone();
    GatewayListeners {
        name: name.to_owned(),
        hostname: Some(installation.config.gateway.hostname.clone()),
        port: i32::from(port),
        protocol: "HTTPS".to_owned(),
        tls: Some(GatewayListenersTls {
            mode: Some(GatewayListenersTlsMode::Terminate),
            certificate_refs: Some(vec![GatewayListenersTlsCertificateRefs {
                group: Some(String::new()),
                kind: Some("Secret".to_owned()),
                name: installation.names.server(),
                namespace: None,
            }]),
            options: (!options.is_empty()).then_some(options),
        }),
        // A route in another namespace could lead to another backend, and have policies that replace the filter.
        allowed_routes: Some(GatewayListenersAllowedRoutes {
            namespaces: Some(GatewayListenersAllowedRoutesNamespaces {
                from: Some(GatewayListenersAllowedRoutesNamespacesFrom::Same),
                selector: None,
            }),
            kinds: Some(vec![GatewayListenersAllowedRoutesKinds {
                group: Some("gateway.networking.k8s.io".to_owned()),
                kind: route.to_owned(),
            }]),
        }),
    }
}
