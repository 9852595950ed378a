//! `wasm push`: the module as an image in a registry.

use docker_credential::{DockerCredential, get_credential, get_podman_credential};
use http::HeaderValue;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::OCI_IMAGE_MEDIA_TYPE;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use otlp_gate_oci::Image;
use serde::Serialize;

use crate::error::{Error, with_causes};
use crate::global::Global;

use crate::module;
use crate::output::{self, Format};
use crate::runtime::until_signal;

/// Arguments of `wasm push`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate wasm push registry.example/otlp-gate:0.1.0
  otlp-gate wasm push --insecure localhost:5000/otlp-gate:0.1.0    a registry without TLS

It uses the credentials of `docker login` or `podman login`.")]
pub(crate) struct Args {
    /// The image reference, with or without oci://
    #[arg(value_name = "REF")]
    reference: String,
    /// Connect to the registry without TLS
    #[arg(long)]
    insecure: bool,
}

#[derive(Serialize)]
struct Pushed {
    url: String,
    sha256: String,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let name = args.reference.strip_prefix("oci://").unwrap_or(&args.reference);
    let reference: Reference = name.parse().map_err(|e| {
        Error::usage(format_args!("`{}` is not an image reference: {e}", name.escape_debug()))
            .hint("write it as registry.example/otlp-gate:0.1.0")
    })?;
    let image = otlp_gate_oci::of_module(module::bytes())
        .map_err(|e| Error::failed(format_args!("cannot create the image: {e}")))?;
    let pushed = until_signal(push(&reference, args.insecure, &image))?;
    pushed.ok_or_else(|| Error::failed("interrupted before the image was complete"))?;
    let pushed = Pushed { url: format!("oci://{reference}"), sha256: image.manifest.sha256() };
    if global.output == Format::Table {
        output::say("pushed; to use it, add to otlp-gate.yaml:");
    }
    output::print(global.output, &pushed, || {
        format!("gateway:\n  module: {{url: \"{}\", sha256: {}}}\n", pushed.url, pushed.sha256)
    })
}

async fn push(reference: &Reference, insecure: bool, image: &Image) -> Result<(), Error> {
    let registry = reference.resolve_registry();
    // Fails if another part of the process has installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let protocol = if insecure { ClientProtocol::Http } else { ClientProtocol::Https };
    let client = Client::new(ClientConfig { protocol, ..ClientConfig::default() });
    let pushing = async {
        client.store_auth_if_needed(registry, &auth(registry)).await;
        for blob in [&image.layer, &image.config] {
            client.push_blob(reference, blob.data.clone(), &blob.digest()).await?;
        }
        let kind = HeaderValue::from_static(OCI_IMAGE_MEDIA_TYPE);
        // The bytes whose hash is in `sha256`: serializing it again may change them.
        client.push_manifest_raw(reference, image.manifest.data.clone(), kind).await
    };
    pushing.await.map(drop).map_err(|e: OciDistributionError| {
        Error::failed(format_args!("cannot push to {registry}: {}", with_causes(&e))).hint(match e {
            OciDistributionError::RequestError(_) => {
                "check the host and port; `--insecure` is for a registry without TLS"
            }
            _ => "log in with `docker login` or `podman login`",
        })
    })
}

fn auth(registry: &str) -> RegistryAuth {
    match get_credential(registry).or_else(|_| get_podman_credential(registry)) {
        Ok(DockerCredential::UsernamePassword(user, password)) => RegistryAuth::Basic(user, password),
        Ok(DockerCredential::IdentityToken(token)) => RegistryAuth::Bearer(token),
        // Some registries allow anonymous access, and the others reject it.
        Err(_) => RegistryAuth::Anonymous,
    }
}
