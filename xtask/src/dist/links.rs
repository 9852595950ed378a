//! The links of the documents in an archive.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// The Markdown `document` in the file `name`. Links to other files than `names` become their text.
pub(super) fn within(document: &str, name: &Path, names: &BTreeSet<&Path>) -> String {
    let mut out = String::with_capacity(document.len());
    let mut rest = document;
    while let Some((before, after)) = rest.split_once("](")
        && let Some((target, next)) = after.split_once(')')
    {
        match before.rsplit_once('[') {
            Some((start, text)) if !leads(target, name, names) => out.extend([start, text]),
            _ => out.extend([before, "](", target, ")"]),
        }
        rest = next;
    }
    out + rest
}

/// Whether a link of the document `name` leads to another site, a heading of the document, or one of `names`.
fn leads(target: &str, name: &Path, names: &BTreeSet<&Path>) -> bool {
    let file = target.split('#').next().unwrap_or_default();
    if file.is_empty() || target.contains(':') {
        return true;
    }
    let mut path = PathBuf::from(name);
    path.pop();
    for component in Path::new(file).components() {
        match component {
            Component::ParentDir => _ = path.pop(),
            component => path.push(component),
        }
    }
    names.contains(path.as_path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_what_is_not_there_become_their_text() {
        let names = ["pages/a.md", "pages", "examples"].map(Path::new).into();
        let links = |document: &str| within(document, Path::new("pages/guides/b.md"), &names);
        for kept in [
            "[a](../a.md#part) and [its folder](..), the\n[examples](../../examples) [here](#here)",
            "[site](https://example.com/x.md), `[1](`, [open](",
        ] {
            assert_eq!(links(kept), kept);
        }
        assert_eq!(links("see [how\nit is built](../../BUILD.md#x)."), "see how\nit is built.");
        assert_eq!(links("[a](../a.md), [[b]](c.md), [d](/etc/d)"), "[a](../a.md), [b], d");
    }
}
