//! Target: any certificate, and any text that a proxy sends about one, is read and matched without a panic.

use otlp_gate_core::gate::{Gate, TrustedHop};
use otlp_gate_core::identity::{Examination, Identity, Validity};
use otlp_gate_core::time::Timestamp;

const POLICY: &str = r#"{"clients":[
    {"name":"a","match":{"spiffe":"spiffe://acme.example/**/x/*"}},
    {"name":"p.{org}.{site}","match":{"dns":"{site}.{org}.example"},"attributes":{"site":"{site}"}},
    {"name":"s-{cn}","match":{"subject":{"CN":"{cn}","O":"Acme, Inc."}}}]}"#;

const UNVERIFIED: Examination<'static> = Examination::unverified(Timestamp::EPOCH);

/// Runs one input.
pub fn target(parts: (&[u8], &[u8], &[u8])) {
    let gate = Gate::load(POLICY.as_bytes()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let (uri, dns, subject) = parts;
    // Only the last element, which the hop wrote itself, is used.
    let header = [&[uri][..], &[b"Hash=00;URI=spiffe://acme.example/a/x/b"]].concat().join(&b","[..]);
    let hop = TrustedHop::new([7; 32], Validity { not_before: 0, not_after: i64::MAX });
    if let Ok(said) = gate.forwarded(&[(b"x-forwarded-client-cert", &header)], &hop, Timestamp::EPOCH) {
        assert_eq!(said.key(), "Hash=00;URI=spiffe://acme.example/a/x/b");
    }
    let _ = gate
        .forwarded(&[(b"x-forwarded-client-cert", uri)], &hop, Timestamp::EPOCH)
        .and_then(|said| gate.forwarded_client(&said, UNVERIFIED));
    let _ = Identity::from_header(uri);
    let _ = Identity::from_der(uri);
    let _ = gate.peer(Some([7; 32]), &[(b"x-forwarded-client-cert", uri)], UNVERIFIED);
    let [uri, dns, subject] = [uri, dns, subject].map(String::from_utf8_lossy);
    let _ = gate.client(&Identity::from_texts(&[&uri], &[&dns], Some(&subject), Some([0; 32])));
}
