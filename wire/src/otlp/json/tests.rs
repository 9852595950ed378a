//! The splice against another implementation: serde_json reads the same from the outcome as from the input, except that
//! the owned attributes are those of the client. Then ways to forge an attribute.

use std::rc::Rc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::owned::Owned;
use super::super::splice::MAX_EDITS;
use super::*;

const OWNED: [&str; 2] = ["tenant.id", "otlp_gate.client"];
const LIMIT: usize = 64 << 20;
/// The attributes that every Resource gets, as JSON.
const SET: &str = concat!(
    r#"{"key":"otlp_gate.client","value":{"stringValue":"acme-edge"}},"#,
    r#"{"key":"tenant.id","value":{"stringValue":"acme"}}"#
);
const FORGED: &str = r#"{"key":"tenant.id","value":{"stringValue":"forged"}}"#;
const NAME: &str = r#"{"key":"service.name","value":{"stringValue":"shop"}}"#;

fn owned() -> Rc<Owned> {
    Rc::new(Owned::new(OWNED, true))
}

fn attributes() -> ResourceAttributes {
    ResourceAttributes::new(&owned(), [("otlp_gate.client", "acme-edge"), ("tenant.id", "acme")])
}

fn spliced_with(
    attributes: &ResourceAttributes,
    signal: Signal,
    message: &str,
) -> Result<(String, Splice), SpliceError> {
    let splice = splice(signal, message.as_bytes(), attributes, LIMIT)?;
    let out: Vec<u8> = splice.pieces(message.as_bytes()).flatten().copied().collect();
    assert_eq!(out.len(), splice.len);
    Ok((String::from_utf8(out).unwrap(), splice))
}

fn spliced_text(signal: Signal, message: &str) -> Result<(String, Splice), SpliceError> {
    spliced_with(&attributes(), signal, message)
}

fn error_of(signal: Signal, message: &str) -> &'static str {
    match spliced_text(signal, message) {
        Err(SpliceError::Malformed(malformed)) => malformed.what,
        other => panic!("{message}: {other:?}"),
    }
}

