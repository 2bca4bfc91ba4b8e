//! Delivery from an outbox to a history, with a crash or a broken connection between any two steps of sender, relay and
//! recipient. The relay's rules are its own ([`Mailbox`]); the steps around them are those of `kuvert-relay` (store, then
//! answer; delete only what was delivered on that connection) and of `kuvert-client` (the same id again until it was
//! accepted; commit, then acknowledge). docs/PROTOCOL.md, One transaction and Commands.
//!
//! Each rule can be broken by a [`Mutation`], and for each the model finds the run that loses a text or shows one twice.
//!
//! Bounds: two texts, three faults (a crash or a break each); within them every interleaving is visited.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hash::{Hash, Hasher};

use kuvert_relay::mailbox::{Entry, Mailbox, Sender};
use stateright::{Checker, Model, Property};

const TEXTS: u8 = 2;
const FAULTS: u8 = 3;

/// A rule that is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mutation {
    /// The recipient acknowledges before its commit.
    AcknowledgesFirst,
    /// The recipient does not remember envelope ids.
    ForgetsIds,
    /// The relay answers before its commit.
    AnswersFirst,
    /// The sender takes a text off its outbox when it is sent, not when it was accepted.
    ForgetsOutbox,
    /// The relay deletes up to any cursor, and the recipient acknowledges more than it has.
    DeletesUndelivered,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Relay {
    /// On its disk. The tag of an entry is the envelope's id.
    mailbox: Mailbox,
    last_cursor: u64,
    /// Answered, not yet on the disk: only a broken relay has that.
    unstored: Vec<u8>,
    /// Cursors delivered on the recipient's connection, the last one; none while it is not attached.
    delivered: Option<u64>,
}

impl Hash for Relay {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let entries: Vec<_> = self.mailbox.behind(0, u64::MAX).map(|entry| (entry.cursor, entry.tag)).collect();
        (entries, self.last_cursor, &self.unstored, self.delivered).hash(hasher);
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct State {
    /// Written and not known to be accepted, on the sender's disk.
    outbox: Vec<u8>,
    /// On their way to the relay, in order; gone with the connection.
    submits: Vec<u8>,
    answers: Vec<u8>,
    relay: Relay,
    /// Cursor and id, on their way to the recipient.
    deliveries: Vec<(u64, u8)>,
    acknowledgements: Vec<u64>,
    /// Opened and not committed, in the recipient's memory.
    staged: Vec<(u64, u8)>,
    /// On the recipient's disk.
    history: Vec<u8>,
    received: Vec<u8>,
    /// Committed and not yet acknowledged on this connection.
    to_acknowledge: Option<u64>,
    faults: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Submit(u8),
    RelayTakesSubmit,
    RelayCommits,
    SenderTakesAnswer,
    Attach,
    Deliver,
    RecipientTakesDelivery,
    RecipientCommits,
    RecipientAcknowledges,
    RelayTakesAcknowledgement,
    /// The sender's process, or its connection, ends.
    SenderBreaks,
    /// The relay's process ends, and with it all connections.
    RelayCrashes,
    /// The recipient's process, or its connection, ends.
    RecipientBreaks,
}

struct DeliveryModel(Option<Mutation>);

impl DeliveryModel {
    fn broken(&self, mutation: Mutation) -> bool {
        self.0 == Some(mutation)
    }

    fn correct_steps(&self, state: &State, steps: &mut Vec<Step>) {
        if let Some(id) = state.outbox.iter().find(|id| !state.submits.contains(id) && !state.answers.contains(id)) {
            steps.push(Step::Submit(*id));
        }
        let relay = &state.relay;
        let mut push = |possible: bool, step: Step| possible.then(|| steps.push(step));
        push(!state.submits.is_empty(), Step::RelayTakesSubmit);
        push(!relay.unstored.is_empty(), Step::RelayCommits);
        push(!state.answers.is_empty(), Step::SenderTakesAnswer);
        push(relay.delivered.is_none(), Step::Attach);
        let waits = relay.delivered.is_some_and(|last| relay.mailbox.behind(last, u64::MAX).next().is_some());
        push(waits, Step::Deliver);
        push(!state.deliveries.is_empty(), Step::RecipientTakesDelivery);
        push(!state.staged.is_empty(), Step::RecipientCommits);
        push(state.to_acknowledge.is_some(), Step::RecipientAcknowledges);
        push(!state.acknowledgements.is_empty(), Step::RelayTakesAcknowledgement);
    }

    fn recipient_is_cut_off(state: &mut State) {
        state.deliveries.clear();
        state.acknowledgements.clear();
        state.staged.clear();
        state.to_acknowledge = None;
        state.relay.delivered = None;
    }

