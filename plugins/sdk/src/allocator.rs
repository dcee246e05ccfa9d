//! The allocator of every Rust plugin: right for an instance that lives for one call.
//!
//! Rust's own allocator for this target knows nothing of the memory that an instance starts with: it
//! grows it, in every instance anew, and on the host each growth is a call into the kernel that all
//! threads queue for, which costs more than the rest of a small call. So a plugin starts with a
//! memory that holds a normal call (the linker's `--initial-memory`), and this takes from it by
//! counting up. What is freed comes back only if it was the last taken: the instance is thrown away
//! after the call. Beyond the initial memory, Rust's own allocator goes on as ever.

mod bump;

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ops::Range;

use bump::Bump;

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: OneCall<std::alloc::System> = OneCall::new(initial_heap, std::alloc::System);

/// From where the linker put the last of the data to the end of the memory that we start with.
///
/// This asks for the memory's size before Rust's own allocator has grown it: that is only reached
/// through [`ALLOCATOR`], which asks on its first allocation.
#[cfg(target_arch = "wasm32")]
fn initial_heap() -> Range<usize> {
    #[allow(
        unsafe_code,
        reason = "a symbol of the linker, of which only the address is taken"
    )]
    unsafe extern "C" {
        static __heap_base: u8;
    }
    const PAGE_BYTES: usize = 64 * 1024;
    let start = (&raw const __heap_base).expose_provenance();
    start..core::arch::wasm32::memory_size::<0>() * PAGE_BYTES
}

/// Counts up through a range of memory, then asks another allocator.
struct OneCall<A, R = fn() -> Range<usize>> {
    bump: Cell<Bump>,
    /// The range is known at run time only. It is asked for by the first allocation.
    range: R,
    beyond: A,
}

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "a static must be Sync; a plugin has one thread")]
unsafe impl Sync for OneCall<std::alloc::System> {}

impl<A, R: Fn() -> Range<usize>> OneCall<A, R> {
    const fn new(range: R, beyond: A) -> Self {
        Self {
            bump: Cell::new(Bump::EMPTY),
            range,
            beyond,
        }
    }

    #[inline]
    fn with_bump<T>(&self, act: impl FnOnce(&mut Bump) -> T) -> T {
        let mut bump = self.bump.get();
        let outcome = act(&mut bump);
        self.bump.set(bump);
        outcome
    }

    /// Makes a range of the empty one that a call starts with, so that the check is off the path of
    /// every allocation that fits.
    #[cold]
    fn allocate_first(&self, layout: Layout) -> Option<usize> {
        if self.bump.get() != Bump::EMPTY {
            return None;
        }
        self.bump.set(Bump::over((self.range)()));
        self.with_bump(|bump| bump.allocate(layout))
    }
}

