//! Many texts on stdin, each with an outcome of its own: what is wrong with one of them, or with the relay for a while, ends
//! nothing.
//!
//! | What | becomes |
//! |---|---|
//! | a line that the relay takes | `accepted` |
//! | a line that waits in the outbox at the end | `queued` |
//! | a line that is no text, or that is refused for good | named by its number, skipped, and in the exit code |
//! | an empty line | nothing |
//! | the home or the contact takes no texts any more | the end, which says from which line on nothing was taken |

mod reader;

use std::collections::{HashMap, HashSet};

use kuvert_client::{Accepted, Client, ContactInfo, Error, MessageRef, MessageState, NotSent};

use crate::error::{Failure, words};
use crate::options::Options;
use crate::output::Output;
use crate::output::record::Record;

pub use reader::{LINES_AHEAD, Line, MAX_READ_BYTES, decode, read_lines};

/// Texts to one contact, and what became of them.
pub struct Stream {
    client: Client,
    output: Output,
    /// To whom.
    pub contact: ContactInfo,
    /// Texts that the relay does not have, with the numbers of their lines: as many as the outbox has of this stream.
    waiting: HashMap<MessageRef, u64>,
    /// Texts that another process of this home sent, as the store says. Were they told of by name after that, they would be told
    /// of twice.
    told: HashSet<MessageRef>,
    /// Lines that were refused for good, and the first of them.
    refused: u64,
    first_refused: Option<Refused>,
    /// Why the last text that waits does.
    trouble: Option<Failure>,
}

struct Refused {
    line: u64,
    code: String,
    message: String,
}

impl Stream {
    /// A stream of texts to a contact.
    ///
    /// # Errors
    /// `contact-unknown`, `own-address`.
    pub async fn to(client: &Client, who: &str, options: &Options) -> Result<Self, Failure> {
        Ok(Self {
            client: client.clone(),
            output: options.output,
            contact: client.contacts().find(who).await?,
            waiting: HashMap::new(),
            told: HashSet::new(),
            refused: 0,
            first_refused: None,
            trouble: None,
        })
    }

    /// Queues a line.
    ///
    /// # Errors
    /// The home or the contact takes no texts any more, or the output has no reader.
    pub async fn take(&mut self, line: Line) -> Result<(), Failure> {
        let Line { number, text } = line;
        let queued = match text {
            // Between paragraphs.
            Ok(text) if text.is_empty() => return Ok(()),
            Ok(text) => self.client.queue_text(&self.contact, &text).await,
            Err(error) => Err(error),
        };
        match queued {
            Ok(message) => {
                self.waiting.insert(message, number);
                Ok(())
            }
            Err(error) if is_about_the_text(&error) => self.refuse(number, error.code(), &words(&error)).await,
            Err(error) => Err(Failure::new(
                error.code(),
                format!("{}\nLine {number} and what follows it were neither sent nor queued.", words(&error)),
            )),
        }
    }

