//! Reads metrics in Prometheus' text format (0.0.4), as Envoy writes it.

/// A sample of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series<'a> {
    /// The metric's name.
    pub(super) name: &'a str,
    labels: Vec<(&'a str, String)>,
    /// Its value.
    pub(super) value: f64,
}

impl Series<'_> {
    /// The value of a label.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(of, _)| *of == name).map(|(_, value)| value.as_str())
    }
}

/// All samples. Lines of any other form are skipped.
pub(super) fn series(text: &str) -> impl Iterator<Item = Series<'_>> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(line)
}

fn line(line: &str) -> Option<Series<'_>> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at_checked(end)?;
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (name, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((name, value));
            rest = after;
        }
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Series { name, labels, value })
}

/// The text up to the next quote, without its escapes, and what follows the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => match characters.next()? {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_labels_and_values_are_read() {
        let text = "# TYPE a counter\na{x=\"1\",y=\"q\\\"}\\\\\\n\"} 3\nb{} 1.5e3 1700000000\nc 7\n\nbad\nd{x} 1\ne{x=\"1} 2\n";
        let all: Vec<Series> = series(text).collect();
        let series = |name, labels: &[(&'static str, &str)], value| Series {
            name,
            labels: labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            value,
        };
        let want = [
            series("a", &[("x", "1"), ("y", "q\"}\\\n")], 3.0),
            series("b", &[], 1500.0),
            series("c", &[], 7.0),
        ];
        assert_eq!(all, want);
        assert_eq!((all[0].label("y"), all[0].label("z")), (Some("q\"}\\\n"), None));
    }

    proptest! {
        #[test]
        fn any_label_is_read_as_it_was_written(value in "\\PC*") {
            let written = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let text = format!("m{{client=\"{written}\",signal=\"traces\"}} 4");
            let all: Vec<Series> = series(&text).collect();
            prop_assert_eq!(all[0].label("client"), Some(value.as_str()));
            prop_assert_eq!(all[0].value, 4.0);
        }

        #[test]
        fn no_text_is_too_much(text in "[a{}=\", \\\\\\n0-9]{0,80}") {
            series(&text).count();
        }
    }
}