/// Whether a text is well-formed JSON.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// A request for traces with one entry.
fn traces(container: &str) -> String {
    format!(r#"{{"resourceSpans":[{container}]}}"#)
}

#[test]
fn attributes_are_set_in_place_and_everything_else_stays() {
    for (container, want) in [
        ("{}", r#"{"resource":{"attributes":[$S]}}"#),
        ("null", r#"{"resource":{"attributes":[$S]}}"#),
        (r#"{ "x" : 1.50 }"#, r#"{ "x" : 1.50 ,"resource":{"attributes":[$S]}}"#),
        (r#"{"resource":null,"x":[]}"#, r#"{"resource":{"attributes":[$S]},"x":[]}"#),
        (r#"{"resource":{}}"#, r#"{"resource":{"attributes":[$S]}}"#),
        (r#"{"resource":{"x":"\/"}}"#, r#"{"resource":{"x":"\/","attributes":[$S]}}"#),
        (r#"{"resource":{"attributes":null}}"#, r#"{"resource":{"attributes":[$S]}}"#),
        (r#"{"resource":{"attributes":[ ]}}"#, r#"{"resource":{"attributes":[$S ]}}"#),
        (r#"{"resource":{"attributes":[$N]}}"#, r#"{"resource":{"attributes":[$S,$N]}}"#),
        (r#"{"resource":{"attributes":[ $F ]}}"#, r#"{"resource":{"attributes":[$S  ]}}"#),
        (r#"{"resource":{"attributes":[$F,$N]}}"#, r#"{"resource":{"attributes":[$S,$N]}}"#),
        (r#"{"resource":{"attributes":[$N , $F , $N, $F]}}"#, r#"{"resource":{"attributes":[$S,$N  , $N]}}"#),
        (r#"{"resource":{"attributes":[$F,$F,$F]}}"#, r#"{"resource":{"attributes":[$S]}}"#),
        (r#"{"resource":{"attributes":[null,$F]}}"#, r#"{"resource":{"attributes":[$S,null]}}"#),
        // Entity references name attributes and are left alone, as are attributes of anything but the Resource.
        (
            r#"{"scopeSpans":[{"scope":{"attributes":[$F]},"spans":[{"attributes":[$F]}]}],"resource":{"entityRefs":[{"idKeys":["tenant.id"]}]}}"#,
            r#"{"scopeSpans":[{"scope":{"attributes":[$F]},"spans":[{"attributes":[$F]}]}],"resource":{"entityRefs":[{"idKeys":["tenant.id"]}],"attributes":[$S]}}"#,
        ),
    ] {
        let spelled = |text: &str| traces(&text.replace("$S", SET).replace("$F", FORGED).replace("$N", NAME));
        let (out, _) = spliced_text(Signal::Traces, &spelled(container)).unwrap();
        assert_eq!(out, spelled(want), "{container}");
    }
}

#[test]
fn for_a_client_without_attributes_only_forged_ones_are_removed() {
    let none = ResourceAttributes::new(&owned(), []);
    for (attributes, want) in [
        (vec![FORGED], vec![]),
        (vec![FORGED, NAME], vec![NAME]),
        (vec![FORGED, FORGED, NAME, FORGED, NAME], vec![NAME, NAME]),
        (vec![NAME, FORGED], vec![NAME]),
    ] {
        let container = |attributes: &[&str]| {
            traces(&format!(r#"{{"resource":{{"attributes":[{}]}}}}"#, attributes.join(",")))
        };
        let (out, _) = spliced_with(&none, Signal::Traces, &container(&attributes)).unwrap();
        assert_eq!(out, container(&want));
    }
    for container in
        ["null", "{}", r#"{"resource":null}"#, r#"{"resource":{}}"#, r#"{"resource":{"attributes":null}}"#]
    {
        let message = traces(container);
        let splice = splice(Signal::Traces, message.as_bytes(), &none, LIMIT).unwrap();
        assert_eq!(splice.pieces(message.as_bytes()).collect::<Vec<_>>(), [message.as_bytes()]);
    }
}

#[test]
fn a_key_is_owned_in_every_spelling() {
    for (attribute, owned) in [
        (r#"{"key":"tenant.id"}"#, true),
        (r#"{"value":{"intValue":"7"},"key":"tenant.id"}"#, true),
        (r#"{"\u006bey":"tenant.id"}"#, true),
        (r#"{"key":"\u0074enant\u002Eid"}"#, true),
        (r#"{"key":"tenant\u002eid"}"#, true),
        (r#"{"key":"TENANT-id"}"#, true),
        (r#"{"key":"tenant\u005fid "}"#, true),
        (r#"{"key":"tenant.identity"}"#, false),
        (r#"{"key":"tenant","value":{"kvlistValue":{"values":[{"key":"id"}]}}}"#, true),
        (
            r#"{"value":{"kvlist_value":{"values":[null,{"key":"x"},{"key":"ID","value":null}]}},"key":"tenant"}"#,
            true,
        ),
        (
            r#"{"key":"tenant","value":{"arrayValue":{"values":[{},null,{"kvlistValue":{"values":[{"key":"id"}]}}]}}}"#,
            true,
        ),
        (
            r#"{"key":"otlp","value":{"kvlistValue":{"values":[{"key":"gate","value":{"kvlistValue":{"values":[{"key":"client"}]}}}]}}}"#,
            true,
        ),
        (r#"{"key":"tenant","value":{"kvlistValue":{"values":[{"value":{},"key":"x"}]}}}"#, true),
        (
            r#"{"key":"tenant","value":{"kvlistValue":{"values":[{"key":"x","value":{"kvlistValue":{"values":[{"key":"id"}]}}}]}}}"#,
            false,
        ),
        (
            r#"{"value":{"kvlistValue":{"values":[{"value":{"kvlistValue":{"values":[{"key":"tenant_id"}]}}}]}}}"#,
            true,
        ),
        (r#"{"key":"tenant","value":{"kvlistValue":{"values":[{"value":{}},{"value":null}]}}}"#, false),
        (r#"{"key":"tenant","value":{"kvlistValue":{"values":null}}}"#, false),
        (r#"{"key":"tenant","value":{"kvlistValue":null}}"#, false),
        (r#"{"key":"service","value":{"kvlistValue":{"values":[{"key":"tenant.id"}]}}}"#, false),
        (r#"{"key":"\\u0074enant.id"}"#, false),
        (r#"{"key":"\ud83d\ude00"}"#, false),
        (r#"{"key":null}"#, false),
        (r#"{"xkey":"tenant.id"}"#, false),
        (r#"{"value":{"key":"tenant.id"}}"#, false),
    ] {
        let message = traces(&format!(r#"{{"re\u0073ource":{{"attributes":[{attribute}]}}}}"#));
        let (_, splice) = spliced_text(Signal::Traces, &message).unwrap();
        assert_eq!(splice.removed, u64::from(owned), "{attribute}");
    }
}

#[test]
fn messages_with_two_readings_are_rejected() {
    let twice = "duplicate member in a JSON object";
    let case = "member name differs from an OTLP name only in case";
    let two = "attribute value has more than one member";
    let half = "unpaired surrogate in a JSON string";
    let empty = "empty member name in a JSON object";
    for (message, what) in [
        (r#"{"resourceSpans":[],"resourceSpans":[]}"#, twice),
        (r#"{"resourceSpans":[],"resource_spans":[]}"#, twice),
        (r#"{"resourceSpans":null,"resource\u0053pans":[]}"#, twice),
        (r#"{"resourceSpans":[{"resource":{},"resource":{}}]}"#, twice),
        (r#"{"resourceSpans":[{"resource":null,"resource":{}}]}"#, twice),
        (r#"{"resourceSpans":[{"scopeSpans":[],"scope_spans":[]}]}"#, twice),
        (r#"{"resourceSpans":[{"scopeSpans":[{"spans":[],"spans":[]}]}]}"#, twice),
        (r#"{"resourceSpans":[{"resource":{"attributes":[],"attributes":[]}}]}"#, twice),
        (r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"a","key":"tenant.id"}]}}]}"#, twice),
        (r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"a","ke\u0079":"tenant.id"}]}}]}"#, twice),
        (r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":{},"value":null}]}}]}"#, twice),
        (r#"{"resourceSpans":[{"resource":{"attributes":[{"keyStrindex":0,"key_strindex":0}]}}]}"#, twice),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[{"value":{"stringValue":"a","stringValue":"b"}}]}}]}"#,
            twice,
        ),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[{"value":{"stringValue":"a","string_value":"b"}}]}}]}"#,
            twice,
        ),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[{"value":{"stringValue":"a","intValue":1}}]}}]}"#,
            two,
        ),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[{"value":{"kvlistValue":{},"stringValue":null}}]}}]}"#,
            two,
        ),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"tenant","value":{"kvlistValue":{"values":[{"key":"x","ke\u0079":"id"}]}}}]}}]}"#,
            twice,
        ),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"tenant","value":{"arrayValue":{"values":[{"intValue":1,"boolValue":true}]}}}]}}]}"#,
            two,
        ),
        (r#"{"resourceSpans":[{"resource":{"attributes":[{"Value":{}}]}}]}"#, case),
        (r#"{"resourceSpans":[{"resource":{"attributes":[{"value":{"StringValue":""}}]}}]}"#, case),
        (
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"tenant.id\u0000"}]}}]}"#,
            "attribute key contains NUL",
        ),
        (
            r#"{"resourceSpans":[{"scopeSpans":[],"deprecatedScopeSpans":[]}]}"#,
            "scopes under both the current and the deprecated name",
        ),
        (r#"{"ResourceSpans":[]}"#, case),
        (r#"{"RESOURCE_SPANS":[]}"#, case),
        (r#"{"resourceſpans":[]}"#, case),
        (r#"{"resource\u017fpans":[]}"#, case),
        (r#"{"resourceSpans":[{"Resource":{}}]}"#, case),
        (r#"{"resourceSpans":[{"resource":{"aTTributes":[]}}]}"#, case),
        ("{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"\u{212a}ey\":\"a\"}]}}]}", case),
        (r#"{"resourceSpans":[{"scopeSpans":[{"SPANS":[]}]}]}"#, case),
        (r#"{"\ud800":[]}"#, half),
        (r#"{"\udc00":[]}"#, half),
        (
            &format!(r#"{{"\u0061{}":[]}}"#, "a".repeat(1 << 16)),
            "escaped member name or key longer than 64 KiB",
        ),
        (r#"{"\ud800\ud800\udc00":[]}"#, half),
        (r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"a\ud800"}]}}]}"#, half),
        (r#"{"":{"resourceSpans":[]}}"#, empty),
        (r#"{"resourceSpans":[{"resource":{"":{"resource":{}}}}]}"#, empty),
        (r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"status":{"a":[{"x":1,"":{}}]}}]}]}]}"#, empty),
    ] {
        assert_eq!(error_of(Signal::Traces, message), what, "{message}");
    }
}

#[test]
fn wrong_types_on_the_way_to_resources_and_items_are_rejected() {
    let (object, array) = ("expected a JSON object", "expected a JSON array");
    for (signal, message, what) in [
        (Signal::Traces, "[]", object),
        (Signal::Traces, "null", object),
        (Signal::Traces, "\"{}\"", object),
        (Signal::Traces, r#"{"resourceSpans":{}}"#, array),
        (Signal::Traces, r#"{"resourceSpans":[[]]}"#, object),
        (Signal::Traces, r#"{"resourceSpans":[{"resource":[]}]}"#, object),
        (Signal::Traces, r#"{"resourceSpans":[{"resource":{"attributes":{}}}]}"#, array),
        (Signal::Traces, r#"{"resourceSpans":[{"resource":{"attributes":["tenant.id"]}}]}"#, object),
        (
            Signal::Traces,
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":1}]}}]}"#,
            "expected a JSON string",
        ),
        (Signal::Traces, r#"{"resourceSpans":[{"scopeSpans":{"spans":[]}}]}"#, array),
        (Signal::Logs, r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[1]}]}]}"#, object),
        (Signal::Metrics, r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"sum":[]}]}]}]}"#, object),
    ] {
        assert_eq!(error_of(signal, message), what, "{message}");
    }
}

#[test]
fn invalid_json_is_rejected_as_by_another_parser() {
    let inside = |value: &str| format!(r#"{{"a":[{value},{{"b":{value}}}]}}"#);
    let mut texts: Vec<String> = [
        "1",
        "-0",
        "0",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1.5",
        "1e",
        "1e5",
        "1E+5",
        "1e-",
        "0x1",
        "--1",
        "1.e5",
        "NaN",
        "Infinity",
        "true",
        "tru",
        "True",
        "truex",
        "null",
        "nul",
        "false",
        "falsey",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[]",
        "[[]]",
        "[]]",
        "{}",
        r#"{"a":1,}"#,
        r#"{,}"#,
        r#"{"a" 1}"#,
        r#"{"a":}"#,
        r#"{a:1}"#,
        r#"{'a':1}"#,
        r#"{1:1}"#,
        r#"{null:1}"#,
        r#"{"a":1 "b":2}"#,
        r#"{"a":1]"#,
        r#"[1}"#,
        r#""a"#,
        r#""\""#,
        r#""\x""#,
        r#""\u12""#,
        r#""\u12g4""#,
        r#""\u+123""#,
        "\"\t\"",
        "\"\n\"",
        "\"\u{7f}\"",
        "\"\u{0}\"",
        r#""\u0000""#,
        r#""0123456789abcdef\t""#,
        "\"0123456\u{1f}\"",
        r#""é€😀""#,
        "/**/1",
        "1//",
        "1:",
        "1:2",
        // The texts between attributes that exporters write, at other places.
        r#"["a","value":{"stringValue":"b"}]"#,
        r#"["a","value":{"intValue":"1"}]"#,
        r#"{"a":"b","value":{"stringValue":"c"}}"#,
        r#"{"a":"b","value":{"intValue":"c","d":1}}"#,
        r#"{"a":"b"}},{"key":"c"}"#,
        r#"{"a":{"b":"c"}},{"key":"d"}"#,
        r#"[{"a":{"b":"c"}},{"key":"d"}]"#,
        r#"[{"a":{"b":"c"}},{"key":"d","e":["f"]}]"#,
        r#"[{"a":["b"}},{"key":"c"}]"#,
        r#"[["a"}},{"key":"c"}]"#,
        r#"[{"a":{"b":"c"}},{"key":"d"}}]"#,
        r#"[{"a":{"b":"c"}},{"key":"d"]"#,
        " 1 ",
        "\u{a0}1",
        "\u{c}1",
        "",
        " ",
        ",",
        ":",
    ]
    .iter()
    .map(|value| inside(value))
    .collect();
    texts.extend(
        [
            "{}",
            " {} ",
            "{}x",
            "{}{}",
            "{",
            "",
            " ",
            "{}\0",
            "\u{feff}{}",
            "{\"a\":1",
            "{\"a\"",
            "{\"a",
            "{}]",
            "{\"a\":1}}",
        ]
        .map(str::to_owned),
    );
    let mut good = 0;
    for text in texts {
        let valid = is_json(&text);
        good += usize::from(valid);
        assert_eq!(spliced_text(Signal::Traces, &text).is_ok(), valid, "{text}");
    }
    assert!(good > 10, "the test accepts nothing");
}

#[test]
fn bytes_that_are_not_utf8_pass_where_the_filter_reads_nothing() {
    let spliced = |text: &str| {
        let bytes: Vec<u8> = text.bytes().map(|byte| if byte == b'^' { 0xff } else { byte }).collect();
        splice(Signal::Traces, &bytes, &attributes(), LIMIT)
            .map(|splice| splice.pieces(&bytes).flatten().copied().collect::<Vec<u8>>())
    };
    for text in [
        r#"{"a":"^"}"#,
        r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":{"stringValue":"b^"}}]},"scopeSpans":[{"spans":[{"name":"^"}]}]}]}"#,
    ] {
        assert!(spliced(text).unwrap().contains(&0xff), "{text}");
    }
    for text in [
        r#"{"^":1}"#,
        r#"{"a":{"b^":1}}"#,
        r#"{"a":^}"#,
        r#"^{}"#,
        r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"tenant.id^"}]}}]}"#,
        r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"tenant","value":{"kvlistValue":{"values":[{"key":"i^d"}]}}}]}}]}"#,
    ] {
        assert!(matches!(spliced(text), Err(SpliceError::Malformed(_))), "{text}");
    }
}

