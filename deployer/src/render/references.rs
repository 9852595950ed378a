//! The objects of other owners that the gate's objects refer to, each with its place in the config.
//!
//! A key of the config that names a Secret, a ConfigMap or an issuer belongs here. `apply` and `diff` look for them before
//! anything is changed, and `doctor` reports them.

use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, KeyToPath, LocalObjectReference, Volume, VolumeProjection,
};
use otlp_gate_core::policy::ConfigPath;

use crate::config::{Backend, Export, IssuerKind, Kubernetes, Pod, Provider, ServerCa};
use crate::model::{BackendTls, CaSource, Installation, QuotaEngine};
use crate::providers;
use crate::resources::verify_job;

/// An object that must exist in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The place in the config that names it.
    pub(crate) path: ConfigPath,
    /// Its kind.
    pub(crate) kind: ReferenceKind,
    /// Its namespace; of no meaning for a ClusterIssuer.
    pub(crate) namespace: String,
    /// Another namespace in which it may be instead.
    pub(crate) or_namespace: Option<String>,
    /// Its name.
    pub(crate) name: String,
    /// The keys that it must have.
    pub(crate) keys: Vec<String>,
    /// How to create it.
    pub(crate) hint: String,
}

/// The kinds of objects that the config names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReferenceKind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
    /// A ConfigMap whose `ca.crt` has the certificates of client CAs.
    ClientCas,
    /// An issuer of cert-manager.
    Issuer(IssuerKind),
}

impl ReferenceKind {
    /// The kind as kubectl writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ReferenceKind::Secret => "secret",
            ReferenceKind::ConfigMap | ReferenceKind::ClientCas => "configmap",
            ReferenceKind::Issuer(IssuerKind::Issuer) => "issuer",
            ReferenceKind::Issuer(IssuerKind::ClusterIssuer) => "clusterissuer",
        }
    }
}

/// All objects that an installation refers to and that `apply` does not create. Optional ones are left out, and so is the
/// server's certificate.
pub(crate) fn references(installation: &Installation<'_>) -> Vec<Reference> {
    let (config, names) = (installation.config, &installation.names);
    let mut all = References::default();
    let is_service = matches!(config.backend, Backend::Service(_));
    if config.gateway.enabled {
        let mut gate = all.at(&names.namespace);
        // Envoy Gateway runs proxies in its own namespace, or in the Gateway's.
        if config.gateway.provider == Provider::Istio {
            gate.pod(&config.gateway.pod, &ConfigPath::of("gateway").key("pod"));
        }
        if let Backend::Collector(collector) = &config.backend {
            let path = ConfigPath::of("backend").key("collector");
            gate.env(&collector.env, &path.key("env"));
            gate.env_from(&collector.env_from, &path.key("envFrom"));
            gate.volumes(&collector.volumes, &path.key("volumes"));
            gate.pod(&collector.pod, &path.key("pod"));
        }
        let service_tls = installation.backend_tls().filter(|_| is_service);
        if let Some(tls) = &service_tls {
            gate.client_secret(tls);
        }
        if let Some(engine) = config.deployed_engine() {
            gate.pod(&engine.pod, &ConfigPath::of("quotas").key("engine").key("deploy").key("pod"));
        }
        gate.certificates(installation);
        // What an engine that is deployed needs is among the objects.
        let deployed = config.deployed_engine();
        if let Some(engine) = installation.quota_engine().filter(|_| deployed.is_none()) {
            all.quota_engine(&engine, &providers::of(config).proxy_namespaces(names));
        }
        if let Some(tls) = &service_tls {
            all.at(&providers::of(config).backend_ca_namespace(names, tls)).backend_ca(tls);
        }
    }
    let job = config.monitoring.as_ref().and_then(|it| it.verify.as_ref());
    let keys = verify_job::secret_keys(config);
    if let (Some(_), true, false) = (job, config.gateway.enabled, keys.is_empty()) {
        let hint = format!("`{}`", verify_job::secret_command(config, "certs"));
        let path = ConfigPath::of("monitoring").key("verify");
        all.at(&names.namespace).add(path, ReferenceKind::Secret, &verify_job::name(config), keys, hint);
    }
    if config.node_local.enabled {
        let node = &config.node_local;
        let namespace = names.node_local_namespace(node);
        let mut gate = all.at(&namespace);
        let path = ConfigPath::of("nodeLocal");
        gate.env(&node.env, &path.key("env"));
        gate.pod(&node.pod, &path.key("pod"));
        if let Some(tls) = installation.node_backend_tls().filter(|_| is_service) {
            gate.client_secret(&tls);
            gate.backend_ca(&tls);
        }
        if let Some(Export::Gate(remote)) = &node.export {
            let ca = (remote.server_ca == ServerCa::Private).then_some("ca.crt");
            let keys: Vec<String> = ["tls.crt", "tls.key"].into_iter().chain(ca).map(str::to_owned).collect();
            let hint = format!(
                "where the gate's certificates are, `otlp-gate client-config NAME --for secret` prints it: set its name to \
                 {}, and create it with `kubectl apply -n {namespace} -f FILE`",
                remote.client_secret
            );
            let path = path.key("export").key("gate").key("clientSecret");
            gate.add(path, ReferenceKind::Secret, &remote.client_secret, keys, hint);
        }
    }
    all.0
}

