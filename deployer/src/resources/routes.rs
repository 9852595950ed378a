//! The routes: OTLP's export calls and gRPC's health checks, each attached to its listener. Other calls have no route.

use gateway_api::apis::standard::grpcroutes::{
    GrpcRouteParentRefs, GrpcRouteRules, GrpcRouteRulesBackendRefs, GrpcRouteRulesMatches,
    GrpcRouteRulesMatchesMethod, GrpcRouteRulesMatchesMethodType, GrpcRouteSpec,
};
use gateway_api::apis::standard::httproutes::{
    HttpRouteParentRefs, HttpRouteRules, HttpRouteRulesBackendRefs, HttpRouteRulesMatches,
    HttpRouteRulesMatchesMethod, HttpRouteRulesMatchesPath, HttpRouteRulesMatchesPathType, HttpRouteSpec,
};
use gateway_api::apis::standard::referencegrants::{
    ReferenceGrantFrom, ReferenceGrantSpec, ReferenceGrantTo,
};

use otlp_gate_wire::otlp::Signal;

use super::collector_config;
use super::gateway::{API_VERSION, GRPC, HTTP};
use crate::config::{Backend, Service};
use crate::error::Error;
use crate::model::{Installation, Object};

/// gRPC's health service: name and gRPC service. The filter turns its calls into exports.
const HEALTH: (&str, &str) = ("health", "grpc.health.v1.Health");

/// A route for each gRPC service, and one for OTLP/HTTP.
pub(crate) fn routes(installation: &Installation<'_>) -> Result<Vec<Object>, Error> {
    let backend = BackendService::of(installation);
    let mut objects = Vec::new();
    let calls = Signal::ALL.map(|signal| (signal.name(), signal.grpc_service(), &["Export"][..]));
    for (name, service, methods) in calls.into_iter().chain([(HEALTH.0, HEALTH.1, &["Check", "Watch"][..])]) {
        let name = format!("{}-{name}", installation.names.gateway);
        let spec = GrpcRouteSpec {
            hostnames: None,
            parent_refs: Some(vec![GrpcRouteParentRefs {
                group: Some("gateway.networking.k8s.io".to_owned()),
                kind: Some("Gateway".to_owned()),
                name: installation.names.gateway.clone(),
                section_name: Some(GRPC.to_owned()),
                ..GrpcRouteParentRefs::default()
            }]),
            rules: Some(vec![grpc_rule(service, methods, &backend)]),
        };
        objects.push(Object::custom(API_VERSION, "GRPCRoute", installation.names.metadata(&name), spec)?);
    }
    let spec = HttpRouteSpec {
        hostnames: None,
        parent_refs: Some(vec![HttpRouteParentRefs {
            group: Some("gateway.networking.k8s.io".to_owned()),
            kind: Some("Gateway".to_owned()),
            name: installation.names.gateway.clone(),
            section_name: Some(HTTP.to_owned()),
            ..HttpRouteParentRefs::default()
        }]),
        rules: Some(vec![http_rule(&backend, !installation.config.cors_origins.is_empty())]),
    };
    let name = format!("{}-http", installation.names.gateway);
    objects.push(Object::custom(API_VERSION, "HTTPRoute", installation.names.metadata(&name), spec)?);
    Ok(objects)
}

/// The ReferenceGrant that a backend Service in another namespace needs.
pub(crate) fn reference_grant(
    installation: &Installation<'_>,
    service: &Service,
) -> Result<Option<Object>, Error> {
    let Some(namespace) = service.namespace.as_ref().filter(|it| **it != installation.names.namespace) else {
        return Ok(None);
    };
    let from = |kind: &str| ReferenceGrantFrom {
        group: "gateway.networking.k8s.io".to_owned(),
        kind: kind.to_owned(),
        namespace: installation.names.namespace.clone(),
    };
    let spec = ReferenceGrantSpec {
        from: vec![from("GRPCRoute"), from("HTTPRoute")],
        to: vec![ReferenceGrantTo {
            group: String::new(),
            kind: "Service".to_owned(),
            name: Some(service.name.clone()),
        }],
    };
    // Two gates with the same name in different namespaces may use the same Service.
    let name = format!("{}.{}", installation.names.namespace, installation.names.gateway);
    let mut metadata = installation.names.metadata(&name);
    metadata.namespace = Some(namespace.clone());
    // Served since Gateway API 0.3, and by every version that serves v1.
    Object::custom("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", metadata, spec).map(Some)
}

/// The Service that the routes lead to.
struct BackendService {
    name: String,
    namespace: Option<String>,
    grpc: i32,
    http: i32,
}

impl BackendService {
    fn of(installation: &Installation<'_>) -> Self {
        match &installation.config.backend {
            Backend::Collector(_) => BackendService {
                name: installation.names.collector(),
                namespace: None,
                grpc: collector_config::GRPC,
                http: collector_config::HTTP,
            },
            Backend::Service(service) => BackendService {
                name: service.name.clone(),
                namespace: service.namespace.clone().filter(|it| *it != installation.names.namespace),
                grpc: i32::from(service.grpc.get()),
                http: i32::from(service.http.get()),
            },
        }
    }
}

fn grpc_rule(service: &str, methods: &[&str], backend: &BackendService) -> GrpcRouteRules {
    let exactly = |method: &&str| GrpcRouteRulesMatches {
        method: Some(GrpcRouteRulesMatchesMethod {
            r#type: Some(GrpcRouteRulesMatchesMethodType::Exact),
            service: Some(service.to_owned()),
            method: Some((*method).to_owned()),
        }),
        headers: None,
    };
    GrpcRouteRules {
        matches: Some(methods.iter().map(exactly).collect()),
        backend_refs: Some(vec![GrpcRouteRulesBackendRefs {
            name: backend.name.clone(),
            namespace: backend.namespace.clone(),
            port: Some(backend.grpc),
            ..GrpcRouteRulesBackendRefs::default()
        }]),
        ..GrpcRouteRules::default()
    }
}

/// POST to OTLP's paths. Where `corsOrigins` allows web pages, also their preflight requests (OPTIONS), which the
/// filter answers.
fn http_rule(backend: &BackendService, web_pages: bool) -> HttpRouteRules {
    let exactly = |path: &str, method| HttpRouteRulesMatches {
        path: Some(HttpRouteRulesMatchesPath {
            r#type: Some(HttpRouteRulesMatchesPathType::Exact),
            value: Some(path.to_owned()),
        }),
        method: Some(method),
        ..HttpRouteRulesMatches::default()
    };
    let preflight = web_pages.then_some(HttpRouteRulesMatchesMethod::Options);
    let methods = core::iter::once(HttpRouteRulesMatchesMethod::Post).chain(preflight);
    let matches =
        methods.flat_map(|method| Signal::ALL.map(|signal| exactly(signal.http_path(), method.clone())));
    HttpRouteRules {
        matches: Some(matches.collect()),
        backend_refs: Some(vec![HttpRouteRulesBackendRefs {
            name: backend.name.clone(),
            namespace: backend.namespace.clone(),
            port: Some(backend.http),
            ..HttpRouteRulesBackendRefs::default()
        }]),
        ..HttpRouteRules::default()
    }
}