#[allow(unsafe_code, reason = "an allocator hands out raw memory")]
// SAFETY: a block is either inside the range, where `Bump` gives no address out twice before it was
// freed, or comes from `beyond`, whose blocks are outside the range; `holds` tells which it is.
unsafe impl<A: GlobalAlloc, R: Fn() -> Range<usize>> GlobalAlloc for OneCall<A, R> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let address = self
            .with_bump(|bump| bump.allocate(layout))
            .or_else(|| self.allocate_first(layout));
        match address {
            Some(address) => std::ptr::with_exposed_provenance_mut(address),
            // SAFETY: the caller's promise about the layout is handed on.
            None => unsafe { self.beyond.alloc(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let address = block.addr();
        if self.bump.get().holds(address) {
            self.with_bump(|bump| bump.free(address, layout.size()));
        } else {
            // SAFETY: what is not in the range came from there.
            unsafe { self.beyond.dealloc(block, layout) }
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let address = block.addr();
        if !self.bump.get().holds(address) {
            // SAFETY: what is not in the range came from there.
            return unsafe { self.beyond.realloc(block, layout, new_size) };
        }
        if self.with_bump(|bump| bump.resize(address, layout.size(), new_size)) {
            return block;
        }
        // SAFETY: the caller promises that the new size goes with this alignment. The new block, if
        // there is one, is another than the old, and both are as long as the shorter of the two.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
#[allow(unsafe_code, reason = "an allocator is tested by calling it")]
mod tests {
    use std::alloc::System;

    use super::*;

    /// The system's allocator, counting what it has out.
    #[derive(Default)]
    struct Counted(Cell<usize>);

    // SAFETY: hands everything on to `System`.
    unsafe impl GlobalAlloc for Counted {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            self.0.set(self.0.get() + 1);
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            self.0.set(self.0.get() - 1);
            unsafe { System.dealloc(block, layout) }
        }
    }

    fn over(memory: &mut [u8]) -> OneCall<Counted, impl Fn() -> Range<usize>> {
        let start = memory.as_mut_ptr().expose_provenance();
        let end = start + memory.len();
        OneCall::new(move || start..end, Counted::default())
    }

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn what_does_not_fit_comes_from_the_other_allocator_and_goes_back_there() {
        let mut memory = vec![0; 64];
        let allocator = over(&mut memory);

        let inside = unsafe { allocator.alloc(layout(40, 8)) };
        let outside = unsafe { allocator.alloc(layout(40, 8)) };
        assert_eq!(allocator.beyond.0.get(), 1);

        let small = unsafe { allocator.alloc(layout(8, 1)) };
        assert_eq!(
            allocator.beyond.0.get(),
            1,
            "the range is still used for what fits"
        );

        unsafe {
            allocator.dealloc(outside, layout(40, 8));
            allocator.dealloc(small, layout(8, 1));
            allocator.dealloc(inside, layout(40, 8));
        }
        assert_eq!(allocator.beyond.0.get(), 0);
    }

    #[test]
    fn a_block_that_outgrows_the_range_moves_with_its_content() {
        let mut memory = vec![0; 64];
        let allocator = over(&mut memory);

        unsafe {
            let block = allocator.alloc(layout(4, 1));
            block.copy_from(b"text".as_ptr(), 4);
            let moved = allocator.realloc(block, layout(4, 1), 1000);

            assert_ne!(moved, block);
            assert_eq!(std::slice::from_raw_parts(moved, 4), b"text");
            assert_eq!(allocator.alloc(layout(64, 1)), block, "its place is free");
            allocator.dealloc(moved, layout(1000, 1));
        }
        assert_eq!(allocator.beyond.0.get(), 0);
    }

    #[test]
    fn the_range_is_asked_for_once() {
        let asked = Cell::new(0);
        let allocator = OneCall::new(
            || {
                asked.set(asked.get() + 1);
                16..16
            },
            Counted::default(),
        );

        for _ in 0..2 {
            unsafe {
                let block = allocator.alloc(layout(8, 8));
                allocator.dealloc(block, layout(8, 8));
            }
        }

        assert_eq!(asked.get(), 1);
    }

    /// Many blocks of all sizes, taken, resized and freed in no order: none may touch another.
    #[test]
    fn no_block_overlaps_another() {
        let mut memory = vec![0; 32 * 1024];
        let allocator = over(&mut memory);
        let mut blocks: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let mut state = 1_u32;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        let whole = |&(block, layout, mark): &(*mut u8, Layout, u8)| {
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            bytes.iter().all(|&byte| byte == mark)
        };

        for step in 0..20_000_u32 {
            let mark = step as u8;
            let size = 1 + next(300) as usize;
            if blocks.is_empty() || next(5) < 2 {
                let layout = layout(size, 1 << next(6));
                let block = unsafe { allocator.alloc(layout) };
                assert_eq!(block.addr() % layout.align(), 0);
                unsafe { block.write_bytes(mark, size) };
                blocks.push((block, layout, mark));
                continue;
            }
            // Mostly the last, as a growing string is.
            let at = if next(2) == 0 {
                blocks.len() - 1
            } else {
                next(blocks.len() as u32) as usize
            };
            let taken = blocks.swap_remove(at);
            assert!(whole(&taken), "overwritten by step {step}");
            let (block, old, kept) = taken;
            if next(2) == 0 {
                unsafe { allocator.dealloc(block, old) };
            } else {
                let new = layout(size, old.align());
                let block = unsafe { allocator.realloc(block, old, size) };
                assert_eq!(block.addr() % old.align(), 0);
                assert!(whole(&(block, layout(size.min(old.size()), 1), kept)));
                unsafe { block.write_bytes(mark, size) };
                blocks.push((block, new, mark));
            }
        }

        assert!(blocks.iter().all(whole));
        for (block, layout, _) in blocks {
            unsafe { allocator.dealloc(block, layout) };
        }
        assert_eq!(allocator.beyond.0.get(), 0);
    }
}
