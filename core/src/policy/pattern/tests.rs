use proptest::prelude::*;

use super::*;

fn run<'a>(pattern: &'a Pattern, text: &'a str, reading: Reading) -> Option<Vec<(&'a str, &'a str)>> {
    let mut captures = Vec::new();
    pattern.matches(text, reading, &mut captures).then_some(captures)
}

fn captures(pattern: &str, separator: Separator, text: &str) -> Option<String> {
    let pattern = Pattern::parse(pattern, separator).unwrap();
    let captures = run(&pattern, text, Reading::Strict)?;
    Some(
        captures
            .iter()
            .map(|(word, value)| format!("{word}={value} "))
            .collect::<String>()
            .trim_end()
            .to_owned(),
    )
}

#[test]
fn wildcards_mean_what_the_docs_say() {
    use Separator::{Dns, Email, Subject, Uri};
    let long = "x".repeat(64);
    for (pattern, separator, text, expected) in [
        ("spiffe://acme/edge/*", Uri, "spiffe://acme/edge/7", Some("")),
        ("spiffe://acme/edge/*", Uri, "spiffe://acme/edge/7.a", Some("")),
        ("spiffe://acme/edge/*", Uri, "spiffe://acme/edge/ü", Some("")),
        ("spiffe://acme/edge/*", Uri, "spiffe://acme/edge/", None),
        ("spiffe://acme/edge/*", Uri, "spiffe://acme/edge/7/8", None),
        ("spiffe://acme/edge/*", Uri, "spiffe://Acme/edge/7", None),
        ("spiffe://acme/edge/*", Uri, "xspiffe://acme/edge/7", None),
        ("spiffe://acme/**", Uri, "spiffe://acme/edge/7", Some("")),
        ("spiffe://acme/**", Uri, "spiffe://acme/", None),
        ("spiffe://acme/**/sa/{sa}", Uri, "spiffe://acme/a/sa/b/sa/c", Some("sa=c")),
        ("spiffe://{td}/ns/{ns}/sa/*", Uri, "spiffe://a.example/ns/x/sa/y", Some("td=a.example ns=x")),
        ("{site}.{org}.example", Dns, "a.b.example", Some("site=a org=b")),
        ("{site}.{org}.EXAMPLE", Dns, "a.b.example", Some("site=a org=b")),
        ("{site}.{org}.example", Dns, "x.a.b.example", None),
        ("**.{org}.example", Dns, "x.a.b.example", Some("org=b")),
        ("*.example", Dns, "*.example", Some("")),
        ("{org}.example", Dns, "*.example", None),
        ("{org}.example", Dns, &format!("{long}.example"), None),
        ("{org}.example", Dns, &format!("{}.example", &long[1..]), Some(&format!("org={}", &long[1..]))),
        ("*@acme.example", Email, "ann@acme.example", Some("")),
        ("*@acme.example", Email, "ann.lee@acme.example", None),
        ("**@acme.example", Email, "ann.lee@acme.example", Some("")),
        ("**@acme.example", Email, "\"x@acme.example\"@evil.example", None),
        ("*@acme.example", Email, "x@evil.example@acme.example", None),
        ("Ann@ACME.Example", Email, "Ann@acme.example", Some("")),
        ("Ann@ACME.Example", Email, "ann@acme.example", None),
        ("{user}@{org}.example", Email, "ann@acme.example", Some("user=ann org=acme")),
        ("{user}@{org}.example", Email, "ann@a.acme.example", None),
        ("{user}@*", Email, "ann@b@c", None),
        ("{org}", Subject, "Acme Inc", None),
        ("*", Subject, "Acme Inc", Some("")),
        ("*", Subject, "a.b", None),
        ("*", Subject, "a/b", None),
        ("**", Subject, "Acme, Inc. a/b", Some("")),
        ("{a}-{b}", Subject, "x-y-z", Some("a=x b=y-z")),
        ("aa*aa", Uri, "aaa", None),
        ("aa*aa", Uri, "aaaaa", Some("")),
        ("{a}b", Uri, "bb", Some("a=b")),
    ] {
        assert_eq!(captures(pattern, separator, text).as_deref(), expected, "{pattern} on {text}");
    }
}

