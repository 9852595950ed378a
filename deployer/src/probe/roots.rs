//! The CAs that this machine trusts.

use rustls::RootCertStore;

use crate::certs::certificate_pem;
use crate::error::Error;

/// The trusted CAs of this machine, in PEM: those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, else of the system.
///
/// # Errors
/// There are none.
pub(crate) fn system_roots() -> Result<String, Error> {
    let found = rustls_native_certs::load_native_certs();
    // A system may have certificates that rustls does not accept as CAs.
    let usable = found.certs.iter().filter(|it| RootCertStore::empty().add((*it).clone()).is_ok());
    let pem: String = usable.map(|it| certificate_pem(it)).collect();
    if pem.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(Error::failed(format_args!("this machine has no trusted CAs{why}"))
            .hint("name the CA of the server's certificate with `--ca FILE`"));
    }
    Ok(pem)
}
