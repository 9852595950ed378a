//! The filter's module, as `cargo xtask build-wasm` built it. The command contains it, so that the module that it
//! deploys is the one that it was tested with.

mod location;
pub(crate) mod native;

pub(crate) use location::Location;
pub(crate) use native::NativeModule;

use crate::sha256;

/// The module's bytes.
pub(crate) fn bytes() -> &'static [u8] {
    include_bytes!(env!("OTLP_GATE_WASM_PATH"))
}

/// The module's SHA-256 in 64 lower-case hex digits, as the configurations of Envoy and Istio take it.
pub(crate) fn sha256() -> String {
    sha256::hex(bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_embedded_module_is_wasm() {
        assert_eq!(super::bytes().get(..4), Some(b"\0asm".as_slice()));
    }

    #[test]
    fn the_digest_has_64_hex_digits() {
        let digest = super::sha256();
        assert_eq!(digest.len(), 64);
        assert!(
            digest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
            "{digest}"
        );
    }
}
