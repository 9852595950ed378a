//! The Gateway: one listener for each protocol, both with mutual TLS.

use gateway_api::apis::standard::gateways::{
    GatewayInfrastructure, GatewayListeners, GatewayListenersAllowedRoutes,
    GatewayListenersAllowedRoutesKinds, GatewayListenersAllowedRoutesNamespaces,
    GatewayListenersAllowedRoutesNamespacesFrom, GatewayListenersTls, GatewayListenersTlsCertificateRefs,
    GatewayListenersTlsMode, GatewaySpec, GatewayTls, GatewayTlsFrontend, GatewayTlsFrontendDefault,
    GatewayTlsFrontendDefaultValidation, GatewayTlsFrontendDefaultValidationCaCertificateRefs,
    GatewayTlsFrontendDefaultValidationMode,
};

use super::{Gate, Object};
use crate::error::Error;

/// The group and version of the Gateway API's own kinds.
pub(super) const API_VERSION: &str = "gateway.networking.k8s.io/v1";
/// The names of the listeners, to which routes are bound.
pub(super) const GRPC: &str = "grpc";
pub(super) const HTTP: &str = "http";

pub(super) fn gateway(gate: &Gate<'_>) -> Result<Object, Error> {
    let gateway = &gate.config.gateway;
    let listeners = &gateway.listeners;
    let spec = GatewaySpec {
        gateway_class_name: gateway.class.clone().unwrap_or_else(|| gate.provider().class().to_owned()),
        infrastructure: Some(GatewayInfrastructure {
            annotations: (!gateway.annotations.is_empty()).then(|| gateway.annotations.clone()),
            labels: None,
            parameters_ref: Some(gate.provider().parameters(&gate.names)),
        }),
        listeners: vec![
            listener(gate, GRPC, listeners.grpc.get(), "GRPCRoute"),
            listener(gate, HTTP, listeners.http.get(), "HTTPRoute"),
        ],
        tls: gate.provider().frontend_ca(gate).map(|(kind, name)| trusting(kind, name)),
        ..GatewaySpec::default()
    };
    Object::custom(API_VERSION, "Gateway", gate.names.metadata(&gate.names.gateway), spec)
}

/// Clients are asked for a certificate of the CA in this object.
fn trusting(kind: &str, name: String) -> GatewayTls {
    let ca = GatewayTlsFrontendDefaultValidationCaCertificateRefs {
        group: String::new(),
        kind: kind.to_owned(),
        name,
        namespace: None,
    };
    let validation = GatewayTlsFrontendDefaultValidation {
        ca_certificate_refs: vec![ca],
        mode: Some(GatewayTlsFrontendDefaultValidationMode::AllowValidOnly),
    };
    let default = GatewayTlsFrontendDefault { validation: Some(validation) };
    GatewayTls { frontend: Some(GatewayTlsFrontend { default, per_port: None }), ..GatewayTls::default() }
}

fn listener(gate: &Gate<'_>, name: &str, port: u16, route: &str) -> GatewayListeners {
    let options = gate.provider().listener_options(gate);
    GatewayListeners {
        name: name.to_owned(),
        hostname: Some(gate.config.gateway.hostname.clone()),
        port: i32::from(port),
        protocol: "HTTPS".to_owned(),
        tls: Some(GatewayListenersTls {
            mode: Some(GatewayListenersTlsMode::Terminate),
            certificate_refs: Some(vec![GatewayListenersTlsCertificateRefs {
                group: Some(String::new()),
                kind: Some("Secret".to_owned()),
                name: gate.names.server(),
                namespace: None,
            }]),
            options: (!options.is_empty()).then_some(options),
        }),
        // Another namespace's route could go to another backend, and bring policies that replace the filter.
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
