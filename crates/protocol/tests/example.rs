//! The example does what it says.

#![allow(clippy::unwrap_used)]

#[path = "../examples/two_parties.rs"]
mod two_parties;

#[test]
fn two_parties_write_to_each_other() {
    assert_eq!(two_parties::conversation().unwrap(), ["Bob read: Hello, Bob", "Alice read: Hello, Alice"]);
}