    /// Without further faults, whatever the order: nothing is left to do in the end, and everything is there.
    fn settles(&self, state: &State) -> bool {
        let mut state = state.clone();
        let mut steps = Vec::new();
        for _ in 0..200 {
            steps.clear();
            self.correct_steps(&state, &mut steps);
            let Some(step) = steps.first() else { break };
            state = self.next_state(&state, *step).unwrap();
        }
        let mut history = state.history.clone();
        history.sort_unstable();
        steps.is_empty() && history == (0..TEXTS).collect::<Vec<_>>() && state.relay.mailbox.is_empty()
    }
}

impl Model for DeliveryModel {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State { outbox: (0..TEXTS).collect(), ..State::default() }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        self.correct_steps(state, steps);
        if state.faults < FAULTS {
            steps.extend([Step::SenderBreaks, Step::RelayCrashes, Step::RecipientBreaks]);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Submit(id) => {
                state.submits.push(id);
                if self.broken(Mutation::ForgetsOutbox) {
                    state.outbox.retain(|waiting| *waiting != id);
                }
            }
            Step::RelayTakesSubmit => {
                let id = state.submits.remove(0);
                if self.broken(Mutation::AnswersFirst) {
                    state.relay.unstored.push(id);
                } else {
                    store(&mut state.relay, id);
                }
                state.answers.push(id);
            }
            Step::RelayCommits => {
                let id = state.relay.unstored.remove(0);
                store(&mut state.relay, id);
            }
            Step::SenderTakesAnswer => {
                let id = state.answers.remove(0);
                state.outbox.retain(|waiting| *waiting != id);
            }
            Step::Attach => state.relay.delivered = Some(0),
            Step::Deliver => {
                let next = state.relay.mailbox.behind(state.relay.delivered?, u64::MAX).next()?;
                state.relay.delivered = Some(next.cursor);
                state.deliveries.push((next.cursor, next.tag as u8));
            }
            Step::RecipientTakesDelivery => {
                let delivery = state.deliveries.remove(0);
                state.staged.push(delivery);
                if self.broken(Mutation::AcknowledgesFirst) {
                    state.to_acknowledge = Some(delivery.0);
                }
            }
            Step::RecipientCommits => {
                for (cursor, id) in std::mem::take(&mut state.staged) {
                    if self.broken(Mutation::ForgetsIds) || !state.received.contains(&id) {
                        state.received.push(id);
                        state.history.push(id);
                    }
                    state.to_acknowledge = Some(cursor);
                }
            }
            Step::RecipientAcknowledges => {
                let up_to = state.to_acknowledge.take()?;
                let beyond = u64::from(self.broken(Mutation::DeletesUndelivered));
                state.acknowledgements.push(up_to + beyond);
            }
            Step::RelayTakesAcknowledgement => {
                let up_to = state.acknowledgements.remove(0);
                let delivered = state.relay.delivered.is_some_and(|last| up_to <= last);
                if delivered || self.broken(Mutation::DeletesUndelivered) {
                    state.relay.mailbox.acknowledge(up_to);
                }
            }
            Step::SenderBreaks => {
                state.faults += 1;
                state.submits.clear();
                state.answers.clear();
            }
            Step::RelayCrashes => {
                state.faults += 1;
                state.submits.clear();
                state.answers.clear();
                state.relay.unstored.clear();
                Self::recipient_is_cut_off(&mut state);
            }
            Step::RecipientBreaks => {
                state.faults += 1;
                Self::recipient_is_cut_off(&mut state);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no text is shown twice", |_, state: &State| {
                (0..TEXTS).all(|id| state.history.iter().filter(|shown| **shown == id).count() <= 1)
            }),
            Property::always("a text is somewhere on a disk until it is shown", |_, state: &State| {
                (0..TEXTS).all(|id| {
                    let waits = state.relay.mailbox.candidates(id.into()).next().is_some();
                    state.outbox.contains(&id) || waits || state.history.contains(&id)
                })
            }),
            Property::always(
                "without further faults everything arrives, and the relay holds nothing",
                |model, state: &State| model.settles(state),
            ),
            Property::eventually("something is shown", |_, state: &State| !state.history.is_empty()),
            Property::sometimes("an envelope is stored twice and shown once", |_, state: &State| {
                state.relay.last_cursor > u64::from(TEXTS) && state.history.len() == usize::from(TEXTS)
            }),
        ]
    }
}

fn store(relay: &mut Relay, id: u8) {
    if relay.mailbox.candidates(id.into()).next().is_none() && relay.mailbox.admit(Sender::Sealed, 1).is_ok() {
        relay.last_cursor += 1;
        relay.mailbox.push(Entry { cursor: relay.last_cursor, size: 1, tag: id.into(), sender: Sender::Sealed });
    }
}

#[test]
fn everything_is_delivered_and_shown_once_whatever_breaks() {
    let checker = DeliveryModel(None).checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    let states = checker.unique_state_count();
    println!("{states} states, depth {}", checker.max_depth());
    assert!(states > 1_000, "{states}");
}

/// The model is no formality: break a rule, and it finds the run.
#[test]
fn every_broken_rule_is_found() {
    use Mutation::*;
    for mutation in [AcknowledgesFirst, ForgetsIds, AnswersFirst, ForgetsOutbox, DeletesUndelivered] {
        let checker = DeliveryModel(Some(mutation)).checker().threads(2).spawn_bfs().join();
        let found = ["no text is shown twice", "a text is somewhere on a disk until it is shown"];
        assert!(found.iter().any(|property| checker.discovery(property).is_some()), "{mutation:?} goes unnoticed");
    }
}
