//! Runs every target for some seconds, without a fuzzer: on inputs that the fuzzer once found, on inputs that are
//! written here, and on both with random changes. The random numbers are the same in every run.

use std::fs;

use arbitrary::{Arbitrary, Unstructured};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use otlp_gate_fuzz::{
    certificate, costly, engine, framing, gunzip, identity, policy, quotas, request, splice, splice_json, unzstd,
};

/// How many changed inputs a target gets.
const ROUNDS: usize = 10_000;

/// Random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut out = self.0;
        out = (out ^ (out >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        out = (out ^ (out >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((out ^ (out >> 31)) % bound.max(1) as u64) as usize
    }

    /// Changes, removes, inserts or repeats some bytes, or continues with another input.
    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        const SPECIAL: [u8; 12] = [0, 1, 5, 7, 0x0a, 0x0b, 0x0c, 0x12, 0x7f, 0x80, 0xff, b'"'];
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            match self.below(5) {
                0 => input.insert(at, SPECIAL[self.below(SPECIAL.len())]),
                1 => input.truncate(at),
                2 => {
                    let from = self.below(other.len() + 1);
                    input.splice(at.., other[from..].iter().copied());
                }
                3 => {
                    let end = (at + self.below(8)).min(input.len());
                    let piece = input[at..end].to_vec();
                    input.splice(at..at, piece);
                }
                _ => {
                    if let Some(byte) = input.get_mut(at) {
                        *byte = if self.below(2) == 0 {
                            self.below(256) as u8
                        } else {
                            *byte ^ 1 << self.below(8)
                        };
                    }
                }
            }
        }
    }
}

/// Runs a target on these inputs, unchanged and changed.
fn run(inputs: &[Vec<u8>], rounds: usize, target: impl Fn(&[u8])) {
    for input in inputs {
        target(input);
    }
    let mut random = Random(1);
    for _ in 0..rounds {
        let mut input = inputs[random.below(inputs.len())].clone();
        let other = &inputs[random.below(inputs.len())];
        random.change(&mut input, other);
        target(&input);
    }
}

/// The inputs that the fuzzer once found, one per line.
fn found(name: &str) -> Vec<Vec<u8>> {
    let file = format!("{}/seeds/{name}.b64", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&file).expect(&file);
    text.lines().map(|line| STANDARD.decode(line).expect(line)).collect()
}

/// Random inputs, for a target that reads numbers from them.
fn noise(count: usize, len: usize) -> Vec<Vec<u8>> {
    let mut random = Random(2);
    (0..count).map(|_| (0..random.below(len)).map(|_| random.below(256) as u8).collect()).collect()
}

#[test]
fn splice_holds() {
    run(&found("splice"), ROUNDS, splice::target);
}

#[test]
fn splice_json_holds() {
    run(&found("splice_json"), ROUNDS, splice_json::target);
}

#[test]
fn gunzip_holds() {
    run(&found("gunzip"), ROUNDS, gunzip::target);
}

#[test]
fn unzstd_holds() {
    run(&found("unzstd"), ROUNDS, unzstd::target);
}

#[test]
fn framing_holds() {
    run(&found("gunzip"), ROUNDS / 5, framing::target);
}

#[test]
fn request_holds() {
    run(&found("request"), ROUNDS, |bytes| {
        if let Ok(input) = Arbitrary::arbitrary_take_rest(Unstructured::new(bytes)) {
            request::target(input);
        }
    });
}

#[test]
fn nothing_is_costly() {
    for (kind, name) in ["splice", "splice_json", "gunzip", "unzstd"].into_iter().enumerate() {
        run(&found(name), 100, |bytes| costly::target((kind as u8, bytes)));
    }
}

#[test]
fn quotas_hold() {
    run(&noise(300, 600), ROUNDS / 4, quotas::target);
}

#[test]
fn engine_holds() {
    let debts = |bytes: f64, items: f64| [bytes.to_le_bytes(), items.to_le_bytes()].concat();
    let answer = |debts: &[u8]| [b"$16\r\n", debts, b"\r\n+OK\r\n"].concat();
    let answers = [
        answer(&debts(0.0, 5.0)),
        answer(&debts(1e300, f64::NAN)),
        answer(&debts(-1.0, f64::INFINITY)),
        [b"+OK\r\n", &answer(&debts(7.0, 1e12))[..]].concat(),
        b"-NOSCRIPT No matching script.\r\n+OK\r\n".to_vec(),
        b"-WRONGPASS invalid\r\n-NOAUTH Authentication required.\r\n+OK\r\n".to_vec(),
        b"upstream connect error or disconnect/reset before headers".to_vec(),
        b"$99999999999999999999\r\n".to_vec(),
    ];
    run(&answers, ROUNDS, engine::target);
}

#[test]
fn certificate_holds() {
    run(&found("certificate"), 3 * ROUNDS, certificate::target);
}

#[test]
fn identity_holds() {
    let uris = ["spiffe://acme.example/a/b/x/y", "spiffe://acme.example/x/", "spiffe:", "\u{e9}"];
    let names = ["berlin.globex.example", "a..example", "*.globex.example", "berlin.globex.example."];
    let subjects = [
        "CN=a,O=Acme\\, Inc.",
        "CN=a+OU=b,O=Acme\\2c Inc.",
        "O=\"Acme, Inc.\",CN=#0c0161",
        "CN=a,CN=b",
        "CN=\\",
    ];
    let random = std::cell::RefCell::new(Random(3));
    for _ in 0..ROUNDS / 2 {
        let one = |of: &[&str]| {
            let mut random = random.borrow_mut();
            let mut text = of[random.below(of.len())].as_bytes().to_vec();
            let other = of[random.below(of.len())].as_bytes();
            random.change(&mut text, other);
            text
        };
        identity::target((&one(&uris), &one(&names), &one(&subjects)));
    }
}

#[test]
fn policy_holds() {
    let policies = [
        r#"{"clients":[{"name":"a","match":{"spiffe":"spiffe://a/**"},"attributes":{"t":"{sha256}"}}],"deny":["sha256:00"]}"#,
        r#"{"gate":"a/b","clients":[{"name":"{x}","match":[{"dns":"{x}.b"},{"subject":{"CN":"{x}"}}],"quota":"g","quotaPer":"{x}"}],
            "quotas":{"mode":"shadow","tiers":{"g":{"requests":"5/s","bytes":"1MiB/s","burst":"5s"}}},"unknown":"reject"}"#,
        r#"{"clients":[],"attributes":{"a":"{name}"},"headers":{"X":"{a}"},"limits":{"wire":"1MiB","ratio":9},"revision":"ff"}"#,
        r#"{"gzip":"H4sIAAAAAAAA/6uuBQBDv6ajAgAAAA=="}"#,
    ];
    run(&policies.map(|policy| policy.as_bytes().to_vec()), ROUNDS / 2, policy::target);
}
