//! The splice against another implementation: for every valid message, prost decodes the same from the outcome as from
//! the input, except that the owned attributes are those of the client.

use std::rc::Rc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::otlp::owned::Owned;
use crate::otlp::protobuf::put_uint;
use crate::otlp::splice::MAX_EDITS;

const OWNED: [&str; 2] = ["tenant.id", "otlp_gate.client"];
const LIMIT: usize = 64 << 20;

fn owned() -> Rc<Owned> {
    Rc::new(Owned::new(OWNED, true))
}

fn attributes() -> ResourceAttributes {
    ResourceAttributes::new(&owned(), [("otlp_gate.client", "acme-edge"), ("tenant.id", "acme")])
}

fn spliced(signal: Signal, message: &[u8]) -> Result<(Vec<u8>, Splice), SpliceError> {
    let splice = splice(signal, message, &attributes(), LIMIT)?;
    let out: Vec<u8> = splice.pieces(message).flatten().copied().collect();
    assert_eq!(out.len(), splice.len);
    Ok((out, splice))
}

/// What the backend should receive of a Resource: without owned keys, with the client's attributes, in any order.
fn expected(resource: Option<Resource>, owned: impl Fn(&KeyValue) -> bool) -> (Resource, u64) {
    let mut resource = resource.unwrap_or_default();
    let before = resource.attributes.len();
    resource.attributes.retain(|attribute| !owned(attribute));
    let removed = (before - resource.attributes.len()) as u64;
    for (key, value) in [("otlp_gate.client", "acme-edge"), ("tenant.id", "acme")] {
        let value = AnyValue { value: Some(any_value::Value::StringValue(value.into())) };
        resource.attributes.push(KeyValue { key: key.into(), value: Some(value), ..Default::default() });
    }
    (sorted(resource), removed)
}

/// The Resource with its attributes in a fixed order.
fn sorted(mut resource: Resource) -> Resource {
    resource.attributes.sort_by_key(Message::encode_to_vec);
    resource
}

fn owned_by_name(attribute: &KeyValue) -> bool {
    OWNED.map(fold).contains(&fold(&attribute.key))
}

/// A key as backends have it that ignore case and separators.
fn fold(key: &str) -> String {
    let words = key.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_ascii_lowercase()
}

/// Checks one signal. `$resources` is the field of the request, and `$items` counts the items of an entry.
macro_rules! check {
    ($signal:expr, $request:ty, $resources:ident, $message:expr, $owned:expr, $items:expr) => {{
        let message: &[u8] = $message;
        let mut want = <$request>::decode(message).unwrap();
        let (out, splice) = spliced($signal, message).unwrap();
        let mut got = <$request>::decode(&out[..]).unwrap();
        let (mut items, mut removed) = (0u64, 0u64);
        for container in &mut want.$resources {
            let (resource, gone) = expected(container.resource.take(), $owned);
            container.resource = Some(resource);
            removed += gone;
            items += $items(container);
        }
        for container in &mut got.$resources {
            container.resource = container.resource.take().map(sorted);
        }
        prop_assert_eq!(&got, &want);
        prop_assert_eq!((splice.items, splice.removed), (items, removed));
    }};
}

/// A field whose tag and length have `padding` needless bytes, which no ordinary encoder writes.
fn field(number: u32, body: &[u8], padding: usize) -> Vec<u8> {
    let mut out = padded(u64::from(number) << 3 | 2, padding);
    out.extend(padded(body.len() as u64, padding));
    out.extend_from_slice(body);
    out
}

fn padded(value: u64, padding: usize) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, value);
    for _ in 0..padding {
        *out.last_mut().unwrap() |= 0x80;
        out.push(0);
    }
    out
}

