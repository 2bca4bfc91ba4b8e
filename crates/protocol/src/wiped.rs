//! Memory that is wiped as a whole [KV-025].

use alloc::vec;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use zeroize::Zeroize;

/// Overwrites `bytes` with zeros. The barrier keeps the compiler from leaving out what is never read.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    zeroize::optimization_barrier(bytes);
}

/// Bytes that are wiped at the speed of `memset` when dropped: for kilobytes, which `Zeroizing` writes byte by byte. It is
/// filled where it lies, because moving it would leave a copy behind.
pub(crate) struct WipedArray<const N: usize>([u8; N]);

impl<const N: usize> WipedArray<N> {
    pub(crate) const fn zeros() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Deref for WipedArray<N> {
    type Target = [u8; N];

    fn deref(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> DerefMut for WipedArray<N> {
    fn deref_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> Drop for WipedArray<N> {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// A value on the heap, all of whose memory is wiped when it is dropped.
///
/// Keys wipe themselves. But the places of an `Option` or of an enum's variant that hold nothing at the moment are
/// wiped by none of them, and when the value was moved here from the stack, so was whatever lay there in these places.
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
