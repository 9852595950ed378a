//! Compiles the origins of web pages.

use super::super::pattern::{Pattern, Separator};
use super::super::problem::{PathRef, Problem};

pub(super) fn compile(origins: &[String], problems: &mut Vec<Problem>) -> Vec<Pattern> {
    let path = PathRef::of("corsOrigins");
    let mut patterns = Vec::with_capacity(origins.len());
    for (index, text) in origins.iter().enumerate() {
        // A subject's values have such segments too: `*` ends at `.` and at `/`.
        match Pattern::parse(text, Separator::Subject) {
            Ok(pattern) if is_origin(text) => patterns.push(pattern),
            Ok(_) => {
                let hint = "write scheme://host in lower case, with the port if it is not the scheme's own, and `*` for what varies";
                let message = format!("browsers send no origin like `{}`", text.escape_debug());
                problems.push(Problem::new(path.index(index), message).hint(hint));
            }
            Err(error) => problems.push(Problem::new(path.index(index), error.to_string())),
        }
    }
    patterns
}

/// Whether some origin can be like this, as browsers write it (HTML standard, "serialization of an origin"). There is nothing
/// that could use what it would capture.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let in_scheme = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    let in_host = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]*".contains(&byte);
    let own_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "/",
    };
    !scheme.is_empty()
        && scheme.bytes().all(in_scheme)
        && !host.is_empty()
        && host.bytes().all(in_host)
        && !host.ends_with(own_port)
}
