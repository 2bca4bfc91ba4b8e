//! Memory that is wiped as a whole.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use zeroize::Zeroize;

/// A value on the heap, all of whose memory is wiped when it is dropped.
///
/// Keys wipe themselves. But the places of an `Option` or of an enum's variant that hold nothing at the moment are in
/// nobody's care, and when the value was moved here from the stack, so was whatever lay there in these places.
///
/// A vector of one, because a vector's room can be wiped when its value is gone.
pub(crate) struct Wiped<T>(Vec<T>);

impl<T> Wiped<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(vec![value])
    }
}

impl<T> Deref for Wiped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0[0]
    }
}

impl<T> DerefMut for Wiped<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0[0]
    }
}

impl<T> Drop for Wiped<T> {
    fn drop(&mut self) {
        self.0.clear();
        self.0.spare_capacity_mut().zeroize();
    }
}
