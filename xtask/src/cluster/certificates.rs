//! The control plane's keys: a certificate authority, certificates of the API server and the administrator, and the key
//! that signs the tokens of service accounts.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};

use super::network;
use super::state::State;

/// Writes all keys and certificates.
pub(super) fn write(state: &State) -> Result<()> {
    fs::create_dir_all(state.dir().join("pki"))?;
    let mut params = named("kube-ca", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    fs::write(state.pki("ca.crt"), authority.pem())?;

    let mut params = named("kube-apiserver", None);
    params.subject_alt_names = vec![SanType::DnsName("kubernetes.default.svc".try_into()?)];
    for address in ["127.0.0.1", network::API_SERVICE, &network::node_address(1)] {
        let address: IpAddr = address.parse().context("an address of the API server")?;
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    pair(state, "api", &params, &authority)?;

    let mut params = named("admin", Some("system:masters"));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    pair(state, "admin", &params, &authority)?;

    let tokens = KeyPair::generate()?;
    secret(state, "service-accounts.key", &tokens.serialize_pem())?;
    fs::write(state.pki("service-accounts.pub"), tokens.public_key_pem())?;
    Ok(())
}

fn named(name: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params
}

fn pair(
    state: &State,
    name: &str,
    params: &CertificateParams,
    authority: &CertifiedIssuer<'_, KeyPair>,
) -> Result<()> {
    let key = KeyPair::generate()?;
    fs::write(state.pki(&format!("{name}.crt")), params.signed_by(&key, authority)?.pem())?;
    secret(state, &format!("{name}.key"), &key.serialize_pem())
}

fn secret(state: &State, name: &str, pem: &str) -> Result<()> {
    let path = state.pki(name);
    fs::write(&path, pem)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
}