    /// Whether every line that was taken has its outcome.
    pub fn is_settled(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Tells that the relay has a text, of this stream or of an earlier command.
    ///
    /// # Errors
    /// The output has no reader.
    pub async fn accepted(&mut self, accepted: &Accepted) -> Result<(), Failure> {
        self.waiting.remove(&accepted.message);
        if self.told.remove(&accepted.message) {
            return Ok(());
        }
        let id = accepted.message.id.to_string();
        self.output.tell(&Record::Accepted { id: &id, to: &accepted.to, sealed: Some(accepted.anonymous) }).await
    }

    /// The same, unsaid: in a chat for people only what fails is.
    pub fn accepted_unsaid(&mut self, accepted: &Accepted) {
        self.waiting.remove(&accepted.message);
    }

    /// Notes texts that a pass over the outbox did not send. Whether any text of this stream still waits.
    ///
    /// # Errors
    /// The output has no reader.
    pub async fn not_sent(&mut self, not_sent: &[NotSent]) -> Result<bool, Failure> {
        let mut stuck = HashSet::new();
        for failed in not_sent {
            let Some(number) = self.waiting.get(&failed.message).copied() else { continue };
            if failed.will_retry {
                self.trouble = Some(failed.error.clone().into());
                stuck.insert(failed.message);
            } else {
                self.waiting.remove(&failed.message);
                self.refuse(number, failed.error.code(), &words(&failed.error)).await?;
            }
        }
        if stuck.len() < self.waiting.len() {
            self.settle_what_others_sent(&stuck).await?;
        }
        Ok(!self.waiting.is_empty())
    }

    /// Why what waits does: the relay cannot be reached, or asks for patience.
    pub fn trouble(&mut self, error: &Error) {
        self.trouble = Some(error.clone().into());
    }

    /// Another process of this home may have sent texts of ours.
    async fn settle_what_others_sent(&mut self, known: &HashSet<MessageRef>) -> Result<(), Failure> {
        let unknown: Vec<(MessageRef, u64)> = self.in_order().filter(|(message, _)| !known.contains(message)).collect();
        for (message, number) in unknown {
            match self.client.message_state(&message).await? {
                Some(MessageState::Accepted | MessageState::Delivered | MessageState::Read) => {
                    self.waiting.remove(&message);
                    self.told.insert(message);
                    let (id, to) = (message.id.to_string(), &self.contact.alias);
                    self.output.tell(&Record::Accepted { id: &id, to, sealed: None }).await?;
                }
                Some(MessageState::Failed(code)) => {
                    self.waiting.remove(&message);
                    self.refuse(number, &code, "another process of this home was told that it cannot be sent").await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn refuse(&mut self, line: u64, code: &str, message: &str) -> Result<(), Failure> {
        self.refused += 1;
        self.first_refused.get_or_insert_with(|| Refused { line, code: code.into(), message: message.into() });
        self.output.failed_line(line, code, message).await
    }

    fn in_order(&self) -> impl Iterator<Item = (MessageRef, u64)> {
        let mut waiting: Vec<(MessageRef, u64)> =
            self.waiting.iter().map(|(message, number)| (*message, *number)).collect();
        waiting.sort_by_key(|(_, number)| *number);
        waiting.into_iter()
    }

    /// Tells what waits, and what the outcome of all is: that of `talked` if it failed, else what was refused, else why
    /// something waits.
    ///
    /// # Errors
    /// The outcome.
    pub async fn end(mut self, talked: Result<(), Failure>) -> Result<(), Failure> {
        if matches!(talked, Err(Failure::Left)) {
            return talked;
        }
        self.settle_what_others_sent(&HashSet::new()).await?;
        let waiting = self.waiting.len();
        for (message, _) in self.in_order() {
            let (id, to) = (message.id.to_string(), &self.contact.alias);
            self.output.tell(&Record::Queued { id: &id, to }).await?;
        }
        talked?;
        if let Some(Refused { line, code, message }) = self.first_refused {
            let others = match self.refused - 1 {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let queued = if waiting > 0 { format!(" {waiting} others are queued.") } else { String::new() };
            return Err(Failure::new(
                code,
                format!("line {line} was not sent{others}: {message}\nThe other lines were taken.{queued}"),
            ));
        }
        match self.trouble {
            _ if waiting == 0 => Ok(()),
            Some(trouble) => Err(still_queued(trouble)),
            // The contact's keys or devices changed under the last pass.
            None => Err(still_queued(Error::DeviceNotReady { who: self.contact.alias })),
        }
    }
}

/// What another text can be sent in spite of.
fn is_about_the_text(error: &Error) -> bool {
    matches!(error, Error::TextEmpty | Error::TextTooLong { .. } | Error::TextNotUtf8)
}

/// The connection failed, what was written did not.
pub fn still_queued(failure: impl Into<Failure>) -> Failure {
    match failure.into() {
        Failure::Failed { code, message } => Failure::Failed {
            code,
            message: format!(
                "{message}\nWhat was not sent is queued: the next command that reaches the relay sends it."
            ),
        },
        gone @ (Failure::Left | Failure::Stopped(_)) => gone,
    }
}
