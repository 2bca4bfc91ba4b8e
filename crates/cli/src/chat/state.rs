//! What the chat's screen shows, as a value. Keys and events go in, effects come out; nothing here waits or writes.

use std::path::PathBuf;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseEvent, MouseEventKind};
use kuvert_client::{AccountId, ConversationId, Event, MessageRecord, Transfer};

use crate::chat::command::{Command, Written, read};
use crate::chat::input::Input;
use crate::chat::link::LinkEvent;
use crate::chat::list::List;
use crate::chat::notify::Notify;
use crate::chat::talk::{Move, Talk};
use crate::commands::notice;
use crate::error::{shell_word, words};
use crate::output::harmless;

/// Lines that the wheel turns by.
const WHEEL: usize = 3;

/// Hits of a search that are shown; more of them would say: look for something else.
pub const MAX_HITS: usize = 500;

/// What a key asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this text in the open conversation.
    Send(String),
    /// Send these files there.
    SendFiles(Outgoing),
    /// Fetch a file of the open conversation and write it.
    Save {
        /// The newest is 1.
        nth: usize,
        /// Where to; none: among this home's files.
        to: Option<PathBuf>,
    },
    /// Open a conversation.
    Open(ConversationId),
    /// Show a message where it stands.
    Jump(ConversationId, u64),
    /// Show the oldest messages.
    Oldest,
    /// Show the newest messages.
    Newest,
    /// Look for a text in all conversations.
    Search(String),
    /// Make a request a contact, called so.
    Accept(AccountId, String),
    /// Block a contact or a request.
    Block(AccountId),
    /// Mute a conversation or end that.
    Mute(ConversationId, bool),
    /// Take the mouse, or let go of it.
    Mouse(bool),
    /// End the chat.
    Leave,
    /// Receive here again, and displace what displaced this chat.
    TakeOver,
    /// Stop the program until the shell lets it go on.
    Suspend,
}

/// Files to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Which.
    pub paths: Vec<PathBuf>,
    /// As voice notes.
    pub voice: bool,
    /// What was written or pasted: it is put back if they cannot be sent.
    pub written: String,
}

/// How the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not yet.
    Connecting,
    /// It stands, and this process receives.
    Connected,
    /// It stands, and another process of this home receives; what comes is shown here, too.
    Along,
    /// It is tried again.
    Offline,
    /// Something else receives for this account.
    Displaced,
}

/// What has the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// The list.
    List,
    /// The open conversation.
    Talk,
}

/// What lies over the screen and has the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// Nothing.
    None,
    /// The help, scrolled by so many lines.
    Help(usize),
    /// What to look for.
    Ask(Input),
    /// What was found.
    Found(Found),
    /// What to call who made a request.
    Name(AccountId, Input),
    /// Whether to block.
    Block(AccountId, String),
    /// Whether to send what was dropped or pasted, and how it is called.
    Files(Outgoing, String),
}

/// Transfers that are shown at most; what else there is has its turn.
const MAX_TRANSFERS: usize = 8;

/// Of a whole.
const PERCENT: u64 = 100;

/// How far a transfer is.
pub fn percent(transfer: &Transfer) -> u64 {
    let percent = u128::from(transfer.done) * u128::from(PERCENT) / u128::from(transfer.total.max(1));
    u64::try_from(percent).unwrap_or(PERCENT).min(PERCENT)
}

/// A search and what it found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What was looked for.
    pub text: String,
    /// The newest first.
    pub hits: Vec<Hit>,
    /// The one that Enter goes to.
    pub selected: usize,
    /// Everything before this place was not looked through yet; none: it was.
    pub before: Option<u64>,
}

/// A message that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Where it stands.
    pub conversation: ConversationId,
    /// See [`MessageRecord::place`].
    pub place: u64,
    /// The conversation's alias, made harmless.
    pub alias: String,
    /// Written by the user.
    pub outgoing: bool,
    /// Made harmless, on one line.
    pub text: String,
    /// When it was written.
    pub at: u64,
}

