//! CAs with rcgen, signatures with ring. Neither runs on wasm32.

use super::*;

/// Whether a signature is valid.
#[cfg(target_arch = "wasm32")]
pub(crate) fn verified(_: &Signature<'_>) -> bool {
    false
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{authority, client_of, verified};

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
        KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ED25519, SerialNumber,
    };
    use ring::signature as algorithms;
    use time::OffsetDateTime;

    use super::super::super::der::{BIT_STRING, Der, SEQUENCE};
    use super::*;

    const NOW: i64 = 2_000_000_000;

    /// Whether a signature is valid. The kind of key is that of its algorithm's OID.
    pub(crate) fn verified(signature: &Signature<'_>) -> bool {
        let mut key = Der(Der(signature.key).only(SEQUENCE).unwrap());
        let algorithm = key.content(SEQUENCE).unwrap();
        let point = &key.only(BIT_STRING).unwrap()[1..];
        let is = |oid: &[u8]| algorithm.windows(oid.len()).any(|bytes| bytes == oid);
        let p256 = is(b"\x2a\x86\x48\xce\x3d\x03\x01\x07");
        let algorithm: &dyn algorithms::VerificationAlgorithm = match signature.hash {
            "sha256" if p256 => &algorithms::ECDSA_P256_SHA256_ASN1,
            "sha384" => &algorithms::ECDSA_P384_SHA384_ASN1,
            "sha256" => &algorithms::RSA_PKCS1_2048_8192_SHA256,
            _ => return false,
        };
        let key = algorithms::UnparsedPublicKey::new(algorithm, point);
        key.verify(signature.text, signature.signature).is_ok()
    }

    /// A certificate with its key.
    pub(crate) struct Issued {
        pub(crate) der: Vec<u8>,
        params: CertificateParams,
        key: KeyPair,
    }

    impl Issued {
        fn spki(&self) -> Vec<u8> {
            X509::read(&self.der).unwrap().key.to_vec()
        }

        fn key_id(&self) -> Vec<u8> {
            X509::read(&self.der).unwrap().extensions.subject_key_id.unwrap().to_vec()
        }

        fn key_pair(&self) -> KeyPair {
            KeyPair::from_pem(&self.key.serialize_pem()).unwrap()
        }

        /// The entry for a policy: the key, its identifier and revoked serial numbers.
        pub(crate) fn entry(&self, revoked: &[&str]) -> String {
            let id: String = self.key_id().iter().map(|byte| format!("{byte:02x}")).collect();
            format!(r#"{{"key":"{}","id":"{id}","revoked":{revoked:?}}}"#, STANDARD.encode(self.spki()))
        }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from_slice(&[7]));
        params.not_before = OffsetDateTime::from_unix_timestamp(NOW - 1000).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(NOW + 1000).unwrap();
        params.use_authority_key_identifier_extension = true;
        params
    }

    fn ca_params(name: &str) -> CertificateParams {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    /// A root CA.
    pub(crate) fn authority(name: &str) -> Issued {
        root(ca_params(name), KeyPair::generate().unwrap())
    }

    fn root(params: CertificateParams, key: KeyPair) -> Issued {
        Issued { der: params.self_signed(&key).unwrap().der().to_vec(), params, key }
    }

    fn issue(issuer: &Issued, params: CertificateParams) -> Issued {
        issue_for(issuer, params, KeyPair::generate().unwrap())
    }

    fn issue_for(issuer: &Issued, params: CertificateParams, key: KeyPair) -> Issued {
        let signer = Issuer::new(issuer.params.clone(), issuer.key_pair());
        Issued { der: params.signed_by(&key, &signer).unwrap().der().to_vec(), params, key }
    }

    /// A client's certificate, with the serial number 7.
    pub(crate) fn client_of(issuer: &Issued, uri: &str) -> Issued {
        let mut params = params("client");
        params.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().unwrap()));
        issue(issuer, params)
    }

    fn client(issuer: &Issued) -> Issued {
        client_of(issuer, "spiffe://a")
    }

    /// The CAs `own` and `partners`, in this order.
    struct Bundle {
        own: Issued,
        partners: Issued,
        authorities: Authorities,
    }

    impl Bundle {
        fn new() -> Self {
            Self::revoking(&[], &[])
        }

        fn revoking(own_serials: &[u8], partners_serials: &[u8]) -> Self {
            let (own, partners) = (authority("own"), authority("partners"));
            let mut authorities = Authorities::default();
            for (name, ca, serials) in [("own", &own, own_serials), ("partners", &partners, partners_serials)]
            {
                let serials = serials.iter().map(|serial| vec![*serial]);
                authorities.add(Some(&Rc::from(name)), ca.spki(), ca.key_id(), serials);
            }
            Bundle { own, partners, authorities }
        }

        fn examine(&self, certificate: &Issued, chain: &[&Issued]) -> Identity {
            let mut identity = Identity::from_der(&certificate.der).unwrap();
            identity.chain = chain.iter().map(|issued| issued.der.clone()).collect();
            let by = Examination { now: Timestamp::from_secs(NOW as u64), verify: &verified };
            self.authorities.examine(&mut identity, true, by);
            identity
        }

        fn ca(&self, certificate: &Issued, chain: &[&Issued]) -> Option<String> {
            self.examine(certificate, chain).ca.map(|ca| ca.name.unwrap().to_string())
        }
    }

    #[test]
    fn the_ca_of_a_certificate_is_the_one_that_signed_it() {
        let bundle = Bundle::new();
        for (name, ca) in [("own", &bundle.own), ("partners", &bundle.partners)] {
            let found = bundle.examine(&client(ca), &[]).ca.unwrap();
            assert_eq!((found.name.as_deref(), found.issuer_key), (Some(name), sha256(&ca.spki())));
        }
        assert_eq!(bundle.ca(&client(&authority("own")), &[]), None);
    }

    #[test]
    fn intermediate_cas_lead_to_the_ca_and_limit_the_validity() {
        let bundle = Bundle::new();
        let mut first = ca_params("first");
        first.not_before = OffsetDateTime::from_unix_timestamp(NOW - 5).unwrap();
        first.not_after = OffsetDateTime::from_unix_timestamp(NOW + 10).unwrap();
        let first = issue(&bundle.partners, first);
        let second = issue(&first, ca_params("second"));
        let leaf = client(&second);
        for chain in [vec![&leaf, &second, &first], vec![&first, &second], vec![&bundle.own, &second, &first]]
        {
            let identity = bundle.examine(&leaf, &chain);
            let ca = identity.ca.unwrap();
            assert_eq!((ca.name.as_deref(), ca.issuer_key), (Some("partners"), sha256(&second.spki())));
            let Validity { not_before, not_after } = identity.certificate.unwrap().validity;
            assert_eq!((not_before, not_after), (NOW - 5, NOW + 10));
        }
        for chain in [vec![], vec![&first], vec![&second], vec![&second, &bundle.partners]] {
            assert_eq!(bundle.ca(&leaf, &chain), None);
        }
        // At most eight certificates are read.
        assert_eq!(bundle.ca(&leaf, &[&[&leaf; 8][..], &[&second, &first]].concat()), None);
    }

    #[test]
    fn an_issuer_that_may_not_issue_leads_nowhere() {
        type Change = fn(&mut CertificateParams);
        let changes: [(Change, bool); 13] = [
            (|_| {}, true),
            (|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign], true),
            (|params| params.key_usages = vec![KeyUsagePurpose::CrlSign], false),
            (|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any], true),
            (|params| params.not_before = OffsetDateTime::from_unix_timestamp(NOW + 400).unwrap(), false),
            (|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth], true),
            (|params| params.is_ca = IsCa::NoCa, false),
            (|params| params.is_ca = IsCa::ExplicitNoCa, false),
            (|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature], false),
            (|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth], false),
            (|params| params.not_after = OffsetDateTime::from_unix_timestamp(NOW - 1).unwrap(), false),
            (
                |params| {
                    let permitted_subtrees = vec![GeneralSubtree::DnsName("a".to_owned())];
                    let excluded_subtrees = Vec::new();
                    params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees });
                },
                false,
            ),
            (
                |params| {
                    let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0]);
                    unknown.set_criticality(true);
                    params.custom_extensions.push(unknown);
                },
                false,
            ),
        ];
        let bundle = Bundle::new();
        for (index, (change, leads)) in changes.into_iter().enumerate() {
            let mut params = ca_params("issuer");
            change(&mut params);
            let issuer = issue(&bundle.own, params);
            assert_eq!(bundle.ca(&client(&issuer), &[&issuer]).is_some(), leads, "{index}");
        }
    }

    #[test]
    fn path_lengths_are_limits() {
        let bundle = Bundle::new();
        for (most, leads) in [(0, false), (1, true)] {
            let mut params = ca_params("first");
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(most));
            let first = issue(&bundle.own, params);
            let second = issue(&first, ca_params("second"));
            assert_eq!(bundle.ca(&client(&second), &[&second, &first]).is_some(), leads, "{most}");
            assert!(bundle.ca(&client(&first), &[&first]).is_some());
        }
    }

    /// A CA that has the name and the key identifier of another one.
    fn disguised(key: &Issued, as_other: &Issued) -> Issued {
        let mut params = as_other.params.clone();
        params.key_identifier_method = KeyIdMethod::PreSpecified(as_other.key_id());
        root(params, key.key_pair())
    }

    #[test]
    fn a_ca_cannot_pass_for_another_one() {
        let bundle = Bundle::new();
        let (own, partners) = (&bundle.own, &bundle.partners);
        // A client's certificate with the issuer's name and key identifier of the other CA.
        let forger = disguised(partners, own);
        let leaf = client(&forger);
        assert_eq!(X509::read(&leaf.der).unwrap().issuer, X509::read(&own.der).unwrap().subject);
        assert_eq!(X509::read(&leaf.der).unwrap().extensions.authority_key_id, Some(&*own.key_id()));
        for chain in [vec![], vec![own], vec![&forger], vec![own, partners, &forger]] {
            assert_ne!(bundle.ca(&leaf, &chain).as_deref(), Some("own"));
        }
        // An intermediate CA with the other CA's name and key identifier, and its clients.
        let mut params = own.params.clone();
        params.key_identifier_method = KeyIdMethod::PreSpecified(own.key_id());
        let intermediate = issue(partners, params);
        let leaf = client(&intermediate);
        for chain in [vec![&intermediate], vec![own, &intermediate], vec![&intermediate, own, partners]] {
            assert_eq!(bundle.ca(&leaf, &chain).as_deref(), Some("partners"));
        }
        // A certificate for the key of the other CA: the key alone decides.
        let copy = issue_for(partners, own.params.clone(), own.key_pair());
        assert_eq!(bundle.ca(&client(own), &[&copy]).as_deref(), Some("own"));
    }

    #[test]
    fn a_client_cannot_issue() {
        let bundle = Bundle::new();
        let insider = client(&bundle.own);
        let leaf = client(&insider);
        assert_eq!(bundle.ca(&leaf, &[&insider]), None);
        // It may call itself a CA, but its issuer did not.
        let promoted = issue_for(&insider, ca_params("promoted"), insider.key_pair());
        assert_eq!(bundle.ca(&client(&promoted), &[&promoted, &insider]), None);
    }

    #[test]
    fn of_several_cas_that_cross_signed_the_first_counts() {
        let bundle = Bundle::new();
        let key = KeyPair::generate().unwrap();
        let copy = || KeyPair::from_pem(&key.serialize_pem()).unwrap();
        let of_partners = issue_for(&bundle.partners, ca_params("shared"), copy());
        let of_own = issue_for(&bundle.own, ca_params("shared"), copy());
        let leaf = client(&of_own);
        assert_eq!(bundle.ca(&leaf, &[&of_partners]).as_deref(), Some("partners"));
        assert_eq!(bundle.ca(&leaf, &[&of_own]).as_deref(), Some("own"));
        assert!(bundle.ca(&leaf, &[&of_own, &of_partners]).is_some());
    }

    #[test]
    fn the_work_for_a_certificate_is_bounded() {
        let bundle = Bundle::new();
        // Eight CAs without key identifiers, all of the same key: each may have issued each.
        let key = KeyPair::generate().unwrap();
        let copy = || KeyPair::from_pem(&key.serialize_pem()).unwrap();
        let mut params = ca_params("any");
        params.use_authority_key_identifier_extension = false;
        let start = root(params.clone(), copy());
        let chain: Vec<Issued> = (0..8).map(|_| issue_for(&start, params.clone(), copy())).collect();
        let leaf = client(&start);
        let mut identity = Identity::from_der(&leaf.der).unwrap();
        identity.chain = chain.iter().map(|issued| issued.der.clone()).collect();
        let count = Cell::new(0);
        let verify = |signature: &Signature<'_>| {
            count.set(count.get() + 1);
            verified(signature)
        };
        let by = Examination { now: Timestamp::from_secs(NOW as u64), verify: &verify };
        bundle.authorities.examine(&mut identity, true, by);
        assert_eq!((identity.ca, count.get()), (None, MAX_VERIFICATIONS));
    }

    #[test]
    fn a_ca_without_a_key_identifier_signs_certificates_that_have_one() {
        let own = authority("own");
        let mut authorities = Authorities::default();
        authorities.add(Some(&Rc::from("own")), own.spki(), Vec::new(), []);
        let bundle = Bundle { partners: authority("partners"), own, authorities };
        assert_eq!(bundle.ca(&client(&bundle.own), &[]).as_deref(), Some("own"));
    }

    #[test]
    fn a_ca_that_issued_itself_is_tried_once() {
        let bundle = Bundle::new();
        let stranger = authority("stranger");
        let leaf = client(&stranger);
        let mut identity = Identity::from_der(&leaf.der).unwrap();
        identity.chain = vec![stranger.der.clone()];
        let count = Cell::new(0);
        let verify = |signature: &Signature<'_>| {
            count.set(count.get() + 1);
            verified(signature)
        };
        let by = Examination { now: Timestamp::from_secs(NOW as u64), verify: &verify };
        bundle.authorities.examine(&mut identity, true, by);
        assert_eq!((identity.ca, count.get()), (None, 1));
    }

    #[test]
    fn a_ca_revokes_its_own_certificates_only() {
        let bundle = Bundle::revoking(&[7], &[8]);
        assert!(bundle.examine(&client(&bundle.own), &[]).revoked);
        assert!(!bundle.examine(&client(&bundle.partners), &[]).revoked);
        // Without a key identifier the signature decides.
        for (ca, revoked) in [(&bundle.own, true), (&bundle.partners, false)] {
            let mut params = params("client");
            params.use_authority_key_identifier_extension = false;
            assert_eq!(bundle.examine(&issue(ca, params), &[]).revoked, revoked);
        }
        // A CA that writes the other's key identifier revokes only its own client.
        assert!(bundle.examine(&client(&disguised(&bundle.partners, &bundle.own)), &[]).revoked);
        // A revoked intermediate CA leads nowhere.
        let intermediate = issue(&bundle.own, ca_params("intermediate"));
        let leaf = client(&intermediate);
        let found = bundle.examine(&leaf, &[&intermediate]);
        assert_eq!((found.ca, found.revoked), (None, false));
        assert!(Bundle::revoking(&[8], &[]).ca(&leaf, &[&intermediate]).is_none(), "another bundle");
    }

    #[test]
    fn signatures_that_cannot_be_verified_lead_nowhere_but_are_revoked() {
        let ca = root(ca_params("ed25519"), KeyPair::generate_for(&PKCS_ED25519).unwrap());
        let mut authorities = Authorities::default();
        authorities.add(Some(&Rc::from("a")), ca.spki(), Vec::new(), [vec![7]]);
        let mut params = params("client");
        params.use_authority_key_identifier_extension = false;
        let leaf = issue(&ca, params);
        let mut identity = Identity::from_der(&leaf.der).unwrap();
        let by = Examination { now: Timestamp::from_secs(NOW as u64), verify: &|_| panic!("not called") };
        authorities.examine(&mut identity, true, by);
        assert_eq!((identity.ca, identity.revoked), (None, true));
    }

    #[test]
    fn only_known_algorithms_are_verified() {
        for (pem, hash) in [
            (include_str!("../testdata/p256.pem"), "sha256"),
            (include_str!("../testdata/rsa.pem"), "sha256"),
        ] {
            let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
            let der = STANDARD.decode(text).unwrap();
            let certificate = X509::read(&der).unwrap();
            let found = signature(certificate.child(), certificate.key).unwrap();
            assert_eq!(found.hash, hash);
            assert!(verified(&found), "it is self-signed");
            let other = Signature { text: &found.text[1..], ..found };
            assert!(!verified(&other));
        }
    }
}
