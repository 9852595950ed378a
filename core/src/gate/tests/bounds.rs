//! How much memory requests may hold.

use super::*;

#[test]
fn headers_are_limited_and_count() {
    let policy = POLICY.replace("\"held\": \"2MiB\"", "\"held\": \"2MiB\", \"headers\": \"4KiB\"");
    let fixture = Fixture::new(&policy.replace("\"10/s\"", "\"1k/s\""));
    let client = acme(&fixture.gate);
    let rejected = fixture.open(&client, Head { headers: 4097, ..HTTP }).err().unwrap();
    assert_eq!(rejected, Reason::Headers { size: 4097, limit: 4096 });
    let opened: Vec<Request> =
        core::iter::from_fn(|| fixture.open(&client, Head { headers: 4096, ..HTTP }).ok()).collect();
    // Each holds 16 KiB and three times its headers, and this client may have half of 2 MiB.
    assert_eq!(opened.len(), 1 + (1 << 20) / (28 << 10));
}

#[test]
fn a_client_that_does_not_end_its_requests_is_asked_to_retry_and_no_other() {
    let fixture = Fixture::new(POLICY);
    let (hog, other) = (acme(&fixture.gate), globex(&fixture.gate));
    let mut first = fixture.open(&hog, HTTP).unwrap();
    first.body(900 << 10).unwrap();
    let mut second = fixture.open(&hog, HTTP).unwrap();
    assert_eq!(second.body(900 << 10).unwrap_err(), Reason::Busy);
    assert!(fixture.open(&other, HTTP).unwrap().body(900 << 10).is_ok());
    drop(first);
    assert!(second.body(900 << 10).is_ok());
}

#[test]
fn a_body_reserves_no_more_than_its_announced_length() {
    let fixture = Fixture::new(POLICY);
    let client = acme(&fixture.gate);
    let grows = |head: Head, first: &[u8]| {
        let mut request = fixture.open(&client, head).unwrap();
        request.body(first.len()).unwrap().extend_from_slice(first);
        request.body(100).unwrap().capacity()
    };
    let framed = |len: u32| [&[0][..], &len.to_be_bytes(), &[0; 995]].concat();
    assert_eq!(grows(GRPC, &framed(1200)), 1205);
    assert_eq!(grows(Head { length: Some(1200), ..HTTP }, &[0; 1000]), 1200);
    // Without an announced length, or with one that is too large, the capacity grows with the body.
    assert_eq!(grows(HTTP, &[0; 1000]), 2000);
    assert_eq!(grows(GRPC, &framed(u32::MAX)), 8 * 1100);
    assert_eq!(grows(Head { length: Some(u64::MAX), ..JSON }, &[0; 1000]), 8 * 1000);
    assert_eq!(grows(Head { length: Some(5), ..HTTP }, &[0; 1000]), 1100);
}

#[test]
fn a_body_may_grow_by_what_it_needs_where_doubling_does_not_fit() {
    let fixture = Fixture::new(POLICY);
    let mut other = fixture.open(&globex(&fixture.gate), HTTP).unwrap();
    other.body(1000 << 10).unwrap();
    let mut request = fixture.open(&acme(&fixture.gate), HTTP).unwrap();
    let body = request.body(600 << 10).unwrap();
    body.resize(600 << 10, 0);
    assert_eq!(request.body(100 << 10).unwrap().capacity(), 700 << 10);
}

#[test]
fn requests_without_a_body_are_limited_too() {
    let fixture = Fixture::new(&POLICY.replace("\"10/s\"", "\"1k/s\""));
    let (hog, other) = (acme(&fixture.gate), globex(&fixture.gate));
    let mut open = Vec::new();
    let busy = loop {
        match fixture.open(&hog, GRPC) {
            Ok(request) => open.push(request),
            Err(reason) => break reason,
        }
    };
    assert_eq!((busy, open.len()), (Reason::Busy, 64));
    assert!(fixture.open(&other, GRPC).is_ok());
}

#[test]
fn unanswered_messages_are_limited_by_their_inflated_size() {
    let policy = POLICY.replace("\"10/s\"", "\"1k/s\"").replace("\"100KiB/s\"", "\"1GiB/s\"");
    let fixture = Fixture::new(&policy);
    // An unknown field of 1.5 MiB: two of them are no more than what is left of twice 4 MiB.
    let message = [&[0xfa, 0x7c, 0x80, 0x80, 0x60][..], &vec![0; 3 << 19]].concat();
    let body = gzip(&message);
    let finish = |client: &Rc<Client>| {
        let mut request = fixture.open(client, head(HTTP.protocol, Encoding::Gzip)).unwrap();
        request.body(body.len()).unwrap().extend_from_slice(&body);
        request.finish(&fixture.store, fixture.now).map(|_| request)
    };
    let hog = acme(&fixture.gate);
    let mut unanswered: Vec<Request> = (0..3).map(|_| finish(&hog).unwrap()).collect();
    assert_eq!(finish(&hog).err(), Some(Reason::Busy));
    assert!(finish(&globex(&fixture.gate)).is_ok());
    unanswered.pop();
    assert!(finish(&hog).is_ok());
    unanswered.clear();
    assert_eq!(fixture.memory.held(), 0);
}