fn kind() -> impl Strategy<Value = CaptureKind> {
    let max = proptest::sample::select(vec![1, 2, 62, 63, 64, 126, 127, 255]);
    (max, any::<[bool; 3]>()).prop_map(|(max, [dot, colon, at])| CaptureKind { max, dot, colon, at })
}

#[cfg(not(target_arch = "wasm32"))]
proptest! {
    #[test]
    fn its_regular_expression_matches_and_captures_the_same(
        pattern in r"[ab.+$/-]{0,2}(\*|\{x\}|\*\*)?[ab.$/]{0,2}(\*|\{y\}|\*\*)?[a^/]{0,1}",
        text in r"[ab.:@+$/^ü-]{0,9}",
        separator in prop::sample::select(vec![Separator::Dns, Separator::Uri, Separator::Email, Separator::Subject]),
        kind in kind(),
    ) {
        let Ok(mut pattern) = Pattern::parse(&pattern, separator) else { return Ok(()) };
        pattern.set_capture_kinds(|word| if word == "x" { kind } else { CaptureKind::default() });
        let regex = ::regex::Regex::new(&pattern.regex()).unwrap();
        let found = regex.captures(&text).map(|found| {
            pattern.captures().map(|word| (word.to_owned(), found[word].to_owned())).collect::<Vec<_>>()
        });
        let mut own = run(&pattern, &text, Reading::Strict);
        own.iter_mut().for_each(|own| own.retain(|(_, value)| !value.is_empty()));
        let own = own.map(|own| own.iter().map(|(word, value)| ((*word).to_owned(), (*value).to_owned())).collect());
        prop_assert_eq!(own, found);
    }
}

#[test]
fn invalid_patterns_are_rejected() {
    for (pattern, error) in [
        ("", PatternError::Empty),
        ("a***", PatternError::Adjacent),
        ("{a}{b}", PatternError::Adjacent),
        ("*{b}", PatternError::Adjacent),
        ("{b}**", PatternError::Adjacent),
        ("{a}.{a}", PatternError::Twice("a".into())),
        ("{a", PatternError::Brace),
        ("a}", PatternError::Brace),
        ("{}", PatternError::CaptureName(String::new())),
        ("{1a}", PatternError::CaptureName("1a".into())),
        ("{a.b}", PatternError::CaptureName("a.b".into())),
    ] {
        assert_eq!(Pattern::parse(pattern, Separator::Uri), Err(error), "{pattern}");
    }
    assert_eq!(Pattern::parse(&"a".repeat(2049), Separator::Uri), Err(PatternError::TooLong));
    assert_eq!(Pattern::parse(&"*a".repeat(17), Separator::Uri), Err(PatternError::TooManyWildcards));
}

#[test]
fn ambiguous_patterns_are_found() {
    for (pattern, ambiguous) in [
        ("{a}-{b}.c", true),
        ("*-{b}", true),
        ("**x{b}", true),
        ("*-*", false),
        ("{a}.{b}", false),
        ("{a}", false),
    ] {
        assert_eq!(Pattern::parse(pattern, Separator::Dns).unwrap().is_ambiguous(), ambiguous, "{pattern}");
    }
}

#[test]
fn a_pattern_covers_another_when_it_matches_its_sample() {
    for (wide, narrow, covers) in [
        ("a/*", "a/b", true),
        ("a/*", "a/b*", true),
        ("a/*", "a/{x}", true),
        ("a/{x}", "a/{y}", true),
        ("a/{x}", "a/*", false),
        ("a/*", "a/**", false),
        ("a/**", "a/*/b", true),
        ("*/*", "**", false),
        ("**", "*/*", true),
        ("a*", "b*", false),
    ] {
        let wide = Pattern::parse(wide, Separator::Uri).unwrap();
        let sample = Pattern::parse(narrow, Separator::Uri).unwrap().sample();
        assert_eq!(run(&wide, &sample, Reading::Sample).is_some(), covers, "{wide:?} {narrow}");
    }
}

