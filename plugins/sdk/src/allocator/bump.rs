//! Which addresses of a range are taken: the arithmetic of [`OneCall`](super::OneCall), which no
//! memory is needed for.

use std::alloc::Layout;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bump {
    start: usize,
    /// All below is taken or given up, all from here on is free.
    next: usize,
    end: usize,
}

impl Bump {
    /// A range that nothing fits into, and that no address is in.
    pub(super) const EMPTY: Self = Self {
        start: 0,
        next: 0,
        end: 0,
    };

    pub(super) fn over(range: Range<usize>) -> Self {
        Self {
            start: range.start,
            next: range.start,
            end: range.end,
        }
    }

    pub(super) fn holds(&self, address: usize) -> bool {
        (self.start..self.end).contains(&address)
    }

    #[inline]
    pub(super) fn allocate(&mut self, layout: Layout) -> Option<usize> {
        let address = self.next.checked_next_multiple_of(layout.align())?;
        self.take(address, layout.size()).then_some(address)
    }

    /// Resizes a block where it is: always when it shrinks, else only when it is the last.
    #[inline]
    pub(super) fn resize(&mut self, address: usize, old_size: usize, new_size: usize) -> bool {
        if address + old_size == self.next {
            self.take(address, new_size)
        } else {
            new_size <= old_size
        }
    }

    /// Takes a block back if it is the last; any other is given up.
    #[inline]
    pub(super) fn free(&mut self, address: usize, size: usize) {
        if address + size == self.next {
            self.next = address;
        }
    }

    /// Ends what is taken after `size` bytes at `address`, if that is within the range.
    #[inline]
    fn take(&mut self, address: usize, size: usize) -> bool {
        match address.checked_add(size) {
            Some(next) if next <= self.end => {
                self.next = next;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn addresses_are_aligned() {
        let mut bump = Bump::over(1001..2000);

        assert_eq!(bump.allocate(layout(1, 1)), Some(1001));
        assert_eq!(bump.allocate(layout(8, 8)), Some(1008));
        assert_eq!(bump.allocate(layout(3, 64)), Some(1024));
        assert_eq!(bump.allocate(layout(4, 4)), Some(1028));
    }

    #[test]
    fn the_range_is_used_to_its_last_byte_and_no_further() {
        let mut bump = Bump::over(1000..1010);

        assert_eq!(bump.allocate(layout(11, 1)), None);
        assert_eq!(bump.allocate(layout(10, 1)), Some(1000));
        assert_eq!(bump.allocate(layout(1, 1)), None);
    }

    #[test]
    fn sizes_at_the_end_of_the_address_space_do_not_wrap() {
        let mut bump = Bump::over(usize::MAX - 10..usize::MAX - 1);

        assert_eq!(bump.allocate(layout(1, 1 << 20)), None);
        assert_eq!(bump.allocate(layout(isize::MAX as usize, 1)), None);
        assert_eq!(bump.allocate(layout(9, 1)), Some(usize::MAX - 10));
    }

    #[test]
    fn the_last_block_grows_and_shrinks_where_it_is() {
        let mut bump = Bump::over(1000..1100);
        let address = bump.allocate(layout(10, 1)).unwrap();

        assert!(bump.resize(address, 10, 100));
        assert!(!bump.resize(address, 100, 101));
        assert!(bump.resize(address, 100, 5));
        assert_eq!(bump.allocate(layout(1, 1)), Some(1005));
    }

    #[test]
    fn another_block_shrinks_but_does_not_grow() {
        let mut bump = Bump::over(1000..1100);
        let first = bump.allocate(layout(10, 1)).unwrap();
        bump.allocate(layout(10, 1)).unwrap();

        assert!(!bump.resize(first, 10, 11));
        assert!(bump.resize(first, 10, 5));
        assert_eq!(bump.allocate(layout(1, 1)), Some(1020));
    }

    #[test]
    fn only_the_last_block_comes_back_when_freed() {
        let mut bump = Bump::over(1000..1100);
        let first = bump.allocate(layout(10, 1)).unwrap();
        let second = bump.allocate(layout(10, 1)).unwrap();

        bump.free(first, 10);
        assert_eq!(bump.allocate(layout(1, 1)), Some(1020));
        bump.free(1020, 1);
        bump.free(second, 10);
        assert_eq!(bump.allocate(layout(1, 1)), Some(1010));
    }

    #[test]
    fn an_empty_range_holds_nothing() {
        let mut bump = Bump::EMPTY;

        assert!(!bump.holds(0));
        assert_eq!(bump.allocate(layout(1, 1)), None);
    }
}
