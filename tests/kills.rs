//! A thousand messages each way between two client processes, while clients and relay are killed at random. Each message is
//! shown exactly once and in order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Home, Random, Relay, Running, alice_and_bob, all, find};

const MESSAGES: usize = 1000;

/// When to give up on a test that hangs.
const LIMIT: Duration = Duration::from_secs(1800);

/// What a process lives for: a few messages, so that every kill finds some progress however busy the machine is, and then a
/// moment that ends anywhere. Every fifth process is killed early, wherever it is.
struct Life {
    messages: u64,
    moment: Duration,
}

impl Life {
    fn draw(random: &mut Random, attempt: u64) -> Self {
        let messages = if attempt % 5 == 4 { 0 } else { 20 + random.number() % 100 };
        let longest = if messages == 0 { 600 } else { 40 };
        Self { messages, moment: random.millis(0, longest) }
    }

    /// Reads what `running` prints, each object handed to `see`, until its life is over or it ended by itself.
    fn spend(self, world: &World, running: &mut Running, mut see: impl FnMut(&Value) -> bool) {
        let mut seen = 0;
        while seen < self.messages && !running.has_ended() {
            world.is_done();
            if let Ok(object) = running.next_within(Duration::from_millis(20)) {
                seen += 1;
                world.progress.fetch_add(1, Ordering::SeqCst);
                if see(&object) {
                    return;
                }
            }
        }
        let end = Instant::now() + self.moment;
        while Instant::now() < end && !running.has_ended() {
            if let Ok(object) = running.next_within(Duration::from_millis(1))
                && see(&object)
            {
                return;
            }
        }
    }
}

/// Texts that name their number.
fn text(number: usize) -> String {
    format!("message {number:04}")
}

struct World {
    relay: Mutex<Relay>,
    done: AtomicBool,
    failed: AtomicBool,
    kills: AtomicUsize,
    relay_kills: AtomicUsize,
    /// Messages accepted and shown so far, by all.
    progress: AtomicUsize,
    begun: Instant,
}

impl World {
    /// Whether everything has been received. Ends the thread when another one failed.
    fn is_done(&self) -> bool {
        assert!(self.begun.elapsed() < LIMIT, "not done after {LIMIT:?}");
        assert!(!self.failed.load(Ordering::SeqCst), "another thread failed");
        self.done.load(Ordering::SeqCst)
    }
}

/// Tells the other threads when the one that holds it panics.
struct Alarm<'a>(&'a World);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::SeqCst);
        }
    }
}

/// Sends all texts through `send --lines`, killed again and again, and begun anew behind the last text that is in the store.
fn send_all(world: &World, home: &Home, to: &str, mut random: Random) {
    let _alarm = Alarm(world);
    for attempt in 0u64.. {
        assert!(!world.is_done(), "sending outlasted receiving");
        let history = home.ok(&["history", to]);
        let queued = history.iter().filter(|message| message["direction"] == "out").count();
        if queued >= MESSAGES {
            break;
        }
        let mut running = home.start(&["send", to, "--lines"]);
        let lines: String = (queued..MESSAGES).map(|number| text(number) + "\n").collect();
        // Written from a thread: a killed process must not block the test in a full pipe.
        if !running.write(&lines) {
            continue;
        }
        running.close_stdin();
        Life::draw(&mut random, attempt).spend(world, &mut running, |_| false);
        if !running.has_ended() {
            world.kills.fetch_add(1, Ordering::SeqCst);
        }
        running.kill();
    }
    // What was queued and not sent goes out with any command that reaches the relay.
    while find(&home.ok(&["whoami"]), "whoami")["queued"] != 0 {
        world.is_done();
        home.run(&["send", to, "--lines"]);
    }
}

/// Receives through `receive --follow`, killed again and again. Returns what each process printed.
fn receive_all(world: &World, home: &Home, mut random: Random) -> Vec<Vec<Shown>> {
    let _alarm = Alarm(world);
    let mut printed: Vec<Vec<Shown>> = Vec::new();
    let last = text(MESSAGES - 1);
    let mut attempt = 0;
    loop {
        world.is_done();
        let mut running = home.start(&["receive", "--follow"]);
        let mut finished = false;
        Life::draw(&mut random, attempt).spend(world, &mut running, |object| {
            finished |= object["text"] == last.as_str();
            finished
        });
        attempt += 1;
        if !running.has_ended() {
            world.kills.fetch_add(1, Ordering::SeqCst);
        }
        let seen: Vec<Value> = running.kill();
        finished |= seen.iter().any(|object| object["text"] == last.as_str());
        printed.push(shown(&seen));
        if finished {
            // Nothing may come after the last one. The relay may be killed meanwhile: then again.
            loop {
                let after = home.run(&["receive"]);
                printed.push(shown(&after.objects));
                if after.code == Some(0) {
                    return printed;
                }
                world.is_done();
            }
        }
    }
}

