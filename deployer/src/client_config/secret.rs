//! The Secret with a client's files.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::core::ObjectMeta;

use super::ClientFiles;
use crate::error::Error;
use crate::file;

impl ClientFiles {
    /// A Secret of type `kubernetes.io/tls` with the files' contents, for the client of this name.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn secret(&self, client: &str) -> Result<Secret, Error> {
        let data = [("tls.crt", &self.certificate), ("tls.key", &self.key)].into_iter();
        let data = data.chain(self.ca.as_ref().map(|ca| ("ca.crt", ca)));
        let data = data.map(|(key, path)| Ok((key.to_owned(), ByteString(file::read(path)?))));
        // Kubernetes allows no capitals and underscores, and no dots at the end.
        let name = client.to_lowercase().replace('_', "-");
        let name = format!("otlp-gate-client-{}", name.trim_end_matches(['.', '-']));
        Ok(Secret {
            metadata: ObjectMeta { name: Some(name), ..ObjectMeta::default() },
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(data.collect::<Result<_, Error>>()?),
            ..Secret::default()
        })
    }
}
