//! The chat on the terminal's screen: the loop that carries keys, events and what changed in the store into the state.
//!
//! What stands on the screen is read from the store. So it is the same whether this process receives or another one of the home
//! does, and nothing heaps up while a terminal pauses.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossterm::event::{DisableMouseCapture, EnableMouseCapture, Event as TerminalEvent};
use kuvert_client::{
    Changes, Client, ContactInfo, ConversationId, Direction, Error, Event, FileInfo, FileState, MessageRecord,
    OutgoingFile, safe_file_name,
};

use crate::chat::canvas::Canvas;
use crate::chat::dropped;
use crate::chat::link::{Link, LinkEvent, Saving};
use crate::chat::list::List;
use crate::chat::notify::Notify;
use crate::chat::painter::Painter;
use crate::chat::state::{Effect, Found, Outgoing, Over, State, Status};
use crate::chat::talk::{MAX_HELD, Piece, Talk, Wanted};
use crate::chat::view::{self, Light, Picture};
use crate::commands::along::LOOK;
use crate::commands::save;
use crate::error::{Failure, words};
use crate::output::harmless;
use crate::output::human::bytes;
use crate::output::time::{Zone, now_ms};
use crate::signals::Stop;
use crate::terminal::{self, Keys, Kind, Taken, Wake};

/// The screen is drawn anew this often without a reason: a new day begins.
const REDRAW: Duration = Duration::from_secs(30);

/// How long leaving waits for a terminal that takes nothing.
const LAST_DRAWING: Duration = Duration::from_millis(500);

/// How the user wants to be told of new texts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Telling {
    /// By what.
    pub notify: Notify,
    /// Who wrote and what is in it.
    pub text: bool,
}

/// Talks until the user leaves.
pub async fn run(client: Client, contact: Option<ContactInfo>, telling: Telling) -> Result<(), Failure> {
    let mut list = List::default();
    list.renew(&client.conversations().await?);
    let newest = client.history_page_before(None, None, u64::MAX).await?;
    let mut stop = Stop::listen_to_all()?;
    let taken = Taken::take(Kind::Screen)?;
    let painter = Painter::start().map_err(|error| Failure::io("start a thread", &error))?;
    let mut chat = Chat {
        state: State::new(list, telling.notify),
        link: Link::start(client.clone(), None),
        client,
        taken,
        painter,
        zone: Zone::system(),
        seen: None,
        changes: None,
        renewed: None,
        pictures: Vec::new(),
        told: newest.messages.last().map_or(0, |message| message.place),
        tell_text: telling.text,
        in_tmux: std::env::var_os("TMUX").is_some_and(|socket| !socket.is_empty()),
    };
    let talked = tokio::select! {
        // A terminal that is gone takes no more writes, which is no failure of the chat.
        talked = chat.talk(contact) => if terminal::is_gone() { Ok(()) } else { talked },
        () = stop.requested() => Ok(()),
    };
    let kept = chat.keep_draft().await;
    let Chat { mut link, taken, painter, .. } = chat;
    painter.settle(LAST_DRAWING);
    drop(painter);
    // The terminal first: saying goodbye to the relay may take a moment.
    drop(taken);
    link.close().await;
    talked?;
    Ok(kept?)
}

struct Chat {
    client: Client,
    state: State,
    link: Link,
    taken: Taken,
    painter: Painter,
    zone: Zone,
    /// Up to where the open conversation was marked as read.
    seen: Option<(ConversationId, u64)>,
    /// The store as it was read last, and when.
    changes: Option<Changes>,
    renewed: Option<Instant>,
    /// What was on screens that are not known to be drawn.
    pictures: Vec<(u64, Picture)>,
    /// The user was told of texts up to this place.
    told: u64,
    tell_text: bool,
    in_tmux: bool,
}