fn kill_relay(world: &World, mut random: Random) {
    let _alarm = Alarm(world);
    while !world.is_done() {
        // Of some 4,000 steps that all have to make, one in a few hundred.
        let at = world.progress.load(Ordering::SeqCst) + 200 + usize::try_from(random.number() % 400).unwrap();
        while world.progress.load(Ordering::SeqCst) < at {
            if world.is_done() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut relay = world.relay.lock().unwrap();
        relay.kill();
        relay.start_again(&[]);
        world.relay_kills.fetch_add(1, Ordering::SeqCst);
    }
}

/// A message as it was printed.
#[derive(Clone, PartialEq, Debug)]
struct Shown {
    id: String,
    text: String,
}

fn shown(objects: &[Value]) -> Vec<Shown> {
    let word = |object: &Value, field: &str| object[field].as_str().unwrap().to_owned();
    all(objects, "message").iter().map(|m| Shown { id: word(m, "id"), text: word(m, "text") }).collect()
}

/// Each message once and in order, every one under an id of its own. The one exception: the last message that a process
/// printed before it was killed may be the first that the next one prints, under the same id. Returns how many were.
fn check(printed: &[Vec<Shown>]) -> usize {
    let mut repeated = 0;
    let mut once: Vec<&Shown> = Vec::new();
    for of_process in printed {
        for (place, shown) in of_process.iter().enumerate() {
            if place == 0 && once.last() == Some(&shown) {
                repeated += 1;
            } else {
                once.push(shown);
            }
        }
    }
    let texts: Vec<&str> = once.iter().map(|shown| shown.text.as_str()).collect();
    let expected: Vec<String> = (0..MESSAGES).map(text).collect();
    let wrong = texts.iter().zip(&expected).position(|(shown, expected)| shown != expected);
    let around = wrong.map(|wrong| &texts[wrong.saturating_sub(2)..(wrong + 3).min(texts.len())]);
    assert_eq!(wrong, None, "at {wrong:?}: {around:?}");
    assert_eq!(texts.len(), MESSAGES);
    let ids: HashSet<&str> = once.iter().map(|shown| shown.id.as_str()).collect();
    assert_eq!(ids.len(), MESSAGES, "an id for each");
    repeated
}

#[test]
fn a_thousand_messages_each_way_survive_random_kills() {
    let mut random = Random::seeded("a_thousand_messages");
    let mut fork = || Random::from_seed(random.number());
    let relay = Relay::start();
    let (alice, bob) = alice_and_bob(&relay);
    let world = World {
        relay: Mutex::new(relay),
        done: AtomicBool::new(false),
        failed: AtomicBool::new(false),
        kills: AtomicUsize::new(0),
        relay_kills: AtomicUsize::new(0),
        progress: AtomicUsize::new(0),
        begun: Instant::now(),
    };
    let (seeds_alice, seeds_bob, seed_relay) = ((fork(), fork()), (fork(), fork()), fork());
    let (to_alice, to_bob) = std::thread::scope(|scope| {
        let senders = [
            scope.spawn(|| send_all(&world, &alice, "bob", seeds_alice.0)),
            scope.spawn(|| send_all(&world, &bob, "alice", seeds_bob.0)),
        ];
        let at_alice = scope.spawn(|| receive_all(&world, &alice, seeds_alice.1));
        let at_bob = scope.spawn(|| receive_all(&world, &bob, seeds_bob.1));
        let killer = scope.spawn(|| kill_relay(&world, seed_relay));
        let received = (at_alice.join().unwrap(), at_bob.join().unwrap());
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        world.done.store(true, Ordering::SeqCst);
        killer.join().unwrap();
        received
    });
    let repeated = check(&to_alice) + check(&to_bob);
    // The stores agree: each once, in order, on both sides.
    for (home, who) in [(&alice, "bob"), (&bob, "alice")] {
        let history = home.ok(&["history", who]);
        for direction in ["in", "out"] {
            let texts: Vec<&str> = history
                .iter()
                .filter(|message| message["direction"] == direction)
                .map(|message| message["text"].as_str().unwrap())
                .collect();
            assert_eq!(texts, (0..MESSAGES).map(text).collect::<Vec<_>>(), "{who} {direction}");
        }
    }
    let (kills, relay_kills) = (world.kills.load(Ordering::SeqCst), world.relay_kills.load(Ordering::SeqCst));
    eprintln!(
        "{} s, {kills} clients and {relay_kills} relays killed, {repeated} messages printed again after a kill",
        world.begun.elapsed().as_secs()
    );
    assert!(kills >= 10 && relay_kills >= 2, "too few kills to mean anything");
    assert!(repeated <= kills, "one for each kill at most");
}
