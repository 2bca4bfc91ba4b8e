//! Where a call of `receive` stands, and what it does next. No network and no store here: tests walk through all of it.
//!
//! ```text
//! take back ─► renew ─► attach ─► hold the inbox ─► tell: full? clocks? expired? ─► show what is stored ─► serve
//!    ▲                                                                                                       │
//!    └─────────────────────────────────── the connection is lost ◄───────────────────────────────────────────┘
//! ```

use std::time::Duration;

use tokio::time::Instant;

use crate::connection::Inbox;

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Step {
    /// Take the inbox back after a break, unless another process keeps it.
    TakeBack,
    /// Make a new link: on this one nothing that comes can be relied upon.
    Renew,
    /// Ask the relay to deliver.
    Attach,
    /// Wait for the inbox, which the process that was displaced lets go of.
    HoldInbox,
    /// Tell that mail did not fit into the mailbox, if it did not.
    TellFull,
    /// Tell that the clocks differ, if they do.
    TellClocks,
    /// Tell how much mail expired, if some did.
    TellExpired,
    /// Show what was stored and not shown.
    ShowStored,
    /// Fetch the device lists that held mail waits for.
    LookUpLists,
    /// Take what comes.
    Serve,
}

/// Where a call of `receive` stands.
#[derive(Debug)]
pub(super) struct ReceiveState {
    follow: bool,
    has_inbox: bool,
    /// It had the inbox when the connection was lost.
    let_go: bool,
    full_told: bool,
    clocks_told: bool,
    expired_told: bool,
    stored_shown: bool,
    lists_looked_up: bool,
}

impl ReceiveState {
    /// The beginning; `has_inbox`: the caller holds it already.
    pub const fn new(follow: bool, has_inbox: bool) -> Self {
        Self {
            follow,
            has_inbox,
            let_go: false,
            full_told: false,
            clocks_told: false,
            expired_told: false,
            stored_shown: false,
            lists_looked_up: false,
        }
    }

    /// What to do next on a link that stands so.
    pub const fn next(&self, link: Inbox) -> Step {
        if self.let_go && !self.has_inbox {
            return Step::TakeBack;
        }
        match link {
            Inbox::InDoubt => return Step::Renew,
            // A call that does not follow asks what waits now. A link that was told "nothing is left" earlier is not told
            // again, and what came since may be on its way: only attaching anew has an answer.
            Inbox::Attached { caught_up: true } if !self.follow => return Step::Renew,
            Inbox::Detached => return Step::Attach,
            Inbox::Attached { .. } => {}
        }
        if !self.has_inbox {
            Step::HoldInbox
        } else if !self.full_told {
            Step::TellFull
        } else if !self.clocks_told {
            Step::TellClocks
        } else if !self.expired_told {
            Step::TellExpired
        } else if !self.stored_shown {
            Step::ShowStored
        } else if !self.lists_looked_up {
            Step::LookUpLists
        } else {
            Step::Serve
        }
    }

    /// A step was done.
    pub const fn done(&mut self, step: Step) {
        match step {
            Step::TakeBack | Step::HoldInbox => self.has_inbox = true,
            Step::TellFull => self.full_told = true,
            Step::TellClocks => self.clocks_told = true,
            Step::TellExpired => self.expired_told = true,
            Step::ShowStored => self.stored_shown = true,
            Step::LookUpLists => self.lists_looked_up = true,
            // The link says so.
            Step::Renew | Step::Attach | Step::Serve => {}
        }
    }

    /// Whether everything that was stored and not marked as shown was reported by this call.
    pub const fn has_shown_stored(&self) -> bool {
        self.stored_shown
    }

    /// The connection is lost. Whether the inbox is to be let go of: without a connection there is no reason to keep others
    /// from receiving, and what they stored meanwhile is shown afterwards.
    pub const fn lost(&mut self) -> bool {
        let let_go = self.has_inbox;
        (self.full_told, self.expired_told) = (false, false);
        if let_go {
            (self.has_inbox, self.let_go, self.stored_shown, self.lists_looked_up) = (false, true, false, false);
        }
        let_go
    }
}

/// Receipts wait this long for others that they can travel with.
pub(super) const RECEIPT_DELAY: Duration = Duration::from_millis(100);