/// Fields that no version of OTLP has, of every wire type.
fn unknown() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<u64>().prop_map(|value| {
            let mut out = Vec::new();
            put_uint(&mut out, 900, value.max(1));
            out
        }),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| field(901, &bytes, 0)),
        any::<[u8; 8]>().prop_map(|bytes| [&padded(902 << 3 | 1, 0), &bytes[..]].concat()),
        any::<[u8; 4]>().prop_map(|bytes| [&padded(903 << 3 | 5, 0), &bytes[..]].concat()),
        Just(
            [
                padded(904 << 3 | 3, 0),
                padded(905 << 3 | 3, 0),
                padded(905 << 3 | 4, 0),
                padded(904 << 3 | 4, 0)
            ]
            .concat()
        ),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("tenant.id".to_owned()),
        Just("otlp_gate.client".to_owned()),
        Just("tenant.id ".to_owned()),
        Just("Tenant-id".to_owned()),
        Just("tenant".to_owned()),
        Just("tenant.identity".to_owned()),
        Just("Id".to_owned()),
        Just(String::new()),
        "[a-zä.]{1,12}",
    ]
}

/// A KeyValue in any order. If `doubled`, its fields may occur twice or not at all.
fn attribute(doubled: bool) -> impl Strategy<Value = Vec<u8>> {
    let values = if doubled { 0..3usize } else { 1..2 };
    let keys = if doubled { 0..3usize } else { 0..2 };
    let keys = prop::collection::vec(key(), keys);
    (keys, prop::collection::vec(value(doubled), values), unknown(), 0..3usize).prop_flat_map(
        |(keys, values, unknown, pad)| {
            let mut parts: Vec<Vec<u8>> = keys.iter().map(|key| field(1, key.as_bytes(), pad)).collect();
            parts.extend(values.iter().map(|value| field(2, value, pad)));
            parts.push(unknown);
            shuffled(parts)
        },
    )
}

/// An AnyValue: strings, and lists and maps. In maps no key is owned, unless `doubled`.
fn value(doubled: bool) -> BoxedStrategy<Vec<u8>> {
    let plain = prop_oneof![
        ".{0,20}".prop_map(|text| field(1, text.as_bytes(), 0)),
        Just(vec![0x18, 7]),
        Just(vec![]),
    ];
    let names = if doubled { vec!["id", "ID", "x", "", "tenant", "client"] } else { vec!["x", "name"] };
    plain
        .prop_recursive(3, 12, 3, move |inner| {
            let pair = (prop::sample::select(names.clone()), inner.clone(), any::<prop::sample::Index>())
                .prop_map(move |(key, value, twice)| {
                    let mut parts = vec![field(1, key.as_bytes(), 0), field(2, &value, 0)];
                    if doubled && twice.index(8) == 0 {
                        parts.push(field(1, b"id", 0));
                    }
                    if twice.index(2) == 0 {
                        parts.reverse();
                    }
                    field(1, &parts.concat(), 0)
                });
            let map = prop::collection::vec(pair, 0..3).prop_map(|pairs| field(6, &pairs.concat(), 0));
            let list = prop::collection::vec(inner.clone(), 0..3).prop_map(|values| {
                field(5, &values.iter().flat_map(|value| field(1, value, 0)).collect::<Vec<_>>(), 0)
            });
            let several =
                prop::collection::vec(inner, if doubled { 0..3 } else { 1..2 }).prop_map(|all| all.concat());
            prop_oneof![4 => map, 2 => list, 1 => several]
        })
        .boxed()
}

fn shuffled(parts: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    Just(parts).prop_shuffle().prop_map(|parts| parts.concat())
}

/// A Resource with attributes, a count of dropped attributes, and entity references.
fn resource(doubled: bool) -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec((attribute(doubled), 0..3usize), 0..5), unknown()).prop_flat_map(
        |(attributes, unknown)| {
            let mut parts: Vec<Vec<u8>> = attributes.iter().map(|(body, pad)| field(1, body, *pad)).collect();
            parts.push(vec![0x10, 7]);
            parts.push(field(3, &field(3, b"tenant.id", 0), 0));
            parts.push(unknown);
            shuffled(parts)
        },
    )
}

/// A request with one reading.
fn request(scope: impl Strategy<Value = Vec<u8>> + Clone) -> impl Strategy<Value = Vec<u8>> {
    any_request(scope, false)
}

