//! The filter's module, as `cargo xtask build-wasm` built it: the command carries it, so that what it deploys and
//! what it was tested with cannot be two things.

use crate::sha256;

/// The module's bytes.
pub fn bytes() -> &'static [u8] {
    include_bytes!(env!("OTLP_GATE_WASM_PATH"))
}

/// The SHA-256 of the module, 64 lower-case hex digits, as Envoy's and Istio's configuration want it.
pub fn sha256() -> String {
    sha256::hex(bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_carried_is_a_wasm_module() {
        assert_eq!(super::bytes().get(..4), Some(b"\0asm".as_slice()));
    }

    #[test]
    fn its_digest_is_64_hex_digits() {
        let digest = super::sha256();
        assert_eq!(digest.len(), 64);
        assert!(
            digest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
            "{digest}"
        );
    }
}
