//! The terminal: raw mode and the alternate screen for as long as the chat lasts, also when it panics, and the loop that
//! carries keys and events into the state.

use std::io;
use std::time::Duration;

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste, Event as TerminalEvent, EventStream};
use futures_util::StreamExt;
use kuvert_client::{Client, ContactInfo};
use ratatui::DefaultTerminal;

use crate::chat::link::{Link, LinkEvent};
use crate::chat::state::{Effect, State};
use crate::chat::view;
use crate::error::Failure;
use crate::output::time::{Zone, now_ms};
use crate::signals::Stop;

/// The screen is drawn anew this often without a reason: a new day begins.
const REDRAW: Duration = Duration::from_secs(30);

/// Talks until the user leaves.
pub async fn run(client: Client, contact: ContactInfo) -> Result<(), Failure> {
    let history = client.history(&contact.alias, None)?;
    let mut stop = Stop::listen()?;
    let screen = Screen::open()?;
    let mut chat = Chat {
        state: State::new(contact, &history),
        link: Link::start(client.clone(), None),
        client,
        screen,
        zone: Zone::system(),
    };
    let talked = tokio::select! {
        talked = chat.talk() => talked,
        () = stop.requested() => Ok(()),
    };
    let Chat { link, screen, .. } = chat;
    // The terminal first: saying goodbye to the relay may take a moment.
    drop(screen);
    link.close().await;
    talked
}

struct Chat {
    client: Client,
    state: State,
    link: Link,
    screen: Screen,
    zone: Zone,
}

impl Chat {
    async fn talk(&mut self) -> Result<(), Failure> {
        let mut keys = EventStream::new();
        let mut link_alive = true;
        loop {
            self.draw()?;
            tokio::select! {
                key = keys.next() => match key {
                    Some(Ok(TerminalEvent::Key(key))) => match self.state.key(key) {
                        Some(Effect::Leave) => return Ok(()),
                        Some(Effect::Send(text)) => self.send(text),
                        None => {}
                    },
                    Some(Ok(TerminalEvent::Paste(text))) => self.state.paste(&text),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(Failure::io("read the terminal", &error)),
                    // The terminal has gone.
                    None => return Ok(()),
                },
                event = self.link.next(), if link_alive => match event {
                    Some(event) => self.event(event)?,
                    None => link_alive = false,
                },
                () = tokio::time::sleep(REDRAW) => {}
            }
        }
    }

    /// Draws, and marks as read what came onto the screen thereby.
    fn draw(&mut self) -> Result<(), Failure> {
        let Self { state, screen, zone, .. } = self;
        screen
            .terminal
            .draw(|frame| view::draw(frame, state, zone, now_ms()))
            .map_err(|error| Failure::io("write to the terminal", &error))?;
        let unread = self.state.unread();
        if !unread.is_empty() && self.state.scroll == 0 {
            self.client.mark_read(&unread)?;
            self.state.all_read();
            self.link.flush();
        }
        Ok(())
    }

    fn send(&mut self, text: String) {
        let queued = self.client.queue_text(&self.state.contact.alias, &text);
        let shown = queued.and_then(|message| {
            // Read back: the store's own words on what was queued.
            let waiting = self.client.queued()?;
            Ok(waiting.into_iter().find(|waiting| waiting.message == message))
        });
        match shown {
            Ok(Some(message)) => self.state.put(&message),
            // Sent already, by another process on this home.
            Ok(None) => {}
            Err(error) => {
                self.state.input.restore(text);
                self.state.remark(&error.to_string());
            }
        }
        self.link.flush();
    }

    fn event(&mut self, event: LinkEvent) -> Result<(), Failure> {
        let flushed = matches!(event, LinkEvent::Flushed { .. });
        self.state.apply(event);
        if flushed {
            // A reconnect or another process may have sent what the screen still shows as queued.
            for message in self.state.queued() {
                if let Some(state) = self.client.message_state(&message)? {
                    self.state.advance(message, state);
                }
            }
        }
        Ok(())
    }
}

/// The terminal in raw mode; dropped, it is as it was before.
struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    fn open() -> Result<Self, Failure> {
        // ratatui's panic hook restores the terminal before the panic's message is printed.
        let terminal = ratatui::try_init().map_err(|error| Failure::io("use the terminal", &error))?;
        let screen = Self { terminal };
        crossterm::execute!(io::stdout(), EnableBracketedPaste)
            .map_err(|error| Failure::io("use the terminal", &error))?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing more can be done for a terminal that does not take this.
        let _ = crossterm::execute!(io::stdout(), DisableBracketedPaste);
        ratatui::restore();
    }
}