/// A request. An entry has at most one Resource, or several if `doubled`, before, between and after its scopes.
fn any_request(
    scope: impl Strategy<Value = Vec<u8>> + Clone,
    doubled: bool,
) -> impl Strategy<Value = Vec<u8>> {
    let resources = prop::collection::vec((resource(doubled), 0..2usize), if doubled { 0..3 } else { 0..2 });
    let container = (resources, prop::collection::vec(scope, 0..4), unknown()).prop_flat_map(
        |(resources, scopes, unknown)| {
            let mut parts: Vec<Vec<u8>> = resources.iter().map(|(body, pad)| field(1, body, *pad)).collect();
            parts.extend(scopes.iter().map(|scope| field(2, scope, 0)));
            parts.push(field(3, b"https://schema.example", 1));
            parts.push(unknown);
            shuffled(parts)
        },
    );
    (prop::collection::vec((container, 0..3usize), 0..4), unknown()).prop_flat_map(|(containers, unknown)| {
        let mut parts: Vec<Vec<u8>> = containers.iter().map(|(body, pad)| field(1, body, *pad)).collect();
        parts.push(unknown);
        shuffled(parts)
    })
}

/// `count` empty messages in field `number`.
fn repeated(number: u32, count: usize) -> Vec<u8> {
    (0..count).flat_map(|_| field(number, &[], 0)).collect()
}

/// A decoder of the attributes of Resources, by what it does with a field that occurs twice.
#[derive(Debug, Clone, Copy)]
enum Decoder {
    /// Takes the first, as easyproto's `GetString` and the like do.
    First,
    /// Takes the last, as protobufjs 7 does with messages.
    Last,
    /// Merges messages, as protobuf's own decoders do.
    Merging,
}