#[test]
fn every_byte_of_a_string_is_checked() {
    // Strings of several chunks, at several offsets in them, near the end of the text and far from it.
    let (name, key) = (r#"{"x":{"$":1}}"#, traces(r#"{"resource":{"attributes":[{"key":"$"}]}}"#));
    let (value, element) = (r#"{"x":{"y":"$","value":[{"a":"$"}]}}"#, r#"{"x":["$", "$"]}"#);
    let attribute = r#"{"x":[{"key":"$","value":{"stringValue":"$"}},{"key":"$","value":{"intValue":"$"}}]}"#;
    for (shape, is_name) in [(name, true), (&key, true), (value, false), (element, false), (attribute, false)]
    {
        for spaces in [0, 5, 11] {
            for len in [0, 1, 14, 15, 16, 17, 31, 32, 33] {
                for at in 0..=len {
                    for (byte, in_name, in_value) in [
                        (&b"\x1f"[..], false, false),
                        (b"\n", false, false),
                        (b"\0", false, false),
                        (b"\"", false, false),
                        (b"\\", false, false),
                        (b"\\x", false, false),
                        (b"\xff", false, true),
                        (b"\xc3", false, true),
                        (b"\x7f", true, true),
                        ("é".as_bytes(), true, true),
                        (br#"\""#, true, true),
                        (br"\\", true, true),
                        (br"\u0041", true, true),
                    ] {
                        let text = [&b"a".repeat(at)[..], byte, &b"a".repeat(len - at)].concat();
                        let mut message = b" ".repeat(spaces);
                        for (part, piece) in shape.split('$').enumerate() {
                            message.extend_from_slice(if part == 0 { b"" } else { &text });
                            message.extend_from_slice(piece.as_bytes());
                        }
                        message.extend(b" ".repeat(spaces));
                        let good = splice(Signal::Traces, &message, &attributes(), LIMIT).is_ok();
                        let want = if is_name { in_name } else { in_value };
                        assert_eq!(good, want, "{}", String::from_utf8_lossy(&message));
                    }
                }
            }
        }
    }
}

#[test]
fn nesting_and_growth_are_bounded() {
    let nested =
        |depth: usize| format!(r#"{{"a":{}{}}}"#, r#"{"a":["#.repeat(depth / 2), "]}".repeat(depth / 2));
    assert!(spliced_text(Signal::Traces, &nested(512)).is_ok());
    assert_eq!(error_of(Signal::Traces, &nested(516)), "JSON nested too deeply");
    // The default depth of SDKs, in an attribute of a span event and in one of a Resource.
    let value = (0..64).fold(r#"{"intValue":1}"#.to_owned(), |value, _| {
        format!(r#"{{"kvlistValue":{{"values":[{{"key":"k","value":{{"arrayValue":{{"values":[{value}]}}}}}}]}}}}"#)
    });
    for message in [
        traces(&format!(
            r#"{{"scopeSpans":[{{"spans":[{{"events":[{{"attributes":[{{"key":"a","value":{value}}}]}}]}}]}}]}}"#
        )),
        traces(&format!(r#"{{"resource":{{"attributes":[{{"key":"a","value":{value}}}]}}}}"#)),
    ] {
        assert!(spliced_text(Signal::Traces, &message).is_ok());
    }
    assert_eq!(
        error_of(Signal::Traces, &format!("{{\"a\":{}", "[".repeat(1 << 20))),
        "JSON nested too deeply"
    );

    let containers = |count: usize| traces(&vec!["null"; count].join(","));
    assert_eq!(
        spliced_text(Signal::Traces, &containers(MAX_EDITS + 1)).unwrap_err(),
        SpliceError::TooManyEdits
    );
    let pairs = vec!["{}"; MAX_ATTRIBUTES].join(",");
    let map = format!(r#"{{"key":"tenant","value":{{"kvlistValue":{{"values":[{pairs}]}}}}}}"#);
    let map = traces(&format!(r#"{{"resource":{{"attributes":[{map}]}}}}"#));
    assert_eq!(spliced_text(Signal::Traces, &map).unwrap_err(), SpliceError::TooManyEdits);
    let many = containers(1000);
    assert_eq!(
        splice(Signal::Traces, many.as_bytes(), &attributes(), 20_000).unwrap_err(),
        SpliceError::TooLarge
    );
}

#[test]
fn items_of_every_signal_are_counted_in_both_spellings() {
    for (signal, message, items) in [
        (
            Signal::Traces,
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{},null]},{"spans":[{"spans":[{}]}]}]}]}"#,
            3,
        ),
        (Signal::Traces, r#"{"resource_spans":[{"scope_spans":[{"spans":[{}]}]}]}"#, 1),
        (Signal::Traces, r#"{"resourceSpans":[{"deprecatedScopeSpans":[{"spans":[{},{},{}]}]}]}"#, 3),
        (Signal::Logs, r#"{"resourceLogs":[{"deprecated_scope_logs":[{"logRecords":[{}]}]}]}"#, 1),
        (Signal::Traces, r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}"#, 0),
        (Signal::Logs, r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{},{}]},null]}]}"#, 2),
        (Signal::Logs, r#"{"resource_logs":[{"scope_logs":[{"log_records":[{},{}]}]}]}"#, 2),
        (
            Signal::Metrics,
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{}]}},{"sum":{"data_points":[{},{}]}},
                {"histogram":{"dataPoints":[{}]}},{"exponentialHistogram":{"dataPoints":[{}]}},{"exponential_histogram":{"dataPoints":[{}]}},
                {"summary":{"dataPoints":[{}]}},{"summary":null},{"name":"none"}]}]}]}"#,
            7,
        ),
        (
            Signal::Profiles,
            r#"{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"samples":[{},{}]},{"samples":[{}]}]}]}]}"#,
            3,
        ),
        (
            Signal::Profiles,
            r#"{"resource_profiles":[{"scope_profiles":[{"profiles":[{"samples":[{}]}]}]}]}"#,
            1,
        ),
    ] {
        assert_eq!(spliced_text(signal, message).unwrap().1.items, items, "{message}");
    }
}

