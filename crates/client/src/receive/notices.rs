//! What happened beside mail, told so that it cannot be used to flood a screen.

use std::collections::BTreeMap;
use std::time::Duration;

use kuvert_types::{AccountId, EnvelopeId};
use kuvert_wire::v1;
use tokio::time::Instant;

use crate::contact::Contact;
use crate::engine::Engine;
use crate::error::Error;
use crate::event::{DropReason, Event, Occupant};
use crate::state::own;
use crate::store::{Table, Transaction as _};

/// Between two notices that envelopes were thrown away for the same reason.
const BETWEEN: Duration = Duration::from_secs(60);

/// Accounts that a relay names as filling a mailbox, at most; more would be its own invention.
const MAX_OCCUPANTS: usize = 8;

/// Envelopes that were thrown away and not told yet, by reason. The first of a reason is told at once, those that follow are
/// told in sum, at most once a minute and at the end.
#[derive(Default)]
pub(super) struct Notices {
    thrown_away: BTreeMap<DropReason, Pending>,
    /// When it was told that the home is behind.
    behind_told_at: Option<Instant>,
}

struct Pending {
    told_at: Instant,
    first: Option<EnvelopeId>,
    count: u64,
}

impl Notices {
    /// The events of a batch, with those that are to be summed up taken out or put together.
    pub fn sum_up(&mut self, events: Vec<Event>, now: Instant) -> Vec<Event> {
        // In the place of the first of its reason.
        let mut batch: BTreeMap<DropReason, (usize, Option<EnvelopeId>, u64)> = BTreeMap::new();
        let mut told: Vec<(usize, Event)> = Vec::with_capacity(events.len());
        for (place, event) in events.into_iter().enumerate() {
            match event {
                Event::Dropped { envelope, reason, count } => {
                    batch.entry(reason).or_insert((place, envelope, 0)).2 += count;
                }
                Event::HomeBehind { .. } => {
                    // One contact tells as much as a hundred.
                    if self.behind_told_at.is_none_or(|at| now.duration_since(at) >= BETWEEN) {
                        self.behind_told_at = Some(now);
                        told.push((place, event));
                    }
                }
                other => told.push((place, other)),
            }
        }
        for (reason, (place, envelope, count)) in batch {
            match self.thrown_away.get_mut(&reason).filter(|pending| now.duration_since(pending.told_at) < BETWEEN) {
                Some(pending) => {
                    pending.first = pending.first.or(envelope);
                    pending.count += count;
                }
                None => {
                    let before = self.thrown_away.insert(reason, Pending { told_at: now, first: None, count: 0 });
                    let (first, more) = before.map_or((None, 0), |pending| (pending.first, pending.count));
                    told.push((place, Event::Dropped { envelope: first.or(envelope), reason, count: count + more }));
                }
            }
        }
        told.sort_by_key(|(place, _)| *place);
        told.into_iter().map(|(_, event)| event).collect()
    }

    /// What was not told yet.
    pub fn take(&mut self) -> Vec<Event> {
        let pending = self.thrown_away.iter_mut().filter(|(_, pending)| pending.count > 0);
        pending
            .map(|(reason, pending)| Event::Dropped {
                envelope: pending.first.take(),
                reason: *reason,
                count: std::mem::take(&mut pending.count),
            })
            .collect()
    }
}

/// Names that changed at the relay since the last time; told once.
pub(super) async fn changed_names(engine: &Engine) -> Result<Vec<Event>, Error> {
    if engine.read(|tx| Ok(tx.get(Table::Own, own::NAME_NEWS)?.is_none())).await? {
        return Ok(Vec::new());
    }
    engine
        .write(|tx| {
            let mut events = Vec::new();
            for mut contact in Contact::all(tx)?.into_iter().filter(|contact| contact.row.name_news) {
                contact.row.name_news = false;
                let from = contact.row.name_before.take();
                contact.save(tx)?;
                let (account, who, to) = (contact.account, contact.row.alias, contact.row.seen_name);
                events.push(Event::NameChanged { account, who, from, to });
            }
            tx.delete(Table::Own, own::NAME_NEWS)?;
            Ok(events)
        })
        .await
}

/// What the relay says about mail that did not fit, with the owner's names for the accounts that fill the mailbox.
pub(super) async fn mailbox_full(engine: &Engine, full: v1::FullMailbox) -> Result<Event, Error> {
    engine
        .read(move |tx| {
            let mut largest = Vec::new();
            for occupant in full.largest.iter().take(MAX_OCCUPANTS) {
                let account = occupant.account.as_ref().and_then(|bytes| AccountId::try_from(bytes.as_ref()).ok());
                let contact = account.map(|account| Contact::get(tx, &account)).transpose()?.flatten();
                let who = contact.map(|contact| contact.row.alias);
                largest.push(Occupant { account, who, envelopes: occupant.envelopes, bytes: occupant.bytes });
            }
            Ok(Event::MailboxFull { refused: full.refused, largest })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: DropReason, count: u64) -> Event {
        Event::Dropped { envelope: None, reason, count }
    }

    #[test]
    fn a_flood_of_garbage_is_told_once_a_minute_and_in_full_at_the_end() {
        let (mut notices, start) = (Notices::default(), Instant::now());
        let flood = || vec![refused(DropReason::Malformed, 1); 1_000];
        let batch = [flood(), vec![Event::CaughtUp, refused(DropReason::Replayed, 1)]].concat();
        let told = notices.sum_up(batch, start);
        assert_eq!(told, [refused(DropReason::Malformed, 1_000), Event::CaughtUp, refused(DropReason::Replayed, 1)]);
        for second in 1..60 {
            assert_eq!(notices.sum_up(flood(), start + Duration::from_secs(second)), []);
        }
        assert_eq!(notices.sum_up(flood(), start + BETWEEN), [refused(DropReason::Malformed, 60_000)]);
        assert_eq!(notices.sum_up(flood(), start + BETWEEN), []);
        assert_eq!(notices.take(), [refused(DropReason::Malformed, 1_000)]);
        assert_eq!(notices.take(), []);
    }
}
