//! What the chat's screen shows, as a value. Keys and events go in, effects come out; nothing here waits or writes.

use std::collections::HashMap;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use kuvert_client::{ContactInfo, Direction, Event, MessageRecord, MessageRef, MessageState, ReceiptKind};

use crate::chat::input::InputLine;
use crate::chat::link::LinkEvent;
use crate::commands::notice;
use crate::error::{shell_word, words};
use crate::output::harmless;

/// Short enough for the line above the input on a terminal of 80 columns.
const DISPLACED: &str = "Another process receives now: until it ends, or until Ctrl-R here.";

/// What a key asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this text.
    Send(String),
    /// End the chat.
    Leave,
    /// Receive here again, and displace what displaced this chat.
    TakeOver,
    /// Stop the program until the shell lets it go on.
    Suspend,
}

/// How the connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not yet.
    Connecting,
    /// It stands.
    Connected,
    /// It is tried again.
    Offline,
    /// Another process receives.
    Displaced,
}

/// One message on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which message.
    pub message: MessageRef,
    /// Written by the user.
    pub outgoing: bool,
    /// Made harmless.
    pub text: String,
    /// When it was stored here, Unix milliseconds: the order of the screen, which a sender's clock must not disturb.
    pub at: u64,
    /// How far it has come.
    pub state: MessageState,
}

/// Everything on the screen.
#[derive(Debug)]
pub struct State {
    /// The contact as it stands.
    pub contact: ContactInfo,
    /// The alias, made harmless.
    pub alias: String,
    /// In order of arrival.
    pub entries: Vec<Entry>,
    /// What is being written.
    pub input: InputLine,
    /// How the connection stands.
    pub status: Status,
    /// A remark above the input line.
    pub notice: Option<String>,
    /// Lines between the bottom of the history and the bottom of the screen.
    pub scroll: usize,
    /// Messages that came while the user was looking at older ones.
    pub unseen: usize,
    /// Lines of history that the screen last had room for.
    page: usize,
    places: HashMap<(MessageRef, bool), usize>,
}

impl State {
    /// A chat with its history.
    pub fn new(contact: ContactInfo, history: &[MessageRecord]) -> Self {
        let alias = harmless::line(&contact.alias).into_owned();
        let mut state = Self {
            contact,
            alias,
            entries: Vec::with_capacity(history.len()),
            input: InputLine::default(),
            status: Status::Connecting,
            notice: None,
            scroll: 0,
            unseen: 0,
            page: 10,
            places: HashMap::new(),
        };
        for message in history {
            state.put(message);
        }
        state
    }

    /// Adds a message of this conversation, or brings it up to date.
    pub fn put(&mut self, message: &MessageRecord) {
        let outgoing = message.direction == Direction::Outgoing;
        let key = (message.message, outgoing);
        if let Some(entry) = self.places.get(&key).and_then(|place| self.entries.get_mut(*place)) {
            entry.state = message.state.clone();
            return;
        }
        self.put_entry(message);
        if outgoing {
            self.scroll_to_bottom();
        } else if self.scroll > 0 {
            self.unseen += 1;
        }
    }

    fn put_entry(&mut self, message: &MessageRecord) {
        let outgoing = message.direction == Direction::Outgoing;
        self.places.insert((message.message, outgoing), self.entries.len());
        self.entries.push(Entry {
            message: message.message,
            outgoing,
            text: harmless::text(&message.text).into_owned(),
            at: message.written_at(),
            state: message.state.clone(),
        });
    }

    /// Another process sent and received meanwhile: everything anew, in the store's order.
    pub fn reload(&mut self, history: &[MessageRecord]) {
        let (before, unseen) = (self.entries.len(), self.unseen);
        self.entries.clear();
        self.places.clear();
        history.iter().for_each(|message| self.put_entry(message));
        let came = self.entries.len().saturating_sub(before);
        self.unseen = if self.scroll > 0 { unseen + came } else { 0 };
    }

    /// Messages of the contact that are not marked as read yet.
    pub fn unread(&self) -> Vec<MessageRef> {
        let unread = |entry: &&Entry| !entry.outgoing && entry.state == MessageState::Unshown;
        self.entries.iter().filter(unread).map(|entry| entry.message).collect()
    }

