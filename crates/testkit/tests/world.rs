//! Worlds by the hundred. Each scenario is a test of its own.
//!
//! ```text
//! cargo test -p kuvert-testkit --test world                        a few hundred seeds, under a minute
//! KUVERT_SEEDS=10000 cargo test -p kuvert-testkit --test world     so many worlds, over all scenarios
//! KUVERT_SEED=17 cargo test -p kuvert-testkit --test world malicious_relay -- --nocapture    one again, with its trace
//! KUVERT_STRANGERS=2000 cargo test -p kuvert-testkit --test world a_thousand -- --nocapture    so many strangers, not 1,000
//! ```

#![allow(clippy::panic)] // helpers of tests

use kuvert_testkit::invariants::Rule;
use kuvert_testkit::link::LinkFaults;
use kuvert_testkit::peer::Fault;
use kuvert_testkit::relay::Attack;
use kuvert_testkit::{Plan, Tally, World};

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

/// Packets that get lost, come twice, and take up to eight seconds.
const FAULTY: LinkFaults = LinkFaults { loss: 150, duplication: 80, delay: 8 * SECOND };

const FAULTY_LINK: Plan = Plan { link: FAULTY, cuts: 3, cut_for: 10 * MINUTE, fresh: 20, crashes: 2, ..Plan::CALM };

const LONG_SILENCE: Plan = Plan {
    active: 25 * DAY,
    link: LinkFaults { loss: 50, duplication: 20, delay: 30 * SECOND },
    cuts: 6,
    cut_for: 20 * DAY,
    texts: (30, 60),
    accounts: (2, 2),
    ..Plan::CALM
};

const MALICIOUS_RELAY: Plan = Plan {
    link: LinkFaults { loss: 20, duplication: 20, delay: 2 * SECOND },
    malice: 200,
    replays_everything: 400,
    fresh: 60,
    crashes: 2,
    second_device: 500,
    ..Plan::CALM
};

const SIMULTANEOUS: Plan = Plan {
    accounts: (2, 3),
    second_device: 0,
    texts: (0, 12),
    active: MINUTE,
    link: LinkFaults { loss: 300, duplication: 100, delay: 3 * SECOND },
    simultaneous: true,
    ..Plan::CALM
};

const BACKUPS: Plan = Plan { restorations: 2, link: FAULTY, accounts: (2, 3), ..Plan::CALM };

const LAST_RESORT: Plan = Plan { one_time_prekeys: 0, malice: 120, fresh: 250, replays_everything: 1000, ..Plan::CALM };

/// Small enough to be lived through again for every point at which a machine may stop.
const CRASHES: Plan =
    Plan { accounts: (2, 2), second_device: 0, texts: (3, 6), active: 2 * MINUTE, fresh: 100, ..Plan::CALM };

/// Two accounts of long standing, and eight that attack them with 150 requests an hour each, while a ninth wants to say
/// hello. Earlier ones have nearly filled the replay record of the prekey in use.
const STRANGERS: Plan = Plan {
    accounts: (2, 2),
    second_device: 0,
    active: 60 * MINUTE,
    texts: (20, 40),
    cuts: 2,
    cut_for: 20 * MINUTE,
    simultaneous: true,
    one_time_prekeys: 0,
    strangers: 8,
    stranger_requests: 150,
    stranger_bytes: 2 << 20,
    earlier_strangers: 4_090,
    ..Plan::CALM
};

