//! What requests are charged, and what is refunded.

use super::*;

#[test]
fn forwarded_bytes_are_charged_and_an_entry_without_items_counts_as_one() {
    // 300 entries of two bytes become about 50 bytes each.
    let policy = POLICY.replace("\"100KiB/s\"", "\"10000/s\"").replace("\"100/s\"", "\"1k/s\"");
    let empty = [0x0a, 0].repeat(300);
    let fixture = Fixture::new(&policy);
    let rejected = fixture.send(&acme(&fixture.gate), HTTP, &empty).unwrap_err();
    assert!(rejected.to_string().contains("bytes exceeds the burst"), "{rejected}");
    let fixture = Fixture::new(&POLICY.replace("\"100KiB/s\"", "\"1MiB/s\""));
    let rejected = fixture.send(&acme(&fixture.gate), HTTP, &empty).unwrap_err();
    assert!(rejected.to_string().contains("request of 300 items exceeds the burst"), "{rejected}");
    assert!(fixture.send(&acme(&fixture.gate), HTTP, &[0x0a, 0].repeat(100)).is_ok());
    assert!(fixture.send(&acme(&fixture.gate), HTTP, &forged(1)).is_err());
}

#[test]
fn work_on_a_rejected_message_is_not_free() {
    let policy = POLICY.replace("\"10/s\"", "\"1k/s\"").replace("\"100/s\"", "\"10k/s\"");
    // 90 KB of gzip that is damaged at its end, one that is not a message, and a batch of too many items.
    let dull = [&[0xfa, 0x7c, 0x80, 0xf7, 0x05][..], &vec![0; 97_152]].concat();
    let mut damaged = gzip(&dull);
    let end = damaged.len();
    damaged[end - 6] ^= 1;
    let no_message = gzip(&[&dull[..], &[7]].concat());
    let many = gzip(&forged(40_000));
    let encoded = Head { encoding: Encoding::Gzip, ..HTTP };
    for (body, label) in [(damaged, "invalid"), (no_message, "invalid"), (many, "over_quota")] {
        let mut fixture = Fixture::new(&policy);
        let client = acme(&fixture.gate);
        let mut rejected = Vec::new();
        while let Err(reason) = fixture.send(&client, encoded, &body) {
            rejected.push(reason);
            if rejected.last().unwrap().label() != label || rejected.len() > 5 {
                break;
            }
            // Wasted work does not use up the quota.
            if rejected.len() == 1 {
                assert!(fixture.send(&client, HTTP, &forged(1)).is_ok());
            }
        }
        // Once its 100 KiB are used up, it is rejected before any work.
        let before = fixture.open(&client, encoded).err();
        assert_eq!(before.map(|reason| reason.label()), Some("over_quota"), "{rejected:?}");
        assert!(rejected.len() <= 6, "{rejected:?}");
        fixture.now += SECOND * 2;
        assert!(fixture.open(&client, encoded).is_ok());
    }
}

#[test]
fn inflating_stops_where_the_quota_is_used_up() {
    let fixture = Fixture::new(&POLICY.replace("\"10/s\"", "\"1k/s\""));
    let client = acme(&fixture.gate);
    let encoded = Head { encoding: Encoding::Gzip, ..HTTP };
    // A gzip whose own size never fits is not inflated; one with a wrong size stops where it no longer fits.
    let mut bomb = gzip(&vec![0; 3 << 20]);
    let rejected = fixture.send(&client, encoded, &bomb).unwrap_err();
    assert!(rejected.to_string().starts_with("request of 3145728 bytes exceeds the burst"), "{rejected}");
    let end = bomb.len();
    bomb[end - 4..].copy_from_slice(&[1, 0, 0, 0]);
    let rejected = fixture.send(&client, encoded, &bomb).unwrap_err();
    assert!(rejected.to_string().starts_with("request of 102401 bytes exceeds the burst"), "{rejected}");
    let head = Head { encoding: Encoding::Zstd, ..HTTP };
    let rejected = fixture.send(&client, head, &zstd(&vec![0; 3 << 20])).unwrap_err();
    assert_eq!(rejected.label(), "over_quota", "{rejected}");
}

#[test]
fn quotas_are_charged_by_items() {
    let mut fixture = Fixture::new(POLICY);
    let client = acme(&fixture.gate);
    assert!(fixture.send(&client, HTTP, &forged(60)).is_ok());
    let Err(Reason::Quota { client: Some(name), throttled }) = fixture.send(&client, HTTP, &forged(41))
    else {
        panic!()
    };
    assert_eq!(name, "acme");
    let Throttled::RetryAfter { asked: 41, wait, .. } = throttled else { panic!("{throttled:?}") };
    assert_eq!(wait.as_millis(), 10);
    assert!(fixture.send(&client, HTTP, &forged(40)).is_ok());
    // Nothing is left: rejected at the headers.
    assert!(fixture.open(&client, GRPC).is_err());
    fixture.now += Nanos::from_millis(500);
    assert!(fixture.send(&client, HTTP, &forged(50)).is_ok());
    fixture.now += SECOND;
    let Err(Reason::Quota { throttled: Throttled::ExceedsBurst { .. }, .. }) =
        fixture.send(&client, HTTP, &forged(101))
    else {
        panic!()
    };
}

