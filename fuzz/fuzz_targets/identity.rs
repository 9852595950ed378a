//! Any text in a certificate is read and matched without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otlp_gate_core::gate::Gate;
use otlp_gate_core::identity::Identity;

const POLICY: &str = r#"{"clients":[
    {"name":"a","match":{"spiffe":"spiffe://acme.example/**/x/*"}},
    {"name":"{org}-{site}","match":{"dns":"{site}.{org}.example"},"attributes":{"site":"{site}"}},
    {"name":"s-{cn}","match":{"subject":{"CN":"{cn}","O":"Acme, Inc."}}}]}"#;

fuzz_target!(|parts: (&[u8], &[u8], &[u8])| {
    let Ok(gate) = Gate::load(POLICY.as_bytes()) else { panic!("the policy is valid") };
    let digest = [b'0'; 64];
    let (uri, dns, subject) = parts;
    let _ = gate.client(&Identity::from_parts(Some(uri), Some(dns), Some(subject), Some(&digest)));
});