    /// They were marked.
    pub fn all_read(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| entry.state == MessageState::Unshown) {
            entry.state = MessageState::Shown;
        }
    }

    /// Messages of the user's that the relay does not have, as far as the screen knows.
    pub fn queued(&self) -> Vec<MessageRef> {
        let queued = |entry: &&Entry| entry.outgoing && entry.state == MessageState::Queued;
        self.entries.iter().filter(queued).map(|entry| entry.message).collect()
    }

    /// A message of the user's has come this far. Never goes back: a late "accepted" does not undo "read".
    pub fn advance(&mut self, message: MessageRef, state: MessageState) {
        let place = self.places.get(&(message, true));
        if let Some(entry) = place.and_then(|place| self.entries.get_mut(*place))
            && rank(&state) > rank(&entry.state)
        {
            entry.state = state;
        }
    }

    /// What the link tells. Messages of other contacts are only remarked upon.
    pub fn apply(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected => self.status = Status::Connected,
            LinkEvent::Offline { error } => {
                self.status = Status::Offline;
                self.remark(&words(&error));
            }
            LinkEvent::Displaced { .. } => {
                self.status = Status::Displaced;
                self.remark(DISPLACED);
            }
            LinkEvent::Back => {
                self.status = Status::Connected;
                self.notice = None;
            }
            LinkEvent::Failed { error } => {
                self.status = Status::Offline;
                self.remark(&words(&error));
            }
            LinkEvent::Accepted(accepted) => self.advance(accepted.message, MessageState::Accepted),
            LinkEvent::NotSent(failed) => {
                if !failed.will_retry {
                    self.advance(failed.message, MessageState::Failed(failed.error.code().to_owned()));
                }
                self.remark(&words(&failed.error));
            }
            // Errors of the connection are told when it is tried again.
            LinkEvent::Flushed { error: Some(error) } if !error.is_connection() => self.remark(&words(&error)),
            LinkEvent::Flushed { .. } => {}
            LinkEvent::Received(event) => self.received(event),
        }
    }

    fn received(&mut self, event: Event) {
        match event {
            Event::Message(message) if message.message.conversation == self.contact.conversation() => {
                self.put(&message)
            }
            Event::Message(message) => self.remark(&format!("{} wrote: `kuvert receive` shows it", message.alias)),
            Event::Receipt { message, kind, .. } => self.advance(
                message,
                match kind {
                    ReceiptKind::Delivered => MessageState::Delivered,
                    ReceiptKind::Read => MessageState::Read,
                },
            ),
            Event::Expired { count } => {
                self.remark(&format!("{count} letters were deleted by the relay unread: they waited for too long"));
            }
            Event::Request(contact) => {
                self.remark(&format!("{} is no contact of yours and wrote: `kuvert contact requests`", contact.alias))
            }
            Event::IdentityChanged { account, who } => {
                if account == self.contact.account {
                    self.contact.key_changed = true;
                }
                self.remark(&format!(
                    "the key of {who} changed: compare safety numbers, then `kuvert contact accept {}`",
                    shell_word(&who)
                ));
            }
            Event::Disconnected { .. } => self.status = Status::Offline,
            Event::Reconnected => {
                self.status = Status::Connected;
                self.notice = None;
            }
            other => {
                if let Some((_, message)) = notice(&other) {
                    self.remark(&message);
                }
            }
        }
    }

    /// Shows a remark until the next key.
    pub fn remark(&mut self, text: &str) {
        self.notice = Some(harmless::line(text).into_owned());
    }

    /// The screen has this many lines of history and can be scrolled by that many.
    pub fn fit(&mut self, page: usize, furthest: usize) {
        self.page = page;
        self.scroll = self.scroll.min(furthest);
        if self.scroll == 0 {
            self.unseen = 0;
        }
    }

    /// A text from the clipboard.
    pub fn paste(&mut self, text: &str) {
        self.input.insert(&text.replace("\r\n", "\n").replace('\r', "\n"));
    }

    /// A key.
    pub fn key(&mut self, key: KeyEvent) -> Option<Effect> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        self.notice = None;
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Esc => return Some(Effect::Leave),
            KeyCode::Char('c') if control => return Some(Effect::Leave),
            KeyCode::Char('d') if control && self.input.is_blank() => return Some(Effect::Leave),
            KeyCode::Char('r') if control && self.status == Status::Displaced => return Some(Effect::TakeOver),
            KeyCode::Char('z') if control => return Some(Effect::Suspend),
            KeyCode::Enter if alt || key.modifiers.contains(KeyModifiers::SHIFT) => self.input.insert("\n"),
            KeyCode::Char('j') if control => self.input.insert("\n"),
            KeyCode::Enter if self.input.is_blank() => {}
            KeyCode::Enter => return Some(Effect::Send(self.input.take())),
            KeyCode::Char('a') if control => self.input.home(),
            KeyCode::Char('e') if control => self.input.end(),
            KeyCode::Char('u') if control => self.input.delete_to_start(),
            KeyCode::Char('k') if control => self.input.delete_to_end(),
            KeyCode::Char('w') if control => self.input.delete_word(),
            KeyCode::Char('b') if alt => self.input.word_left(),
            KeyCode::Char('f') if alt => self.input.word_right(),
            KeyCode::Char(c) if !control && !alt => self.input.insert(c.encode_utf8(&mut [0; 4])),
            KeyCode::Backspace if control || alt => self.input.delete_word(),
            KeyCode::Backspace => self.input.backspace(),
            KeyCode::Delete => self.input.delete_forward(),
            KeyCode::Left if control || alt => self.input.word_left(),
            KeyCode::Right if control || alt => self.input.word_right(),
            KeyCode::Left => self.input.left(),
            KeyCode::Right => self.input.right(),
            KeyCode::Home if control => self.scroll = usize::MAX,
            KeyCode::End if control => self.scroll_to_bottom(),
            KeyCode::Home => self.input.home(),
            KeyCode::End => self.input.end(),
            KeyCode::Up => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Down => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_add(self.page.saturating_sub(1).max(1)),
            KeyCode::PageDown => self.scroll = self.scroll.saturating_sub(self.page.saturating_sub(1).max(1)),
            _ => {}
        }
        None
    }

    fn scroll_to_bottom(&mut self) {
        self.scroll = 0;
        self.unseen = 0;
    }
}

