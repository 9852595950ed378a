//! Random bytes from the operating system.

use crate::error::Error;

/// `N` random bytes.
///
/// # Errors
/// The operating system has none.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::failed(format_args!("cannot get random bytes from the system: {e}")))?;
    Ok(bytes)
}
