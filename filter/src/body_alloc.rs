//! An allocator that lets the proxy write a piece of a body straight to its place.
//!
//! To return bytes, the proxy asks this module for memory (`proxy_on_memory_allocate`) and writes there. For a body
//! that means a block for each piece, and another copy into the buffer that collects them. So while a piece is read,
//! the allocator hands out the unused end of that buffer instead.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;

struct Allocator {
    /// The unused end of a buffer, set only while the proxy returns bytes for it.
    place: Cell<*mut u8>,
    len: Cell<usize>,
}

#[global_allocator]
static ALLOCATOR: Allocator = Allocator { place: Cell::new(null_mut()), len: Cell::new(0) };

// SAFETY: a proxy-wasm VM has one thread.
unsafe impl Sync for Allocator {}

// SAFETY: memory comes from System, or is the unused capacity of a Vec, which is valid for writes, large enough, of
// alignment 1, and handed out once; `read_into` never frees it.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let place = self.place.get();
        if !place.is_null() && layout.align() == 1 && layout.size() <= self.len.get() {
            self.place.set(null_mut());
            return place;
        }
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Appends the bytes that `call` makes the proxy return to `buffer`, within its capacity. `call` gives where the proxy
/// wrote and how many bytes, or `None` if it wrote none.
pub(crate) fn read_into(buffer: &mut Vec<u8>, call: impl FnOnce() -> Option<(*mut u8, usize)>) {
    let spare = buffer.spare_capacity_mut();
    let place = spare.as_mut_ptr().cast::<u8>();
    let room = spare.len();
    ALLOCATOR.len.set(room);
    ALLOCATOR.place.set(if room == 0 { null_mut() } else { place });
    let returned = call();
    ALLOCATOR.place.set(null_mut());
    let Some((data, len)) = returned else { return };
    if data == place && len <= room {
        // SAFETY: the proxy wrote `len` bytes at the start of the spare capacity.
        unsafe { buffer.set_len(buffer.len() + len) };
    } else if !data.is_null() {
        // SAFETY: the proxy allocated `len` bytes by `proxy_on_memory_allocate`, as a boxed slice of that length.
        buffer.extend_from_slice(&unsafe { Vec::from_raw_parts(data, len, len) });
    }
}
