//! Compiles the origins of web pages (CORS).

use super::super::pattern::{Pattern, Separator};
use super::super::problem::{PathRef, Problem};

pub(super) fn compile(origins: &[String], problems: &mut Vec<Problem>) -> Vec<Pattern> {
    let path = PathRef::of("corsOrigins");
    let mut patterns = Vec::with_capacity(origins.len());
    for (index, text) in origins.iter().enumerate() {
        // In origins `*` ends at `.` and at `/`, as in values of a subject.
        match Pattern::parse(text, Separator::Subject) {
            Ok(pattern) if is_origin(text) => patterns.push(pattern),
            Ok(_) => {
                let hint = "write `scheme://host` in lower case, with the port unless it is the default of the scheme, and `*` for parts that vary";
                let message = format!("`{}` is not an origin that browsers send", text.escape_debug());
                problems.push(Problem::new(path.index(index), message).hint(hint));
            }
            Err(error) => problems.push(Problem::new(path.index(index), error.to_string())),
        }
    }
    patterns
}

/// Whether a pattern has the form of an origin in a browser's `Origin` header (HTML standard, "serialization of an
/// origin"). Captures are not allowed: no template could use them.
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