impl Chat {
    async fn talk(&mut self, contact: Option<ContactInfo>) -> Result<(), Failure> {
        if let Some(contact) = contact {
            self.open(contact.conversation(), None).await?;
        }
        let mut keys = Keys::new();
        let mut link_alive = true;
        let mut redraw = tokio::time::interval(REDRAW);
        let mut look = tokio::time::interval(LOOK);
        self.draw().await?;
        loop {
            tokio::select! {
                key = keys.next() => match key {
                    Some(Ok(event)) => {
                        if self.terminal_event(event).await? {
                            return Ok(());
                        }
                    }
                    Some(Err(error)) => return Err(Failure::io("read the terminal", &error)),
                    // The terminal has gone.
                    None => return Ok(()),
                },
                event = self.link.next(), if link_alive => match event {
                    Some(event) => {
                        if !self.event(event).await? {
                            continue;
                        }
                    }
                    // It ends by telling of a failure, which is shown, or in a panic.
                    None if !terminal::is_taken() => {
                        return Err(Failure::new("internal", "a task of the chat ended before its time"));
                    }
                    None => link_alive = false,
                },
                wake = self.taken.wake() => match wake {
                    Wake::Suspend => {
                        self.before_suspending().await?;
                        self.taken.suspend().await?;
                        self.after_suspending();
                    }
                    Wake::Resume => {
                        self.taken.resume()?;
                        self.after_a_pause();
                    }
                    Wake::Gone => return Ok(()),
                },
                drawn = self.painter.drawn() => {
                    let number = drawn.map_err(|error| Failure::io("write to the terminal", &error))?;
                    self.was_drawn(number).await?;
                    continue;
                }
                _ = look.tick() => {
                    self.keep_draft().await?;
                    if !self.renew_if_changed().await? && !self.search_on().await? {
                        continue;
                    }
                }
                _ = redraw.tick() => {}
            }
            self.draw().await?;
        }
    }

    /// Whether the user leaves.
    async fn terminal_event(&mut self, event: TerminalEvent) -> Result<bool, Failure> {
        let effect = match event {
            TerminalEvent::Key(key) => self.state.key(key),
            TerminalEvent::Mouse(event) => self.state.mouse(event),
            TerminalEvent::Paste(text) => {
                self.pasted(&text);
                None
            }
            TerminalEvent::FocusGained => {
                self.state.focused = true;
                None
            }
            TerminalEvent::FocusLost => {
                self.state.focused = false;
                None
            }
            TerminalEvent::Resize(..) => None,
        };
        match effect {
            Some(Effect::Leave) => return Ok(true),
            Some(Effect::Suspend) => {
                self.before_suspending().await?;
                self.taken.suspend_job().await?;
                self.after_suspending();
            }
            Some(effect) => {
                if let Err(error) = self.act(effect).await {
                    self.state.remark(&words(&error));
                }
            }
            None => {}
        }
        Ok(false)
    }

    async fn act(&mut self, effect: Effect) -> Result<(), Error> {
        let open = self.state.open_id();
        match effect {
            Effect::Send(text) => self.send(text).await,
            Effect::SendFiles(files) => self.send_files(files).await,
            Effect::Save { nth, to } => self.save(nth, to).await?,
            Effect::Open(id) => self.open(id, None).await?,
            Effect::Jump(id, place) if open == Some(id) => {
                let piece = self.around(id, place).await?;
                self.with_talk(|talk| talk.jump(piece, Some(place)));
            }
            Effect::Jump(id, place) => self.open(id, Some(place)).await?,
            Effect::Oldest => {
                if let Some(id) = open {
                    let piece = self.behind(id, 0).await?;
                    self.with_talk(|talk| talk.jump_to_the_oldest(piece));
                }
            }
            Effect::Newest => self.go_to_the_newest().await?,
            Effect::Search(text) => {
                self.state.over = Over::Found(Found { text, before: Some(u64::MAX), ..Found::default() });
                self.search_on().await?;
            }
            Effect::Accept(account, name) => {
                self.client.contacts().accept_request(account, Some(&name)).await?;
                self.link.flush();
                self.renew().await?;
                self.state.remark("Accepted: now you write to each other. Compare `kuvert safety-number` with them");
            }
            Effect::Block(account) => {
                let blocked = self.client.contacts().set_blocked(account, true).await?;
                self.link.flush();
                if blocked.request && open == Some(blocked.conversation()) {
                    self.close_talk();
                }
                self.renew().await?;
                self.state.remark(&format!("{} is blocked", blocked.alias));
            }
            Effect::Mute(id, muted) => {
                self.client.set_muted(id, muted).await?;
                self.renew().await?;
                self.state.remark(if muted { "Muted: no bell for this conversation" } else { "No longer muted" });
            }
            Effect::Mouse(on) => self.signal_mouse(on),
            Effect::TakeOver => self.link.take_over(),
            Effect::Leave | Effect::Suspend => {}
        }
        Ok(())
    }

    fn with_talk(&mut self, change: impl FnOnce(&mut Talk)) {
        if let Some(talk) = &mut self.state.talk {
            change(talk);
        }
    }