#[test]
fn entries_without_items_are_counted() {
    let message = traces(
        r#"null,{},{"scopeSpans":null},{"scopeSpans":[{"spans":[]}]},{"scopeSpans":[{"spans":[{}]}]}"#,
    );
    let (_, splice) = spliced_text(Signal::Traces, &message).unwrap();
    assert_eq!((splice.empty_entries, splice.items), (4, 1));
}

#[test]
fn with_a_string_table_the_attributes_have_keys_by_index() {
    let by_index = concat!(
        r#"{"keyStrindex":2,"value":{"stringValue":"acme-edge"}},"#,
        r#"{"keyStrindex":3,"value":{"stringValue":"acme"}}"#
    );
    for (before, after) in [
        (
            r#"{"dictionary":{"string_table":["", "x" ]},"resourceProfiles":[{}]}"#.to_owned(),
            format!(
                r#"{{"dictionary":{{"string_table":["", "x" ,"otlp_gate.client","tenant.id"]}},"resourceProfiles":[{{"resource":{{"attributes":[{by_index}]}}}}]}}"#
            ),
        ),
        (
            r#"{"dictionary":{"stringTable":[]},"resourceProfiles":[{}]}"#.to_owned(),
            format!(
                r#"{{"dictionary":{{"stringTable":[]}},"resourceProfiles":[{{"resource":{{"attributes":[{SET}]}}}}]}}"#
            ),
        ),
    ] {
        assert_eq!(spliced_text(Signal::Profiles, &before).unwrap().0, after);
    }
}

