//! The splice against another implementation: whatever legal message goes in, what prost decodes from the outcome is what
//! it decodes from the input, minus owned attributes, plus the client's.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use prost::Message;

use super::*;

const OWNED: [&str; 2] = ["tenant.id", "otlp_gate.client"];
const LIMIT: usize = 64 << 20;

fn owned() -> Rc<[Vec<u8>]> {
    OWNED.iter().map(|key| key.as_bytes().to_vec()).collect()
}

fn stamp() -> Stamp {
    Stamp::new(&owned(), [("otlp_gate.client", "acme-edge"), ("tenant.id", "acme")])
}

fn stamped(signal: Signal, message: &[u8]) -> Result<(Vec<u8>, Splice), SpliceError> {
    let splice = splice(signal, message, &stamp(), LIMIT)?;
    let out: Vec<u8> = splice.pieces(message).flatten().copied().collect();
    assert_eq!(out.len(), splice.len);
    Ok((out, splice))
}

/// What the backend should see of a Resource: without owned keys, with the stamp, in any order.
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

/// The stamp goes into the first of several Resources, so the order of attributes is not that of a plain append.
fn sorted(mut resource: Resource) -> Resource {
    resource.attributes.sort_by_key(Message::encode_to_vec);
    resource
}

fn owned_by_name(attribute: &KeyValue) -> bool {
    OWNED.contains(&attribute.key.as_str())
}

/// Checks one signal: `$resources` is the field of the request, `$items` counts what one container holds.
macro_rules! check {
    ($signal:expr, $request:ty, $resources:ident, $message:expr, $owned:expr, $items:expr) => {{
        let message: &[u8] = $message;
        let mut want = <$request>::decode(message).unwrap();
        let (out, splice) = stamped($signal, message).unwrap();
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

/// A field, encoded as no sane encoder would: tags and lengths with needless bytes.
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

/// Fields that no version of OTLP knows, of every wire type.
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
        Just("Tenant.id".to_owned()),
        Just(String::new()),
        "[a-zä.]{1,12}",
    ]
}

/// A KeyValue: its key perhaps given twice, perhaps after the value.
fn attribute() -> impl Strategy<Value = Vec<u8>> {
    let value = ".{0,20}".prop_map(|text| field(2, &field(1, text.as_bytes(), 0), 0));
    (prop::collection::vec(key(), 0..3), value, unknown(), 0..3usize).prop_flat_map(
        |(keys, value, unknown, pad)| {
            let mut parts: Vec<Vec<u8>> = keys.iter().map(|key| field(1, key.as_bytes(), pad)).collect();
            parts.extend([value, unknown]);
            Just(parts).prop_shuffle().prop_map(|parts| parts.concat())
        },
    )
}

fn shuffled(parts: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    Just(parts).prop_shuffle().prop_map(|parts| parts.concat())
}

/// A Resource with entity references, dropped count, and attributes in any spelling.
fn resource() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec((attribute(), 0..3usize), 0..5), unknown()).prop_flat_map(
        |(attributes, unknown)| {
            let mut parts: Vec<Vec<u8>> = attributes.iter().map(|(body, pad)| field(1, body, *pad)).collect();
            parts.push(vec![0x10, 7]);
            parts.push(field(3, &field(3, b"tenant.id", 0), 0));
            parts.push(unknown);
            shuffled(parts)
        },
    )
}

/// A request: containers with no, one or several Resources, before, between and after their scopes.
fn request(scope: impl Strategy<Value = Vec<u8>> + Clone) -> impl Strategy<Value = Vec<u8>> {
    let container =
        (prop::collection::vec((resource(), 0..2usize), 0..4), prop::collection::vec(scope, 0..4), unknown())
            .prop_flat_map(|(resources, scopes, unknown)| {
                let mut parts: Vec<Vec<u8>> =
                    resources.iter().map(|(body, pad)| field(1, body, *pad)).collect();
                parts.extend(scopes.iter().map(|scope| field(2, scope, 0)));
                parts.push(field(3, b"https://schema.example", 1));
                parts.push(unknown);
                shuffled(parts)
            });
    (prop::collection::vec((container, 0..3usize), 0..4), unknown()).prop_flat_map(|(containers, unknown)| {
        let mut parts: Vec<Vec<u8>> = containers.iter().map(|(body, pad)| field(1, body, *pad)).collect();
        parts.push(unknown);
        shuffled(parts)
    })
}

/// `count` messages in field `number`, each with some bytes in it.
fn repeated(number: u32, count: usize) -> Vec<u8> {
    (0..count).flat_map(|_| field(number, &[], 0)).collect()
}

