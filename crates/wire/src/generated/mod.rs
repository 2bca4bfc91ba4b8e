// Written by kuvert-wire-gen from proto/. Do not edit: see crates/wire-gen/src/lib.rs.
include!("address.rs");
include!("blob.rs");
#[cfg(feature = "content")]
include!("content.rs");
include!("envelope.rs");
include!("prekeys.rs");
include!("relay.rs");