/// Prekeys are looked after this often while receiving.
pub(super) const MAINTENANCE: Duration = Duration::from_secs(60 * 60);

/// After so much silence that follows activity, the relay is asked whether it is still there. QUIC's own keep-alive takes
/// up to a minute to notice a relay that was killed; a user who was just writing should not wait for that.
const PROBES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(15)];

/// What is done at its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Receipts are due, or a flush failed.
    Flush,
    /// Prekeys, and what is too old.
    Maintain,
    /// Is the relay still there?
    Probe,
}

/// When what is done while nothing comes.
#[derive(Debug)]
pub(super) struct Timers {
    follow: bool,
    flush: Option<Instant>,
    maintain: Instant,
    probe: Instant,
    /// How often the relay was asked since it last said something.
    probes: usize,
}

impl Timers {
    /// Maintenance is due at once.
    pub fn new(follow: bool, now: Instant) -> Self {
        Self { follow, flush: None, maintain: now, probe: now + PROBES[0], probes: 0 }
    }

    /// What is due next, and when.
    pub fn next(&self) -> (Instant, Due) {
        let mut next = (self.maintain, Due::Maintain);
        if self.follow && self.probe < next.0 {
            next = (self.probe, Due::Probe);
        }
        match self.flush {
            Some(at) if at < next.0 => (at, Due::Flush),
            _ => next,
        }
    }

    /// Whether a flush is due now: it comes before mail that waits, or a steady stream of mail would put it off for ever.
    pub fn flush_is_due(&self, now: Instant) -> bool {
        self.flush.is_some_and(|at| at <= now)
    }

    /// Whether a flush is to come.
    pub fn flush_is_planned(&self) -> bool {
        self.flush.is_some()
    }

    /// Has the outbox flushed at this time, unless that is to happen sooner anyway. A receipt that is held back must not hold
    /// back what is due before it.
    pub fn flush_by(&mut self, at: Instant) {
        self.flush = Some(self.flush.map_or(at, |planned| planned.min(at)));
    }

    /// A flush begins.
    pub fn flushing(&mut self) {
        self.flush = None;
    }

    /// Has maintenance done by this time at the latest.
    pub fn maintain_by(&mut self, at: Instant) {
        self.maintain = self.maintain.min(at);
    }

    /// Maintenance begins; with it goes a flush, for a reset whose hour has come.
    pub fn maintaining(&mut self, now: Instant) {
        self.maintain = now + MAINTENANCE;
        self.flush_by(now);
    }

    /// The relay said something.
    pub fn heard(&mut self, now: Instant) {
        (self.probe, self.probes) = (now + PROBES[0], 0);
    }