#[derive(Debug, Default)]
struct References(Vec<Reference>);

/// The references from objects in one namespace.
struct InNamespace<'a> {
    all: &'a mut Vec<Reference>,
    namespace: &'a str,
}

impl References {
    fn at<'a>(&'a mut self, namespace: &'a str) -> InNamespace<'a> {
        InNamespace { all: &mut self.0, namespace }
    }

    /// What the proxies need for the engine of shared quotas, in one of these namespaces.
    fn quota_engine(&mut self, engine: &QuotaEngine, namespaces: &[String]) {
        let [namespace, others @ ..] = namespaces else { return };
        let first = self.0.len();
        let mut proxies = self.at(namespace);
        let path = ConfigPath::of("quotas").key("engine");
        if let Some(secret) = &engine.credentials {
            let keys = vec![QuotaEngine::PASSWORD.to_owned()];
            let hint = format!(
                "`kubectl create secret generic {secret} -n {namespace} --from-literal={}=USER --from-file={}=FILE`",
                QuotaEngine::USER,
                QuotaEngine::PASSWORD
            );
            proxies.add(path.key("credentials").key("secret"), ReferenceKind::Secret, secret, keys, hint);
        }
        if let Some(tls) = &engine.tls {
            let path = path.key("tls");
            if let Some(ca) = &tls.ca {
                let (key, kind, command) = match ca {
                    CaSource::ConfigMap(_) => ("caConfigMap", ReferenceKind::ConfigMap, "configmap"),
                    CaSource::Secret(_) => ("caSecret", ReferenceKind::Secret, "secret generic"),
                };
                let (_, name) = ca.object();
                let hint = format!(
                    "`kubectl create {command} {name} -n {namespace} --from-file=ca.crt=FILE`, with the CA of the engine's \
                     certificate"
                );
                proxies.add(path.key(key), kind, name, vec!["ca.crt".to_owned()], hint);
            }
            if let Some(client) = &tls.client {
                let keys = ["tls.crt", "tls.key"].map(str::to_owned).into();
                let hint =
                    format!("`kubectl create secret tls {client} -n {namespace} --cert=FILE --key=FILE`");
                proxies.add(path.key("clientSecret"), ReferenceKind::Secret, client, keys, hint);
            }
        }
        for reference in self.0.iter_mut().skip(first) {
            reference.or_namespace = others.first().cloned();
        }
    }
}

