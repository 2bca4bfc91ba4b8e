//! A clock that is set wrong for one start: 31 days ahead, a year ahead, 1970. Nothing is lost by it, and it is told.

use std::sync::Arc;
use std::time::Duration;

use kuvert_client::{Client, Clock, Event, Level, Options, SystemClock};

use crate::common::lying::say_in_vain;
use crate::common::stranger::Stranger;
use crate::common::{
    ShiftedClock, World, address, fetch, named, now, refusals, say, texts, world_with_a_lying_store as world,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How a clock can be wrong.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    AMonthAhead,
    AYearAhead,
    In1970,
}

impl Wrong {
    const ALL: [Self; 3] = [Self::AMonthAhead, Self::AYearAhead, Self::In1970];

    fn set(self, clock: &ShiftedClock) {
        match self {
            Self::AMonthAhead => clock.advance(31 * DAY + DAY / 2),
            Self::AYearAhead => clock.advance(365 * DAY),
            Self::In1970 => clock.set_back(Duration::from_millis(SystemClock.now_ms() - 60_000)),
        }
    }

    fn right(self, clock: &ShiftedClock) {
        match self {
            Self::AMonthAhead => clock.set_back(31 * DAY + DAY / 2),
            Self::AYearAhead => clock.set_back(365 * DAY),
            // It went on meanwhile.
            Self::In1970 => clock.advance(Duration::from_millis(SystemClock.now_ms() - 60_000)),
        }
    }
}

/// The home again, with a clock of its own.
fn with_own_clock(world: &World, client: Client, name: &str) -> (Client, Arc<ShiftedClock>) {
    drop(client);
    let clock = Arc::new(ShiftedClock::default());
    let options = Options { clock: Arc::clone(&clock) as _, ..world.options() };
    (now(Client::open(&world.home(name), options)).unwrap(), clock)
}

fn is_told(events: &[Event], wrong: Wrong) -> bool {
    let ahead = !matches!(wrong, Wrong::In1970);
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::ClocksDiffer { ahead_ms } => Some(*ahead_ms > 0),
            _ => None,
        })
        .collect();
    told == [ahead]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_through_a_wrong_clock() {
    for wrong in Wrong::ALL {
        let world = World::new().await;
        let (alice, bob) = world.alice_and_bob().await;
        let (alice, clock) = with_own_clock(&world, alice, "alice");
        say(&alice, "bob", "one").await;
        assert_eq!(texts(&fetch(&bob).await), ["one"]);
        fetch(&alice).await;
        say(&bob, "alice", "sent before").await;
        wrong.set(&clock);
        say(&alice, "bob", "two").await;
        let events = fetch(&alice).await;
        assert!(is_told(&events, wrong), "{wrong:?} {events:?}");
        assert_eq!(texts(&events), ["sent before"], "{wrong:?}");
        wrong.right(&clock);
        say(&alice, "bob", "three").await;
        let events = fetch(&bob).await;
        assert_eq!((texts(&events), refusals(&events)), (vec!["two", "three"], vec![]), "{wrong:?}");
        say(&bob, "alice", "four").await;
        let events = fetch(&alice).await;
        assert_eq!((texts(&events), refusals(&events)), (vec!["four"], vec![]), "{wrong:?}");
        assert!(!events.iter().any(|event| matches!(event, Event::ClocksDiffer { .. })), "{events:?}");
        // A person who takes a bundle then reaches her as well.
        let carol = world.register("carol").await;
        crate::common::add(&carol, "alice").await;
        say(&carol, "alice", "hello").await;
        assert_eq!(texts(&fetch(&alice).await), ["hello"], "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_was_not_confirmed_is_sent_again_whichever_clock_was_wrong() {
    // At the time of writing, at the time of being asked for it, at both.
    for (wrong, writing, asked) in
        Wrong::ALL.into_iter().flat_map(|wrong| [(wrong, true, false), (wrong, false, true), (wrong, true, true)])
    {
        let (store, world, alice, bob) = world().await;
        let (alice, clock) = with_own_clock(&world, alice, "alice");
        say(&alice, "bob", "hello").await;
        fetch(&bob).await;
        fetch(&alice).await;
        if writing {
            wrong.set(&clock);
        }
        say_in_vain(&store, &alice, "bob", "one").await;
        match (writing, asked) {
            (true, false) => wrong.right(&clock),
            (false, true) => wrong.set(&clock),
            _ => {}
        }
        fetch(&bob).await;
        fetch(&alice).await;
        assert_eq!(texts(&fetch(&bob).await), ["one"], "{wrong:?} {writing} {asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_is_held_outlives_a_wrong_clock() {
    // The clock is wrong when it comes, or later.
    for (wrong, at_first) in Wrong::ALL.into_iter().flat_map(|wrong| [(wrong, true), (wrong, false)]) {
        let (store, world, alice, bob) = world().await;
        let (alice, clock) = with_own_clock(&world, alice, "alice");
        say(&alice, "bob", "hello").await;
        fetch(&bob).await;
        fetch(&alice).await;
        if at_first {
            wrong.set(&clock);
        }
        let mut other = Stranger::posing_as(address(&bob).await);
        other.begin(&store, &alice).await;
        let text = other.text(1, "kept");
        other.send(&store, &alice, text).await;
        assert!(texts(&fetch(&alice).await).is_empty());
        if at_first {
            wrong.right(&clock)
        } else {
            wrong.set(&clock)
        };
        for _ in 0..2 {
            let events = fetch(&alice).await;
            assert!(!events.iter().any(|event| matches!(event, Event::Expired { .. })), "{wrong:?} {events:?}");
        }
        alice.contacts().accept_key(named(&alice, "bob").await).await.unwrap();
        assert_eq!(texts(&fetch(&alice).await), ["kept"], "{wrong:?} {at_first}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_mail_that_was_on_its_way_is_opened_whichever_clock_was_wrong() {
    // The clock is wrong when the home leaves the level, or when the mail comes.
    for (wrong, leaving) in Wrong::ALL.into_iter().flat_map(|wrong| [(wrong, true), (wrong, false)]) {
        let world = World::new().await;
        let (alice, bob) = world.alice_and_bob().await;
        let (bob, clock) = with_own_clock(&world, bob, "bob");
        for client in [&alice, &bob] {
            client.set_level(Level::L2).await.unwrap();
            fetch(client).await;
        }
        say(&bob, "alice", "my key").await;
        fetch(&alice).await;
        let connection = alice.connect().await.unwrap();
        assert!(connection.send_text(named(&alice, "bob").await, "sealed").await.unwrap().anonymous);
        if leaving {
            wrong.set(&clock);
        }
        bob.set_level(Level::L1).await.unwrap();
        if leaving {
            wrong.right(&clock)
        } else {
            wrong.set(&clock)
        };
        let events = fetch(&bob).await;
        assert_eq!((texts(&events), refusals(&events)), (vec!["sealed"], vec![]), "{wrong:?} {leaving}");
    }
}
