//! Somebody else's reading of what we write.

use std::process::Command;

use crate::Place;

/// What `openssl` says, on both streams, and whether it was content.
pub(crate) fn openssl(place: &Place, args: &str) -> (bool, String) {
    let output = Command::new("openssl")
        .args(args.split_whitespace())
        .current_dir(place.folder.path())
        .output()
        .unwrap_or_else(|e| panic!("openssl: {e}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// What it says, being content.
pub(crate) fn read(place: &Place, args: &str) -> String {
    let (content, text) = openssl(place, args);
    assert!(content, "openssl {args}: {text}");
    text
}