#[test]
fn a_hostile_text_takes_bounded_work() {
    let pattern = Pattern::parse(&format!("{}b", "**a".repeat(16)), Separator::Uri).unwrap();
    let text = "a".repeat(8 * 1024);
    assert_eq!(run(&pattern, &text, Reading::Strict), None);
}

/// The definition, by trying everything.
fn naive<'a>(
    tokens: &'a [Token],
    separator: Separator,
    text: &'a str,
    captures: &mut Vec<(&'a str, &'a str)>,
) -> bool {
    let Some((token, rest)) = tokens.split_first() else { return text.is_empty() };
    if let Token::Literal(literal) = token {
        return text.strip_prefix(&**literal).is_some_and(|text| naive(rest, separator, text, captures));
    }
    for (end, _) in text.char_indices().skip(1).chain([(text.len(), ' ')]) {
        let (taken, left) = text.split_at(end);
        let one_segment = !taken.bytes().any(|byte| separator.ends(byte));
        let fits = match token {
            Token::Deep => true,
            Token::Capture(_, kind) => {
                taken.len() <= usize::from(kind.max) && taken.bytes().all(|byte| kind.holds(byte, separator))
            }
            _ => one_segment,
        };
        let before = captures.len();
        if let Token::Capture(word, _) = token {
            captures.push((word, taken));
        }
        if !taken.is_empty() && fits && naive(rest, separator, left, captures) {
            return true;
        }
        captures.truncate(before);
    }
    false
}

proptest! {
    #[test]
    fn agrees_with_the_naive_reference(
        pattern in r"([ab./ü]{0,2}(\*|\*\*|\{x\}|\{y\}|)){0,5}",
        text in "[ab./:@ü*]{0,12}",
        separator in proptest::sample::select(vec![Separator::Dns, Separator::Uri, Separator::Email, Separator::Subject]),
        kind in kind(),
    ) {
        let Ok(mut pattern) = Pattern::parse(&pattern, separator) else { return Ok(()) };
        pattern.set_capture_kinds(|word| if word == "x" { kind } else { CaptureKind::default() });
        let mut expected = Vec::new();
        let matches = naive(&pattern.tokens, separator, &text, &mut expected);
        prop_assert_eq!(run(&pattern, &text, Reading::Strict), matches.then_some(expected));
    }

    #[test]
    fn no_text_panics_the_parser(text in r"[a*{}.\PC]{0,24}") {
        let _ = Pattern::parse(&text, Separator::Dns);
    }

    #[test]
    fn what_covers_a_pattern_matches_all_that_it_matches(
        wide in r"([ab./]{0,2}(\*|\*\*|\{x\}|)){0,3}",
        narrow in r"([ab./]{0,2}(\*|\*\*|\{x\}|)){0,3}",
        text in "([ab./:*]|a{60}){0,6}",
        separator in proptest::sample::select(vec![Separator::Dns, Separator::Uri, Separator::Email, Separator::Subject]),
        kinds in (kind(), kind()),
    ) {
        let (Ok(mut wide), Ok(mut narrow)) = (Pattern::parse(&wide, separator), Pattern::parse(&narrow, separator))
        else { return Ok(()) };
        wide.set_capture_kinds(|_| kinds.0);
        narrow.set_capture_kinds(|_| kinds.1);
        let sample = narrow.sample();
        if run(&wide, &sample, Reading::Sample).is_some() && run(&narrow, &text, Reading::Strict).is_some() {
            prop_assert!(run(&wide, &text, Reading::Strict).is_some());
        }
    }
}
