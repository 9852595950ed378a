//! The configuration with which a client sends through the gate: for a Collector, an SDK, or a pod.

mod collector;
mod sdk;
mod secret;

use std::io;
use std::path::{Path, PathBuf, absolute};

use crate::address::Address;
use crate::certs::{Folder, Role};
use crate::config::{Gateway, ServerCa};

/// How telemetry is sent, by its name in OpenTelemetry's specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// OTLP/gRPC
    Grpc,
    /// OTLP/HTTP
    #[value(name = "http/protobuf", alias = "http")]
    HttpProtobuf,
}

/// The paths of a client's files, on the client's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientFiles {
    /// The client's certificate.
    pub(crate) certificate: PathBuf,
    /// The client's private key.
    pub(crate) key: PathBuf,
    /// The server's CA; `None` for a public one, which every system trusts.
    pub(crate) ca: Option<PathBuf>,
}

/// Where a client sends to, and with which files.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// The protocol.
    pub(crate) protocol: Protocol,
    /// The address of the gateway's listener for that protocol.
    pub(crate) address: Address,
    /// The name to verify the server's certificate with, if it is not the host of the address.
    pub(crate) server_name: Option<String>,
    /// The client's files.
    pub(crate) files: ClientFiles,
}

impl ClientFiles {
    /// The files of a client in the folder of the certificates.
    pub(crate) fn in_folder(folder: &Folder, name: &str) -> Self {
        let client = folder.client_files(name);
        let ca = folder.authority_files(Role::Server).certificate;
        ClientFiles { certificate: client.certificate, key: client.key, ca: Some(ca) }
    }

    /// The files of a Secret of type `kubernetes.io/tls` that is mounted at `dir`.
    pub(crate) fn mounted(dir: &Path) -> Self {
        let ca = Some(dir.join("ca.crt"));
        ClientFiles { certificate: dir.join("tls.crt"), key: dir.join("tls.key"), ca }
    }

    /// The same files without a CA that every system trusts.
    #[must_use]
    pub(crate) fn trusting(self, server_ca: ServerCa) -> Self {
        match server_ca {
            ServerCa::Private => self,
            ServerCa::Public => ClientFiles { ca: None, ..self },
        }
    }

    /// The same file names in another directory.
    #[must_use]
    pub(crate) fn moved(&self, dir: &Path) -> Self {
        let moved = |path: &Path| path.file_name().map_or_else(|| path.to_owned(), |name| dir.join(name));
        let ca = self.ca.as_deref().map(moved);
        ClientFiles { certificate: moved(&self.certificate), key: moved(&self.key), ca }
    }

    /// The same files by absolute paths.
    ///
    /// # Errors
    /// The current directory is unknown.
    pub(crate) fn absolute(&self) -> io::Result<Self> {
        Ok(ClientFiles {
            certificate: absolute(&self.certificate)?,
            key: absolute(&self.key)?,
            ca: self.ca.as_deref().map(absolute).transpose()?,
        })
    }
}

impl Connection {
    /// A connection to the gateway; `address` replaces its hostname and port.
    pub(crate) fn new(
        gateway: &Gateway,
        protocol: Protocol,
        address: Option<&Address>,
        files: ClientFiles,
    ) -> Self {
        let port = match protocol {
            Protocol::Grpc => gateway.listeners.grpc,
            Protocol::HttpProtobuf => gateway.listeners.http,
        };
        let host = concrete_hostname(gateway);
        let address = address.cloned().unwrap_or_else(|| Address { host: host.clone(), port: port.get() });
        let server_name = (!covers(&gateway.hostname, &address.host)).then_some(host);
        Connection { protocol, address, server_name, files }
    }

    /// The endpoint as a URL.
    fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

/// The gateway's hostname; of a wildcard such as `*.example.com`, one of its names.
pub(crate) fn concrete_hostname(gateway: &Gateway) -> String {
    gateway.hostname.replacen('*', "otlp", 1)
}

/// Whether a DNS name in a certificate, which may begin with `*.`, is valid for this host (RFC 9525 section 6.3).
pub(crate) fn covers(name: &str, host: &str) -> bool {
    let parent = name.strip_prefix("*.");
    name.eq_ignore_ascii_case(host)
        || parent.zip(host.split_once('.')).is_some_and(|(own, (_, rest))| own.eq_ignore_ascii_case(rest))
}
