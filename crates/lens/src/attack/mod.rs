//! What can be inferred from a log. Every attack gets a [`Log`] and what is public about the level, its [`Policy`]; no type
//! of the simulation's truth is known here.
//!
//! | module | holds |
//! |---|---|
//! | [`count`] | for logs that name the sender: counting |
//! | [`disclosure`] | for logs that do not: statistical disclosure |
//! | [`files`] | who gave whom a file |

pub mod count;
pub mod disclosure;
pub mod files;

use self::count::Count;
use self::disclosure::Disclosure;
use crate::log::{Log, Person};
use crate::policy::Policy;

/// An attacker with a log.
#[derive(Debug)]
pub enum Attacker<'a> {
    /// The log names senders.
    Counting(Count),
    /// It does not.
    Disclosing(Disclosure<'a>),
}

impl<'a> Attacker<'a> {
    /// Chooses the better attack.
    pub fn new(log: &'a Log, policy: Policy) -> Self {
        if log.submitted().iter().any(|submitted| submitted.by.is_some()) {
            Self::Counting(Count::new(log))
        } else {
            Self::Disclosing(Disclosure::new(log, policy.receipts))
        }
    }

    /// All pairs that it believes to be in contact, each once, the lower number first.
    pub fn edges(&self) -> Vec<(Person, Person)> {
        match self {
            Self::Counting(count) => count.edges(),
            Self::Disclosing(disclosure) => disclosure.edges(),
        }
    }

    /// Whom it believes to be in contact with `target` before all others, from what happened up to `until`.
    pub fn top(&self, target: Person, until: u64) -> Option<Person> {
        match self {
            Self::Counting(count) => count.top(target, until),
            Self::Disclosing(disclosure) => disclosure.top(target, until),
        }
    }

    /// How many bits it lacks to name the sender of what was delivered to `target` at `at`.
    pub fn sender_bits(&self, target: Person, at: u64) -> f64 {
        match self {
            Self::Counting(_) => 0.0,
            Self::Disclosing(disclosure) => disclosure.sender_bits(target, at),
        }
    }
}