proptest! {
    #[test]
    fn traces_are_stamped_and_nothing_else_changes(message in request((0..5usize).prop_map(|n| repeated(2, n)))) {
        check!(Signal::Traces, ExportTraceServiceRequest, resource_spans, &message, owned_by_name,
            |container: &opentelemetry_proto::tonic::trace::v1::ResourceSpans| {
                container.scope_spans.iter().map(|scope| scope.spans.len() as u64).sum::<u64>()
            });
    }

    #[test]
    fn logs_are_stamped_and_nothing_else_changes(message in request((0..5usize).prop_map(|n| repeated(2, n)))) {
        check!(Signal::Logs, ExportLogsServiceRequest, resource_logs, &message, owned_by_name,
            |container: &opentelemetry_proto::tonic::logs::v1::ResourceLogs| {
                container.scope_logs.iter().map(|scope| scope.log_records.len() as u64).sum::<u64>()
            });
    }

    #[test]
    fn metrics_of_all_five_kinds_are_counted_by_data_points(
        message in request(prop::collection::vec((prop::sample::select(vec![5u32, 7, 9, 10, 11]), 0..4usize), 0..4)
            .prop_map(|metrics| metrics.iter().flat_map(|&(kind, n)| field(2, &field(kind, &repeated(1, n), 0), 0)).collect()))
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
    fn profiles_may_spell_keys_by_index_into_a_table_that_comes_later(
        indexes in prop::collection::vec(1..6i32, 0..6), samples in 0..4usize, first in any::<bool>(), split in 0..6usize,
    ) {
        let table = ["", "service.name", "tenant.id", "x", "otlp_gate.client", "tenant.id"];
        let dictionary: Vec<Vec<u8>> = [&table[..split], &table[split..]].iter()
            .map(|part| field(2, &part.iter().flat_map(|text| field(5, text.as_bytes(), 0)).collect::<Vec<_>>(), 0))
            .collect();
        let attributes: Vec<u8> = indexes.iter().flat_map(|&index| field(1, &[0x18, index as u8], 0)).collect();
        let scope = field(2, &field(2, &repeated(2, samples), 0), 0);
        let container = field(1, &[field(1, &attributes, 0), scope].concat(), 0);
        let message = if first { [dictionary.concat(), container].concat() } else { [container, dictionary.concat()].concat() };
        let mut want = ExportProfilesServiceRequest::decode(&message[..]).unwrap();
        let (out, splice) = stamped(Signal::Profiles, &message).unwrap();
        let mut got = ExportProfilesServiceRequest::decode(&out[..]).unwrap();
        // The stamp's keys are in the table, behind all that was there.
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
    fn no_bytes_make_it_panic_and_what_it_forwards_can_be_decoded(message in prop::collection::vec(any::<u8>(), 0..200)) {
        for signal in Signal::ALL {
            let _ = stamped(signal, &message);
        }
    }

    #[test]
    fn a_damaged_message_is_refused_or_still_free_of_owned_attributes(
        message in request((0..3usize).prop_map(|n| repeated(2, n))), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        prop_assume!(!message.is_empty());
        let mut message = message;
        let at = at.index(message.len());
        if cut { message.truncate(at) } else { message[at] = byte }
        let Ok((out, _)) = stamped(Signal::Traces, &message) else { return Ok(()) };
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
        let (out, splice) = stamped(signal, b"").unwrap();
        assert_eq!((out.len(), splice.items), (0, 0));
    }
}

#[test]
fn a_message_with_nothing_to_change_has_one_piece() {
    let message = field(1, &field(1, &field(1, &field(1, b"a", 0), 0), 1), 1);
    let splice = splice(Signal::Traces, &message, &Stamp::new(&owned(), []), LIMIT).unwrap();
    assert_eq!(splice.pieces(&message).collect::<Vec<_>>(), [&message[..]]);
}

#[test]
fn items_are_counted_also_where_only_the_collector_looks() {
    let message = field(1, &[field(2, &repeated(2, 1), 0), field(1000, &repeated(2, 3), 0)].concat(), 0);
    assert_eq!(stamped(Signal::Traces, &message).unwrap().1.items, 4);
}

#[test]
fn growth_is_bounded() {
    let containers = |count: usize| [0x0a, 0].repeat(count);
    assert_eq!(stamped(Signal::Logs, &containers(MAX_EDITS)).unwrap_err(), SpliceError::TooManyEdits);
    assert_eq!(splice(Signal::Logs, &containers(1000), &stamp(), 4000).unwrap_err(), SpliceError::TooLarge);
}

#[test]
fn refuses_what_stands_on_the_way_to_resources_and_items_in_the_wrong_shape() {
    let key_value = |body: &[u8]| field(1, &field(1, &field(1, body, 0), 0), 0);
    for (signal, message, what) in [
        (Signal::Traces, vec![0x08, 1], "a message or string with the wrong wire type"),
        (Signal::Traces, field(1, &[0x08, 1], 0), "a message or string with the wrong wire type"),
        (Signal::Traces, field(1, &[0x0b, 0x0c], 0), "a message or string with the wrong wire type"),
        (
            Signal::Traces,
            field(1, &field(2, &[0x10, 1], 0), 0),
            "a message or string with the wrong wire type",
        ),
        (Signal::Traces, key_value(&[0x08, 1]), "a message or string with the wrong wire type"),
        (Signal::Traces, key_value(&field(1, b"tenant\xff", 0)), "an attribute key that is not UTF-8"),
        (Signal::Profiles, key_value(&[0x18, 1]), "a key_strindex outside of the string table"),
        (
            Signal::Profiles,
            key_value(&[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            "a key_strindex outside of the string table",
        ),
        (
            Signal::Profiles,
            key_value(&[0x0a, 1, b'a', 0x18, 1]),
            "an attribute with both key and key_strindex",
        ),
        (Signal::Profiles, key_value(&[0x1a, 0]), "an integer with the wrong wire type"),
        (
            Signal::Profiles,
            field(2, &field(5, b"tenant.id", 0), 0),
            "a string table that does not begin with an empty string",
        ),
    ] {
        let SpliceError::Malformed(malformed) = stamped(signal, &message).unwrap_err() else { panic!() };
        assert_eq!(malformed.what, what, "{message:x?}");
    }
}

#[test]
fn entries_without_items_are_counted() {
    let (empty, scope) = (field(1, &[], 0), field(1, &field(2, &repeated(2, 1), 0), 0));
    let of_no_span = field(1, &[field(1, &[], 0), field(2, &[], 0)].concat(), 0);
    let message = [empty.repeat(3), scope, of_no_span].concat();
    let (_, splice) = stamped(Signal::Traces, &message).unwrap();
    assert_eq!((splice.empty_entries, splice.items), (4, 1));
}