/// How far a message has come, as a number.
fn rank(state: &MessageState) -> u8 {
    match state {
        MessageState::Accepted | MessageState::Shown => 1,
        MessageState::Failed(_) => 2,
        MessageState::Delivered => 3,
        MessageState::Read => 4,
        // `Queued` and `Unshown`.
        _ => 0,
    }
}

#[cfg(test)]
pub mod tests {
    use kuvert_client::{AccountId, EnvelopeId};

    use super::*;

    pub fn contact() -> ContactInfo {
        ContactInfo {
            account: AccountId::from_bytes([2; 16]),
            alias: "bob".into(),
            name: Some("bob".into()),
            verified: true,
            blocked: false,
            key_changed: false,
            blocked_at_relay: false,
            request: false,
            added_at: 0,
        }
    }

    pub fn message(number: u8, direction: Direction, text: &str, at: u64) -> MessageRecord {
        let state = if direction == Direction::Incoming { MessageState::Unshown } else { MessageState::Queued };
        MessageRecord {
            message: MessageRef {
                conversation: contact().conversation(),
                author: if direction == Direction::Incoming {
                    contact().account
                } else {
                    AccountId::from_bytes([1; 16])
                },
                id: EnvelopeId::from_bytes([number; 16]),
            },
            alias: "bob".into(),
            direction,
            text: text.into(),
            sent_at: at,
            stored_at: at,
            state,
            request: false,
        }
    }

    fn press(state: &mut State, code: KeyCode) -> Option<Effect> {
        state.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn a_line_is_written_and_sent() {
        let mut state = State::new(contact(), &[]);
        for c in "hi".chars() {
            assert_eq!(press(&mut state, KeyCode::Char(c)), None);
        }
        assert_eq!(press(&mut state, KeyCode::Enter), Some(Effect::Send("hi".into())));
        assert_eq!(press(&mut state, KeyCode::Enter), None, "an empty line is not sent");
        assert_eq!(press(&mut state, KeyCode::Esc), Some(Effect::Leave));
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(state.key(interrupt), Some(Effect::Leave));
    }

    #[test]
    fn a_message_that_comes_twice_stands_once() {
        let first = message(1, Direction::Incoming, "hi", 1);
        let mut state = State::new(contact(), std::slice::from_ref(&first));
        state.apply(LinkEvent::Received(Event::Message(first.clone())));
        assert_eq!(state.entries.len(), 1);
        // The same id in the other direction is another message: ids are drawn by either side.
        state.put(&message(1, Direction::Outgoing, "hi", 2));
        assert_eq!(state.entries.len(), 2);
        assert_eq!(state.unread(), [first.message]);
        state.all_read();
        assert!(state.unread().is_empty());
    }

    #[test]
    fn ticks_never_go_back() {
        let sent = message(1, Direction::Outgoing, "hi", 1);
        let mut state = State::new(contact(), std::slice::from_ref(&sent));
        let receipt = |kind| Event::Receipt { message: sent.message, from: "bob".into(), kind, at: 2 };
        state.apply(LinkEvent::Received(receipt(ReceiptKind::Read)));
        state.apply(LinkEvent::Received(receipt(ReceiptKind::Delivered)));
        state.apply(LinkEvent::Accepted(kuvert_client::Accepted {
            message: sent.message,
            to: "bob".into(),
            anonymous: false,
        }));
        assert_eq!(state.entries[0].state, MessageState::Read);
        assert!(state.queued().is_empty());
    }

    #[test]
    fn messages_of_others_are_remarked_upon_and_not_shown() {
        let mut state = State::new(contact(), &[]);
        let mut other = message(1, Direction::Incoming, "psst", 1);
        other.message.conversation = AccountId::from_bytes([9; 16]).into();
        other.alias = "carol\x1b[2J".into();
        state.apply(LinkEvent::Received(Event::Message(other)));
        assert!(state.entries.is_empty());
        assert!(state.notice.unwrap().starts_with("carol␛"));
    }

    #[test]
    fn new_messages_are_counted_while_older_ones_are_read() {
        let mut state = State::new(contact(), &[]);
        state.scroll = 5;
        state.put(&message(1, Direction::Incoming, "new", 1));
        assert_eq!(state.unseen, 1);
        state.fit(10, 3);
        assert_eq!(state.scroll, 3, "never further than there is history");
        state.put(&message(2, Direction::Outgoing, "mine", 2));
        assert_eq!((state.scroll, state.unseen), (0, 0), "writing goes to the bottom");
    }
}
