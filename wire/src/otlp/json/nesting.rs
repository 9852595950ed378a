//! The objects and arrays around a position in a JSON text.

/// How deep objects and arrays may be nested in a value that is skipped. A map in a map is four levels, and SDKs write
/// up to 64 levels of maps by default. The Collector reads ten thousand levels.
const MAX_DEPTH: usize = 512;

/// The objects and arrays that are open, with a bit for each.
#[derive(Default)]
pub(super) struct Nesting {
    depth: usize,
    /// Objects (1) and arrays (0). The innermost is the lowest bit.
    objects: u64,
    /// `objects` as it was at each depth that is a multiple of 64.
    outer: [u64; MAX_DEPTH / 64],
}

impl Nesting {
    /// Whether none is open.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.depth == 0
    }

    /// Whether the innermost is an object.
    #[inline(always)]
    pub(super) fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    /// Opens an object or array. Returns whether it may be nested so deep.
    #[inline(always)]
    #[must_use]
    pub(super) fn open(&mut self, object: bool) -> bool {
        if self.depth.is_multiple_of(64) {
            let Some(outer) = self.outer.get_mut(self.depth / 64) else { return false };
            *outer = self.objects;
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u64::from(object);
        true
    }

    /// Closes the innermost. One must be open.
    #[inline(always)]
    pub(super) fn close(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
        if self.depth.is_multiple_of(64) {
            self.objects = self.outer.get(self.depth / 64).copied().unwrap_or_default();
        }
    }

    /// From an object in an object in an array: closes both objects, and opens another object in the array. Returns
    /// whether it did. It does nothing at other places, and where `outer` would be needed.
    #[inline(always)]
    #[must_use]
    pub(super) fn next_of_array(&mut self) -> bool {
        let found = self.objects & 0b111 == 0b011 && self.depth % 64 > 2;
        if found {
            self.depth -= 1;
            self.objects >>= 1;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_DEPTH, Nesting};
    use proptest::prelude::*;

    proptest! {
        /// The same as a list of what is open, which grows (in steps of several) and shrinks.
        #[test]
        fn what_is_open_is_known_at_every_depth(
            steps in prop::collection::vec((0..8u8, prop::collection::vec(any::<bool>(), 1..40)), 0..80),
        ) {
            let (mut nesting, mut open) = (Nesting::default(), Vec::new());
            for (step, objects) in steps {
                match step {
                    0..4 => for object in objects {
                        let deeper = open.len() < MAX_DEPTH;
                        prop_assert_eq!(nesting.open(object), deeper);
                        open.extend(deeper.then_some(object));
                    },
                    4 => for object in [false, true, true] {
                        let deeper = nesting.open(object);
                        open.extend(deeper.then_some(object));
                    },
                    _ => for _ in objects {
                        if open.pop().is_some() {
                            nesting.close();
                        }
                        prop_assert_eq!(nesting.in_object(), open.last() == Some(&true));
                    },
                }
                let may = open.ends_with(&[false, true, true]);
                if nesting.next_of_array() {
                    prop_assert!(may);
                    open.pop();
                } else {
                    prop_assert!(!may || open.len() % 64 < 3, "{}", open.len());
                }
                prop_assert_eq!(nesting.in_object(), open.last() == Some(&true));
                prop_assert_eq!(nesting.is_empty(), open.is_empty());
            }
        }
    }
}