impl InNamespace<'_> {
    fn add(&mut self, path: ConfigPath, kind: ReferenceKind, name: &str, keys: Vec<String>, hint: String) {
        let namespace = self.namespace.to_owned();
        let or_namespace = None;
        self.all.push(Reference { path, kind, namespace, or_namespace, name: name.to_owned(), keys, hint });
    }

    /// A Secret or ConfigMap with values for containers.
    fn values(&mut self, path: ConfigPath, kind: ReferenceKind, name: &str, keys: Vec<String>) {
        let given: Vec<String> = match keys.as_slice() {
            [] => vec!["--from-literal=KEY=VALUE".to_owned()],
            keys => keys.iter().map(|key| format!("--from-literal={key}=VALUE")).collect(),
        };
        let what = if kind == ReferenceKind::Secret { "secret generic" } else { "configmap" };
        let hint = format!("`kubectl create {what} {name} -n {} {}`", self.namespace, given.join(" "));
        self.add(path, kind, name, keys, hint);
    }

    fn env(&mut self, variables: &[Kubernetes<EnvVar>], path: &ConfigPath) {
        for (index, variable) in variables.iter().enumerate() {
            let Some(source) = &variable.0.value_from else { continue };
            let path = path.index(index).key("valueFrom");
            if let Some(it) = source.secret_key_ref.as_ref().filter(|it| it.optional != Some(true)) {
                self.values(path.key("secretKeyRef"), ReferenceKind::Secret, &it.name, vec![it.key.clone()]);
            }
            if let Some(it) = source.config_map_key_ref.as_ref().filter(|it| it.optional != Some(true)) {
                let path = path.key("configMapKeyRef");
                self.values(path, ReferenceKind::ConfigMap, &it.name, vec![it.key.clone()]);
            }
        }
    }

    fn env_from(&mut self, sources: &[Kubernetes<EnvFromSource>], path: &ConfigPath) {
        for (index, source) in sources.iter().enumerate() {
            let path = path.index(index);
            if let Some(it) = source.0.secret_ref.as_ref().filter(|it| it.optional != Some(true)) {
                self.values(path.key("secretRef"), ReferenceKind::Secret, &it.name, Vec::new());
            }
            if let Some(it) = source.0.config_map_ref.as_ref().filter(|it| it.optional != Some(true)) {
                self.values(path.key("configMapRef"), ReferenceKind::ConfigMap, &it.name, Vec::new());
            }
        }
    }

    fn volumes(&mut self, volumes: &[Kubernetes<Volume>], path: &ConfigPath) {
        for (index, volume) in volumes.iter().enumerate() {
            let path = path.index(index);
            if let Some(it) = volume.0.secret.as_ref().filter(|it| it.optional != Some(true)) {
                let name = it.secret_name.as_deref().unwrap_or_default();
                self.values(path.key("secret"), ReferenceKind::Secret, name, keys_of(it.items.as_ref()));
            }
            if let Some(it) = volume.0.config_map.as_ref().filter(|it| it.optional != Some(true)) {
                let keys = keys_of(it.items.as_ref());
                self.values(path.key("configMap"), ReferenceKind::ConfigMap, &it.name, keys);
            }
            let sources = volume.0.projected.iter().flat_map(|it| it.sources.iter().flatten());
            for (index, source) in sources.enumerate() {
                self.projection(source, &path.key("projected").key("sources").index(index));
            }
        }
    }

    fn projection(&mut self, source: &VolumeProjection, path: &ConfigPath) {
        if let Some(it) = source.secret.as_ref().filter(|it| it.optional != Some(true)) {
            self.values(path.key("secret"), ReferenceKind::Secret, &it.name, keys_of(it.items.as_ref()));
        }
        if let Some(it) = source.config_map.as_ref().filter(|it| it.optional != Some(true)) {
            let keys = keys_of(it.items.as_ref());
            self.values(path.key("configMap"), ReferenceKind::ConfigMap, &it.name, keys);
        }
    }

    fn pod(&mut self, pod: &Pod, path: &ConfigPath) {
        for (index, Kubernetes(LocalObjectReference { name })) in pod.image_pull_secrets.iter().enumerate() {
            let hint = format!(
                "`kubectl create secret docker-registry {name} -n {} --docker-server=REGISTRY --docker-username=USER \
                 --docker-password=PASSWORD`",
                self.namespace
            );
            let keys = vec![".dockerconfigjson".to_owned()];
            self.add(path.key("imagePullSecrets").index(index), ReferenceKind::Secret, name, keys, hint);
        }
    }

    /// The client certificate that `backend.service.tls` names.
    fn client_secret(&mut self, tls: &BackendTls) {
        let Some(name) = &tls.client else { return };
        let hint = format!(
            "`kubectl create secret tls {name} -n {} --cert=FILE --key=FILE`, with a certificate that service/{} accepts",
            self.namespace, tls.service
        );
        let keys = ["tls.crt", "tls.key"].map(str::to_owned).into();
        let path = ConfigPath::of("backend").key("service").key("tls").key("clientSecret");
        self.add(path, ReferenceKind::Secret, name, keys, hint);
    }

    /// The CA that `backend.service.tls` names.
    fn backend_ca(&mut self, tls: &BackendTls) {
        let (_, name) = tls.ca.object();
        let hint = format!(
            "`kubectl create configmap {name} -n {} --from-file=ca.crt=FILE`, with the CA of the certificate of service/{}",
            self.namespace, tls.service
        );
        let path = ConfigPath::of("backend").key("service").key("tls").key("caConfigMap");
        self.add(path, ReferenceKind::ConfigMap, name, vec!["ca.crt".to_owned()], hint);
    }

    /// The client CAs and the issuers.
    fn certificates(&mut self, installation: &Installation<'_>) {
        let config = installation.config;
        let by_hand = providers::of(config).user_objects(installation, "certs").into_iter();
        for it in by_hand.filter(|_| installation.expects_client_cas()) {
            let Some(name) = it.object.strip_prefix("configmap/") else { continue };
            let hint = format!("run this where the CAs' files are, or create it: `{}`", it.command);
            let path = ConfigPath::of(if config.client_cas.is_empty() { "gateway" } else { "clientCAs" });
            self.add(path, ReferenceKind::ClientCas, name, Vec::new(), hint);
        }
        for (index, entry) in config.client_cas.iter().enumerate() {
            let Some(name) = &entry.config_map else { continue };
            let hint = format!(
                "it must be in namespace {} with the CAs' certificates in `ca.crt`, in PEM: check what writes it, or \
                 create it with `kubectl create configmap {name} -n {0} --from-file=ca.crt=FILE`",
                self.namespace
            );
            let path = ConfigPath::of("clientCAs").index(index).key("configMap");
            self.add(path, ReferenceKind::ClientCas, name, Vec::new(), hint);
        }
        let Some(cert_manager) = &config.certificates.cert_manager else { return };
        let internal = cert_manager.internal.as_ref().filter(|_| config.uses_internal_certificates());
        for (key, issuer) in [
            ("server", cert_manager.server.as_ref()),
            ("clients", cert_manager.clients.as_ref()),
            ("internal", internal),
        ] {
            let Some(issuer) = issuer else { continue };
            let hint = match issuer.kind {
                IssuerKind::Issuer => format!(
                    "create it in namespace {}, or set `kind: ClusterIssuer` if it is one; `kubectl get \
                     issuers,clusterissuers -A` lists them",
                    self.namespace
                ),
                IssuerKind::ClusterIssuer => "create it; `kubectl get clusterissuers` lists them".to_owned(),
            };
            let path = ConfigPath::of("certificates").key("certManager").key(key);
            self.add(path, ReferenceKind::Issuer(issuer.kind), &issuer.name, Vec::new(), hint);
        }
    }
}

