//! Objects with certificates that both providers have in the same form.

use std::path::PathBuf;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::UserObject;
use crate::certs::ClientTrust;
use crate::config;
use crate::error::Error;
use crate::model::{Installation, KeyPair, Names, Object};

/// The Secret with the server's certificate and key and, where the provider reads them there, the client CAs and their
/// revocation lists.
pub(super) fn server_secret(
    names: &Names,
    server: &KeyPair,
    clients: Option<&ClientTrust>,
) -> Result<Object, Error> {
    let own = [("tls.crt", &server.certificate), ("tls.key", &server.key)];
    let data = own.into_iter().chain(clients.into_iter().flat_map(trust_data));
    Object::builtin(&Secret {
        metadata: names.metadata(&names.server()),
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(
            data.map(|(key, value)| (key.to_owned(), ByteString(value.clone().into_bytes()))).collect(),
        ),
        ..Secret::default()
    })
}

/// The ConfigMap with the client CAs of folder and files and their revocation lists, if this machine has them.
pub(super) fn client_ca_config_map(installation: &Installation<'_>) -> Result<Option<Object>, Error> {
    let clients = installation.certificates.clients.as_ref().filter(|it| !it.certificates.is_empty());
    let names = &installation.names;
    let object = |clients: &ClientTrust| {
        Object::builtin(&ConfigMap {
            metadata: names.metadata(&names.client_ca()),
            data: Some(trust_data(clients).map(|(key, value)| (key.to_owned(), value.clone())).collect()),
            ..ConfigMap::default()
        })
    };
    clients.map(object).transpose()
}

/// Client CAs and their revocation lists, under the keys that both providers read.
fn trust_data(clients: &ClientTrust) -> impl Iterator<Item = (&'static str, &String)> {
    [("ca.crt", &clients.certificates)]
        .into_iter()
        .chain(clients.revocations.iter().map(|list| ("ca.crl", list)))
}

/// The Secret with the server's certificate that the user creates.
pub(super) fn server_by_hand(installation: &Installation<'_>, certs: &str) -> UserObject {
    let (server, namespace) = (installation.names.server(), &installation.names.namespace);
    UserObject {
        object: format!("secret/{server}"),
        command: format!(
            "kubectl create secret tls {server} -n {namespace} --cert={certs}/server.crt --key={certs}/server.key"
        ),
    }
}

/// The ConfigMap with the client CAs of folder and files that the user creates, if it is not among the objects.
pub(super) fn client_cas_by_hand(installation: &Installation<'_>, certs: &str) -> Option<UserObject> {
    let (ca, namespace) = (installation.names.client_ca(), &installation.names.namespace);
    installation.expects_client_cas().then(|| UserObject {
        object: format!("configmap/{ca}"),
        command: format!("kubectl create configmap {ca} -n {namespace} {}", trust_files(installation, certs)),
    })
}

/// The options of kubectl that put the CAs of clients and their revocation lists into an object, from the folder `certs`
/// and the files of `clientCAs`.
pub(super) fn trust_files(installation: &Installation<'_>, certs: &str) -> String {
    let entries = &installation.config.client_cas;
    let files = |of_folder: &str, of_entry: fn(&config::ClientCa) -> Option<&PathBuf>| {
        let folder = installation.config.trusts_folder().then(|| format!("{certs}/{of_folder}"));
        let mut files: Vec<String> = folder.into_iter().collect();
        files.extend(entries.iter().filter_map(of_entry).map(|file| file.display().to_string()));
        match files.as_slice() {
            [one] => one.clone(),
            // kubectl takes one file for each key, here the output of a process (bash, zsh).
            several => format!("<(cat {})", several.join(" ")),
        }
    };
    let mut options = format!("--from-file=ca.crt={}", files("client-ca.crt", |it| it.certificates.as_ref()));
    if installation.has_revocations() {
        let lists = files("client.crl", |it| it.revocation_list.as_ref());
        options.push_str(&format!(" --from-file=ca.crl={lists}"));
    }
    options
}
