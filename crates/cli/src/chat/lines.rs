//! Chat without a screen: every line of stdin is sent, every message of the contact printed. What becomes of the lines is
//! [`Stream`]'s to tell.

use std::time::Duration;

use kuvert_client::{Client, Error, Event, MessageRecord, Whoami};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use crate::chat::link::{Link, LinkEvent};
use crate::commands::stream::{Stream, read_lines};
use crate::commands::{count, notice};
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::{Entry, Record};
use crate::signals::Stop;

/// How long a connection that breaks after the end of stdin is waited for.
const LAST_WAIT: Duration = Duration::from_secs(15);

/// A pass over the outbox may have begun before the last line was queued; the one behind it has seen every line.
const LAST_PASSES: u32 = 2;

/// Talks until stdin ends, and then until the relay has every line.
pub async fn run(client: Client, who: &str, options: &Options) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let stream = Stream::to(&client, who, options).await?;
    let link = Link::start(client.clone(), None);
    let mut chat = Lines { own: client.whoami().await?, link, client, stream, options, away: false };
    let talked = tokio::select! {
        talked = chat.talk() => talked,
        // What was read is queued, what was received is stored.
        () = stop.requested() => {
            chat.link.close().await;
            return Ok(());
        }
    };
    let Lines { mut link, stream, .. } = chat;
    let ended = stream.end(talked).await;
    link.close().await;
    ended
}

struct Lines<'a> {
    client: Client,
    stream: Stream,
    own: Whoami,
    link: Link,
    options: &'a Options,
    /// There is no connection, and that was said.
    away: bool,
}

/// What an event says about the way to the relay.
enum Way {
    /// Nothing.
    Unknown,
    /// A pass over the outbox came to its end; it said whether something waits for the contact.
    Passed,
    /// A connection could not be made.
    None,
    /// The connection broke, or the relay asks for patience.
    Troubled,
}

impl Lines<'_> {
    async fn talk(&mut self) -> Result<(), Failure> {
        let mut lines = read_lines();
        loop {
            tokio::select! {
                line = lines.recv() => match line {
                    Some(line) => {
                        self.stream.take(line?).await?;
                        self.link.flush();
                    }
                    None => break,
                },
                event = self.link.next() => {
                    self.event(event).await?;
                }
            }
        }
        self.link.flush();
        let (mut passes, mut until) = (0, None);
        // Also with nothing to say: what an earlier command left in the queue goes out, and what waits is shown.
        while passes == 0 || !self.stream.is_settled() {
            let event = tokio::select! {
                event = self.link.next() => event,
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => return Ok(()),
            };
            match self.event(event).await? {
                Way::Unknown => {}
                Way::Passed => {
                    passes += 1;
                    if passes >= LAST_PASSES {
                        return Ok(());
                    }
                    self.link.flush();
                }
                Way::None => return Ok(()),
                Way::Troubled => until = until.or(Some(Instant::now() + LAST_WAIT)),
            }
        }
        Ok(())
    }

    async fn event(&mut self, event: Option<LinkEvent>) -> Result<Way, Failure> {
        let output = self.options.output;
        match event {
            Some(LinkEvent::Received(Event::Message(message))) => self.show(&message).await?,
            Some(LinkEvent::Received(event)) => {
                if let Some((code, message)) = notice(&event) {
                    output.tell(&Record::Notice { code, message: &message, count: count(&event) }).await?;
                }
            }
            // Nothing is asked for here that these tell of.
            Some(LinkEvent::Transfer(_) | LinkEvent::Saved { .. }) => {}
            Some(LinkEvent::Connected) => self.away = false,
            Some(LinkEvent::Accepted(accepted)) if output.is_json() => self.stream.accepted(&accepted).await?,
            Some(LinkEvent::Accepted(accepted)) => self.stream.accepted_unsaid(&accepted),
            Some(LinkEvent::NotSent(failed)) => drop(self.stream.not_sent(&[failed]).await?),
            Some(LinkEvent::Along) => {
                self.away = false;
                let message = "another process of this home receives: what comes is shown here, too";
                output.tell(&Record::Notice { code: "reading-along", message, count: None }).await?;
            }
            Some(LinkEvent::Displaced { error }) => {
                output.tell(&Record::Notice { code: error.code(), message: &error.to_string(), count: None }).await?;
            }
            Some(LinkEvent::Flushed { error: None }) => {
                // Another process of this home may have sent what this pass did not find.
                self.stream.not_sent(&[]).await?;
                return Ok(Way::Passed);
            }
            Some(LinkEvent::Flushed { error: Some(error) }) => {
                self.stream.trouble(&error);
                return Ok(Way::Troubled);
            }
            Some(LinkEvent::Offline { error }) => {
                self.stream.trouble(&error);
                self.say_that_it_waits(&error).await?;
                return Ok(Way::None);
            }
            Some(LinkEvent::Failed { error }) => return Err(error.into()),
            None => {
                return Err(Failure::new("connection-lost", "the connection ended: what was not sent is queued"));
            }
            Some(LinkEvent::Back) => {
                let message = "the other process is gone: this one receives again";
                output.tell(&Record::Notice { code: "receiving-again", message, count: None }).await?;
            }
        }
        Ok(Way::Unknown)
    }

    /// There is no connection yet. Said once, and tried again.
    async fn say_that_it_waits(&mut self, error: &Error) -> Result<(), Failure> {
        if std::mem::replace(&mut self.away, true) {
            return Ok(());
        }
        let message = format!("{error}; trying again until it is there. What is written meanwhile is queued");
        self.options.output.note(&message);
        if self.options.output.is_json() {
            let notice = Record::Notice { code: "disconnected", message: &message, count: None };
            self.options.output.tell(&notice).await?;
        }
        Ok(())
    }

    /// Prints a message of the contact. Those of others stay for `kuvert receive`.
    async fn show(&self, message: &MessageRecord) -> Result<(), Failure> {
        if message.message.conversation != self.stream.contact.conversation() {
            return Ok(());
        }
        let (client, shown) = (self.client.clone(), message.message);
        let runtime = Handle::current();
        let mark = move || Ok(runtime.block_on(client.mark_read(&[shown]))?);
        self.options.output.tell_then(&Entry::of(message, &self.own).record(), mark).await?;
        self.link.flush();
        Ok(())
    }
}
