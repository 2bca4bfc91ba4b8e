//! Reading along: what another process of this home receives, told from the store as it comes.

use std::collections::VecDeque;
use std::time::Duration;

use kuvert_client::{Changes, Client, Direction, Error, Lead, MessageRecord};
use tokio::time::sleep;

/// How often the store is asked whether something changed.
pub const LOOK: Duration = Duration::from_millis(200);

/// A process whose output takes nothing for this long, since what reads it pauses, is no receiver for the others of its home: it
/// lets go of the lead until it is read on. What is received meanwhile is then told from the store.
pub const STALLED: Duration = Duration::from_secs(5);

/// It is tried to take the lead at every so many looks.
const LOOKS_PER_TRY: u32 = 4;

/// A reader of incoming texts beside the process that receives. A process that receives itself and may come to read along keeps one
/// that knows what was told ([`note`](Self::note)).
#[derive(Debug)]
pub struct Along {
    client: Client,
    /// Everything up to this place was told.
    told: u64,
    ahead: VecDeque<MessageRecord>,
    /// As the store was when it was read last.
    seen: Option<Changes>,
    looks: u32,
}

impl Along {
    /// From here on; what was received before and not shown comes first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn start(client: &Client) -> Result<Self, Error> {
        let newest = client.history_page_before(None, None, u64::MAX).await?;
        let told = newest.messages.last().map_or(0, |message| message.place);
        let ahead = client.unshown().await?.into_iter().filter(|message| message.place <= told).collect();
        Ok(Self { client: client.clone(), told, ahead, seen: None, looks: 0 })
    }

    /// The text at this place is told in another way. False: it was told before.
    pub fn note(&mut self, place: u64) -> bool {
        let waiting = self.ahead.len();
        self.ahead.retain(|message| message.place != place);
        let is_new = place > self.told || self.ahead.len() < waiting;
        self.told = self.told.max(place);
        is_new
    }

    /// The next text that is there; none: nothing more for now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn next(&mut self) -> Result<Option<MessageRecord>, Error> {
        if let Some(message) = self.ahead.pop_front() {
            return Ok(Some(message));
        }
        let changes = self.client.changes().await?;
        if self.seen == Some(changes) {
            return Ok(None);
        }
        loop {
            let page = self.client.history_page(None, None, self.told).await?;
            if let Some(last) = page.messages.last() {
                self.told = last.place;
            }
            let whole = page.next.is_none();
            self.ahead.extend(page.messages.into_iter().filter(|message| message.direction == Direction::Incoming));
            if whole || !self.ahead.is_empty() {
                // Another piece may follow: it is read when this one was told.
                self.seen = whole.then_some(changes);
                return Ok(self.ahead.pop_front());
            }
        }
    }

    /// Waits a moment. The lead, where the process that had it is gone. Can be dropped at any point.
    ///
    /// # Errors
    /// Those of the home.
    pub async fn wait(&mut self) -> Result<Option<Lead>, Error> {
        sleep(LOOK).await;
        self.looks = (self.looks + 1) % LOOKS_PER_TRY;
        if self.looks == 0 { self.client.try_lead().await } else { Ok(None) }
    }
}
