//! The keys of client CAs.

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::{AuthorityKey, ClientCa};
use crate::identity::Authorities;
use crate::policy::deny::serial;
use crate::policy::problem::{PathRef, Problem};

pub(super) fn compile(cas: &[ClientCa], problems: &mut Vec<Problem>) -> Authorities {
    let mut authorities = Authorities::default();
    let path = PathRef::of("clientCAs");
    for (index, ca) in cas.iter().enumerate() {
        let path = path.index(index);
        let name = (!ca.name.is_empty()).then(|| Rc::from(&*ca.name));
        let path = path.key("keys");
        for (index, key) in ca.keys.iter().enumerate() {
            if add(&mut authorities, name.as_ref(), key).is_none() {
                problems.push(Problem::new(
                    path.index(index),
                    "it is not a key in base64 with identifiers in hex",
                ));
            }
        }
    }
    authorities
}

fn add(authorities: &mut Authorities, name: Option<&Rc<str>>, key: &AuthorityKey) -> Option<()> {
    let spki = STANDARD.decode(&key.key).ok().filter(|spki| !spki.is_empty())?;
    let id = bytes(&key.id)?;
    let revoked = key.revoked.iter().map(|text| serial(text)).collect::<Option<Vec<_>>>()?;
    authorities.add(name, spki, id, revoked);
    Some(())
}

/// The bytes of hex digits.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| Some(char::from(*byte).to_digit(16)? as u8);
    hex.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}