    fn close_talk(&mut self) {
        self.state.talk = None;
        self.state.focus = crate::chat::state::Focus::List;
    }

    fn signal_mouse(&self, on: bool) {
        let mut sequence = String::new();
        // Writing to a string does not fail.
        let _ = if on {
            crossterm::Command::write_ansi(&EnableMouseCapture, &mut sequence)
        } else {
            crossterm::Command::write_ansi(&DisableMouseCapture, &mut sequence)
        };
        self.painter.signal(sequence);
    }

    /// Opens a conversation, at a message or where it is unread.
    async fn open(&mut self, id: ConversationId, at: Option<u64>) -> Result<(), Error> {
        self.keep_draft().await?;
        let Some(account) = id.contact() else { return Ok(()) };
        let contact = self.client.contacts().get(account).await?;
        let draft = self.client.draft(id).await?;
        let mut talk = Talk::new(contact, draft, self.newest(id).await?);
        if let Some(place) = at {
            talk.jump(self.around(id, place).await?, Some(place));
        }
        self.state.open(talk);
        self.seen = None;
        Ok(())
    }

    async fn go_to_the_newest(&mut self) -> Result<(), Error> {
        let Some(talk) = &self.state.talk else { return Ok(()) };
        if talk.holds_the_newest() {
            self.with_talk(Talk::go_to_the_newest);
        } else {
            let piece = self.newest(talk.id()).await?;
            self.with_talk(|talk| talk.jump(piece, None));
        }
        Ok(())
    }

    async fn newest(&self, id: ConversationId) -> Result<Piece, Error> {
        self.before(id, u64::MAX).await
    }

    async fn before(&self, id: ConversationId, place: u64) -> Result<Piece, Error> {
        let page = self.client.history_page_before(Some(id), None, place).await?;
        Ok(Piece { older: page.next.is_some(), newer: false, messages: page.messages })
    }

    async fn behind(&self, id: ConversationId, place: u64) -> Result<Piece, Error> {
        let page = self.client.history_page(Some(id), None, place).await?;
        Ok(Piece { older: false, newer: page.next.is_some(), messages: page.messages })
    }

    /// What stands before and behind a message, with it.
    async fn around(&self, id: ConversationId, place: u64) -> Result<Piece, Error> {
        let mut piece = self.before(id, place).await?;
        let Piece { messages, newer, .. } = self.behind(id, place.saturating_sub(1)).await?;
        piece.messages.extend(messages);
        piece.newer = newer;
        Ok(piece)
    }

    /// The messages that are held, anew, and what came behind them.
    async fn anew(&self, id: ConversationId, from: u64) -> Result<Piece, Error> {
        let mut piece = self.behind(id, from.saturating_sub(1)).await?;
        while piece.newer && piece.messages.len() < MAX_HELD {
            let Some(last) = piece.messages.last().map(|message| message.place) else { break };
            let Piece { messages, newer, .. } = self.behind(id, last).await?;
            piece.messages.extend(messages);
            piece.newer = newer;
        }
        Ok(piece)
    }

    /// Takes what the link tells; whether the screen may be another one now.
    async fn event(&mut self, event: LinkEvent) -> Result<bool, Failure> {
        if let LinkEvent::Transfer(transfer) | LinkEvent::Received(Event::Transfer(transfer)) = &event
            && !self.state.is_news(transfer)
        {
            return Ok(false);
        }
        if let LinkEvent::Received(Event::Message(message)) = &event {
            self.tell_of(message);
        }
        self.state.apply(event);
        // Under a stream of mail not with each letter: the next look is soon.
        if self.renewed.is_none_or(|at| at.elapsed() >= LOOK / 2) {
            self.renew_if_changed().await?;
        }
        Ok(true)
    }

    /// Rings for a text that came, unless it came onto the screen before the user's eyes.
    fn tell_of(&mut self, message: &MessageRecord) {
        if message.direction != Direction::Incoming || message.place <= self.told {
            return;
        }
        self.told = message.place;
        let id = message.message.conversation;
        let muted = self.state.list.row(id).is_some_and(|row| row.muted);
        let before_ones_eyes = self.state.focused && self.state.open_id() == Some(id);
        if muted || before_ones_eyes || self.state.notify == Notify::Off {
            return;
        }
        let what = self.tell_text.then(|| harmless::line(&format!("{}: {}", message.alias, message.text)).into_owned());
        self.painter.signal(self.state.notify.bytes(what.as_deref(), self.in_tmux));
    }

