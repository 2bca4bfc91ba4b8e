//! Where randomness comes from.

use getrandom::SysRng;
use kuvert_types::EnvelopeId;
use rand_core::{Rng as _, UnwrapErr};

/// The operating system's generator. A call costs 0.3 µs, a message needs some 60 bytes: nothing of user space's own is
/// worth the risk of a forked or restored process that repeats itself.
pub type SystemRng = UnwrapErr<SysRng>;

/// The generator. It panics only where the system has no randomness at all: going on would be worse.
pub fn system_rng() -> SystemRng {
    UnwrapErr(SysRng)
}

/// A fresh envelope id.
pub fn envelope_id() -> EnvelopeId {
    EnvelopeId::from_bytes(bytes())
}

/// Fresh random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    system_rng().fill_bytes(&mut bytes);
    bytes
}
