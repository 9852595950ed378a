//! Random bytes.

use crate::error::Error;

/// So many random bytes, of the system.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::failed(format_args!("the system gives no random bytes: {e}")))?;
    Ok(bytes)
}
