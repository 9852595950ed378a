//! Three versions of protobufjs, the decoder of backends in JavaScript. Tests compare what they read from a message.

use std::path::PathBuf;

use anyhow::Result;

use super::cache;
use crate::project;

/// The folder with `read.js` and its dependencies; filled by npm if it is not in the cache.
pub(crate) fn protobufjs() -> Result<PathBuf> {
    let source = project::root().join("tests/protobufjs");
    cache::npm("protobufjs", &source, &["read.js", "package.json", "package-lock.json"])
}