    /// The relay was asked, and answered. After the last question QUIC's keep-alive has to do.
    pub fn probed(&mut self, now: Instant) {
        self.probes += 1;
        self.probe = now + PROBES.get(self.probes).copied().unwrap_or(MAINTENANCE);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// A relay and a process that do what each step asks for.
    fn walk(state: &mut ReceiveState, link: &mut Inbox) -> Vec<Step> {
        let mut steps = Vec::new();
        loop {
            let step = state.next(*link);
            steps.push(step);
            assert!(steps.len() < 20, "{steps:?}");
            match step {
                Step::Renew => *link = Inbox::Detached,
                Step::Attach => *link = Inbox::Attached { caught_up: false },
                Step::Serve => return steps,
                _ => {}
            }
            state.done(step);
        }
    }

    const TELL: [Step; 3] = [Step::TellFull, Step::TellClocks, Step::TellExpired];
    const SHOW: [Step; 3] = [Step::ShowStored, Step::LookUpLists, Step::Serve];

    #[test]
    fn a_call_attaches_holds_tells_shows_and_serves() {
        for follow in [false, true] {
            let (mut state, mut link) = (ReceiveState::new(follow, false), Inbox::Detached);
            let steps = walk(&mut state, &mut link);
            assert_eq!(steps, [&[Step::Attach, Step::HoldInbox][..], &TELL, &SHOW].concat());
            assert_eq!(walk(&mut state, &mut link), [Step::Serve], "nothing is told twice");
        }
    }

    #[test]
    fn after_a_break_the_inbox_is_taken_back_before_anything_else() {
        let (mut state, mut link) = (ReceiveState::new(true, true), Inbox::Detached);
        assert!(!walk(&mut state, &mut link).contains(&Step::HoldInbox), "the turn was waited for");
        assert!(state.lost());
        let mut link = Inbox::Detached;
        let steps = walk(&mut state, &mut link);
        let tell = [Step::TellFull, Step::TellExpired];
        assert_eq!(steps, [&[Step::TakeBack, Step::Attach][..], &tell, &SHOW].concat(), "clocks are told once a call");
        // Broken before the inbox was had: another process has not let go of it, and it is waited for again.
        let mut early = ReceiveState::new(true, false);
        assert!(!early.lost());
        assert_eq!(early.next(Inbox::Attached { caught_up: false }), Step::HoldInbox);
    }

    #[test]
    fn a_link_in_doubt_and_one_that_has_said_all_are_renewed() {
        for (follow, link, renewed) in [
            (false, Inbox::InDoubt, true),
            (true, Inbox::InDoubt, true),
            (false, Inbox::Attached { caught_up: true }, true),
            (true, Inbox::Attached { caught_up: true }, false),
            (false, Inbox::Attached { caught_up: false }, false),
        ] {
            let first = ReceiveState::new(follow, true).next(link);
            assert_eq!(first == Step::Renew, renewed, "{follow} {link:?}");
        }
    }

    /// Every state that can be reached, on every link: nothing is served without the inbox, on a link that is not attached, or
    /// before what is stored was shown; and every state comes to serve.
    #[test]
    fn nothing_is_served_before_its_time() {
        let links = [
            Inbox::Detached,
            Inbox::InDoubt,
            Inbox::Attached { caught_up: false },
            Inbox::Attached { caught_up: true },
        ];
        let mut seen: HashSet<String> = HashSet::new();
        let mut open: Vec<Vec<bool>> = vec![Vec::new()];
        // A history is a list of events: a step is done, or the connection is lost.
        while let Some(history) = open.pop() {
            for (follow, has_inbox) in [(false, false), (false, true), (true, false), (true, true)] {
                let (mut state, mut link) = (ReceiveState::new(follow, has_inbox), Inbox::Detached);
                for lost in &history {
                    if *lost {
                        state.lost();
                        link = Inbox::Detached;
                        continue;
                    }
                    let step = state.next(link);
                    match step {
                        Step::Attach => link = Inbox::Attached { caught_up: false },
                        Step::Renew => link = Inbox::Detached,
                        Step::Serve => assert!(state.has_inbox && state.stored_shown && link != Inbox::Detached),
                        _ => {}
                    }
                    state.done(step);
                }
                for mut link in links {
                    let mut copy = ReceiveState { ..state };
                    assert_eq!(walk(&mut copy, &mut link).last(), Some(&Step::Serve));
                }
                if seen.insert(format!("{state:?} {link:?}")) && history.len() < 10 {
                    open.extend([[history.clone(), vec![true]].concat(), [history.clone(), vec![false]].concat()]);
                }
            }
        }
        assert!(seen.len() > 30, "{}", seen.len());
    }

    #[tokio::test]
    async fn the_next_thing_that_is_due_comes_first_and_probes_grow_rarer() {
        let now = Instant::now();
        let mut timers = Timers::new(true, now);
        assert_eq!(timers.next(), (now, Due::Maintain));
        timers.maintaining(now);
        assert_eq!(timers.next(), (now, Due::Flush));
        timers.flushing();
        assert_eq!(timers.next(), (now + PROBES[0], Due::Probe));
        timers.flush_by(now + MAINTENANCE);
        timers.flush_by(now + RECEIPT_DELAY);
        timers.flush_by(now + MAINTENANCE);
        assert_eq!(timers.next(), (now + RECEIPT_DELAY, Due::Flush), "the sooner one counts");
        timers.flushing();
        timers.probed(now);
        assert_eq!(timers.next(), (now + PROBES[1], Due::Probe));
        timers.probed(now);
        assert_eq!(timers.next().0, now + MAINTENANCE, "from here on QUIC's keep-alive has to do");
        timers.heard(now);
        assert_eq!(timers.next(), (now + PROBES[0], Due::Probe));
        assert_eq!(Timers::new(false, now + PROBES[0]).next().1, Due::Maintain, "without following nothing is asked");
    }
}