impl Found {
    /// More was looked through, further back.
    pub fn join(&mut self, messages: Vec<MessageRecord>, before: Option<u64>) {
        let room = MAX_HITS.saturating_sub(self.hits.len());
        self.hits.extend(messages.into_iter().rev().take(room).map(|message| Hit {
            conversation: message.message.conversation,
            place: message.place,
            alias: harmless::line(&message.alias).into_owned(),
            outgoing: message.direction == kuvert_client::Direction::Outgoing,
            text: harmless::line(&message.text.replace('\n', " ")).into_owned(),
            at: message.written_at(),
        }));
        self.before = before.filter(|_| self.hits.len() < MAX_HITS);
    }
}

/// What was drawn last, for keys and clicks that depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// The list and the conversation stand side by side.
    pub both: bool,
    /// The columns in which one writes.
    pub input_columns: usize,
    /// The conversation that stands in each row of the screen's list.
    pub list: Vec<Option<ConversationId>>,
    /// The columns of the list.
    pub list_columns: usize,
}

/// Everything on the screen.
#[derive(Debug)]
pub struct State {
    /// All conversations.
    pub list: List,
    /// The open one.
    pub talk: Option<Talk>,
    /// What has the keys.
    pub focus: Focus,
    /// What lies over it.
    pub over: Over,
    /// How the connection stands.
    pub status: Status,
    /// Files on their way.
    pub transfers: Vec<Transfer>,
    /// A remark above the input line.
    pub notice: Option<String>,
    /// Receipts are said in words.
    pub in_words: bool,
    /// The mouse is taken.
    pub mouse: bool,
    /// How the user is told of new texts.
    pub notify: Notify,
    /// Whether the window has the keyboard, as far as the terminal says.
    pub focused: bool,
    /// What was drawn last.
    pub drawn: Drawn,
}

impl State {
    /// A chat with its list, and nothing open.
    pub fn new(list: List, notify: Notify) -> Self {
        Self {
            list,
            talk: None,
            focus: Focus::List,
            over: Over::None,
            status: Status::Connecting,
            transfers: Vec::new(),
            notice: None,
            in_words: false,
            mouse: false,
            notify,
            focused: true,
            drawn: Drawn { both: true, ..Drawn::default() },
        }
    }

    /// A conversation is open now.
    pub fn open(&mut self, talk: Talk) {
        self.list.selected = Some(talk.id());
        self.talk = Some(talk);
        (self.focus, self.over) = (Focus::Talk, Over::None);
    }

    /// The open conversation.
    pub fn open_id(&self) -> Option<ConversationId> {
        self.talk.as_ref().map(Talk::id)
    }

