//! The chat on the terminal's screen: the loop that carries keys and events into the state.

use std::io::{self, BufWriter, Stdout};
use std::time::Duration;

use crossterm::event::Event as TerminalEvent;
use kuvert_client::{Client, ContactInfo, Error, MessageRecord};

use crate::chat::canvas::{self, Canvas};
use crate::chat::link::{Link, LinkEvent};
use crate::chat::state::{Effect, State};
use crate::chat::view;
use crate::error::{Failure, words};
use crate::output::time::{Zone, now_ms};
use crate::signals::Stop;
use crate::terminal::{self, Keys, Kind, Taken, Wake};

/// The screen is drawn anew this often without a reason: a new day begins.
const REDRAW: Duration = Duration::from_secs(30);

/// Talks until the user leaves.
pub async fn run(client: Client, contact: ContactInfo) -> Result<(), Failure> {
    let history = client.history(&contact, None).await?;
    let mut stop = Stop::listen_to_all()?;
    let screen = Screen::open()?;
    let mut chat = Chat {
        state: State::new(contact, &history),
        link: Link::start(client.clone(), None),
        client,
        screen,
        zone: Zone::system(),
    };
    let talked = tokio::select! {
        // A terminal that is gone takes no more writes, which is no failure of the chat.
        talked = chat.talk() => if terminal::is_gone() { Ok(()) } else { talked },
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
        let mut keys = Keys::new();
        let mut link_alive = true;
        loop {
            self.draw().await?;
            tokio::select! {
                key = keys.next() => match key {
                    Some(Ok(TerminalEvent::Key(key))) => match self.state.key(key) {
                        Some(Effect::Leave) => return Ok(()),
                        Some(Effect::Send(text)) => self.send(text).await,
                        Some(Effect::TakeOver) => self.link.take_over(),
                        Some(Effect::Suspend) => {
                            self.screen.taken.suspend_job().await?;
                            self.screen.renew();
                        }
                        None => {}
                    },
                    Some(Ok(TerminalEvent::Paste(text))) => self.state.paste(&text),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(Failure::io("read the terminal", &error)),
                    // The terminal has gone.
                    None => return Ok(()),
                },
                event = self.link.next(), if link_alive => match event {
                    Some(event) => self.event(event).await?,
                    // It ends by telling of a failure, which is shown, or in a panic.
                    None if !terminal::is_taken() => {
                        return Err(Failure::new("internal", "a task of the chat ended before its time"));
                    }
                    None => link_alive = false,
                },
                wake = self.screen.taken.wake() => match wake {
                    Wake::Suspend => {
                        self.screen.taken.suspend().await?;
                        self.screen.renew();
                    }
                    Wake::Resume => {
                        self.screen.taken.resume()?;
                        self.screen.renew();
                    }
                    Wake::Gone => return Ok(()),
                },
                () = tokio::time::sleep(REDRAW) => {}
            }
        }
    }

    /// Draws, and marks as read what came onto the screen thereby.
    async fn draw(&mut self) -> Result<(), Failure> {
        if !terminal::is_taken() {
            return Ok(());
        }
        let Self { state, screen, zone, .. } = self;
        let (columns, rows) = crossterm::terminal::size().map_err(|error| Failure::io("use the terminal", &error))?;
        let mut canvas = Canvas::new(columns.into(), rows.into());
        view::draw(&mut canvas, state, zone, now_ms());
        screen.canvas.draw(canvas).map_err(|error| Failure::io("write to the terminal", &error))?;
        let unread = self.state.unread();
        if !unread.is_empty() && self.state.scroll == 0 {
            self.client.mark_read(&unread).await?;
            self.state.all_read();
            self.link.flush();
        }
        Ok(())
    }

    async fn send(&mut self, text: String) {
        let shown = self.queue(&text).await;
        match shown {
            Ok(Some(message)) => self.state.put(&message),
            // Sent already, by another process on this home.
            Ok(None) => {}
            Err(error) => {
                self.state.input.restore(text);
                self.state.remark(&words(&error));
            }
        }
        self.link.flush();
    }

    /// Queues a text, and reads back the store's own words on what was queued.
    async fn queue(&self, text: &str) -> Result<Option<MessageRecord>, Error> {
        let message = self.client.queue_text(&self.state.contact, text).await?;
        let waiting = self.client.queued().await?;
        Ok(waiting.into_iter().find(|waiting| waiting.message == message))
    }

    async fn event(&mut self, event: LinkEvent) -> Result<(), Failure> {
        let flushed = matches!(event, LinkEvent::Flushed { .. });
        if matches!(event, LinkEvent::Back) {
            self.state.reload(&self.client.history(&self.state.contact, None).await?);
        }
        self.state.apply(event);
        if flushed {
            // A reconnect or another process may have sent what the screen still shows as queued.
            for message in self.state.queued() {
                if let Some(state) = self.client.message_state(&message).await? {
                    self.state.advance(message, state);
                }
            }
        }
        Ok(())
    }
}

/// The terminal with its screen; dropped, it is as it was before.
struct Screen {
    taken: Taken,
    canvas: canvas::Screen<BufWriter<Stdout>>,
}

impl Screen {
    fn open() -> Result<Self, Failure> {
        Ok(Self { taken: Taken::take(Kind::Screen)?, canvas: blank() })
    }

    /// The terminal was given to others meanwhile: everything is drawn again.
    fn renew(&mut self) {
        self.canvas = blank();
    }
}

/// A screen on which nothing is known to stand.
fn blank() -> canvas::Screen<BufWriter<Stdout>> {
    canvas::Screen::new(BufWriter::new(io::stdout()))
}