#[test]
fn profiles_may_have_keys_by_index_into_a_table_that_comes_later() {
    let profiles = |attribute: &str| {
        format!(
            r#"{{"resourceProfiles":[{{"resource":{{"attributes":[{attribute}]}}}}],"dictionary":{{"stringTable":["","x","tenant\u002eid"]}}}}"#
        )
    };
    for (attribute, removed) in [
        (r#"{"keyStrindex":2}"#, 1),
        (r#"{"key_strindex":"2","value":{}}"#, 1),
        (r#"{"keyStrindex":2,"key":""}"#, 1),
        (r#"{"keyStrindex":1}"#, 0),
        (r#"{"keyStrindex":0,"key":"tenant.id"}"#, 1),
        (r#"{"keyStrindex":null,"key":"x"}"#, 0),
    ] {
        assert_eq!(
            spliced_text(Signal::Profiles, &profiles(attribute)).unwrap().1.removed,
            removed,
            "{attribute}"
        );
    }
    for (attribute, what) in [
        (r#"{"keyStrindex":3}"#, "key_strindex is outside the string table"),
        (r#"{"keyStrindex":1,"key":"x"}"#, "attribute has both key and key_strindex"),
        (r#"{"keyStrindex":1,"key_strindex":2}"#, "duplicate member in a JSON object"),
        (r#"{"keyStrindex":2.0}"#, "index is not a plain integer"),
        (r#"{"keyStrindex":"02"}"#, "index is not a plain integer"),
        (r#"{"keyStrindex":"+2"}"#, "index is not a plain integer"),
        (r#"{"keyStrindex":-1}"#, "index is not a plain integer"),
        (r#"{"keyStrindex":4294967298}"#, "index is not a plain integer"),
        (r#"{"keyStrindex":"\u0032"}"#, "index is not a plain integer"),
        (r#"{"keyStrindex":true}"#, "expected a digit in a JSON number"),
    ] {
        assert_eq!(error_of(Signal::Profiles, &profiles(attribute)), what, "{attribute}");
    }
    let message = profiles(r#"{"keyStrindex":1}"#).replace("[\"\",", "[\"tenant.id\",");
    assert_eq!(error_of(Signal::Profiles, &message), "first string of the string table is not empty");
    // Other signals have no string table.
    assert_eq!(
        spliced_text(Signal::Traces, &traces(r#"{"resource":{"attributes":[{"keyStrindex":2}]}}"#))
            .unwrap()
            .1
            .removed,
        0
    );
}

#[test]
fn the_set_attributes_are_valid_json() {
    let value = "\"\\\u{0}\u{1f}\u{7f}\n😀é/";
    let attributes = ResourceAttributes::new(&owned(), [("a\"b", value)]);
    let (out, _) = spliced_with(&attributes, Signal::Traces, &traces("{}")).unwrap();
    let out: Value = serde_json::from_str(&out).unwrap();
    let want = json!([{"key": "a\"b", "value": {"stringValue": value}}]);
    assert_eq!(out["resourceSpans"][0]["resource"]["attributes"], want);
}

/// A JSON value, to be written with random whitespace and escapes.
#[derive(Debug, Clone)]
enum Node {
    Plain(&'static str),
    Text(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    fn spell(&self, dice: &mut impl FnMut(u32) -> u32) -> String {
        let space = |dice: &mut dyn FnMut(u32) -> u32| ["", "", "", " ", "\n\t", "\r "][dice(6) as usize];
        match self {
            Node::Plain(text) => (*text).to_owned(),
            Node::Text(text) => spell_text(text, dice),
            Node::Array(nodes) => {
                let nodes: Vec<_> = nodes
                    .iter()
                    .map(|node| format!("{}{}{}", space(dice), node.spell(dice), space(dice)))
                    .collect();
                format!("[{}]", nodes.join(","))
            }
            Node::Object(members) => {
                let members: Vec<_> = members
                    .iter()
                    .map(|(name, node)| {
                        let (before, after) = (space(dice), space(dice));
                        format!(
                            "{before}{}{after}:{}{}",
                            spell_text(name, dice),
                            space(dice),
                            node.spell(dice)
                        )
                    })
                    .collect();
                format!("{{{}{}}}", members.join(","), space(dice))
            }
        }
    }
}

fn spell_text(text: &str, dice: &mut impl FnMut(u32) -> u32) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        if dice(6) == 0 || letter < ' ' || letter == '"' || letter == '\\' {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                out += &if dice(2) == 0 { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") };
            }
        } else {
            out.push(letter);
        }
    }
    out + "\""
}

fn scalar() -> impl Strategy<Value = Node> {
    prop_oneof![
        prop::sample::select(vec!["null", "true", "false", "0", "-1.5e3", "12345678901234567890"])
            .prop_map(Node::Plain),
        ".{0,12}".prop_map(Node::Text),
        Just(Node::Text("tenant.id".into())),
    ]
}

/// Any value, with names that OTLP uses elsewhere.
fn anything() -> impl Strategy<Value = Node> {
    let name = prop_oneof![
        "[a-zä_]{1,8}".prop_map(|name| format!("x{name}")),
        Just("xkey".to_owned()),
        Just("tenant.id".to_owned()),
        Just("schemaUrl".to_owned()),
    ];
    scalar().prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Node::Array),
            prop::collection::vec((name.clone(), inner), 0..4).prop_map(Node::Object),
        ]
    })
}

/// An object with some of these members and unknown ones, in any order.
fn object(members: Vec<(Vec<&'static str>, BoxedStrategy<Node>)>) -> BoxedStrategy<Node> {
    let known: Vec<_> = members
        .into_iter()
        .map(|(spellings, value)| {
            prop::option::weighted(0.8, (prop::sample::select(spellings), value)).boxed()
        })
        .collect();
    (known, prop::option::of(("x[a-z]{1,6}", anything())))
        .prop_flat_map(|(known, unknown)| {
            let mut members: Vec<(String, Node)> =
                known.into_iter().flatten().map(|(name, node)| (name.to_owned(), node)).collect();
            members.extend(unknown);
            Just(members).prop_shuffle().prop_map(Node::Object)
        })
        .boxed()
}

fn array(of: BoxedStrategy<Node>) -> BoxedStrategy<Node> {
    prop_oneof![
        9 => prop::collection::vec(prop_oneof![9 => of, 1 => Just(Node::Plain("null"))], 0..4).prop_map(Node::Array),
        1 => Just(Node::Plain("null")),
    ]
    .boxed()
}

fn or_null(of: BoxedStrategy<Node>) -> BoxedStrategy<Node> {
    prop_oneof![9 => of, 1 => Just(Node::Plain("null"))].boxed()
}

fn key() -> impl Strategy<Value = Node> {
    prop_oneof![
        Just(Node::Text("tenant.id".into())),
        Just(Node::Text("otlp_gate.client".into())),
        Just(Node::Plain("null")),
        "[a-zä.\"]{0,12}".prop_map(Node::Text),
    ]
}

fn request(signal: Signal) -> BoxedStrategy<Node> {
    let kinds = vec!["stringValue", "string_value", "intValue", "bool_value", "doubleValue", "bytesValue"];
    let value = or_null(object(vec![(kinds, anything().boxed())]));
    let attribute = object(vec![(vec!["key"], key().boxed()), (vec!["value"], value)]);
    let resource = object(vec![(vec!["attributes"], array(attribute))]);
    let anything = || object(vec![]);
    let many =
        |spellings: &[&'static str], of: BoxedStrategy<Node>| object(vec![(spellings.to_vec(), array(of))]);
    let (containers, scopes, scope) = match signal {
        Signal::Traces => {
            (["resourceSpans", "resource_spans"], ["scopeSpans", "scope_spans"], many(&["spans"], anything()))
        }
        Signal::Logs => (
            ["resourceLogs", "resource_logs"],
            ["scopeLogs", "scope_logs"],
            many(&["logRecords", "log_records"], anything()),
        ),
        Signal::Metrics => {
            let data = or_null(many(&["dataPoints", "data_points"], anything()));
            let kinds =
                vec!["gauge", "sum", "histogram", "exponentialHistogram", "exponential_histogram", "summary"];
            let metric = object(vec![(kinds, data)]);
            (
                ["resourceMetrics", "resource_metrics"],
                ["scopeMetrics", "scope_metrics"],
                many(&["metrics"], metric),
            )
        }
        Signal::Profiles => {
            let profile = many(&["samples"], anything());
            (
                ["resourceProfiles", "resource_profiles"],
                ["scopeProfiles", "scope_profiles"],
                many(&["profiles"], profile),
            )
        }
    };
    let container = object(vec![(vec!["resource"], or_null(resource)), (scopes.to_vec(), array(scope))]);
    object(vec![(containers.to_vec(), array(container))])
}

/// The member of an object, in any of its spellings.
fn member<'a>(object: &'a mut Value, spellings: &[&str]) -> Option<&'a mut Value> {
    let object = object.as_object_mut()?;
    let name = spellings.iter().find(|name| object.contains_key(**name))?;
    object.get_mut(*name)
}

fn elements(array: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    array.and_then(Value::as_array_mut).into_iter().flatten()
}

fn snake(camel: &str) -> String {
    camel
        .chars()
        .map(
            |letter| {
                if letter.is_uppercase() { format!("_{}", letter.to_lowercase()) } else { letter.into() }
            },
        )
        .collect()
}

/// Changes a message to what the backend should receive. Returns the numbers of items and of removed attributes.
fn expected(signal: Signal, message: &mut Value) -> (u64, u64) {
    let (mut items, mut removed) = (0, 0);
    let owned = owned();
    let (of, scopes) = match signal {
        Signal::Traces => ("resourceSpans", "scopeSpans"),
        Signal::Logs => ("resourceLogs", "scopeLogs"),
        Signal::Metrics => ("resourceMetrics", "scopeMetrics"),
        Signal::Profiles => ("resourceProfiles", "scopeProfiles"),
    };
    for container in elements(member(message, &[of, &snake(of)])) {
        for scope in elements(member(container, &[scopes, &snake(scopes)])) {
            items += match signal {
                Signal::Traces => elements(member(scope, &["spans"])).count(),
                Signal::Logs => elements(member(scope, &["logRecords", "log_records"])).count(),
                Signal::Metrics => elements(member(scope, &["metrics"]))
                    .filter_map(Value::as_object_mut)
                    .flat_map(|metric| metric.iter_mut().filter(|(name, _)| !name.starts_with('x')))
                    .map(|(_, data)| elements(member(data, &["dataPoints", "data_points"])).count())
                    .sum(),
                Signal::Profiles => elements(member(scope, &["profiles"]))
                    .map(|profile| elements(member(profile, &["samples"])).count())
                    .sum(),
            } as u64;
        }
        for path in [&["resource"][..], &["resource", "attributes"]] {
            let place = path.iter().fold(&mut *container, |value, name| &mut value[*name]);
            if place.is_null() {
                *place = if path.len() == 1 { json!({}) } else { json!([]) };
            }
        }
        let attributes = container["resource"]["attributes"].as_array_mut().unwrap();
        let before = attributes.len();
        attributes.retain(|attribute| !attribute["key"].as_str().is_some_and(|key| owned.owns(key)));
        removed += (before - attributes.len()) as u64;
        let set: Vec<Value> = serde_json::from_str(&format!("[{SET}]")).unwrap();
        attributes.splice(0..0, set);
    }
    (items, removed)
}

fn any_signal() -> impl Strategy<Value = (Signal, Node)> {
    prop::sample::select(&Signal::ALL[..]).prop_flat_map(|signal| (Just(signal), request(signal)))
}

/// Pseudorandom numbers below a bound.
fn dice(mut seed: u64) -> impl FnMut(u32) -> u32 {
    move |sides| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u32 % sides
    }
}

/// Attributes as exporters write them, and values around them.
fn compact() -> impl Strategy<Value = String> {
    let text = || {
        prop_oneof![
            Just(String::new()),
            "[ -!#-\\[\\]-~é]{1,20}",
            r#"(\\["\\/bfnrt]|\\u00[0-7][0-9a-f]|x){1,9}"#
        ]
    };
    let scalar = prop_oneof![
        text().prop_map(|text| format!(r#""{text}""#)),
        "-?(0|[1-9][0-9]{0,20})([.][0-9]{1,17})?(e[+-]?[0-9]{1,2})?",
        prop::sample::select(vec!["null", "true", "false", "[]", "{}"]).prop_map(str::to_owned),
    ];
    scalar.prop_recursive(4, 40, 5, move |inner| {
        let attribute = prop_oneof![
            4 => (text(), text()).prop_map(|(key, value)| {
                format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#)
            }),
            2 => (text(), any::<i64>()).prop_map(|(key, value)| {
                format!(r#"{{"key":"{key}","value":{{"intValue":"{value}"}}}}"#)
            }),
            1 => (text(), inner.clone()).prop_map(|(key, value)| {
                format!(r#"{{"key":"{key}","value":{{"kvlistValue":{value}}}}}"#)
            }),
            1 => inner.clone(),
        ];
        let list = |of: BoxedStrategy<String>| prop::collection::vec(of, 0..6).prop_map(|of| of.join(","));
        prop_oneof![
            3 => list(attribute.boxed()).prop_map(|all| format!("[{all}]")),
            1 => list(("[a-z]{1,18}", inner).prop_map(|(name, value)| format!(r#""{name}":{value}"#)).boxed())
                .prop_map(|all| format!("{{{all}}}")),
        ]
    })
}

/// Pieces of JSON, most of them of attributes as exporters write them.
const PIECES: &[&str] = &[
    r#"","value":{"stringValue":""#,
    r#"","value":{"intValue":""#,
    r#""}},{"key":""#,
    r#"{"key":""#,
    r#""}}"#,
    r#"","#,
    r#"":"#,
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\t",
    "\u{0}",
    "0",
    "-",
    ".",
    "e1",
    "null",
    "é",
    "",
];

proptest! {
    #[test]
    fn exactly_what_another_parser_reads_is_accepted_however_deep_and_damaged(
        value in compact(),
        around in prop::collection::vec(any::<bool>(), 0..80),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..4usize, prop::sample::select(PIECES)), 0..3,
        ),
    ) {
        let mut message = r#"{"x":"#.to_owned();
        message.extend(around.iter().map(|&object| if object { r#"{"a":"# } else { "[" }));
        message += &value;
        message.extend(around.iter().rev().map(|&object| if object { "}" } else { "]" }));
        message.push('}');
        for (at, remove, insert) in changes {
            let starts: Vec<usize> = message.char_indices().map(|(at, _)| at).collect();
            // Any place of the value, or near it.
            let first = 5.min(starts.len());
            let from = first + at.index(starts.len() - first + 1);
            let place = |index: usize| starts.get(index).copied().unwrap_or(message.len());
            let range = place(from)..place(from + remove);
            message.replace_range(range, insert);
        }
        match spliced_text(Signal::Traces, &message) {
            Err(SpliceError::Malformed(malformed)) if malformed.what.starts_with("empty member name") => {
                prop_assert!(message.contains(r#""""#), "{message}");
            }
            found => prop_assert_eq!(found.is_ok(), is_json(&message), "{}", message),
        }
    }

    #[test]
    fn attributes_are_set_for_every_signal_and_nothing_else_changes(
        (signal, node) in any_signal(), seed in any::<u64>(),
    ) {
        let message = node.spell(&mut dice(seed));
        let mut want: Value = serde_json::from_str(&message).unwrap();
        let (items, removed) = expected(signal, &mut want);
        let (out, splice) = spliced_text(signal, &message).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), want);
        prop_assert_eq!((splice.items, splice.removed), (items, removed));
        // A second gateway behind the first does not change the meaning.
        let (again, _) = spliced_text(signal, &out).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), serde_json::from_str::<Value>(&out).unwrap());
    }

    #[test]
    fn a_damaged_message_is_rejected_or_free_of_forged_attributes(
        (signal, node) in any_signal(), seed in any::<u64>(), at in any::<prop::sample::Index>(),
        byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut message = node.spell(&mut dice(seed)).into_bytes();
        let at = at.index(message.len());
        if cut { message.truncate(at) } else { message[at] = byte & 0x7f }
        let Ok(message) = String::from_utf8(message) else { return Ok(()) };
        let Ok((out, _)) = spliced_text(signal, &message) else { return Ok(()) };
        prop_assert!(is_json(&message));
        // An unpaired surrogate where the filter reads nothing is well-formed, but serde_json cannot read it.
        let Ok(mut want) = serde_json::from_str(&message) else { return Ok(()) };
        expected(signal, &mut want);
        prop_assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), want);
    }

    #[test]
    fn no_bytes_make_it_panic_and_forwarded_bytes_are_json(message in "[\\[\\]{}\",:\\\\u0-9a-e \\n-]{0,40}|.{0,40}") {
        for signal in Signal::ALL {
            if let Ok((out, _)) = spliced_text(signal, &message) {
                prop_assert!(is_json(&message) && is_json(&out));
            }
        }
    }
}
