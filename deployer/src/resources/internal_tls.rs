//! The Secrets with the internal certificates: those of the Collector and of the engine of shared quotas, and of their
//! clients.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::node_local;
use crate::certs::InternalCertificate;
use crate::error::Error;
use crate::model::{Installation, KeyPair, Object};

/// A Secret with an internal certificate, which the user creates where the folder with the certificates is elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InternalSecret {
    /// The Secret's metadata.
    pub(crate) metadata: ObjectMeta,
    /// The certificate.
    pub(crate) certificate: InternalCertificate,
    /// The server of the connection that it is for.
    pub(crate) server: InternalCertificate,
}

impl InternalSecret {
    /// The command that creates it from the folder `certs`.
    pub(crate) fn command(&self, certs: &str) -> String {
        let (name, namespace) = (self.name(), self.namespace());
        let files = self.certificate.name();
        format!(
            "kubectl create secret generic {name} -n {namespace} --type=kubernetes.io/tls \
             --from-file=tls.crt={certs}/{files}.crt --from-file=tls.key={certs}/{files}.key \
             --from-file=ca.crt={certs}/internal-ca.crt"
        )
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace.
    pub(crate) fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }
}

/// The Secrets with the internal certificates; none if the gate has no connection that needs them. `proxies` are the
/// namespaces in which the gateway's proxies may be.
pub(crate) fn secrets(installation: &Installation<'_>, proxies: &[String]) -> Vec<InternalSecret> {
    let names = &installation.names;
    let mut secrets = Vec::new();
    if installation.config.encrypts_backend() {
        let mut add = |metadata, certificate| {
            secrets.push(InternalSecret { metadata, certificate, server: InternalCertificate::Collector });
        };
        add(names.metadata(&names.collector()), InternalCertificate::Collector);
        add(names.metadata(&names.backend_client()), InternalCertificate::Gateway);
        node_local::backend_client(installation)
            .into_iter()
            .for_each(|it| add(it, InternalCertificate::Node));
    }
    if installation.config.deployed_engine().is_some() {
        let mut add = |metadata, certificate| {
            secrets.push(InternalSecret { metadata, certificate, server: InternalCertificate::Quotas });
        };
        add(names.metadata(&names.quotas()), InternalCertificate::Quotas);
        for namespace in proxies {
            let metadata = names.metadata(&names.quotas_client());
            let metadata = ObjectMeta { namespace: Some(namespace.clone()), ..metadata };
            add(metadata, InternalCertificate::Gateway);
        }
    }
    secrets
}

/// Those of these Secrets whose certificates are on this machine, as objects.
pub(crate) fn objects(
    installation: &Installation<'_>,
    secrets: &[InternalSecret],
) -> Result<Vec<Object>, Error> {
    let Some(internal) = &installation.certificates.internal else { return Ok(Vec::new()) };
    let object = |it: &InternalSecret| {
        let KeyPair { certificate, key } = internal.pairs.get(&it.certificate)?;
        let data = [("tls.crt", certificate), ("tls.key", key), ("ca.crt", &internal.ca)];
        Some(Object::builtin(&Secret {
            metadata: it.metadata.clone(),
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(
                data.map(|(key, value)| (key.to_owned(), ByteString(value.clone().into_bytes()))).into(),
            ),
            ..Secret::default()
        }))
    };
    secrets.iter().filter_map(object).collect()
}
