use proptest::prelude::*;

use super::super::captures::CaptureClass;
use super::*;
use crate::policy::pattern::{CaptureKind, Separator};

struct Owned {
    name: Template,
    captures: CaptureClasses,
}

impl Owned {
    fn new(text: &str, separator: Separator) -> Self {
        let name = Template::parse(text).unwrap();
        let class = CaptureClass::of(separator, CaptureKind::default());
        let captures =
            name.placeholders().map(|placeholder| (placeholder.name().into_owned(), class)).collect();
        Owned { name, captures }
    }

    fn name(&self) -> NameSet<'_> {
        NameSet::Rule { rule: 0, name: &self.name, captures: &self.captures }
    }
}

#[test]
fn names_meet_where_some_text_is_both() {
    use Separator::{Dns, Uri};
    for (a, b, separator, meet) in [
        ("{o}-{s}", "acme-edge", Dns, true),
        ("{o}.{s}", "acme-edge", Dns, false),
        ("{o}.{s}", "acme.edge", Dns, true),
        ("{o}.{s}", "Acme.edge", Dns, false),
        ("{o}.{s}", "acme-edge", Uri, false),
        ("{o}.{s}", "acme.edge.x", Dns, false),
        ("{o}.{s}", "acme.edge.x", Uri, true),
        ("a-{x}", "b-{x}", Uri, false),
        ("a-{x}", "a-b-{x}", Uri, true),
        ("{x}-a", "{x}-b", Uri, false),
        ("{x}-a", "b-{x}", Uri, true),
        ("{x}.a.{y}", "{x}.b.{y}", Dns, false),
        ("{x}.a.{y}", "{x}.b.{y}", Uri, true),
        ("a{x}a", "aa", Uri, false),
        ("a{x}a", "aaa", Uri, true),
        ("{x}", "a", Uri, true),
    ] {
        let (a, b) = (Owned::new(a, separator), Owned::new(b, separator));
        let (a, b) = (a.name(), b.name());
        assert_eq!((a.meets(b), b.meets(a)), (meet, meet), "{a:?} {b:?}");
    }
    for (text, meet) in
        [("unknown-{x}", true), ("{x}", true), ("unknown-012345678abc", true), ("unknown-x{x}", false)]
    {
        assert_eq!(Owned::new(text, Dns).name().meets(NameSet::Unknown), meet, "{text}");
    }
}

proptest! {
    #[test]
    fn two_names_that_gave_the_same_text_meet(
        a in "([ab.]{0,2}(\\{x\\}|\\{y\\})?){1,3}",
        b in "([ab.]{0,2}(\\{x\\}|\\{y\\})?){1,3}",
        values in proptest::array::uniform4("[ab]{1,2}"),
    ) {
        let [x, y, z, w] = &values;
        let given = a.replace("{x}", x).replace("{y}", y);
        let same = given == b.replace("{x}", z).replace("{y}", w);
        let [a, b, given] = [a, b, given].map(|text| Owned::new(&text, Separator::Dns));
        prop_assert!(a.name().meets(given.name()));
        prop_assert!(!same || (a.name().meets(b.name()) && b.name().meets(a.name())));
    }

    #[test]
    fn the_index_finds_every_pair_that_meets(
        texts in proptest::collection::vec("[ab]{0,2}(\\{x\\}[ab]{0,2}){0,2}", 2..6),
    ) {
        let owned: Vec<Owned> = texts.iter().map(|text| Owned::new(text, Separator::Dns)).collect();
        let names: Vec<NameSet<'_>> = owned.iter().map(Owned::name).collect();
        let index = NameIndex::new(&names);
        for (i, a) in names.iter().copied().enumerate() {
            for (j, b) in names.iter().copied().enumerate().take(i) {
                if !(a.is_literal() && b.is_literal()) && a.meets(b) {
                    let (i, j) = (i as u32, j as u32);
                    prop_assert!(index.near(a).contains(&j) || index.near(b).contains(&i));
                }
            }
        }
    }
}
