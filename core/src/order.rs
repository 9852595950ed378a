//! Sorting, in little code. The standard library's sorts are generated for every type that is sorted, 5 KB each, also
//! where a tree is collected; the module carried 43 KB of them, a tenth of what may travel in a ConfigMap with ease.

use std::collections::BTreeSet;

/// Sorts; equal items may change places.
pub(crate) fn sort<T: Ord>(items: &mut [T]) {
    let len = items.len();
    heap_sort(&mut Slice(items), len);
}

/// Sorts by a key; items of equal keys stay in their order.
pub(crate) fn sorted_by_key<T, K: Ord>(items: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut order: Vec<(K, usize)> = items.iter().map(key).zip(0..).collect();
    sort(&mut order);
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    order.into_iter().filter_map(|(_, position)| items.get_mut(position)?.take()).collect()
}

/// The set of these.
pub(crate) fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    for item in items {
        set.insert(item);
    }
    set
}

/// What the sort does to items, so that it is compiled once and not for each type.
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

/// Heapsort: n log n whatever the order, in place.
fn heap_sort(items: &mut dyn Items, len: usize) {
    for root in (0..len / 2).rev() {
        sift(items, root, len);
    }
    for end in (1..len).rev() {
        items.swap(0, end);
        sift(items, 0, end);
    }
}

/// Lets an item sink below all that are greater.
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
            sort(&mut items);
            prop_assert_eq!(items, expected);
        }

        #[test]
        fn equal_keys_stay_in_their_order(keys in prop::collection::vec(0..4u8, 0..100)) {
            let items: Vec<(u8, usize)> = keys.into_iter().zip(0..).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|(key, _)| *key);
            prop_assert_eq!(sorted_by_key(items, |(key, _)| *key), expected);
        }
    }
}
