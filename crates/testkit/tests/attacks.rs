//! Attacks of docs/ATTACKS.md that need more than two sessions to show: whole worlds in which the relay does nothing else.

#![allow(clippy::panic)] // helpers of tests

use kuvert_testkit::relay::Attack::{self, *};
use kuvert_testkit::{Plan, Tally, World};

/// Worlds with a relay that makes these attacks at every second occasion.
fn worlds(attacks: &'static [Attack], plan: &Plan) -> Tally {
    let plan = Plan { malice: 500, attacks, ..*plan };
    let mut total = Tally::default();
    for seed in 0..12 {
        total.add(&World::run(&plan, seed, false).unwrap_or_else(|violation| panic!("seed {seed}: {violation}")));
    }
    for attack in attacks {
        assert!(total.attack(*attack) > 0, "{attack:?} was never made");
    }
    total
}

/// How often these attacks ended in another way than those.
fn otherwise(total: &Tally, ends: &[&str]) -> Vec<String> {
    let others = total.attacks.keys().filter(|(_, end)| !ends.iter().any(|expected| end.starts_with(expected)));
    others.map(|(attack, end)| format!("{attack:?}: {end}")).collect()
}

#[test]
fn attack_29_forged_messages_cause_one_reset_an_hour_at_most() {
    // The judge fails the world if a device resets another twice within an hour.
    let total =
        worlds(&[FlipBit, Garbage, Mislabel, Splice], &Plan { second_device: 0, accounts: (2, 2), ..Plan::CALM });
    let forged: u64 = total.attacks.values().sum();
    assert!(total.count("resets") > 0);
    assert!(3 * total.count("resets") < forged, "{} resets for {forged} forgeries", total.count("resets"));
    assert_eq!(otherwise(&total, &["refused: "]), Vec::<String>::new());
}

#[test]
fn attack_30_ghost_devices_and_false_lists_are_refused_and_reported() {
    let plan = Plan { second_device: 1000, ..Plan::CALM };
    let total = worlds(&[UnsignedList, GhostDevice, OlderList, ForkedList], &plan);
    let expected = ["refused and reported: ", "no effect: nothing newer was known", "no effect: never used"];
    assert_eq!(otherwise(&total, &expected), Vec::<String>::new());
    let end = |attack, end: &str| total.attacks.contains_key(&(attack, end.to_owned()));
    assert!(end(UnsignedList, "refused and reported: Unsigned") && end(GhostDevice, "refused and reported: Unsigned"));
    assert!(end(OlderList, "refused and reported: Older") && end(ForkedList, "refused and reported: Forked"));
    assert_eq!(total.count("texts shown"), total.count("texts written, a copy for each device"));
}
