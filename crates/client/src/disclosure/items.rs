//! What the relay gets at each level, in words that this program keeps.

use kuvert_types::Level;

use crate::records::Receipts;
use crate::state::PhoneTold;

/// Whether the relay gets something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// It does.
    Yes,
    /// Some of it, or sometimes.
    Partly,
    /// It does not.
    No,
}

impl Seen {
    /// `yes`, `partly` or `no`.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Partly => "partly",
            Self::No => "no",
        }
    }
}

/// One thing that a relay may get to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// What, kebab-case: scripts rely on it.
    pub item: &'static str,
    /// What, for people.
    pub title: &'static str,
    /// Whether the relay gets it.
    pub relay: Seen,
    /// Why.
    pub why: &'static str,
}

/// What a relay gets to know at a level.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Disclosure {
    /// The level.
    pub level: Level,
    /// One thing after the other.
    pub items: Vec<Item>,
    /// What the level costs.
    pub costs: &'static str,
}

/// The items at a level. `named`: the account took a user name; `number`: whether it gave a phone number beside L0.
pub fn at(level: Level, receipts: Receipts, named: bool, number: PhoneTold) -> Disclosure {
    use Seen::{No, Partly, Yes};
    let item = |item, title, (relay, why)| Item { item, title, relay, why };
    let (l0, sealed) = (level == Level::L0, level.seals_sender());
    let choose = |condition: bool, then: (Seen, &'static str), otherwise| if condition { then } else { otherwise };
    let items = vec![
        item(
            "account",
            "who I am",
            (Partly, "a random identifier and public keys; nothing ties them to a person by themselves"),
        ),
        item(
            "number",
            "my phone number",
            match (l0, number) {
                (true, PhoneTold::Yes) => (Yes, "I gave it; verified, it is found in other people's address books"),
                (true, _) => (Partly, "if I give one; verified, it is found in other people's address books"),
                (false, PhoneTold::No) => (No, "I gave none; nothing at this level asks for it"),
                (false, PhoneTold::Yes) => (
                    Yes,
                    "I gave it, although nothing at this level asks for it: `kuvert account correct --no-phone` takes it back",
                ),
                // A home of a build that did not note it.
                (false, PhoneTold::Unknown) => {
                    (Partly, "only if I gave one when I registered; nothing at this level asks for it")
                }
            },
        ),
        item("name", "my name", choose(named, (Yes, "the user name that I took"), (No, "I took no user name"))),
        item(
            "address-book",
            "my address book",
            choose(
                l0,
                (Partly, "if I upload it, with everybody in it who was never asked; else only whom I look up"),
                (No, "nothing is uploaded; what I call my contacts stays here"),
            ),
        ),
        item(
            "device-details",
            "what device I use",
            choose(
                l0,
                (Yes, "model, system, language, kind of network and this program's version, once a day"),
                (No, "nothing of it is sent; what L0 sent is deleted with the next connection"),
            ),
        ),
        item(
            "permissions",
            "what a phone would allow",
            choose(
                l0,
                (Partly, "simulated, and denied: `kuvert account permissions --grant` tells it one invented line each"),
                (No, "simulated, and denied at this level; what was granted at L0 is deleted with the next connection"),
            ),
        ),
        item(
            "recipient",
            "whom I write to",
            choose(
                sealed,
                (
                    Partly,
                    "every envelope names its recipient; whom I look up, and whose keys I take to begin, I ask for under my name",
                ),
                (Yes, "every envelope names its recipient"),
            ),
        ),
        item(
            "sender",
            "that it is I who writes",
            choose(
                sealed,
                (
                    Partly,
                    "not in the envelope nor on its connection, once a contact told me its access key; the first messages name me, and those that the relay refuses without a name",
                ),
                (Yes, "every envelope names its sender"),
            ),
        ),
        item(
            "acquaintance",
            "who knows whom",
            choose(
                sealed,
                (
                    Partly,
                    "that a contact writes to me, by the access key that I told it; not which one, where the sender is sealed",
                ),
                (Yes, "an envelope with the access key comes from a contact: its mail has more room than a stranger's"),
            ),
        ),
        item(
            "ip-address",
            "my IP address",
            choose(
                sealed,
                (Yes, "on both connections: one address on both can join what the envelopes leave out"),
                (Yes, "while I am connected; it is in memory only, unless the relay records what it sees"),
            ),
        ),
        item("time", "when I write", (Yes, "when each envelope comes, to the millisecond")),
        item(
            "size",
            "how much I write",
            (
                Partly,
                "padded to 512 B, 4 KiB, 16 KiB, above that by up to an eighth: at all levels, so no level can forget it",
            ),
        ),
        item("online", "when I am online", (Yes, "while I am connected; the day of my last visit is kept")),
        item(
            "receipts",
            "that I received something",
            match receipts {
                Receipts::Now => {
                    (Partly, "when I fetch it; a receipt is an envelope like any other, but comes at once")
                }
                Receipts::Late => (Partly, "when I fetch it; a receipt is an envelope like any other, up to 60 s late"),
                Receipts::Off => (Partly, "when I fetch it; no receipts are sent"),
            },
        ),
    ];
    let costs = match level {
        Level::L0 => "nothing but what it tells",
        Level::L1 => "nothing",
        Level::L2 => "310 bytes an envelope, and a second connection for each time of sending",
        Level::L3 => "as L2, and receipts that come up to a minute late",
    };
    Disclosure { level, items, costs }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_level_never_tells_more() {
        let rank = |seen| [Seen::No, Seen::Partly, Seen::Yes].iter().position(|other| *other == seen);
        for pair in Level::ALL.windows(2) {
            for number in [PhoneTold::Unknown, PhoneTold::No, PhoneTold::Yes] {
                let lower = at(pair[0], Receipts::Now, true, number);
                let higher = at(pair[1], Receipts::Late, true, number);
                for (below, above) in lower.items.iter().zip(&higher.items) {
                    assert_eq!(below.item, above.item);
                    assert!(rank(above.relay) <= rank(below.relay), "{}: {}", higher.level, above.item);
                }
            }
        }
    }
}
