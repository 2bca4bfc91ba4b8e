//! For experts: the parts that a session is made of, without the rules that make them safe together.
//!
//! A messenger needs none of this. What is here has no protection against misuse: keys can be used twice, checks can be
//! left out, and what is put together wrongly still compiles. It is public for measurements, for tests against other
//! implementations, and for those who build another protocol from the same parts. Its signatures may change in any version.

/// The ML-KEM Braid: the key agreement of the post-quantum ratchet, in pieces over many messages.
pub mod braid {
    pub use crate::braid::*;
}

/// What separates one use of a key from another.
pub mod labels {
    pub use crate::labels::*;
}

/// The post-quantum ratchet beside the Double Ratchet.
pub mod pq_ratchet {
    pub use crate::pq_ratchet::*;
}

/// The cryptographic primitives, and the backends that compute them.
pub mod primitives {
    pub use crate::primitives::*;
}

/// Bounds and lengths of the Double Ratchet with header encryption.
pub mod ratchet {
    pub use crate::ratchet::*;
}

/// Sparse continuous key agreement: what the post-quantum ratchet needs from whatever agrees on its keys.
pub mod scka {
    pub use crate::scka::*;
}
