//! What is checked in is what `proto/` gives.

#![allow(clippy::unwrap_used)]

#[test]
fn the_checked_in_code_is_what_proto_gives() {
    if std::env::var_os("KUVERT_WRITE_PROTO").is_some_and(|value| value == "1") {
        kuvert_wire_gen::write().unwrap();
    }
    let (made, checked_in) = (kuvert_wire_gen::made().unwrap(), kuvert_wire_gen::checked_in().unwrap());
    let names: std::collections::BTreeSet<_> = made.keys().chain(checked_in.keys()).collect();
    let differ: Vec<_> = names.into_iter().filter(|name| made.get(*name) != checked_in.get(*name)).collect();
    assert!(differ.is_empty(), "{differ:?} differ: KUVERT_WRITE_PROTO=1 cargo test -p kuvert-wire-gen");
}