/// The same with one-time prekeys, of which strangers take what they get, over a link that loses and repeats, and with
/// machines that crash.
const STRANGERS_IN_BAD_WEATHER: Plan = Plan {
    link: LinkFaults { loss: 50, duplication: 50, delay: 4 * SECOND },
    crashes: 1,
    one_time_prekeys: 4,
    earlier_strangers: 2_040,
    ..STRANGERS
};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// How many worlds of a scenario: by itself `usual`, else its share (in a hundred) of `KUVERT_SEEDS`.
fn seeds(usual: u64, share: u64) -> std::ops::Range<u64> {
    match (number("KUVERT_SEED"), number("KUVERT_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 0..(count * share).div_ceil(100),
        (None, None) => 0..usual,
    }
}

fn run(scenario: &str, plan: &Plan, usual: u64, share: u64) -> Tally {
    let verbose = number("KUVERT_SEED").is_some();
    let mut total = Tally::default();
    for seed in seeds(usual, share) {
        match World::run(plan, seed, verbose) {
            Ok(tally) => total.add(&tally),
            Err(violation) => panic!(
                "{violation}\nrun it again:\n  KUVERT_SEED={seed} cargo test -p kuvert-testkit --test world {scenario} -- --exact --nocapture"
            ),
        }
    }
    println!("{scenario}: {total}");
    total
}

/// Whether enough worlds were run to expect that everything happened.
fn many() -> bool {
    number("KUVERT_SEED").is_none()
}

#[test]
fn faulty_link() {
    let total = run("faulty_link", &FAULTY_LINK, 80, 25);
    assert!(!many() || (total.count("crashes") > 0 && total.count("second devices") > 0));
}

#[test]
fn long_silence() {
    run("long_silence", &LONG_SILENCE, 40, 10);
}

#[test]
fn malicious_relay() {
    let total = run("malicious_relay", &MALICIOUS_RELAY, 80, 30);
    let missing: Vec<Attack> = Attack::all().into_iter().filter(|attack| total.attack(*attack) == 0).collect();
    assert!(!many() || missing.is_empty(), "never made: {missing:?}");
}

#[test]
fn simultaneous_initiation() {
    run("simultaneous_initiation", &SIMULTANEOUS, 100, 15);
}

#[test]
fn backup_restore() {
    let total = run("backup_restore", &BACKUPS, 60, 10);
    assert!(!many() || total.count("restorations") > 0);
}

#[test]
fn last_resort_with_replays() {
    let total = run("last_resort_with_replays", &LAST_RESORT, 40, 10);
    let replayed = total.attacks.keys().any(|(attack, end)| *attack == Attack::Replay && end == "refused: Replayed");
    assert!(!many() || replayed, "the replay record was needed");
}

#[test]
fn strangers() {
    let total = run("strangers", &STRANGERS, 12, 3);
    let dropped = total.count("strangers: envelopes dropped by the device");
    assert!(total.count("strangers: texts kept") > 0 && dropped > 0 && total.count("newcomers: accepted") > 0);
    assert_eq!(total.count("resets"), 0, "of nobody, for nobody");
}

#[test]
fn strangers_in_bad_weather() {
    let total = run("strangers_in_bad_weather", &STRANGERS_IN_BAD_WEATHER, 12, 2);
    assert!(total.count("newcomers: accepted") > 0 && (!many() || total.count("crashes") > 0));
    // Those of the hour are the ones that fill half of the record.
    assert!(!many() || total.count("last-resort prekeys replaced because of strangers") > 0);
}

/// An hour of virtual time with `KUVERT_STRANGERS` accounts that attack, by itself 1,000.
#[test]
fn a_thousand_strangers() {
    let strangers = number("KUVERT_STRANGERS").unwrap_or(1_000);
    let plan = Plan {
        strangers,
        stranger_requests: 40,
        stranger_bytes: 256 << 10,
        earlier_strangers: 0,
        cut_for: 30 * MINUTE,
        texts: (40, 40),
        ..STRANGERS
    };
    let started = std::time::Instant::now();
    let tally = World::run(&plan, 0, number("KUVERT_SEED").is_some()).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{strangers} strangers, an hour, lived through in {:?}: {tally}", started.elapsed());
    assert_eq!(tally.count("texts shown"), tally.count("texts written, a copy for each device"));
    assert_eq!((tally.count("newcomers: accepted"), tally.count("resets")), (2, 0));
    assert!(tally.count("strangers: envelopes offered") > 10 * strangers);
}

#[test]
fn crash_at_every_step() {
    let seeds = number("KUVERT_SEED").map_or(0..2, |seed| seed..seed + 1);
    for seed in seeds {
        let calm = World::run(&CRASHES, seed, false).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        let points = calm.count("points at which a machine may stop");
        assert!(points > 30, "{points}");
        for point in 1..=points {
            // The trace is printed for the point that fails alone.
            let plan = Plan { crash_at: Some(point), ..CRASHES };
            if let Err(violation) = World::run(&plan, seed, false) {
                let _ = World::run(&plan, seed, true);
                panic!("seed {seed}, crash at point {point} of {points}: {violation}");
            }
        }
        println!("crash_at_every_step: seed {seed}, {points} points");
    }
}

/// The invariants can fail: each of these peers is wrong in one way, and is found out.
#[test]
fn broken_peers_are_found_out() {
    use Rule::*;
    let crashing = Plan { crashes: 30, ..FAULTY_LINK };
    let resetting = Plan {
        fresh: 400,
        texts: (40, 60),
        accounts: (2, 2),
        second_device: 0,
        malice: 100,
        replays_everything: 1000,
        ..MALICIOUS_RELAY
    };
    let talkative = Plan { earlier_strangers: 0, stranger_requests: 400, ..STRANGERS };
    for (fault, plan, rules) in [
        (Fault::KeepsOneTimePrekeys, resetting, &[OpenedTwice][..]),
        (Fault::BurnsBeforeAuthentication, MALICIOUS_RELAY, &[RefusedWithoutReason]),
        (Fault::StoresInTwoSteps, crashing, &[RefusedWithoutReason]),
        (Fault::SendsBeforeStoring, crashing, &[RefusedWithoutReason]),
        (Fault::RepeatsRandomness, Plan { restorations: 8, ..BACKUPS }, &[KeyReuse]),
        (Fault::ForgetsTexts, Plan { malice: 300, ..MALICIOUS_RELAY }, &[ShownTwice]),
        (Fault::TrustsAnyKey, MALICIOUS_RELAY, &[ForgeryOpened]),
        (Fault::TakesAnyList, MALICIOUS_RELAY, &[AttackSucceeded]),
        (Fault::ResetsWithoutLimit, MALICIOUS_RELAY, &[ResetSpam]),
        (Fault::ForgetsWhatIsDue, MALICIOUS_RELAY, &[NotDelivered]),
        (Fault::NeverResets, MALICIOUS_RELAY, &[NotDelivered]),
        (Fault::IdsOfAnySender, STRANGERS, &[NotDelivered]),
        (Fault::NeverRotates, STRANGERS, &[NewcomerShutOut]),
        (Fault::RotatesWithoutLimit, STRANGERS, &[Hoarding]),
        (Fault::ConfirmsToStrangers, STRANGERS, &[NotSilent]),
        (Fault::ResetsForStrangers, STRANGERS, &[NotSilent]),
        (Fault::AsksAboutStrangers, STRANGERS, &[NotSilent]),
        (Fault::BlamesContacts, STRANGERS, &[NotSilent]),
        (Fault::RemembersWhatDidNotOpen, STRANGERS, &[Hoarding]),
        (Fault::KeepsAllOfStrangers, talkative, &[Hoarding]),
        (Fault::TrustsStrangers, STRANGERS, &[Hoarding]),
    ] {
        let plan = Plan { fault: Some(fault), ..plan };
        let found = (0..60).find_map(|seed| World::run(&plan, seed, false).err().map(|violation| (seed, violation)));
        let (seed, violation) = found.unwrap_or_else(|| panic!("{fault:?} went unnoticed"));
        println!("{fault:?}: seed {seed}: {violation}");
        assert!(rules.contains(&violation.rule), "{fault:?} was found as {violation}");
    }
}
