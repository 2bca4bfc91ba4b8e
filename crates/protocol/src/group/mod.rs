//! Groups without a server: who belongs to one follows from signed operations alone (PROTOCOL.md, Groups).
//!
//! | module | holds |
//! |---|---|
//! | [`operation`] | operations as they are signed and sent |
//! | [`roster`] | the resolver: from a set of operations to members, roles and settings |

pub mod operation;
pub mod roster;
