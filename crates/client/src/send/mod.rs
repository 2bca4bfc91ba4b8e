//! The outbox: from a text to an envelope on the relay's disk.
//!
//! ```text
//! queue_text ─► entry: content ──seal──► entry: content + one envelope per device ──submit──► accepted: entry gone
//!                 │  one transaction with the sessions' new state  │        │
//!                 └── no session: take prekey bundles first        └────────┴── crash, lost answer: the same bytes
//!                                                                               under the same id are submitted again
//! ```
//! Entries go out in the order in which they were queued. What cannot be sent to one contact holds up that contact's later
//! entries only. One process at a time flushes.
mod flush;
mod prepare;
mod seal;
mod sealed;

use std::time::Duration;

use kuvert_types::AccountId;
use kuvert_types::limits::MAX_TEXT_BYTES;
use prost::Message as _;

use self::flush::Flush;
pub(crate) use self::seal::session;
use crate::bridge;
use crate::client::{Client, Connection};
use crate::contacts::Contact;
use crate::error::Error;
use crate::fold::is_invisible;
use crate::home::Exclusive;
use crate::prekeys;
use crate::records::{Accepted, Direction, FlushReport, MessageRecord, MessageRef, MessageState};
use crate::rng;
use crate::state::{MessageRow, OutboxRow, Outgoing, Progress, Stored, enqueue, message_key};
use crate::store::{Log, Mode, Transaction};

impl Client {
    /// Puts a text into the outbox. It survives; the next flush sends it.
    ///
    /// # Errors
    /// `text-empty`, `text-too-long`, `contact-unknown`, `contact-blocked`, `own-address`, `identity-changed`,
    /// `account-deleted`.
    pub fn queue_text(&self, who: &str, text: &str) -> Result<MessageRef, Error> {
        self.0.must_exist()?;
        if is_invisible(text) {
            return Err(Error::TextEmpty);
        }
        if text.len() > MAX_TEXT_BYTES {
            return Err(Error::TextTooLong { bytes: text.len() });
        }
        self.0.transact(Mode::Write, |tx| {
            let contact = self.0.contact(tx, who)?;
            contact.may_send()?;
            let now = self.0.now();
            let message = MessageRef { account: contact.account, id: rng::envelope_id() };
            let account = contact.account.as_bytes().to_vec();
            let row = MessageRow {
                account: account.clone(),
                id: message.id.as_bytes().to_vec(),
                outgoing: true,
                text: text.to_owned(),
                sent_at: now,
                stored_at: now,
                progress: Progress::Queued.into(),
                ..MessageRow::default()
            };
            let key = message_key(Direction::Outgoing, &message);
            tx.append(Log::Message, &account, &key, &row.encode_to_vec())?
                .ok_or(Error::Internal { what: "message id drawn twice" })?;
            let content = bridge::draft(message.id, now, bridge::text(text));
            let text_id = message.id.as_bytes().to_vec();
            enqueue(tx, &OutboxRow { account, content, text_id, ..OutboxRow::default() })?;
            Ok(message)
        })
    }

    /// Sends what is in the outbox, in order, and receipts that are due. Returns once the relay has everything on disk
    /// that it takes. A contact that cannot be written to does not hold up others. `on_accepted` hears of each text as
    /// it is accepted.
    ///
    /// # Errors
    /// Those of the connection and of the store. What failed for one message is in the report.
    pub async fn flush(
        &self,
        connection: &Connection,
        mut on_accepted: impl FnMut(&Accepted) + Send,
    ) -> Result<FlushReport, Error> {
        let report = self.flush_with(connection, self.0.options.lock_timeout, &mut on_accepted).await?;
        if let Err(error) = prekeys::maintain_if_due(&self.0, connection).await {
            // The mail is out; the next connection does it.
            tracing::warn!(code = error.code(), "prekeys were not looked after");
        }
        Ok(report)
    }

    /// [`queue_text`](Self::queue_text), [`flush`](Self::flush), and the outcome for this one message: what
    /// `kuvert send` does. On an error other than a refusal for good the message stays queued.
    ///
    /// # Errors
    /// Those of both, and the reason why this message was not sent.
    pub async fn send_text(&self, connection: &Connection, who: &str, text: &str) -> Result<Accepted, Error> {
        let message = self.queue_text(who, text)?;
        let to = self.contact(who)?.alias;
        let (mut failure, mut sealed) = (None, false);
        {
            let _held = self.0.home.hold(Exclusive::Outbox, self.0.options.lock_timeout).await?;
            let mut flush = Flush::new(&self.0, connection);
            flush.run(&mut |accepted| sealed |= accepted.sealed && accepted.message == message).await?;
            // The error itself is better than its code in a report.
            if let Some(reason) = flush.stopped.remove(&message.account) {
                failure = Some(reason);
            } else if let Some(reason) = flush.failed.remove(&message) {
                failure = Some(reason);
            }
        }
        if let Err(error) = prekeys::maintain_if_due(&self.0, connection).await {
            tracing::warn!(code = error.code(), "prekeys were not looked after");
        }
        match self.message_state(&message)? {
            // Another process may have sent it.
            Some(MessageState::Accepted | MessageState::Delivered | MessageState::Read) => {
                Ok(Accepted { message, to, sealed })
            }
            _ => Err(failure.unwrap_or(Error::Internal { what: "a message was neither sent nor refused" })),
        }
    }

    /// How far a message of one's own has come; `None` if there is none with this id.
    ///
    /// # Errors
    /// Those of the store.
    pub fn message_state(&self, message: &MessageRef) -> Result<Option<MessageState>, Error> {
        self.0.transact(Mode::Read, |tx| {
            let stored = Stored::find(tx, Direction::Outgoing, message)?;
            stored.map(|stored| Ok(stored.record(tx, "")?.state)).transpose()
        })
    }

    /// Texts that wait in the outbox, in order.
    ///
    /// # Errors
    /// Those of the store.
    pub fn queued(&self) -> Result<Vec<MessageRecord>, Error> {
        self.0.transact(Mode::Read, |tx| {
            let mut texts = Vec::new();
            for entry in tx.scan(Log::Outbox, None, 0, usize::MAX)? {
                let outgoing = Outgoing::read(&entry)?;
                let Some(message) = outgoing.text else { continue };
                let Some(stored) = Stored::find(tx, Direction::Outgoing, &message)? else { continue };
                texts.push(stored.record(tx, &alias(tx, &outgoing.account)?)?);
            }
            Ok(texts)
        })
    }

    /// A flush that waits `patience` for another one to end.
    pub(crate) async fn flush_with(
        &self,
        connection: &Connection,
        patience: Duration,
        on_accepted: &mut (dyn FnMut(&Accepted) + Send),
    ) -> Result<FlushReport, Error> {
        let _held = self.0.home.hold(Exclusive::Outbox, patience).await?;
        tracing::debug!("the outbox is looked through");
        let mut flush = Flush::new(&self.0, connection);
        flush.run(on_accepted).await?;
        Ok(flush.report)
    }
}

/// What the owner calls an account.
pub(crate) fn alias(tx: &dyn Transaction, account: &AccountId) -> Result<String, Error> {
    Ok(Contact::get(tx, account)?.map_or_else(|| account.to_string(), |contact| contact.row.alias))
}
