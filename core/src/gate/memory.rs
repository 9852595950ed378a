//! What a worker may hold of bodies that are not complete yet.

use core::cell::Cell;
use std::rc::Rc;

/// The bytes that all requests of one worker hold together. A VM that runs out of memory ends every plugin in it.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    held: Rc<Cell<u64>>,
}

impl Memory {
    /// How many bytes are held.
    pub fn held(&self) -> u64 {
        self.held.get()
    }

    /// A share of nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { memory: self.clone(), bytes: 0 }
    }
}

/// What one request holds; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    memory: Memory,
    bytes: u64,
}

impl Share {
    /// Makes this share `bytes`; `false`, and no change, where the worker would hold more than `bound`.
    pub(super) fn resize(&mut self, bytes: u64, bound: u64) -> bool {
        let others = self.memory.held.get().saturating_sub(self.bytes);
        if bytes > self.bytes && others.saturating_add(bytes) > bound {
            return false;
        }
        self.memory.held.set(others + bytes);
        self.bytes = bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.held.set(self.memory.held.get().saturating_sub(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_together_and_given_back() {
        let memory = Memory::default();
        let (mut a, mut b) = (memory.share(), memory.share());
        assert!(a.resize(60, 100));
        assert!(!b.resize(41, 100));
        assert!(b.resize(40, 100));
        assert_eq!(memory.held(), 100);
        drop(a);
        assert_eq!(memory.held(), 40);
        assert!(b.resize(100, 100));
        assert!(b.resize(10, 5));
        drop(b);
        assert_eq!(memory.held(), 0);
    }
}