    /// What the link tells. What came is read from the store.
    pub fn apply(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected => self.status = Status::Connected,
            LinkEvent::Along => self.status = Status::Along,
            LinkEvent::Transfer(transfer) => self.transferring(transfer),
            LinkEvent::Saved { words } => self.remark(&words),
            LinkEvent::Offline { error } => {
                self.status = Status::Offline;
                self.transfers.clear();
                self.remark(&words(&error));
            }
            LinkEvent::Displaced { .. } => {
                self.status = Status::Displaced;
                self.remark("A copy of this home receives now: /receive receives here again");
            }
            LinkEvent::Back => self.status = Status::Connected,
            LinkEvent::Failed { error } => {
                self.status = Status::Offline;
                self.remark(&words(&error));
            }
            LinkEvent::NotSent(failed) => self.remark(&words(&failed.error)),
            // Errors of the connection are told when it is tried again.
            LinkEvent::Flushed { error: Some(error) } if !error.is_connection() => self.remark(&words(&error)),
            LinkEvent::Accepted(_) | LinkEvent::Flushed { .. } => {}
            LinkEvent::Received(event) => self.received(&event),
        }
    }

    fn received(&mut self, event: &Event) {
        match event {
            // They stand in the list.
            Event::Message(_) | Event::Receipt { .. } => {}
            Event::Transfer(transfer) => self.transferring(transfer.clone()),
            Event::File { message, number, error } => {
                let done =
                    |shown: &Transfer| !shown.upload && (shown.message, shown.number) == (message.message, *number);
                self.transfers.retain(|shown| !done(shown));
                // Where it is says the conversation.
                if let Some(error) = error {
                    self.remark(&words(error));
                }
            }
            Event::NotSent(failed) => {
                self.transfers.retain(|shown| shown.message != failed.message);
                self.remark(&words(&failed.error));
            }
            Event::Request(contact) => {
                self.remark(&format!("{} is no contact of yours and wrote: see Requests in the list", contact.alias));
            }
            Event::Expired { count } => {
                self.remark(&format!("{count} letters were deleted by the relay unread: they waited for too long"));
            }
            Event::IdentityChanged { who, .. } => self.remark(&format!(
                "the key of {who} changed: compare safety numbers, then `kuvert contact accept {}`",
                shell_word(who)
            )),
            Event::Disconnected { .. } => {
                self.status = Status::Offline;
                self.transfers.clear();
            }
            Event::Reconnected => {
                self.status = Status::Connected;
                self.notice = None;
            }
            other => {
                if let Some((_, message)) = notice(other) {
                    self.remark(&message);
                }
            }
        }
    }

    /// A file is so far.
    fn transferring(&mut self, transfer: Transfer) {
        let over = transfer.done >= transfer.total;
        match self.transfers.iter().position(|shown| shown.is_same_file(&transfer)) {
            Some(at) if over => drop(self.transfers.remove(at)),
            Some(at) => self.transfers[at] = transfer,
            None if over || self.transfers.len() >= MAX_TRANSFERS => {}
            None => self.transfers.push(transfer),
        }
    }

    /// Whether the screen would say something else of a transfer.
    pub fn is_news(&self, transfer: &Transfer) -> bool {
        let shown = self.transfers.iter().find(|shown| shown.is_same_file(transfer));
        shown.is_none_or(|shown| percent(shown) != percent(transfer)) || transfer.done >= transfer.total
    }

    /// Whether what is pasted now could be sent as files.
    pub fn takes_files(&self) -> bool {
        self.over == Over::None && self.may_write()
    }

    /// Asks whether to send files that were dropped or pasted.
    pub fn ask_to_send(&mut self, paths: Vec<PathBuf>, named: &str, written: String) {
        self.notice = None;
        self.over = Over::Files(Outgoing { paths, voice: false, written }, harmless::line(named).into_owned());
    }

    /// Shows a remark until the next key.
    pub fn remark(&mut self, text: &str) {
        self.notice = Some(harmless::line(text).into_owned());
    }

    /// A text from the clipboard. Its line breaks stay, and nothing is sent by it.
    pub fn paste(&mut self, text: &str) {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let may_write = self.may_write();
        let written = match &mut self.over {
            Over::Ask(input) | Over::Name(_, input) => input.insert(&text.replace('\n', " ")),
            Over::None if may_write => self.talk.as_mut().is_some_and(|talk| talk.input.insert(&text)),
            _ => return,
        };
        if written {
            self.notice = None;
        } else {
            self.remark(&format!("{} bytes are more than one text has room for: nothing was pasted", text.len()));
        }
    }

    fn may_write(&self) -> bool {
        self.focus == Focus::Talk && self.talk.as_ref().is_some_and(|talk| !talk.is_request())
    }

    /// The mouse, where it is taken.
    pub fn mouse(&mut self, event: MouseEvent) -> Option<Effect> {
        match event.kind {
            MouseEventKind::ScrollUp => self.scroll(Move::Up(WHEEL)),
            MouseEventKind::ScrollDown => self.scroll(Move::Down(WHEEL)),
            MouseEventKind::Down(_) if self.over == Over::None => {
                let there = (usize::from(event.column) < self.drawn.list_columns)
                    .then(|| self.drawn.list.get(usize::from(event.row)).copied().flatten());
                return there.flatten().map(Effect::Open);
            }
            _ => {}
        }
        None
    }

    fn scroll(&mut self, how: Move) {
        let down = matches!(how, Move::Down(_) | Move::PageDown);
        match &mut self.over {
            Over::Help(line) if down => *line = line.saturating_add(1),
            Over::Help(line) => *line = line.saturating_sub(1),
            Over::Found(found) if down => found.selected = (found.selected + 1).min(found.hits.len().saturating_sub(1)),
            Over::Found(found) => found.selected = found.selected.saturating_sub(1),
            _ => {
                if let Some(talk) = &mut self.talk {
                    talk.go(how);
                }
            }
        }
    }

    /// A key.
    pub fn key(&mut self, key: KeyEvent) -> Option<Effect> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        self.notice = None;
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Some(Effect::Leave),
            KeyCode::Char('z') if control => return Some(Effect::Suspend),
            _ => {}
        }
        match &mut self.over {
            Over::None => self.key_below(key),
            Over::Help(line) => {
                match key.code {
                    KeyCode::Up => *line = line.saturating_sub(1),
                    KeyCode::Down => *line = line.saturating_add(1),
                    KeyCode::PageUp => *line = line.saturating_sub(10),
                    KeyCode::PageDown | KeyCode::Char(' ') => *line = line.saturating_add(10),
                    _ => self.over = Over::None,
                }
                None
            }
            Over::Ask(_) | Over::Name(..) => self.key_in_a_line(key),
            Over::Found(_) => self.key_in_hits(key),
            Over::Files(..) => self.key_before_files(&key),
            Over::Block(account, _) => {
                let account = *account;
                self.over = Over::None;
                (key.code == KeyCode::Char('y')).then_some(Effect::Block(account))
            }
        }
    }

    /// Enter sends, Esc leaves what was pasted as text, and nothing else does anything: what is typed on is lost in no question.
    fn key_before_files(&mut self, key: &KeyEvent) -> Option<Effect> {
        match key.code {
            KeyCode::Enter | KeyCode::Esc => {}
            _ => return None,
        }
        let Over::Files(files, _) = std::mem::replace(&mut self.over, Over::None) else { return None };
        if key.code == KeyCode::Enter {
            return Some(Effect::SendFiles(files));
        }
        self.paste(&files.written);
        None
    }

    fn key_in_a_line(&mut self, key: KeyEvent) -> Option<Effect> {
        let over = std::mem::replace(&mut self.over, Over::None);
        let (account, mut input) = match over {
            Over::Ask(input) => (None, input),
            Over::Name(account, input) => (Some(account), input),
            other => {
                self.over = other;
                return None;
            }
        };
        match key.code {
            KeyCode::Esc => return None,
            KeyCode::Enter if !input.is_blank() => {
                let text = input.take().trim().to_owned();
                return Some(match account {
                    Some(account) => Effect::Accept(account, text),
                    None => Effect::Search(text),
                });
            }
            KeyCode::Enter => {}
            _ => {
                edit(&mut input, key);
            }
        }
        self.over = account.map_or_else(|| Over::Ask(input.clone()), |account| Over::Name(account, input.clone()));
        None
    }

    fn key_in_hits(&mut self, key: KeyEvent) -> Option<Effect> {
        let Over::Found(found) = &mut self.over else { return None };
        match key.code {
            KeyCode::Up => found.selected = found.selected.saturating_sub(1),
            KeyCode::Down => found.selected = (found.selected + 1).min(found.hits.len().saturating_sub(1)),
            KeyCode::PageUp => found.selected = found.selected.saturating_sub(10),
            KeyCode::PageDown => found.selected = (found.selected + 10).min(found.hits.len().saturating_sub(1)),
            KeyCode::Enter => {
                let hit = found.hits.get(found.selected)?;
                let effect = Effect::Jump(hit.conversation, hit.place);
                self.over = Over::None;
                return Some(effect);
            }
            KeyCode::Esc => self.over = Over::None,
            _ => {}
        }
        None
    }

    fn key_below(&mut self, key: KeyEvent) -> Option<Effect> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        let open = self.open_id();
        let blank = self.talk.as_ref().is_none_or(|talk| talk.input.text().is_empty() || talk.is_request());
        match key.code {
            KeyCode::Char('d') if control && blank => return Some(Effect::Leave),
            KeyCode::Char('n') if control => return self.list.beside(open, 1).map(Effect::Open),
            KeyCode::Char('p') if control => return self.list.beside(open, -1).map(Effect::Open),
            KeyCode::Down if alt => return self.list.beside(open, 1).map(Effect::Open),
            KeyCode::Up if alt => return self.list.beside(open, -1).map(Effect::Open),
            KeyCode::Char('g') if control => {
                let next = self.list.next_unread(open);
                if next.is_none() {
                    self.remark("Nothing else is unread");
                }
                return next.map(Effect::Open);
            }
            KeyCode::Char('f') if control => self.over = Over::Ask(Input::default()),
            KeyCode::Char('r') if control => self.in_words = !self.in_words,
            KeyCode::F(1) => self.over = Over::Help(0),
            KeyCode::F(2) => {
                self.mouse = !self.mouse;
                return Some(Effect::Mouse(self.mouse));
            }
            KeyCode::Char('?') if (blank || self.focus == Focus::List) && !control && !alt => self.over = Over::Help(0),
            KeyCode::Tab | KeyCode::BackTab => {
                self.focus = match self.focus {
                    Focus::List if self.talk.is_some() => Focus::Talk,
                    _ => Focus::List,
                };
                if open.is_some() {
                    self.list.selected = open;
                }
            }
            KeyCode::PageUp => self.scroll(Move::PageUp),
            KeyCode::PageDown => self.scroll(Move::PageDown),
            KeyCode::Home if blank || control => return open.map(|_| Effect::Oldest),
            KeyCode::End if blank || control => return open.map(|_| Effect::Newest),
            _ if self.focus == Focus::List || self.talk.is_none() => return self.key_in_the_list(key),
            _ => return self.key_in_the_talk(key),
        }
        None
    }

    fn key_in_the_list(&mut self, key: KeyEvent) -> Option<Effect> {
        match key.code {
            KeyCode::Up => self.list.selected = self.list.beside(self.list.selected, -1),
            KeyCode::Down => self.list.selected = self.list.beside(self.list.selected, 1),
            KeyCode::Enter => return self.list.selected.map(Effect::Open),
            KeyCode::Esc if self.talk.is_some() && self.drawn.both => self.focus = Focus::Talk,
            KeyCode::Esc => self.remark("Ctrl-C leaves; what is written is kept"),
            _ => {}
        }
        None
    }

    fn key_in_the_talk(&mut self, key: KeyEvent) -> Option<Effect> {
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let columns = self.drawn.input_columns;
        let talk = self.talk.as_mut()?;
        match key.code {
            KeyCode::Esc if self.drawn.both => self.remark("Ctrl-C leaves; what is written is kept"),
            KeyCode::Esc => self.focus = Focus::List,
            _ if talk.is_request() => return self.key_in_a_request(key),
            KeyCode::Enter if alt || key.modifiers.contains(KeyModifiers::SHIFT) => self.write("\n"),
            KeyCode::Char('j') if control => self.write("\n"),
            KeyCode::Enter => return self.enter(),
            KeyCode::Up if !talk.input.up(columns) => self.scroll(Move::Up(1)),
            KeyCode::Down if !talk.input.down(columns) => self.scroll(Move::Down(1)),
            KeyCode::Up | KeyCode::Down => {}
            _ => {
                if let Edited::Full = edit(&mut talk.input, key) {
                    self.remark("this is as much as one text has room for");
                }
            }
        }
        None
    }

    fn key_in_a_request(&mut self, key: KeyEvent) -> Option<Effect> {
        let contact = &self.talk.as_ref()?.contact;
        match key.code {
            KeyCode::Char('a') => self.over = Over::Name(contact.account, Input::default()),
            KeyCode::Char('b') => self.ask_whether_to_block(),
            KeyCode::Up => self.scroll(Move::Up(1)),
            KeyCode::Down => self.scroll(Move::Down(1)),
            _ => {}
        }
        None
    }

    fn ask_whether_to_block(&mut self) {
        if let Some(talk) = &self.talk {
            self.over = Over::Block(talk.contact.account, talk.alias.clone());
        }
    }

    fn write(&mut self, text: &str) {
        if !self.talk.as_mut().is_some_and(|talk| talk.input.insert(text)) {
            self.remark("this is as much as one text has room for");
        }
    }

    /// What is written is sent, or is a command.
    fn enter(&mut self) -> Option<Effect> {
        let talk = self.talk.as_mut()?;
        let (account, id) = (talk.contact.account, talk.id());
        let written = talk.input.text().to_owned();
        let command = match read(&written) {
            Written::Nothing => return None,
            Written::Text => return Some(Effect::Send(talk.input.take())),
            Written::WithoutSlash(text) => {
                talk.input.take();
                return Some(Effect::Send(text));
            }
            Written::Unknown(word) => {
                self.remark(&format!(
                    "There is no command {word}, and nothing was sent: ? lists them; //… sends a text with a slash"
                ));
                return None;
            }
            Written::Wrong(how) => {
                self.remark(how);
                return None;
            }
            Written::Command(command) => command,
        };
        talk.input.take();
        match command {
            Command::Help => self.over = Over::Help(0),
            Command::Quit => return Some(Effect::Leave),
            Command::Search(text) => return Some(Effect::Search(text)),
            Command::Receive => return Some(Effect::TakeOver),
            Command::SendFile { path, voice } => {
                return Some(Effect::SendFiles(Outgoing { paths: vec![path], voice, written }));
            }
            Command::Save { nth, to } => return Some(Effect::Save { nth, to }),
            Command::Notify(notify) => {
                self.notify = notify;
                self.remark(&format!("You are told of new texts: {}", notify.words()));
            }
            Command::Mute => {
                let muted = self.list.row(id).is_some_and(|row| row.muted);
                return Some(Effect::Mute(id, !muted));
            }
            Command::Block => self.ask_whether_to_block(),
            Command::Accept(name) if talk.is_request() => return Some(Effect::Accept(account, name)),
            Command::Accept(_) => self.remark("This is no request: you write to each other already"),
        }
        None
    }
}