impl Decoder {
    /// The fields of a message with their bodies, up to the first error.
    fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
        fn varint(message: &mut &[u8]) -> Option<u64> {
            let mut value = 0;
            for shift in (0..64).step_by(7) {
                let (&byte, rest) = message.split_first()?;
                *message = rest;
                value |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    return Some(value);
                }
            }
            None
        }
        let mut fields = Vec::new();
        while let Some(tag) = varint(&mut message) {
            let len = match tag & 7 {
                0 => varint(&mut message).map(|_| 0),
                1 => Some(8),
                2 => varint(&mut message),
                5 => Some(4),
                _ => Some(0),
            };
            let Some((body, rest)) = len.and_then(|len| message.split_at_checked(len as usize)) else {
                break;
            };
            fields.push((tag >> 3, body));
            message = rest;
        }
        fields
    }

    /// A singular field that is a message.
    fn message(self, message: &[u8], number: u64) -> Vec<u8> {
        let all: Vec<&[u8]> =
            Self::fields(message).into_iter().filter(|(of, _)| *of == number).map(|(_, body)| body).collect();
        match self {
            Decoder::First => all.first().copied().unwrap_or_default().to_vec(),
            Decoder::Last => all.last().copied().unwrap_or_default().to_vec(),
            Decoder::Merging => all.concat(),
        }
    }

    /// A singular field that is a string.
    fn text(self, message: &[u8], number: u64) -> String {
        let mut all = Self::fields(message).into_iter().filter(|(of, _)| *of == number).map(|(_, body)| body);
        let text = if matches!(self, Decoder::First) { all.next() } else { all.next_back() };
        String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
    }

    /// For each entry, the attributes whose keys, or paths of keys, fold to owned ones, with their strings or types.
    fn owned(self, request: &[u8]) -> Vec<Vec<(String, String)>> {
        let entries = Self::fields(request).into_iter().filter(|(number, _)| *number == 1);
        let of_entry = |(_, entry): (u64, &[u8])| {
            let mut found = Vec::new();
            self.pairs(&self.message(entry, 1), "", &mut found);
            found.retain(|(path, _)| OWNED.map(fold).contains(path));
            let name = |(path, text): (String, String)| {
                let ours = [("otlp_gate_client", "acme-edge", OWNED[1]), ("tenant_id", "acme", OWNED[0])];
                let ours = ours.iter().find(|(key, value, _)| (*key, *value) == (&*path, &*text));
                (path, ours.map_or(text.clone(), |(_, _, key)| (*key).to_owned()))
            };
            found.into_iter().map(name).collect()
        };
        entries.map(of_entry).collect()
    }

    fn pairs(self, list: &[u8], path: &str, found: &mut Vec<(String, String)>) {
        for (_, pair) in Self::fields(list).into_iter().filter(|(number, _)| *number == 1) {
            let path = format!("{path}.{}", self.text(pair, 1));
            self.value(&self.message(pair, 2), &path, found);
        }
    }

    fn value(self, value: &[u8], path: &str, found: &mut Vec<(String, String)>) {
        let members: Vec<_> = Self::fields(value).into_iter().filter(|(number, _)| *number < 9).collect();
        let chosen = if matches!(self, Decoder::First) { members.first() } else { members.last() };
        let &(number, body) = chosen.unwrap_or(&(0, &[]));
        // The last run of the same member is merged.
        let parts = members.iter().rev().take_while(|(of, _)| *of == number).map(|(_, body)| *body);
        let merged: Vec<u8> = parts.collect::<Vec<_>>().into_iter().rev().flatten().copied().collect();
        let body = if matches!(self, Decoder::Merging) && number != 1 { &merged } else { body };
        found.push((
            fold(path),
            if number == 1 { String::from_utf8_lossy(body).into_owned() } else { number.to_string() },
        ));
        match number {
            5 => Self::fields(body).into_iter().for_each(|(_, element)| self.value(element, path, found)),
            6 => self.pairs(body, path, found),
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn attributes_are_set_for_traces_and_nothing_else_changes(
        message in request((0..5usize).prop_map(|n| repeated(2, n))),
    ) {
        check!(Signal::Traces, ExportTraceServiceRequest, resource_spans, &message, owned_by_name,
            |container: &opentelemetry_proto::tonic::trace::v1::ResourceSpans| {
                container.scope_spans.iter().map(|scope| scope.spans.len() as u64).sum::<u64>()
            });
    }

    #[test]
    fn attributes_are_set_for_logs_and_nothing_else_changes(
        message in request((0..5usize).prop_map(|n| repeated(2, n))),
    ) {
        check!(Signal::Logs, ExportLogsServiceRequest, resource_logs, &message, owned_by_name,
            |container: &opentelemetry_proto::tonic::logs::v1::ResourceLogs| {
                container.scope_logs.iter().map(|scope| scope.log_records.len() as u64).sum::<u64>()
            });
    }

    #[test]
    fn metrics_of_all_five_kinds_are_counted_by_data_points(
        message in request(prop::collection::vec((prop::sample::select(vec![5u32, 7, 9, 10, 11]), 0..4usize), 0..4)
            .prop_map(|metrics| {
                metrics.iter().flat_map(|&(kind, n)| field(2, &field(kind, &repeated(1, n), 0), 0)).collect()
            }))
    ) {
        use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, metric::Data};
        check!(Signal::Metrics, ExportMetricsServiceRequest, resource_metrics, &message, owned_by_name,
            |container: &ResourceMetrics| {
                container.scope_metrics.iter().flat_map(|scope| &scope.metrics).map(|metric| match &metric.data {
                    Some(Data::Gauge(data)) => data.data_points.len() as u64,
                    Some(Data::Sum(data)) => data.data_points.len() as u64,
                    Some(Data::Histogram(data)) => data.data_points.len() as u64,
                    Some(Data::ExponentialHistogram(data)) => data.data_points.len() as u64,
                    Some(Data::Summary(data)) => data.data_points.len() as u64,
                    None => 0,
                }).sum::<u64>()
            });
    }

    #[test]
    fn profiles_may_have_keys_by_index_into_a_table_that_comes_later(
        indexes in prop::collection::vec(1..6i32, 0..6), samples in 0..4usize,
        first in any::<bool>(), padding in 0..3usize,
    ) {
        let table = ["", "service.name", "tenant.id", "x", "otlp_gate.client", "tenant.id"];
        let strings = table.iter().flat_map(|text| field(5, text.as_bytes(), 0));
        let dictionary = field(2, &strings.chain(field(1, b"", 0)).collect::<Vec<_>>(), padding);
        let attributes: Vec<u8> = indexes.iter().flat_map(|&index| field(1, &[0x18, index as u8], 0)).collect();
        let scope = field(2, &field(2, &repeated(2, samples), 0), 0);
        let container = field(1, &[field(1, &attributes, 0), scope].concat(), 0);
        let message = if first { [dictionary, container].concat() } else { [container, dictionary].concat() };
        let mut want = ExportProfilesServiceRequest::decode(&message[..]).unwrap();
        let (out, splice) = spliced(Signal::Profiles, &message).unwrap();
        let mut got = ExportProfilesServiceRequest::decode(&out[..]).unwrap();
        // The keys of the client's attributes are in the table, behind all other strings.
        let (was, is) = (table.len() as i32, &mut got.dictionary.as_mut().unwrap().string_table);
        prop_assert_eq!(is.split_off(table.len()), ["otlp_gate.client", "tenant.id"]);
        let resource = want.resource_profiles[0].resource.as_mut().unwrap();
        let before = resource.attributes.len();
        resource.attributes.retain(|attribute| !OWNED.contains(&table[attribute.key_strindex as usize]));
        prop_assert_eq!(splice.removed, (before - resource.attributes.len()) as u64);
        for (key_strindex, value) in [(was, "acme-edge"), (was + 1, "acme")] {
            let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.into())) });
            resource.attributes.push(KeyValue { key_strindex, value, ..Default::default() });
        }
        prop_assert_eq!(got, want);
        prop_assert_eq!(splice.items, samples as u64);
    }

    #[test]
    fn forwarded_messages_have_one_reading_in_every_decoder(
        message in any_request((0..3usize).prop_map(|n| repeated(2, n)), true),
    ) {
        if let Ok((out, _)) = spliced(Signal::Traces, &message) {
            for decoder in [Decoder::First, Decoder::Last, Decoder::Merging] {
                for owned in decoder.owned(&out) {
                    let want = OWNED.iter().rev().map(|key| (fold(key), (*key).to_owned()));
                    prop_assert_eq!(owned, want.collect::<Vec<_>>(), "{:?} of {:x?}", decoder, message);
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(message in prop::collection::vec(any::<u8>(), 0..200)) {
        for signal in Signal::ALL {
            let _ = spliced(signal, &message);
        }
    }

    #[test]
    fn a_damaged_message_is_rejected_or_free_of_forged_attributes(
        message in request((0..3usize).prop_map(|n| repeated(2, n))), at in any::<prop::sample::Index>(),
        byte in any::<u8>(), cut in any::<bool>(),
    ) {
        prop_assume!(!message.is_empty());
        let mut message = message;
        let at = at.index(message.len());
        if cut { message.truncate(at) } else { message[at] = byte }
        let Ok((out, _)) = spliced(Signal::Traces, &message) else { return Ok(()) };
        let Ok(decoded) = ExportTraceServiceRequest::decode(&out[..]) else { return Ok(()) };
        for container in decoded.resource_spans {
            let attributes = container.resource.unwrap_or_default().attributes;
            let ours: Vec<_> = attributes.iter().filter(|attribute| owned_by_name(attribute)).collect();
            prop_assert_eq!(ours.len(), 2);
            for attribute in ours {
                let value = attribute.value.as_ref().and_then(|value| value.value.clone());
                let want = if attribute.key == "tenant.id" { "acme" } else { "acme-edge" };
                prop_assert_eq!(value, Some(any_value::Value::StringValue(want.into())));
            }
        }
    }
}

#[test]
fn an_empty_request_is_valid_and_unchanged() {
    for signal in Signal::ALL {
        let (out, splice) = spliced(signal, b"").unwrap();
        assert_eq!((out.len(), splice.items), (0, 0));
    }
}

#[test]
fn a_message_with_nothing_to_change_has_one_piece() {
    let message = field(1, &field(1, &field(1, &field(1, b"a", 0), 0), 1), 1);
    let splice = splice(Signal::Traces, &message, &ResourceAttributes::new(&owned(), []), LIMIT).unwrap();
    assert_eq!(splice.pieces(&message).collect::<Vec<_>>(), [&message[..]]);
}

#[test]
fn items_in_the_deprecated_field_are_counted() {
    let message = field(1, &field(1000, &repeated(2, 3), 0), 0);
    assert_eq!(spliced(Signal::Traces, &message).unwrap().1.items, 3);
}

#[test]
fn growth_is_bounded() {
    let containers = |count: usize| [0x0a, 0].repeat(count);
    assert_eq!(spliced(Signal::Logs, &containers(MAX_EDITS)).unwrap_err(), SpliceError::TooManyEdits);
    assert_eq!(
        splice(Signal::Logs, &containers(1000), &attributes(), 4000).unwrap_err(),
        SpliceError::TooLarge
    );
}

#[test]
fn wrong_types_on_the_way_to_resources_and_items_are_rejected() {
    let key_value = |body: &[u8]| field(1, &field(1, &field(1, body, 0), 0), 0);
    for (signal, message, what) in [
        (Signal::Traces, vec![0x08, 1], "wrong wire type for a message or string"),
        (Signal::Traces, field(1, &[0x08, 1], 0), "wrong wire type for a message or string"),
        (Signal::Traces, field(1, &[0x0b, 0x0c], 0), "wrong wire type for a message or string"),
        (Signal::Traces, field(1, &field(2, &[0x10, 1], 0), 0), "wrong wire type for a message or string"),
        (Signal::Traces, key_value(&[0x08, 1]), "wrong wire type for a message or string"),
        (Signal::Traces, key_value(&field(1, b"tenant\xff", 0)), "attribute key is not UTF-8"),
        (Signal::Traces, key_value(&field(1, b"tenant.id\0x", 0)), "attribute key contains NUL"),
        (Signal::Traces, key_value(&[0x0b, 0x0c]), "wrong wire type for a message or string"),
        (Signal::Traces, key_value(&[0x10, 1]), "wrong wire type for a message or string"),
        (Signal::Traces, key_value(&field(2, &[0x33, 0x34], 0)), "wrong wire type in an attribute value"),
        (Signal::Traces, key_value(&field(2, &[0x30, 1], 0)), "wrong wire type in an attribute value"),
        (
            Signal::Profiles,
            key_value(&[0x18, 0x80, 0x80, 0x80, 0x80, 0x10]),
            "key_strindex is outside the string table",
        ),
        (Signal::Profiles, key_value(&[0x18, 1]), "key_strindex is outside the string table"),
        (
            Signal::Profiles,
            key_value(&[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            "key_strindex is outside the string table",
        ),
        (Signal::Profiles, key_value(&[0x0a, 1, b'a', 0x18, 1]), "attribute has both key and key_strindex"),
        (Signal::Profiles, key_value(&[0x1a, 0]), "wrong wire type for an integer"),
        (
            Signal::Profiles,
            field(2, &field(5, b"tenant.id", 0), 0),
            "first string of the string table is not empty",
        ),
    ] {
        let SpliceError::Malformed(malformed) = spliced(signal, &message).unwrap_err() else { panic!() };
        assert_eq!(malformed.what, what, "{message:x?}");
    }
}

#[test]
fn entries_without_items_are_counted() {
    let (empty, scope) = (field(1, &[], 0), field(1, &field(2, &repeated(2, 1), 0), 0));
    let of_no_span = field(1, &[field(1, &[], 0), field(2, &[], 0)].concat(), 0);
    let message = [empty.repeat(3), scope, of_no_span].concat();
    let (_, splice) = spliced(Signal::Traces, &message).unwrap();
    assert_eq!((splice.empty_entries, splice.items), (4, 1));
}

#[test]
fn duplicates_on_the_way_to_attributes_are_rejected() {
    let key_value = |body: &[u8]| field(1, &field(1, &field(1, body, 0), 0), 0);
    let value = |body: &[u8]| key_value(&field(2, body, 0));
    let (key, text) = (field(1, b"a", 0), field(1, b"b", 0));
    let two = "attribute has more than one key or value";
    let one_of = "attribute value has more than one member";
    // Also in the value of an attribute whose key is a prefix of an owned one.
    let nested = |body: &[u8]| {
        key_value(&[field(1, b"tenant", 0), field(2, &field(6, &field(1, body, 0), 0), 0)].concat())
    };
    let listed = field(5, &field(1, &[&text[..], &[0x10, 1]].concat(), 0), 0);
    for (signal, message, what) in [
        (Signal::Logs, field(1, &repeated(1, 2), 0), "more than one Resource in an entry"),
        (
            Signal::Metrics,
            field(1, &[repeated(1, 1), repeated(2, 1), repeated(1, 1)].concat(), 0),
            "more than one Resource in an entry",
        ),
        (Signal::Profiles, repeated(2, 2), "more than one dictionary"),
        (
            Signal::Traces,
            field(1, &[repeated(2, 1), repeated(1000, 1)].concat(), 0),
            "scopes in both field 2 and the deprecated field 1000",
        ),
        (Signal::Traces, key_value(&key.repeat(2)), two),
        (
            Signal::Traces,
            key_value(&[&field(1, b"tenant.id", 0)[..], &field(2, &text, 0), &key].concat()),
            two,
        ),
        (Signal::Traces, key_value(&repeated(2, 2)), two),
        (Signal::Traces, key_value(&[0x18, 1, 0x18, 0]), two),
        (Signal::Traces, value(&text.repeat(2)), one_of),
        (Signal::Traces, value(&[&text[..], &[0x10, 0]].concat()), one_of),
        (Signal::Traces, value(&[&[0x40, 1][..], &text].concat()), one_of),
        (Signal::Traces, value(&repeated(6, 2)), one_of),
        (Signal::Traces, nested(&[&field(1, b"x", 0)[..], &field(1, b"id", 0)].concat()), two),
        (Signal::Traces, nested(&field(2, &repeated(6, 2), 0)), one_of),
        (Signal::Traces, nested(&field(2, &listed, 0)), one_of),
    ] {
        let SpliceError::Malformed(malformed) = spliced(signal, &message).unwrap_err() else { panic!() };
        assert_eq!(malformed.what, what, "{message:x?}");
    }
}

#[test]
fn maps_and_lists_that_hide_an_owned_key_are_removed() {
    fn map(key: &str, value: &[u8]) -> Vec<u8> {
        field(6, &field(1, &[field(1, key.as_bytes(), 0), field(2, value, 0)].concat(), 0), 0)
    }
    let list = |value: &[u8]| field(5, &[field(1, &[], 0), field(1, value, 0)].concat(), 0);
    let text = field(1, b"acme", 0);
    for (key, value, owned) in [
        ("tenant", map("id", &text), true),
        ("TENANT.", map("-id", &text), true),
        ("", map("tenant_id", &text), true),
        ("tenant", list(&map("id", &text)), true),
        ("tenant", map("", &list(&list(&map("", &map("id", &text))))), true),
        ("tenant", map("id", &map("x", &text)), true),
        ("otlp", map("gate", &map("client", &text)), true),
        ("tenant", map("identity", &text), false),
        ("tenant", map("x", &map("id", &text)), false),
        ("tenantid", map("id", &text), false),
        ("service", map("tenant.id", &text), false),
        ("tenant", text.clone(), false),
    ] {
        let pair = [field(1, key.as_bytes(), 0), field(2, &value, 0)].concat();
        let message = field(1, &field(1, &field(1, &pair, 0), 0), 0);
        assert_eq!(
            spliced(Signal::Traces, &message).unwrap().1.removed,
            u64::from(owned),
            "{key} {value:x?}"
        );
        let exact = ResourceAttributes::new(&Rc::new(Owned::new(OWNED, false)), []);
        assert_eq!(splice(Signal::Traces, &message, &exact, LIMIT).unwrap().removed, 0);
    }
    let deep = |levels| (0..levels).fold(text.clone(), |value, _| list(&value));
    let message = |levels| {
        let pair = [field(1, b"tenant", 0), field(2, &deep(levels), 0)].concat();
        field(1, &field(1, &field(1, &pair, 0), 0), 0)
    };
    assert!(spliced(Signal::Traces, &message(MAX_NESTED)).is_ok());
    assert!(spliced(Signal::Traces, &message(MAX_NESTED + 1)).is_err());
}

#[test]
fn in_profiles_a_prefix_of_an_owned_key_may_be_an_index() {
    let strings = ["", "tenant", "x", "a\0", "TENANT_ID", ""];
    let dictionary =
        field(2, &strings.iter().flat_map(|text| field(5, text.as_bytes(), 0)).collect::<Vec<_>>(), 0);
    let message = |body: &[u8]| [field(1, &field(1, &field(1, body, 0), 0), 0), dictionary.clone()].concat();
    let map = |index: u8, inner: &[u8]| {
        [&[0x18, index][..], &field(2, &field(6, &field(1, inner, 0), 0), 0)].concat()
    };
    for (body, removed) in [
        (map(1, &field(1, b"id", 0)), 1),
        (map(1, &field(1, b"x", 0)), 0),
        // An index below a prefix is removed without looking at its string.
        (map(1, &[0x18, 2]), 1),
        (map(2, &field(1, b"id", 0)), 0),
        (vec![0x18, 4], 1),
        (map(5, &field(1, b"tenant.id", 0)), 1),
    ] {
        assert_eq!(spliced(Signal::Profiles, &message(&body)).unwrap().1.removed, removed, "{body:x?}");
    }
    assert!(matches!(spliced(Signal::Profiles, &message(&[0x18, 3])), Err(SpliceError::Malformed(_))));
}

#[test]
fn the_attributes_and_entries_of_a_message_are_bounded() {
    let attributes = |count: usize| field(1, &field(1, &[0x0a, 0].repeat(count), 0), 0);
    assert!(spliced(Signal::Logs, &attributes(MAX_ATTRIBUTES - 1)).is_ok());
    assert_eq!(spliced(Signal::Logs, &attributes(MAX_ATTRIBUTES)).unwrap_err(), SpliceError::TooManyEdits);
    // In a map that is searched, since its key is a prefix of an owned one.
    let pairs = |count: usize| {
        let map = [field(1, b"tenant", 0), field(2, &field(6, &[0x0a, 0].repeat(count), 0), 0)].concat();
        field(1, &field(1, &field(1, &map, 0), 0), 0)
    };
    assert!(spliced(Signal::Logs, &pairs(MAX_ATTRIBUTES - 2)).is_ok());
    assert_eq!(spliced(Signal::Logs, &pairs(MAX_ATTRIBUTES)).unwrap_err(), SpliceError::TooManyEdits);
    let none = ResourceAttributes::new(&owned(), []);
    let entries = [0x0a, 0].repeat(MAX_ATTRIBUTES + 1);
    assert_eq!(splice(Signal::Logs, &entries, &none, LIMIT).unwrap_err(), SpliceError::TooManyEdits);
}

#[test]
fn messages_that_protobufjs_reads_at_another_offset_are_rejected() {
    // A forged attribute, as a field of a Resource.
    const EVIL: &str = "0a130a0974656e616e742e696412060a046576696c";
    let bytes = |hex: String| -> Vec<u8> {
        let digits: Vec<u8> =
            hex.bytes().filter_map(|it| char::from(it).to_digit(16).map(|it| it as u8)).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    };
    for (message, what) in [
        (format!("0a1d 0a00 1802 7a17 0a15 {EVIL}"), "a schema_url that is a varint"),
        (format!("0a19 0a17 1215 {EVIL}"), "a dropped_attributes_count that is a message"),
        (format!("fa8080808000 1d 00000000 0a17 0a15 {EVIL}"), "a tag of 6 bytes in the request"),
        (format!("0a24 0a00 fa8080808000 1b 00000000 0a15 {EVIL}"), "a tag of 6 bytes in an entry"),
        (format!("0a23 0a21 fa8080808000 19 00000000 {EVIL}"), "a tag of 6 bytes in a Resource"),
        (format!("0a26 0a24 7a848080808000 00000000 7a170000 {EVIL}"), "a length of 6 bytes"),
        (format!("0a22 0a20 10808080808000 7a170000 {EVIL}"), "a dropped_attributes_count of 6 bytes"),
    ] {
        let message = bytes(message);
        for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
            assert!(matches!(spliced(signal, &message), Err(SpliceError::Malformed(_))), "{what}");
        }
    }
    // Negative 32-bit integers have 10 bytes, and 64-bit integers any number.
    let value = |inner: &[u8]| field(1, &field(1, &field(1, &field(2, inner, 0), 0), 0), 0);
    assert!(spliced(Signal::Logs, &value(&[0x18, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01])).is_ok());
    let count = field(1, &field(1, &[&[0x10][..], &[0xff; 9], &[1]].concat(), 0), 0);
    assert!(spliced(Signal::Logs, &count).is_ok());
}