    /// Reads what stands on the screen from the store, if any process changed something.
    async fn renew_if_changed(&mut self) -> Result<bool, Error> {
        let changes = self.client.changes().await?;
        if self.changes == Some(changes) {
            return Ok(false);
        }
        self.changes = Some(changes);
        self.renewed = Some(Instant::now());
        match self.renew().await {
            // Damaged rows were met and removed: what is left is read the next time.
            Err(Error::StoreMended) => self.changes = None,
            renewed => renewed?,
        }
        Ok(true)
    }

    async fn renew(&mut self) -> Result<(), Error> {
        self.state.list.renew(&self.client.conversations().await?);
        let Some(talk) = &self.state.talk else { return Ok(()) };
        let (id, begin) = (talk.id(), talk.begin());
        let Some(account) = id.contact() else { return Ok(()) };
        let contact = match self.client.contacts().get(account).await {
            Ok(contact) => contact,
            // It was removed in another window.
            Err(Error::ContactUnknown { .. }) => {
                self.close_talk();
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let older = talk.has_older();
        let mut piece = match begin {
            Some(begin) => self.anew(id, begin).await?,
            None => self.newest(id).await?,
        };
        if begin.is_some() {
            piece.older = older;
        }
        let away = !self.state.focused;
        self.with_talk(|talk| {
            talk.renew(contact);
            talk.reload(piece, away);
        });
        Ok(())
    }

    /// Looks through another piece of all that was written; whether there was one.
    async fn search_on(&mut self) -> Result<bool, Error> {
        let Over::Found(Found { text, before: Some(before), .. }) = &self.state.over else { return Ok(false) };
        let page = self.client.history_page_before(None, Some(text), *before).await?;
        if let Over::Found(found) = &mut self.state.over {
            found.join(page.messages, page.next);
        }
        Ok(true)
    }

    async fn draw(&mut self) -> Result<(), Failure> {
        if !terminal::is_taken() {
            return Ok(());
        }
        let (columns, rows) = crossterm::terminal::size().map_err(|error| Failure::io("use the terminal", &error))?;
        let mut wanted_before = None;
        loop {
            let mut canvas = Canvas::new(columns.into(), rows.into());
            let light = Light { zone: &self.zone, now: now_ms() };
            let picture = view::draw(&mut canvas, &mut self.state, light);
            // What is missing is read before it is drawn. What does not come twice is not there.
            if let (Some(wanted), Some(id)) = (picture.wanted, self.state.open_id())
                && wanted_before != Some(wanted)
            {
                wanted_before = Some(wanted);
                let piece = match wanted {
                    Wanted::Before(place) => self.before(id, place).await?,
                    Wanted::Behind(place) => self.behind(id, place).await?,
                };
                self.with_talk(|talk| talk.join(wanted, piece));
                continue;
            }
            let number = self.painter.draw(canvas);
            self.pictures.push((number, picture));
            return Ok(());
        }
    }

    /// A screen stands: what came onto it was read, if the window has the keyboard.
    async fn was_drawn(&mut self, number: u64) -> Result<(), Error> {
        let of_it = self.pictures.iter().find(|(drawn, _)| *drawn == number).and_then(|(_, picture)| picture.seen);
        self.pictures.retain(|(drawn, _)| *drawn > number);
        let Some((id, place)) = of_it.filter(|_| self.state.focused) else { return Ok(()) };
        if self.seen.is_some_and(|(before, until)| before == id && until >= place) {
            return Ok(());
        }
        self.seen = Some((id, place));
        if self.client.mark_read_until(id, place).await? > 0 {
            self.link.flush();
        }
        Ok(())
    }

    /// What is pasted is written, or, where it names files and nothing else, asked about: terminals paste what is dropped on them.
    fn pasted(&mut self, text: &str) {
        let home = std::env::var_os("HOME");
        let is_file = |path: &Path| path.metadata().is_ok_and(|found| found.is_file());
        let paths =
            dropped::dropped(text, home.as_deref().map(Path::new), is_file).filter(|_| self.state.takes_files());
        let Some(paths) = paths else { return self.state.paste(text) };
        let named: Vec<String> = paths
            .iter()
            .map(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                format!("{} {}", safe_file_name(&name), bytes(path.metadata().map_or(0, |found| found.len())))
            })
            .collect();
        self.state.ask_to_send(paths, &named.join(", "), text.to_owned());
    }

    async fn send_files(&mut self, files: Outgoing) {
        let Some(talk) = &self.state.talk else { return };
        let Outgoing { paths, voice, written } = files;
        let outgoing = paths.into_iter().map(|path| OutgoingFile { voice, ..OutgoingFile::new(path) }).collect();
        let queued = self.client.queue_files(&talk.contact, "", outgoing).await;
        self.link.send_files();
        self.queued(queued.map(drop), written).await;
    }

    /// Fetches a file that came and writes it where it is wanted.
    async fn save(&mut self, nth: usize, to: Option<PathBuf>) -> Result<(), Error> {
        let Some((message, file)) = self.nth_file(nth).await? else {
            let words = if nth == 1 { "No file came in this conversation" } else { "So many files did not come here" };
            self.state.remark(words);
            return Ok(());
        };
        if save::is_once(&message, &file) && to.is_none() {
            self.state.remark("This is to be shown once: say where it is to be written, /save PATH");
            return Ok(());
        }
        if file.state == FileState::Here {
            match save::one(&self.client, &message, file.number, to.as_deref()).await {
                Ok(saved) => self.state.remark(&format!("{} is saved: {}", saved.name, saved.path.display())),
                Err(Failure::Failed { message, .. }) => self.state.remark(&message),
                Err(_) => {}
            }
            return Ok(());
        }
        let name = safe_file_name(&file.name);
        self.state.remark(&match self.link.save(Saving { message: message.message, number: file.number, to }) {
            true => format!("{name} is fetched; this line says when it is here"),
            false => "Other files are being fetched: try again when they are here".to_owned(),
        });
        Ok(())
    }

    /// The n-th of the files that came in the open conversation, from the newest back.
    async fn nth_file(&self, nth: usize) -> Result<Option<(MessageRecord, FileInfo)>, Error> {
        let Some(id) = self.state.open_id() else { return Ok(None) };
        let (mut left, mut before) = (nth, Some(u64::MAX));
        while let Some(place) = before {
            let page = self.client.history_page_before(Some(id), None, place).await?;
            let came = page.messages.iter().rev().filter(|message| message.direction == Direction::Incoming);
            for (message, file) in
                came.flat_map(|message| message.attachments.iter().rev().map(move |file| (message, file)))
            {
                left = left.saturating_sub(1);
                if left == 0 {
                    return Ok(Some((message.clone(), file.clone())));
                }
            }
            before = page.next;
        }
        Ok(None)
    }

    async fn send(&mut self, text: String) {
        let Some(talk) = &self.state.talk else { return };
        let queued = self.client.queue_text(&talk.contact, &text).await;
        self.queued(queued.map(drop), text).await;
    }

    /// Something waits to be sent now; or it cannot be, and what was written comes back.
    async fn queued(&mut self, queued: Result<(), Error>, written: String) {
        match queued {
            Ok(()) => self.with_talk(|talk| {
                talk.forget_the_unread_line();
                talk.go_to_the_newest();
            }),
            Err(error) => {
                // Unless something else is being written already.
                self.with_talk(|talk| {
                    if talk.input.is_blank() {
                        talk.input.restore(written);
                    }
                });
                self.state.remark(&words(&error));
            }
        }
        self.link.flush();
        let shown = async {
            self.go_to_the_newest().await?;
            self.keep_draft().await?;
            self.renew().await
        };
        if let Err(error) = shown.await {
            self.state.remark(&words(&error));
        }
    }

    /// Keeps what is being written, if that changed.
    async fn keep_draft(&mut self) -> Result<(), Error> {
        let Some(talk) = self.state.talk.as_mut().filter(|talk| talk.input.text() != talk.saved) else { return Ok(()) };
        let (id, text) = (talk.id(), talk.input.text().to_owned());
        talk.saved.clone_from(&text);
        match self.client.set_draft(id, &text).await {
            // It was removed in another window.
            Err(Error::ContactUnknown { .. }) => Ok(()),
            kept => kept,
        }
    }

    /// While this process is stopped, another one of the home receives.
    async fn before_suspending(&mut self) -> Result<(), Failure> {
        self.keep_draft().await?;
        self.painter.settle(LAST_DRAWING);
        self.link.close().await;
        Ok(())
    }

    fn after_suspending(&mut self) {
        self.link.open_again();
        self.state.status = Status::Connecting;
        self.after_a_pause();
    }

    fn after_a_pause(&mut self) {
        self.painter.renew();
        if self.state.mouse {
            self.signal_mouse(true);
        }
    }
}