enum Edited {
    Yes,
    Full,
    Not,
}

/// Keys that every line knows.
fn edit(input: &mut Input, key: KeyEvent) -> Edited {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    match key.code {
        KeyCode::Char('a') if control => input.home(),
        KeyCode::Char('e') if control => input.end(),
        KeyCode::Char('u') if control => input.delete_to_start(),
        KeyCode::Char('k') if control => input.delete_to_end(),
        KeyCode::Char('w') if control => input.delete_word(),
        KeyCode::Char('b') if alt => input.word_left(),
        KeyCode::Char('f') if alt => input.word_right(),
        KeyCode::Char(c) if !control && !alt => {
            return if input.insert(c.encode_utf8(&mut [0; 4])) { Edited::Yes } else { Edited::Full };
        }
        KeyCode::Backspace if control || alt => input.delete_word(),
        KeyCode::Backspace => input.backspace(),
        KeyCode::Delete => input.delete_forward(),
        KeyCode::Left if control || alt => input.word_left(),
        KeyCode::Right if control || alt => input.word_right(),
        KeyCode::Left => input.left(),
        KeyCode::Right => input.right(),
        KeyCode::Home => input.home(),
        KeyCode::End => input.end(),
        _ => return Edited::Not,
    }
    Edited::Yes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::list::tests::row;
    use crate::chat::talk::Piece;
    use crate::chat::talk::tests::{contact, message};
    use kuvert_client::Direction;

    fn state() -> State {
        let rows = vec![row(2, "bob", 3), row(3, "carol", 2), row(4, "dave", 1)];
        let mut state = State::new(List { rows, selected: None }, Notify::Off);
        state.open(Talk::new(contact(2, "bob"), String::new(), Piece::default()));
        state
    }

    fn with(state: &mut State, code: KeyCode, modifiers: KeyModifiers) -> Option<Effect> {
        state.key(KeyEvent::new(code, modifiers))
    }

    fn press(state: &mut State, code: KeyCode) -> Option<Effect> {
        with(state, code, KeyModifiers::NONE)
    }

    fn write(state: &mut State, text: &str) {
        for c in text.chars() {
            assert_eq!(press(state, KeyCode::Char(c)), None);
        }
    }

    fn written(state: &State) -> &str {
        state.talk.as_ref().unwrap().input.text()
    }

    #[test]
    fn a_text_of_several_lines_is_written_and_sent_and_an_empty_one_is_not() {
        let mut state = state();
        write(&mut state, "hi");
        with(&mut state, KeyCode::Enter, KeyModifiers::ALT);
        write(&mut state, "there");
        with(&mut state, KeyCode::Char('j'), KeyModifiers::CONTROL);
        state.paste("pasted\r\nlines\r\n");
        assert_eq!(written(&state), "hi\nthere\npasted\nlines\n", "nothing is sent by pasting");
        assert_eq!(press(&mut state, KeyCode::Enter), Some(Effect::Send("hi\nthere\npasted\nlines\n".into())));
        assert_eq!(press(&mut state, KeyCode::Enter), None, "an empty line is not sent");
    }

    #[test]
    fn an_unknown_word_behind_a_slash_is_named_kept_and_not_sent() {
        let mut state = state();
        write(&mut state, "/secret plan");
        assert_eq!(press(&mut state, KeyCode::Enter), None);
        assert!(state.notice.as_deref().unwrap().contains("no command /secret"), "{:?}", state.notice);
        assert_eq!(written(&state), "/secret plan");
        press(&mut state, KeyCode::Home);
        write(&mut state, "/");
        assert_eq!(press(&mut state, KeyCode::Enter), Some(Effect::Send("/secret plan".into())));
    }

    #[test]
    fn escape_steps_back_and_loses_no_text_and_leaves_nothing() {
        let mut state = state();
        write(&mut state, "half a sentence");
        for both in [true, false] {
            state.drawn.both = both;
            press(&mut state, KeyCode::F(1));
            assert!(matches!(state.over, Over::Help(_)));
            assert_eq!(press(&mut state, KeyCode::Esc), None);
            assert_eq!(state.over, Over::None);
            with(&mut state, KeyCode::Char('f'), KeyModifiers::CONTROL);
            write(&mut state, "x");
            assert_eq!(press(&mut state, KeyCode::Esc), None);
            for _ in 0..3 {
                assert_eq!(press(&mut state, KeyCode::Esc), None);
            }
            assert_eq!(written(&state), "half a sentence");
        }
        assert_eq!(state.focus, Focus::List, "in a narrow window, back to the list");
        let interrupt = with(&mut state, KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(interrupt, Some(Effect::Leave));
    }

    #[test]
    fn keys_and_clicks_go_from_conversation_to_conversation() {
        let mut state = state();
        let id = |state: &State, at: usize| Effect::Open(state.list.rows[at].id);
        assert_eq!(with(&mut state, KeyCode::Char('n'), KeyModifiers::CONTROL), Some(id(&state, 1)));
        assert_eq!(with(&mut state, KeyCode::Up, KeyModifiers::ALT), Some(id(&state, 2)));
        assert_eq!(with(&mut state, KeyCode::Char('g'), KeyModifiers::CONTROL), None);
        state.list.rows[2].unread = 1;
        assert_eq!(with(&mut state, KeyCode::Char('g'), KeyModifiers::CONTROL), Some(id(&state, 2)));
        press(&mut state, KeyCode::Tab);
        press(&mut state, KeyCode::Down);
        assert_eq!(press(&mut state, KeyCode::Enter), Some(id(&state, 1)));
        let click = |column, row| MouseEvent {
            kind: MouseEventKind::Down(crossterm::event::MouseButton::Left),
            column,
            row,
            modifiers: KeyModifiers::NONE,
        };
        state.drawn = Drawn { list: vec![None, Some(state.list.rows[2].id)], list_columns: 20, ..Drawn::default() };
        assert_eq!(state.mouse(click(3, 1)), Some(id(&state, 2)));
        for (column, row) in [(3, 0), (3, 9), (20, 1)] {
            assert_eq!(state.mouse(click(column, row)), None);
        }
    }

    #[test]
    fn a_request_takes_no_text_and_is_accepted_or_blocked_after_a_question() {
        let mut stranger = contact(5, "5mzx2qka");
        stranger.request = true;
        let account = stranger.account;
        let mut state = state();
        state.open(Talk::new(stranger, String::new(), Piece::default()));
        state.paste("hello");
        assert_eq!(written(&state), "");
        assert_eq!(press(&mut state, KeyCode::Enter), None);
        press(&mut state, KeyCode::Char('a'));
        assert_eq!(press(&mut state, KeyCode::Enter), None, "not without a name");
        write(&mut state, "eve");
        assert_eq!(press(&mut state, KeyCode::Enter), Some(Effect::Accept(account, "eve".into())));
        press(&mut state, KeyCode::Char('b'));
        assert_eq!(press(&mut state, KeyCode::Enter), None, "only y blocks");
        press(&mut state, KeyCode::Char('b'));
        assert_eq!(press(&mut state, KeyCode::Char('y')), Some(Effect::Block(account)));
    }

    #[test]
    fn what_is_found_stands_newest_first_and_leads_there() {
        let mut state = state();
        write(&mut state, "/search moon");
        assert_eq!(press(&mut state, KeyCode::Enter), Some(Effect::Search("moon".into())));
        let mut found = Found { text: "moon".into(), before: Some(u64::MAX), ..Found::default() };
        found.join((7..9).map(|place| message(place, Direction::Incoming, "moon", 1)).collect(), Some(7));
        found.join(vec![message(3, Direction::Outgoing, "a\nmoon", 1)], None);
        let places: Vec<_> = found.hits.iter().map(|hit| hit.place).collect();
        assert_eq!((places, found.before), (vec![8, 7, 3], None));
        state.over = Over::Found(found);
        press(&mut state, KeyCode::Down);
        press(&mut state, KeyCode::Down);
        press(&mut state, KeyCode::Down);
        let jump = Effect::Jump(contact(2, "bob").conversation(), 3);
        assert_eq!(press(&mut state, KeyCode::Enter), Some(jump));
        let mut endless = Found { before: Some(u64::MAX), ..Found::default() };
        endless.join((0..9_999).map(|place| message(place, Direction::Incoming, "moon", 1)).collect(), Some(1));
        assert_eq!((endless.hits.len(), endless.before), (MAX_HITS, None));
    }

    #[test]
    fn commands_take_their_line_with_them() {
        let mut state = state();
        let id = state.open_id().unwrap();
        write(&mut state, "/mute");
        assert_eq!(press(&mut state, KeyCode::Enter), Some(Effect::Mute(id, true)));
        state.list.rows[0].muted = true;
        write(&mut state, "/mute");
        assert_eq!(press(&mut state, KeyCode::Enter), Some(Effect::Mute(id, false)));
        write(&mut state, "/notify bell");
        assert_eq!(press(&mut state, KeyCode::Enter), None);
        assert_eq!(state.notify, Notify::Bell);
        assert_eq!(written(&state), "");
        write(&mut state, "?");
        assert_eq!(state.over, Over::Help(0));
        press(&mut state, KeyCode::Esc);
        write(&mut state, "really?");
        assert_eq!((&state.over, written(&state)), (&Over::None, "really?"));
    }

    #[test]
    fn what_is_dropped_is_sent_after_a_question_and_stays_a_text_otherwise() {
        let mut state = state();
        write(&mut state, "look: ");
        let ask = |state: &mut State| state.ask_to_send(vec!["/tmp/a".into()], "a\u{1b}[2J 1 byte", "/tmp/a".into());
        ask(&mut state);
        assert!(matches!(&state.over, Over::Files(_, named) if named.starts_with("a␛")), "{:?}", state.over);
        for key in [KeyCode::Char('y'), KeyCode::Char(' '), KeyCode::Down, KeyCode::F(1)] {
            assert_eq!(press(&mut state, key), None);
        }
        assert_eq!(press(&mut state, KeyCode::Esc), None);
        assert_eq!((written(&state), &state.over), ("look: /tmp/a", &Over::None));
        ask(&mut state);
        let files = Outgoing { paths: vec!["/tmp/a".into()], voice: false, written: "/tmp/a".into() };
        assert_eq!(press(&mut state, KeyCode::Enter), Some(Effect::SendFiles(files)));
        assert_eq!(written(&state), "look: /tmp/a", "what was begun stays");
        let mut stranger = contact(5, "5mzx2qka");
        stranger.request = true;
        state.open(Talk::new(stranger, String::new(), Piece::default()));
        assert!(!state.takes_files(), "nothing is sent to a stranger");
    }

    #[test]
    fn a_transfer_is_shown_until_it_is_over() {
        let mut state = state();
        let step = |number, done| {
            let message = message(1, Direction::Outgoing, "", 1).message;
            Transfer::new(message, number, "a", true, done, 1_000)
        };
        state.apply(LinkEvent::Transfer(step(1, 100)));
        state.apply(LinkEvent::Received(Event::Transfer(step(2, 0))));
        assert_eq!(state.transfers.iter().map(percent).collect::<Vec<_>>(), [10, 0]);
        assert!(!state.is_news(&step(1, 105)) && state.is_news(&step(1, 110)));
        state.apply(LinkEvent::Transfer(step(1, 1_000)));
        assert_eq!(state.transfers.len(), 1);
        (3..99).for_each(|number| state.apply(LinkEvent::Transfer(step(number, 1))));
        assert_eq!(state.transfers.len(), MAX_TRANSFERS);
        state.apply(LinkEvent::Offline { error: kuvert_client::Error::Displaced });
        assert!(state.transfers.is_empty());
    }

    #[test]
    fn remarks_about_others_are_harmless() {
        let mut state = state();
        let mut other = contact(9, "carol\u{1b}[2J");
        other.request = true;
        state.apply(LinkEvent::Received(Event::Request(other)));
        assert!(state.notice.unwrap().starts_with("carol␛"));
    }
}
