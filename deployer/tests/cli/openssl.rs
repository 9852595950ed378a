//! OpenSSL, as an independent reader of what the command writes.

use std::process::Command;

use crate::Sandbox;

/// Runs `openssl`: whether it succeeded, and its output on both streams.
pub(crate) fn openssl(sandbox: &Sandbox, args: &str) -> (bool, String) {
    let output = Command::new("openssl")
        .args(args.split_whitespace())
        .current_dir(sandbox.folder.path())
        .output()
        .unwrap_or_else(|e| panic!("openssl: {e}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// The output of `openssl`, which must succeed.
pub(crate) fn read(sandbox: &Sandbox, args: &str) -> String {
    let (ok, text) = openssl(sandbox, args);
    assert!(ok, "openssl {args}: {text}");
    text
}