#[test]
fn clients_share_a_bucket_where_their_rule_configures_it() {
    let fixture = Fixture::new(POLICY);
    let site = |name: &str| {
        let dns = format!("{name}.globex.example");
        Rc::new(fixture.gate.client(&Identity::from_texts(&[], &[&dns], None, Some([0xaa; 32]))).unwrap())
    };
    assert!(fixture.send(&site("a"), HTTP, &forged(60)).is_ok());
    assert!(fixture.send(&site("b"), HTTP, &forged(60)).is_err());
    assert!(fixture.send(&acme(&fixture.gate), HTTP, &forged(60)).is_ok());
}

#[test]
fn the_total_quota_is_charged_with_the_clients_own_or_neither_is() {
    let total = r#""quotas": {"total": {"items": "150/s", "burst": "1s"}, "tiers""#;
    let mut fixture = Fixture::new(&POLICY.replace(r#""quotas": {"tiers""#, total));
    let first = acme(&fixture.gate);
    let dns = Identity::from_texts(&[], &["a.globex.example"], None, Some([0xbb; 32]));
    let second = Rc::new(fixture.gate.client(&dns).unwrap());
    // A client over its own quota takes nothing from the quota of all clients.
    assert!(fixture.send(&first, HTTP, &forged(100)).is_ok());
    for _ in 0..3 {
        let rejected = fixture.send(&first, HTTP, &forged(50)).unwrap_err();
        assert_eq!(rejected.label(), "over_quota");
    }
    let rejected = fixture.send(&second, HTTP, &forged(51)).unwrap_err();
    assert_eq!(rejected.label(), "over_total");
    assert_eq!(
        rejected.to_string(),
        concat!(
            "rate limit exceeded: all clients together are limited to 150 items/s (burst 150); ",
            "51 more are allowed in 6 ms"
        )
    );
    // A request over the total quota is not charged to the client's own either.
    assert!(fixture.send(&second, HTTP, &forged(50)).is_ok());
    // Nothing is left: rejected at the headers.
    assert_eq!(fixture.open(&second, HTTP).err().map(|reason| reason.label()), Some("over_total"));
    fixture.now += Nanos::new(333_333_333);
    let mut request = fixture.open(&second, HTTP).unwrap();
    request.body(10_000).unwrap().extend_from_slice(&forged(49));
    request.finish(&fixture.store, fixture.now).unwrap();
    assert!(fixture.send(&second, HTTP, &forged(30)).is_err());
    request.refund(&fixture.store, fixture.now);
    assert!(fixture.send(&second, HTTP, &forged(49)).is_ok());
}

#[test]
fn the_used_quota_is_that_of_the_tightest_limit() {
    let total = r#""quotas": {"total": {"items": "400/s", "burst": "1s"}, "tiers""#;
    let fixture = Fixture::new(&POLICY.replace(r#""quotas": {"tiers""#, total));
    let client = acme(&fixture.gate);
    let mut request = fixture.open(&client, HTTP).unwrap();
    // One of ten requests, and none of 400 items.
    assert_eq!(request.used, QuotaUsed { own: Some(10), total: Some(0) });
    request.body(10_000).unwrap().extend_from_slice(&forged(60));
    request.finish(&fixture.store, fixture.now).unwrap();
    assert_eq!(request.used, QuotaUsed { own: Some(60), total: Some(15) });
    let rejected = fixture.send(&client, HTTP, &forged(41)).unwrap_err();
    assert_eq!(QuotaUsed::of(&rejected), QuotaUsed { own: Some(100), total: None });
    // A request that never fits shows no usage.
    let rejected = fixture.send(&client, HTTP, &forged(101)).unwrap_err();
    assert_eq!(QuotaUsed::of(&rejected), QuotaUsed::default());
}

#[test]
fn a_refund_returns_items_but_not_the_request() {
    let fixture = Fixture::new(&POLICY.replace("\"10/s\"", "\"2/s\""));
    let client = acme(&fixture.gate);
    let mut request = fixture.open(&client, HTTP).unwrap();
    request.body(10_000).unwrap().extend_from_slice(&forged(100));
    request.finish(&fixture.store, fixture.now).unwrap();
    request.refund(&fixture.store, fixture.now);
    request.refund(&fixture.store, fixture.now);
    assert!(fixture.send(&client, HTTP, &forged(100)).is_ok());
    let Err(Reason::Quota { throttled: Throttled::RetryAfter { dimension, .. }, .. }) =
        fixture.open(&client, HTTP)
    else {
        panic!()
    };
    assert_eq!(dimension, crate::quota::Dimension::Requests);
}

#[test]
fn shadow_mode_throttles_nothing_and_reports_it() {
    let fixture = Fixture::new(&POLICY.replace("\"quotas\": {", "\"quotas\": {\"mode\": \"shadow\", "));
    let client = acme(&fixture.gate);
    assert!(fixture.send(&client, HTTP, &forged(100)).is_ok());
    let mut request = fixture.open(&client, HTTP).unwrap();
    request.body(10_000).unwrap().extend_from_slice(&forged(50));
    assert!(request.finish(&fixture.store, fixture.now).is_ok());
    assert!(request.shadow_throttled);
}