fn keys_of(items: Option<&Vec<KeyToPath>>) -> Vec<String> {
    items.into_iter().flatten().map(|it| it.key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::model::{Certificates, Mesh};
    use crate::module::Location;

    /// Place, object, namespace and keys of each reference.
    fn found(text: &str) -> Vec<String> {
        let text = format!("apiVersion: otlp-gate/v1\nclients: []\n{text}");
        let config = Source { name: "test".to_owned(), text }.load().unwrap().config;
        let (module, mesh) = (Location::config_map(b"").unwrap(), Mesh::from_config(&config));
        let installation = Installation::new(&config, module, mesh, Certificates::default());
        let line = |it: Reference| {
            let object = format!("{}/{}", it.kind.name(), it.name);
            format!("{} {object} {} {}", it.path, it.namespace, it.keys.join(",")).trim_end().to_owned()
        };
        references(&installation).into_iter().map(line).collect()
    }

    #[test]
    fn every_key_of_the_config_that_names_an_object_is_known() {
        let text = "
gateway: {pod: {imagePullSecrets: [{name: pull}]}}
quotas: {engine: {deploy: {pod: {imagePullSecrets: [{name: pull}]}}}}
certificates: {certManager: {server: {name: le, kind: ClusterIssuer}, internal: {name: ca, kind: ClusterIssuer}}}
clientCAs: [{name: spire, configMap: bundle}]
backend:
  collector:
    env:
      - {name: A, valueFrom: {secretKeyRef: {name: keys, key: a}}}
      - {name: B, valueFrom: {configMapKeyRef: {name: map, key: b}}}
      - {name: C, valueFrom: {secretKeyRef: {name: maybe, key: c, optional: true}}}
    envFrom: [{secretRef: {name: all}}, {configMapRef: {name: all-of-map}}]
    volumes:
      - {name: v, secret: {secretName: files, items: [{key: k, path: p}]}}
      - {name: w, configMap: {name: more}}
      - {name: x, projected: {sources: [{secret: {name: one}}, {configMap: {name: two}}]}}
    pod: {imagePullSecrets: [{name: pull}]}
nodeLocal:
  enabled: true
  env: [{name: A, valueFrom: {secretKeyRef: {name: keys, key: a}}}]
  export: {gate: {endpoint: 'gate.example:4317', clientSecret: edge}}
";
        let collector = "backend.collector";
        let expected = [
            "gateway.pod.imagePullSecrets[0] secret/pull otel-collector .dockerconfigjson".to_owned(),
            format!("{collector}.env[0].valueFrom.secretKeyRef secret/keys otel-collector a"),
            format!("{collector}.env[1].valueFrom.configMapKeyRef configmap/map otel-collector b"),
            format!("{collector}.envFrom[0].secretRef secret/all otel-collector"),
            format!("{collector}.envFrom[1].configMapRef configmap/all-of-map otel-collector"),
            format!("{collector}.volumes[0].secret secret/files otel-collector k"),
            format!("{collector}.volumes[1].configMap configmap/more otel-collector"),
            format!("{collector}.volumes[2].projected.sources[0].secret secret/one otel-collector"),
            format!("{collector}.volumes[2].projected.sources[1].configMap configmap/two otel-collector"),
            format!("{collector}.pod.imagePullSecrets[0] secret/pull otel-collector .dockerconfigjson"),
            "quotas.engine.deploy.pod.imagePullSecrets[0] secret/pull otel-collector .dockerconfigjson"
                .to_owned(),
            "clientCAs[0].configMap configmap/bundle otel-collector".to_owned(),
            "certificates.certManager.server clusterissuer/le otel-collector".to_owned(),
            "certificates.certManager.internal clusterissuer/ca otel-collector".to_owned(),
            "nodeLocal.env[0].valueFrom.secretKeyRef secret/keys otel-collector-node a".to_owned(),
            "nodeLocal.export.gate.clientSecret secret/edge otel-collector-node tls.crt,tls.key,ca.crt"
                .to_owned(),
        ];
        assert_eq!(found(text), expected);
    }

    #[test]
    fn what_tls_to_a_service_needs_is_where_the_provider_reads_it() {
        let text = |provider: &str| {
            format!(
                "gateway: {{provider: {provider}}}\nnodeLocal: {{enabled: true}}\n\
                 backend: {{service: {{name: otel, namespace: apps, tls: {{caConfigMap: ca, clientSecret: own}}}}}}"
            )
        };
        let (tls, keys) = ("backend.service.tls", "tls.crt,tls.key");
        for (provider, ca_namespace) in [("istio", "otel-collector"), ("envoy-gateway", "apps")] {
            let all = found(&text(provider));
            let of_service: Vec<_> = all.iter().filter(|it| it.starts_with(tls)).collect();
            let expected = [
                format!("{tls}.clientSecret secret/own otel-collector {keys}"),
                format!("{tls}.caConfigMap configmap/ca {ca_namespace} ca.crt"),
                format!("{tls}.clientSecret secret/own otel-collector-node {keys}"),
                format!("{tls}.caConfigMap configmap/ca otel-collector-node ca.crt"),
            ];
            assert_eq!(of_service, expected.iter().collect::<Vec<_>>(), "{provider}");
        }
        assert!(found("backend: {service: {name: otel, tls: {mesh: true}}}").is_empty());
    }

    #[test]
    fn what_the_quota_engine_needs_is_where_the_proxies_are() {
        let text = |provider: &str, more: &str| {
            format!(
                "gateway: {{provider: {provider}}}\nclientCAs: [{{name: own}}]\nbackend: {{service: {{name: otel}}}}\nquotas: \
                 {{{more} engine: {{address: 'valkey:6379', tls: {{caConfigMap: ca, clientSecret: own}}, credentials: \
                 {{secret: user}}}}}}"
            )
        };
        for (provider, namespace) in [("istio", "otel-collector"), ("envoy-gateway", "envoy-gateway-system")]
        {
            let all = found(&text(provider, ""));
            let of_engine: Vec<_> = all.iter().filter(|it| it.starts_with("quotas")).collect();
            let expected = [
                format!("quotas.engine.credentials.secret secret/user {namespace} password"),
                format!("quotas.engine.tls.caConfigMap configmap/ca {namespace} ca.crt"),
                format!("quotas.engine.tls.clientSecret secret/own {namespace} tls.crt,tls.key"),
            ];
            assert_eq!(of_engine, expected.iter().collect::<Vec<_>>(), "{provider}");
        }
        assert!(!found(&text("istio", "scope: replica,")).iter().any(|it| it.starts_with("quotas")));
    }

    #[test]
    fn client_cas_that_are_not_on_this_machine_must_be_in_the_cluster() {
        let ca = "configmap/otel-gateway-client-ca otel-collector";
        let by_cert_manager = "certificates: {certManager: {}}\n";
        for (text, expected) in [
            ("gateway: {provider: envoy-gateway}", vec![format!("gateway {ca}")]),
            // Istio reads them from the server's Secret.
            ("", vec![]),
            ("clientCAs: [{name: own}]", vec![]),
            (&format!("{by_cert_manager}clientCAs: [{{name: own}}]"), vec![format!("clientCAs {ca}")]),
            (by_cert_manager, vec![]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }
}
