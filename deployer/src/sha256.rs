//! SHA-256 in hex.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// The digest in 64 lower-case hex digits.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// The first hex digits of the digest, at most 64, for names and tables.
pub(crate) fn short(bytes: impl AsRef<[u8]>, digits: usize) -> String {
    let mut hex = hex(bytes);
    hex.truncate(digits);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_fips_180_4() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex("abc"), abc);
        assert_eq!(short("abc", 12), abc[..12]);
    }
}
