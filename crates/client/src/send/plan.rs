//! What may leave next.
//!
//! Nothing may pass an envelope that is refused because its recipient's mailbox is full. So in one conversation
//!
//! | rule | why |
//! |---|---|
//! | entries leave in their order | a reader sees what was written in the order in which it was written |
//! | the first leaves alone | if the mailbox is full, one envelope finds out |
//! | none leaves behind a larger one that has no answer yet | the larger one may be refused for want of room, and the smaller one not |
//! | a refusal halts what stands behind it | the same |
//! | an entry that cannot leave yet halts what stands behind it | the same order |
//!
//! Conversations do not hold up each other.

use std::collections::HashMap;

use crate::conversation::ConversationId;

/// One entry of the outbox, as far as its order is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub conversation: ConversationId,
    /// Bytes of its largest envelope.
    pub size: usize,
    /// Whether every envelope that it needs is encrypted, and the conversation may be written to.
    pub ready: bool,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Submit the envelopes of this entry.
    Submit(usize),
    /// Take the answers to everything of this conversation that is under way, then ask again.
    Await(ConversationId),
    /// Nothing more leaves from this page; answers may still be under way.
    Done,
}

/// Where one conversation stands.
#[derive(Default)]
struct Lane {
    submitted: usize,
    under_way: usize,
    /// Bytes of the largest envelope under way.
    largest: usize,
    halted: bool,
}

/// The order in which a page of the outbox leaves.
pub(super) struct SubmitPlan {
    candidates: Vec<Candidate>,
    at: usize,
    lanes: HashMap<ConversationId, Lane>,
}

impl SubmitPlan {
    /// A plan for entries in the order of the outbox.
    pub fn new(candidates: Vec<Candidate>) -> Self {
        Self { candidates, at: 0, lanes: HashMap::new() }
    }

    /// What to do next.
    pub fn next(&mut self) -> Step {
        while let Some(Candidate { conversation, size, ready }) = self.candidates.get(self.at).copied() {
            let lane = self.lanes.entry(conversation).or_default();
            let in_turn = lane.submitted != 1 && size >= lane.largest;
            lane.halted |= !ready;
            if !lane.halted && !in_turn && lane.under_way > 0 {
                return Step::Await(conversation);
            }
            self.at += 1;
            if !lane.halted {
                lane.submitted += 1;
                lane.under_way += 1;
                lane.largest = lane.largest.max(size);
                return Step::Submit(self.at - 1);
            }
        }
        Step::Done
    }

    /// All answers to an entry that was submitted have come; whether each of them was yes.
    pub fn answered(&mut self, entry: usize, accepted: bool) {
        let Some(candidate) = self.candidates.get(entry) else { return };
        let lane = self.lanes.entry(candidate.conversation).or_default();
        lane.under_way = lane.under_way.saturating_sub(1);
        lane.halted |= !accepted;
        if lane.under_way == 0 {
            lane.largest = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kuvert_types::AccountId;

    fn to(number: u8) -> ConversationId {
        AccountId::from_bytes([number; 16]).into()
    }

    fn candidate(number: u8, size: usize) -> Candidate {
        Candidate { conversation: to(number), size, ready: true }
    }

    /// Runs a plan; `accepts` is the relay. What was submitted, in order, with the word of each wait.
    fn run(candidates: &[Candidate], accepts: impl Fn(usize) -> bool) -> Vec<Step> {
        let (mut plan, mut steps, mut under_way) = (SubmitPlan::new(candidates.to_vec()), Vec::new(), Vec::new());
        loop {
            let step = plan.next();
            steps.push(step);
            match step {
                Step::Submit(entry) => under_way.push(entry),
                Step::Await(conversation) => under_way.retain(|entry| {
                    let theirs = candidates[*entry].conversation == conversation;
                    if theirs {
                        plan.answered(*entry, accepts(*entry));
                    }
                    !theirs
                }),
                Step::Done => return steps,
            }
        }
    }

    #[test]
    fn the_first_of_a_conversation_goes_alone_and_others_do_not_wait_for_it() {
        let page = [candidate(1, 10), candidate(2, 10), candidate(1, 10), candidate(1, 10), candidate(2, 10)];
        let steps = run(&page, |_| true);
        use Step::{Await, Done, Submit};
        assert_eq!(steps, [Submit(0), Submit(1), Await(to(1)), Submit(2), Submit(3), Await(to(2)), Submit(4), Done]);
    }

    #[test]
    fn a_smaller_one_waits_for_a_larger_one_before_it() {
        let page = [candidate(1, 10), candidate(1, 30), candidate(1, 20), candidate(1, 20)];
        use Step::{Await, Done, Submit};
        let steps = run(&page, |_| true);
        assert_eq!(steps, [Submit(0), Await(to(1)), Submit(1), Await(to(1)), Submit(2), Submit(3), Done]);
    }

    #[test]
    fn what_is_not_ready_halts_its_conversation_only() {
        let page = [Candidate { ready: false, ..candidate(1, 10) }, candidate(1, 10), candidate(2, 10)];
        assert_eq!(run(&page, |_| true), [Step::Submit(2), Step::Done]);
    }

    /// All pages of up to six entries for two recipients in two sizes, and all relays that refuse up to two of them.
    #[test]
    fn nothing_passes_what_is_refused_for_want_of_room() {
        for length in 1..=6_u32 {
            for shape in 0..4_usize.pow(length) {
                let entry = |n: u32| shape / 4_usize.pow(n) % 4;
                let page: Vec<Candidate> = (0..length)
                    .map(|n| candidate(u8::try_from(entry(n) / 2).unwrap(), if entry(n) % 2 == 0 { 10 } else { 20 }))
                    .collect();
                for refused in 0..2_usize.pow(length) {
                    let accepts = |entry: usize| refused >> entry & 1 == 0;
                    check(&page, &accepts);
                }
            }
        }
    }

    /// Of one conversation: in order; none behind a refusal that was answered; none beside a larger one or the first.
    fn check(page: &[Candidate], accepts: &dyn Fn(usize) -> bool) {
        let mut under_way: Vec<usize> = Vec::new();
        let mut last: HashMap<ConversationId, usize> = HashMap::new();
        let mut refused: Vec<ConversationId> = Vec::new();
        for step in run(page, accepts) {
            match step {
                Step::Submit(entry) => {
                    let conversation = page[entry].conversation;
                    let first = !last.contains_key(&conversation);
                    assert!(last.insert(conversation, entry).is_none_or(|before| before < entry));
                    assert!(!refused.contains(&conversation));
                    let beside: Vec<usize> =
                        under_way.iter().copied().filter(|other| page[*other].conversation == conversation).collect();
                    assert!(beside.iter().all(|other| page[*other].size <= page[entry].size));
                    assert!(!first || beside.is_empty());
                    under_way.push(entry);
                }
                Step::Await(conversation) => {
                    let theirs = |entry: &usize| page[*entry].conversation == conversation;
                    if under_way.iter().filter(|entry| theirs(entry)).any(|entry| !accepts(*entry)) {
                        refused.push(conversation);
                    }
                    under_way.retain(|entry| !theirs(entry));
                }
                Step::Done => {}
            }
        }
    }
}
