//! A small heapsort, to keep the Wasm module small.
//!
//! The standard library's sort is compiled for each element type, about 5 KB each, and also wherever a `BTreeSet` is
//! collected. It made up 43 KB of the module, which has to fit into a ConfigMap.

use std::collections::BTreeSet;

/// Sorts `items` in place; equal items may change places.
pub(crate) fn in_place<T: Ord>(items: &mut [T]) {
    let len = items.len();
    heap_sort(&mut Slice(items), len);
}

/// Sorts by a key; items of equal keys keep their order.
pub(crate) fn by_key<T, K: Ord>(items: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut order: Vec<(K, usize)> = items.iter().map(key).zip(0..).collect();
    in_place(&mut order);
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    order.into_iter().filter_map(|(_, position)| items.get_mut(position)?.take()).collect()
}

/// Collects `items` into a set.
pub(crate) fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    for item in items {
        set.insert(item);
    }
    set
}

/// The operations that the sort needs, as a trait object: the sort is compiled once and not for each type.
trait Items {
    fn less(&self, a: usize, b: usize) -> bool;
    fn swap(&mut self, a: usize, b: usize);
}

struct Slice<'a, T>(&'a mut [T]);

impl<T: Ord> Items for Slice<'_, T> {
    fn less(&self, a: usize, b: usize) -> bool {
        self.0.get(a) < self.0.get(b)
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.0.swap(a, b);
    }
}

/// Heapsort: in place, O(n log n) for any input.
fn heap_sort(items: &mut dyn Items, len: usize) {
    for root in (0..len / 2).rev() {
        sift(items, root, len);
    }
    for end in (1..len).rev() {
        items.swap(0, end);
        sift(items, 0, end);
    }
}

/// Moves the item at `root` down until no child is greater.
fn sift(items: &mut dyn Items, mut root: usize, end: usize) {
    loop {
        let mut child = 2 * root + 1;
        if child >= end {
            return;
        }
        if child + 1 < end && items.less(child, child + 1) {
            child += 1;
        }
        if !items.less(root, child) {
            return;
        }
        items.swap(root, child);
        root = child;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorts_as_the_library_does(mut items in prop::collection::vec((0..9u8, any::<u16>()), 0..200)) {
            let mut expected = items.clone();
            expected.sort();
            prop_assert_eq!(set(items.clone()), BTreeSet::from_iter(items.clone()));
            in_place(&mut items);
            prop_assert_eq!(items, expected);
        }

        #[test]
        fn equal_keys_stay_in_their_order(keys in prop::collection::vec(0..4u8, 0..100)) {
            let items: Vec<(u8, usize)> = keys.into_iter().zip(0..).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|(key, _)| *key);
            prop_assert_eq!(by_key(items, |(key, _)| *key), expected);
        }
    }
}
