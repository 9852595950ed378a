//! Certificates for arbitrary names, read back by us and by OpenSSL.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use x509_parser::pem::parse_x509_pem;

use super::{Authority, Request, Validity, dns_name, spiffe_id};
use crate::x509::{Certificate, Role};

/// What OpenSSL reads in the extension, one name each.
fn names_by_openssl(pem: &str) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, pem).unwrap();
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-ext", "subjectAltName", "-in"])
        .arg(file.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().nth(1).into_iter().flat_map(|line| line.trim().split(", "));
    names.map(str::to_owned).collect()
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_is_asked_for_is_what_the_certificate_says(
        subject in btree_map(proptest::sample::select(vec!["CN", "O", "OU", "L", "ST"]), r"\PC{1,24}", 0..4),
        uris in vec("spiffe://[a-z0-9][a-z0-9.-]{0,12}(/[A-Za-z0-9_-]{1,8}){1,3}", 0..3),
        dns in vec("[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z0-9]{1,8}){0,3}", 0..3),
        emails in vec("[A-Za-z0-9.+-]{1,8}@[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,2}", 0..3),
        ips in vec(ip(), 0..3),
        role in proptest::sample::select(vec![Role::Server, Role::Client]),
        days in 1..9_u32,
    ) {
        for uri in &uris {
            prop_assert!(spiffe_id(uri).is_ok(), "{uri}");
        }
        for name in &dns {
            prop_assert!(dns_name(name).is_ok(), "{name}");
        }
        let subject: Vec<_> = subject.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let request = Request { role, subject, uris, dns, emails, ips, validity: Validity::Days(days) };
        let [own, other] = [role, role].map(|role| Authority::generate(role, 10).unwrap());
        let key = Authority::new_key().unwrap();
        let pem = own.issue(&request, &key).unwrap();
        let certificate = Certificate::parse(pem.as_bytes()).unwrap();

        prop_assert_eq!(certificate.subject_attributes(), request.subject);
        prop_assert_eq!(certificate.serial.as_bytes().len(), 16);
        prop_assert!(certificate.is_signed_by(own.certificate()) && !certificate.is_signed_by(other.certificate()));
        prop_assert!(certificate.has_public_key(key.public_key_raw()) && !certificate.ca);
        prop_assert_eq!(certificate.client_auth, role == Role::Client);
        let (_, block) = parse_x509_pem(pem.as_bytes()).unwrap();
        let parsed = block.parse_x509().unwrap();
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        prop_assert_eq!((usage.client_auth, usage.server_auth), (role == Role::Client, role == Role::Server));
        prop_assert_eq!((certificate.not_after - certificate.not_before).whole_days(), i64::from(days));

        let shown = certificate.identity();
        prop_assert_eq!((&shown.uris, &shown.dns, &shown.ips), (&request.uris, &request.dns, &request.ips));
        prop_assert_eq!(&shown.emails, &request.emails);

        let uris = request.uris.iter().map(|it| format!("URI:{it}"));
        let dns = request.dns.iter().map(|it| format!("DNS:{it}"));
        let emails = request.emails.iter().map(|it| format!("email:{it}"));
        let names = names_by_openssl(&pem);
        let (ips, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|it| it.starts_with("IP Address:"));
        prop_assert_eq!(others, uris.chain(dns).chain(emails).collect::<Vec<_>>());
        prop_assert_eq!(ips.len(), request.ips.len());
    }
}
