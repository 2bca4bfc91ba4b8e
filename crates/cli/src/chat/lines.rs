//! Chat without a screen: every line of stdin is sent, every message of the contact printed.

use kuvert_client::{Client, ContactInfo, Event, MessageRecord, Whoami};

use crate::chat::link::{Link, LinkEvent};
use crate::commands::{count, notice, read_lines};
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::{Entry, Record};
use crate::signals::Stop;

/// Talks until stdin ends, and then until the relay has every line.
pub async fn run(client: Client, contact: ContactInfo, options: &Options) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let connection = client.connect().await?;
    let mut chat =
        Lines { own: client.whoami()?, link: Link::start(client.clone(), Some(connection)), client, contact, options };
    let talked = tokio::select! {
        talked = chat.talk() => talked,
        // What was read is queued, what was received is stored.
        () = stop.requested() => Ok(()),
    };
    chat.link.close().await;
    talked
}

struct Lines<'a> {
    client: Client,
    contact: ContactInfo,
    own: Whoami,
    link: Link,
    options: &'a Options,
}

impl Lines<'_> {
    async fn talk(&mut self) -> Result<(), Failure> {
        let mut lines = read_lines();
        loop {
            tokio::select! {
                line = lines.recv() => match line {
                    Some(line) => self.send(&line?)?,
                    None => break,
                },
                event = self.link.next() => self.event(event)?,
            }
        }
        self.link.flush();
        loop {
            let event = self.link.next().await;
            let (flushed, offline) = match &event {
                Some(LinkEvent::Flushed) => (true, None),
                Some(LinkEvent::Offline { error }) => (false, Some(error.clone())),
                _ => (false, None),
            };
            self.event(event)?;
            if flushed && !self.client.queued()?.iter().any(|waiting| waiting.message.account == self.contact.account) {
                return Ok(());
            }
            if let Some(error) = offline {
                return Err(Failure::new(error.code(), format!("{error}\nWhat was not sent is queued.")));
            }
        }
    }

    fn send(&self, line: &str) -> Result<(), Failure> {
        if !line.is_empty() {
            self.client.queue_text(&self.contact.alias, line)?;
            self.link.flush();
        }
        Ok(())
    }

    fn event(&self, event: Option<LinkEvent>) -> Result<(), Failure> {
        let output = &self.options.output;
        match event {
            Some(LinkEvent::Received(Event::Message(message))) => self.show(&message),
            Some(LinkEvent::Received(event)) => match notice(&event) {
                Some((code, message)) => {
                    output.print(&Record::Notice { code, message: &message, count: count(&event) })
                }
                None => Ok(()),
            },
            Some(LinkEvent::Accepted(accepted)) if output.is_json() => output.print(&Record::Accepted {
                id: &accepted.message.id.to_string(),
                to: &accepted.to,
                sealed: accepted.sealed,
            }),
            Some(LinkEvent::NotSent(failed)) if failed.message.account == self.contact.account => {
                Err(Failure::new(failed.code, failed.reason))
            }
            Some(LinkEvent::Displaced { error }) => {
                output.print(&Record::Notice { code: error.code(), message: &error.to_string(), count: None })
            }
            Some(LinkEvent::Back) => {
                let message = "the other process is gone: this one receives again";
                output.print(&Record::Notice { code: "receiving-again", message, count: None })
            }
            Some(LinkEvent::Failed { error }) => Err(error.into()),
            Some(_) => Ok(()),
            None => Err(Failure::new("connection-lost", "the connection ended: what was not sent is queued")),
        }
    }

    /// Prints a message of the contact. Those of others stay for `kuvert receive`.
    fn show(&self, message: &MessageRecord) -> Result<(), Failure> {
        if message.message.account != self.contact.account {
            return Ok(());
        }
        self.options.output.print(&Entry::of(message, &self.own).record())?;
        self.client.mark_read(&[message.message])?;
        self.link.flush();
        Ok(())
    }
}
