//! The outbox: from a text to an envelope on the relay's disk.
//!
//! ```text
//! queue_text ─► entry: content ──encrypt──► one envelope per device ──submit──► accepted ─► all settled: entry gone
//!                 │  one transaction with the sessions' new state  │        │
//!                 └── no session: take prekey bundles first        └────────┴── crash, lost answer: the same bytes
//!                                                                               under the same id are submitted again
//! ```
//! Entries of a conversation go out in the order in which they were queued. What cannot be sent in one conversation holds up
//! its later entries only. One process at a time flushes.
//!
//! | module | owns |
//! |---|---|
//! | `flush` | one run over the outbox |
//! | `plan` | what may leave next |
//! | `prepare` | device lists and sessions of those who are written to |
//! | `encrypt` | contents into envelopes |
//! | `anonymous` | envelopes that leave without the sender's name |

mod anonymous;
mod encrypt;
mod flush;
mod plan;
mod prepare;

use std::time::Duration;

use kuvert_types::limits::MAX_TEXT_BYTES;
use prost::Message as _;

use self::flush::Flush;
use crate::bridge;
use crate::connection::Connection;
use crate::contact::Contact;
use crate::conversation::{ConversationId, MessageRef};
use crate::engine::{Engine, Tx};
use crate::error::Error;
use crate::fold::is_invisible;
use crate::history;
use crate::home::Exclusive;
use crate::prekeys;
use crate::records::{Accepted, FlushReport, MessageState};
use crate::rng;
use crate::state::{MessageRow, OutboxRow, enqueue, message_key};
use crate::store::{Log, Transaction as _};

/// Puts a text into the outbox. It survives; the next flush sends it.
///
/// # Errors
/// `text-empty`, `text-too-long`, `contact-unknown`, `contact-blocked`, `own-address`, `identity-changed`,
/// `account-deleted`.
pub(crate) async fn queue_text(engine: &Engine, conversation: ConversationId, text: &str) -> Result<MessageRef, Error> {
    if text.len() > MAX_TEXT_BYTES {
        engine.read(|tx| tx.identity()?.must_exist()).await?;
        return Err(Error::TextTooLong { bytes: text.len() });
    }
    let text = text.to_owned();
    engine.write(move |tx| queue(tx, conversation, text)).await
}

fn queue(tx: &Tx<'_>, conversation: ConversationId, text: String) -> Result<MessageRef, Error> {
    let own = tx.identity()?;
    own.must_exist()?;
    if is_invisible(&text) {
        return Err(Error::TextEmpty);
    }
    let ConversationId::Contact(contact) = conversation;
    Contact::known(tx, &contact)?.may_send()?;
    let now = tx.now();
    let message = MessageRef { conversation, author: own.account(), id: rng::envelope_id() };
    let content = bridge::draft(message.id, now, bridge::text(&text));
    let row = MessageRow::queued(&message, text, now);
    tx.append(Log::Message, conversation.as_bytes(), &message_key(&message), &row.encode_to_vec())?
        .ok_or(Error::Internal { what: "message id drawn twice" })?;
    let MessageRow { conversation, author, id: text_id, .. } = row;
    enqueue(tx, &OutboxRow { conversation, content, text_id, fresh_session_with: 0, author })?;
    Ok(message)
}

/// Makes a conversation ready to be written to. The inner error: why it is not.
///
/// # Errors
/// Those of the connection and of the store.
pub(crate) async fn make_ready(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<Result<(), Error>, Error> {
    let engine = connection.engine();
    let _held = engine.home().hold(Exclusive::Outbox, engine.options().lock_timeout).await?;
    let mut flush = Flush::new(connection);
    flush.make_ready(conversation).await?;
    Ok(flush.stopped.remove(&conversation).map_or(Ok(()), Err))
}

impl Connection {
    /// Sends what is in the outbox, in order, and receipts that are due. Returns once the relay has everything on disk
    /// that it takes. A contact that cannot be written to does not hold up others. `on_accepted` hears of each text as
    /// it is accepted.
    ///
    /// # Errors
    /// Those of the connection and of the store. What failed for one message is in the report.
    pub async fn flush(&self, mut on_accepted: impl FnMut(&Accepted) + Send) -> Result<FlushReport, Error> {
        let report = self.flush_with(self.engine().options().lock_timeout, &mut on_accepted).await?;
        if let Err(error) = prekeys::maintain_if_due(self).await {
            // The mail is out; the next connection does it.
            tracing::warn!(code = error.code(), "prekeys were not looked after");
        }
        Ok(report)
    }

    /// Puts a text into the outbox, [`flush`](Self::flush)es, and tells the outcome of this one message. On an error other
    /// than a refusal for good the message stays queued.
    ///
    /// # Errors
    /// Those of [`Client::queue_text`](crate::Client::queue_text) and of [`flush`](Self::flush), and the reason why this
    /// message was not sent.
    pub async fn send_text(&self, to: impl Into<ConversationId>, text: &str) -> Result<Accepted, Error> {
        let message = queue_text(self.engine(), to.into(), text).await?;
        let (mut failure, mut accepted) = (None, None);
        {
            let options = self.engine().options();
            let _held = self.engine().home().hold(Exclusive::Outbox, options.lock_timeout).await?;
            let mut flush = Flush::new(self);
            flush
                .run(&mut |one| {
                    if one.message == message {
                        accepted = Some(one.clone());
                    }
                })
                .await?;
            // The error itself is better than its code in a report.
            if let Some(reason) = flush.stopped.remove(&message.conversation) {
                failure = Some(reason);
            } else if let Some(reason) = flush.failed.remove(&message) {
                failure = Some(reason);
            }
        }
        if let Err(error) = prekeys::maintain_if_due(self).await {
            tracing::warn!(code = error.code(), "prekeys were not looked after");
        }
        if let Some(accepted) = accepted {
            return Ok(accepted);
        }
        match history::message_state(self.engine(), message).await? {
            // Another process may have sent it.
            Some(MessageState::Accepted | MessageState::Delivered | MessageState::Read) => {
                let to = self.engine().read(move |tx| history::title(tx, &message.conversation)).await?;
                Ok(Accepted { message, to, anonymous: false })
            }
            _ => Err(failure.unwrap_or(Error::Internal { what: "a message was neither sent nor refused" })),
        }
    }

    /// A flush that waits `patience` for another one to end.
    pub(crate) async fn flush_with(
        &self,
        patience: Duration,
        on_accepted: &mut (dyn FnMut(&Accepted) + Send),
    ) -> Result<FlushReport, Error> {
        let _held = self.engine().home().hold(Exclusive::Outbox, patience).await?;
        tracing::debug!("the outbox is looked through");
        let mut flush = Flush::new(self);
        flush.run(on_accepted).await?;
        Ok(flush.report)
    }
}
