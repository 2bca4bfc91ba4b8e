//! The conversation that is open: a piece of its history, and where in it one looks. Pure: what has to be read from the store is
//! asked for, and how many lines a message takes is the caller's to say.

use kuvert_client::{
    ContactInfo, ConversationId, Direction, FileInfo, FileState, MessageRecord, MessageRef, MessageState,
    safe_file_name,
};

use crate::chat::input::Input;
use crate::output::harmless;
use crate::output::human::bytes;

/// Messages of a conversation that are held in memory at most. The others are read when one scrolls to them.
pub const MAX_HELD: usize = 1_024;

/// Bytes of text of them: a conversation of long texts is held in shorter pieces.
const MAX_HELD_BYTES: usize = 4 * 1024 * 1024;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which message.
    pub message: MessageRef,
    /// Its place in the home's order of arrival.
    pub place: u64,
    /// Written by the user.
    pub outgoing: bool,
    /// Made harmless.
    pub text: String,
    /// When it was written, as it is shown, Unix milliseconds.
    pub at: u64,
    /// When it was stored here: the order of the screen, which a sender's clock must not disturb.
    pub stored_at: u64,
    /// When the receipts came.
    pub delivered_at: Option<u64>,
    /// See above.
    pub read_at: Option<u64>,
    /// How far it has come.
    pub state: MessageState,
}

impl Entry {
    fn of(message: MessageRecord) -> Self {
        Self {
            message: message.message,
            place: message.place,
            outgoing: message.direction == Direction::Outgoing,
            text: text(&message),
            at: message.written_at(),
            stored_at: message.stored_at,
            delivered_at: message.delivered_at,
            read_at: message.read_at,
            state: message.state,
        }
    }
}

/// What a message says, and a line for each of its files, made harmless.
fn text(message: &MessageRecord) -> String {
    let mut text = harmless::text(&message.text).into_owned();
    for file in &message.attachments {
        if !text.is_empty() {
            text.push('\n');
        }
        let came = message.direction == Direction::Incoming;
        let state = match file.state {
            _ if !came => "",
            FileState::Here => ", here",
            FileState::Partial => ", on its way",
            FileState::Gone => ", gone",
            FileState::Remote => ", at the relay: /save",
        };
        let once = if file.view_once { ", to be shown once" } else { "" };
        let name = safe_file_name(&file.name);
        text.push_str(&format!("[{} {}{}{once}{state}]", harmless::line(&name), bytes(file.size), told(file)));
    }
    text
}

/// What is told of a picture or a voice note, as far as it is: `, 640×480`, `, 1:05`.
fn told(file: &FileInfo) -> String {
    let pixels = file.picture.map(|(width, height)| format!(", {width}×{height}"));
    let length = file.voice_ms.map(|ms| format!(", voice {}", minutes(ms)));
    pixels.into_iter().chain(length).collect()
}

/// `0:05`, `61:00`
pub fn minutes(ms: u32) -> String {
    let seconds = ms.div_ceil(1_000);
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// A piece of history as it was read.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    /// In order of arrival, without gaps.
    pub messages: Vec<MessageRecord>,
    /// There are older ones.
    pub older: bool,
    /// There are newer ones.
    pub newer: bool,
}

/// What has to be read from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What stands before this place.
    Before(u64),
    /// What stands behind this place.
    Behind(u64),
}

/// How to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// So many lines up.
    Up(usize),
    /// So many lines down.
    Down(usize),
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the oldest message that is held.
    Top,
    /// Until this message stands at the top.
    Show(u64),
}

/// The lowest line on the screen: of the message at a place, so many of its lines are below the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bottom {
    place: u64,
    hidden: usize,
}

/// Where the screen stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The index of the lowest message on the screen; none: there are no messages.
    pub lowest: Option<usize>,
    /// Lines of it that are below the edge.
    pub hidden: usize,
}

/// The open conversation.
#[derive(Debug)]
pub struct Talk {
    /// With whom.
    pub contact: ContactInfo,
    /// Its alias, made harmless.
    pub alias: String,
    /// What is being written.
    pub input: Input,
    /// The draft as the store has it.
    pub saved: String,
    /// The messages that are held, in order of arrival.
    pub entries: Vec<Entry>,
    /// The first message that was unread when the conversation was opened.
    pub unread_from: Option<u64>,
    /// A message that was searched for.
    pub found: Option<u64>,
    /// Messages that came while the user was looking at older ones.
    pub unseen: usize,
    /// The first of the messages that have just come.
    fresh: Option<u64>,
    older: bool,
    newer: bool,
    /// None: at the newest line.
    bottom: Option<Bottom>,
    next: Option<Move>,
}

impl Talk {
    /// A conversation with its newest messages, and the draft that was kept.
    pub fn new(contact: ContactInfo, draft: String, piece: Piece) -> Self {
        let alias = harmless::line(&contact.alias).into_owned();
        let mut input = Input::default();
        input.restore(draft.clone());
        let mut talk = Self {
            contact,
            alias,
            input,
            saved: draft,
            entries: Vec::new(),
            unread_from: None,
            found: None,
            unseen: 0,
            fresh: None,
            older: false,
            newer: false,
            bottom: None,
            next: None,
        };
        talk.take(piece);
        talk.unread_from =
            talk.entries.iter().find(|entry| entry.state == MessageState::Unshown).map(|entry| entry.place);
        talk.next = talk.unread_from.map(Move::Show);
        talk
    }

    /// The conversation.
    pub fn id(&self) -> ConversationId {
        self.contact.conversation()
    }

    /// It is with a stranger: nothing can be written.
    pub fn is_request(&self) -> bool {
        self.contact.request
    }

    /// The contact as it stands now.
    pub fn renew(&mut self, contact: ContactInfo) {
        self.alias = harmless::line(&contact.alias).into_owned();
        self.contact = contact;
    }

    fn take(&mut self, piece: Piece) {
        self.entries = piece.messages.into_iter().map(Entry::of).collect();
        (self.older, self.newer) = (piece.older, piece.newer);
    }

    /// Where the messages that are held begin: to read them anew from there on.
    pub fn begin(&self) -> Option<u64> {
        self.entries.first().map(|entry| entry.place)
    }

    /// Whether there are messages before those that are held.
    pub fn has_older(&self) -> bool {
        self.older
    }

    /// Whether the newest message is held.
    pub fn holds_the_newest(&self) -> bool {
        !self.newer
    }

    /// Whether one looks at the newest line.
    pub fn is_at_the_newest(&self) -> bool {
        self.bottom.is_none() && self.next.is_none()
    }

    /// The messages that are held, read anew; `away`: the window has not the keyboard, and what comes is not read.
    pub fn reload(&mut self, piece: Piece, away: bool) {
        let last = self.entries.last().map_or(0, |entry| entry.place);
        let looked = !self.is_at_the_newest();
        self.take(piece);
        let unread = |entry: &&Entry| entry.place > last && entry.state == MessageState::Unshown;
        let fresh = self.entries.iter().find(unread).map(|entry| entry.place);
        if away && self.unread_from.is_none() {
            self.unread_from = fresh;
        }
        if looked {
            self.unseen += self.entries.iter().filter(|entry| !entry.outgoing && entry.place > last).count();
            return;
        }
        self.fresh = fresh;
        if self.drop_from_the_front() {
            self.older = true;
        }
    }

    /// Another piece of the history, around what was searched for, or the newest.
    pub fn jump(&mut self, piece: Piece, to: Option<u64>) {
        self.take(piece);
        self.bottom = None;
        self.found = to;
        self.next = to.map(Move::Show);
        if to.is_none() {
            self.unseen = 0;
        }
    }

    /// The oldest piece of the history.
    pub fn jump_to_the_oldest(&mut self, piece: Piece) {
        self.take(piece);
        self.next = Some(Move::Top);
    }

    /// What was wanted is here.
    pub fn join(&mut self, wanted: Wanted, piece: Piece) {
        let more = piece.messages.into_iter().map(Entry::of);
        match wanted {
            Wanted::Before(place) if self.begin() == Some(place) => {
                self.entries.splice(0..0, more);
                self.older = piece.older;
                while self.is_too_much() {
                    self.entries.pop();
                    self.newer = true;
                }
            }
            Wanted::Behind(place) if self.entries.last().is_some_and(|last| last.place == place) => {
                self.entries.extend(more);
                self.newer = piece.newer;
                if self.drop_from_the_front() {
                    self.older = true;
                }
            }
            // The history was read anew meanwhile.
            _ => {}
        }
    }

    fn is_too_much(&self) -> bool {
        let bytes = || self.entries.iter().map(|entry| entry.text.len()).sum::<usize>();
        self.entries.len() > MAX_HELD || (self.entries.len() > 1 && bytes() > MAX_HELD_BYTES)
    }

    fn drop_from_the_front(&mut self) -> bool {
        let mut dropped = false;
        while self.is_too_much() {
            let half = self.entries.len().div_ceil(4).max(1);
            self.entries.drain(..half);
            dropped = true;
        }
        dropped
    }

    /// Moves with the next drawing.
    pub fn go(&mut self, how: Move) {
        self.next = Some(how);
    }

    /// Everything written and unread is seen: the line goes.
    pub fn forget_the_unread_line(&mut self) {
        self.unread_from = None;
    }

    /// To the newest line of what is held.
    pub fn go_to_the_newest(&mut self) {
        (self.bottom, self.next, self.unseen) = (None, None, 0);
    }

    /// Where the screen stands, of so many rows, after all movements; and what has to be read for it to be full.
    pub fn settle(&mut self, rows: usize, lines: &dyn Fn(&Self, usize) -> usize) -> (Look, Option<Wanted>) {
        let Some(newest) = self.entries.len().checked_sub(1) else {
            self.bottom = None;
            self.next = None;
            return (Look { lowest: None, hidden: 0 }, None);
        };
        let (mut at, mut hidden) = match self.bottom {
            None => (newest, 0),
            Some(Bottom { place, hidden }) => match self.entries.binary_search_by_key(&place, |entry| entry.place) {
                Ok(at) => (at, hidden.min(lines(self, at).saturating_sub(1))),
                // It was deleted, or is no longer held.
                Err(at) => (at.min(newest), 0),
            },
        };
        if let Some(place) = self.fresh.take() {
            // More has come than the screen holds: it stops where that begins.
            let first = self.entries.partition_point(|entry| entry.place < place).min(newest);
            let above = (first..=newest).map(|at| lines(self, at)).sum::<usize>();
            if self.bottom.is_none() && self.next.is_none() && above > rows {
                self.unread_from = Some(place);
                self.next = Some(Move::Show(place));
            }
        }
        match self.next.take() {
            None => {}
            Some(Move::Up(count)) => (at, hidden) = self.up(at, hidden, count, lines),
            Some(Move::PageUp) => (at, hidden) = self.up(at, hidden, rows.saturating_sub(1).max(1), lines),
            Some(Move::Down(count)) => (at, hidden) = self.down(at, hidden, count, lines),
            Some(Move::PageDown) => (at, hidden) = self.down(at, hidden, rows.saturating_sub(1).max(1), lines),
            Some(Move::Top) => (at, hidden) = self.down(0, lines(self, 0), rows, lines),
            Some(Move::Show(place)) => {
                let there = self.entries.partition_point(|entry| entry.place < place).min(newest);
                (at, hidden) = self.down(there, lines(self, there), rows, lines);
            }
        }
        // Never further up than the screen is full.
        let above = self.lines_above(at, hidden, rows, lines);
        if above < rows {
            (at, hidden) = self.down(at, hidden, rows - above, lines);
        }
        let at_the_end = at == newest && hidden == 0;
        self.bottom = (!at_the_end || self.newer).then(|| Bottom { place: self.entries[at].place, hidden });
        if self.bottom.is_none() {
            self.unseen = 0;
        }
        let wanted = if self.older && self.lines_above(at, hidden, 2 * rows, lines) < 2 * rows {
            self.begin().map(Wanted::Before)
        } else if self.newer && at_the_end {
            Some(Wanted::Behind(self.entries[newest].place))
        } else {
            None
        };
        (Look { lowest: Some(at), hidden }, wanted)
    }

    /// Lines that stand above the edge, counted up to `enough`.
    fn lines_above(&self, at: usize, hidden: usize, enough: usize, lines: &dyn Fn(&Self, usize) -> usize) -> usize {
        let mut count = lines(self, at).saturating_sub(hidden);
        for above in (0..at).rev() {
            if count >= enough {
                break;
            }
            count += lines(self, above);
        }
        count
    }

    fn up(
        &self,
        mut at: usize,
        mut hidden: usize,
        mut count: usize,
        lines: &dyn Fn(&Self, usize) -> usize,
    ) -> (usize, usize) {
        loop {
            let of_this = lines(self, at);
            if hidden + count < of_this || at == 0 {
                return (at, (hidden + count).min(of_this.saturating_sub(1)));
            }
            count -= of_this.saturating_sub(hidden);
            (at, hidden) = (at - 1, 0);
        }
    }

    fn down(
        &self,
        mut at: usize,
        mut hidden: usize,
        mut count: usize,
        lines: &dyn Fn(&Self, usize) -> usize,
    ) -> (usize, usize) {
        loop {
            if count <= hidden {
                return (at, hidden - count);
            }
            if at + 1 >= self.entries.len() {
                return (at, 0);
            }
            count -= hidden;
            at += 1;
            hidden = lines(self, at);
        }
    }
}

#[cfg(test)]
pub mod tests {
    use kuvert_client::{AccountId, EnvelopeId};

    use super::*;

    /// Bob, or another one.
    pub fn contact(number: u8, alias: &str) -> ContactInfo {
        ContactInfo {
            account: AccountId::from_bytes([number; 16]),
            alias: alias.into(),
            name: Some(alias.into()),
            verified: true,
            blocked: false,
            key_changed: false,
            blocked_at_relay: false,
            request: false,
            added_at: 0,
        }
    }

    /// A message with Bob at a place.
    pub fn message(place: u64, direction: Direction, text: &str, at: u64) -> MessageRecord {
        let bob = contact(2, "bob");
        let (state, author) = match direction {
            Direction::Incoming => (MessageState::Shown, bob.account),
            Direction::Outgoing => (MessageState::Queued, AccountId::from_bytes([1; 16])),
        };
        let mut id = [0; 16];
        id[..8].copy_from_slice(&place.to_be_bytes());
        MessageRecord {
            message: MessageRef { conversation: bob.conversation(), author, id: EnvelopeId::from_bytes(id) },
            place,
            alias: "bob".into(),
            direction,
            text: text.into(),
            attachments: Vec::new(),
            sent_at: at,
            stored_at: at,
            delivered_at: None,
            read_at: None,
            state,
            request: false,
        }
    }

    fn piece(places: std::ops::Range<u64>, older: bool, newer: bool) -> Piece {
        let messages = places.map(|place| message(place, Direction::Incoming, "text", place)).collect();
        Piece { messages, older, newer }
    }

    fn talk(piece: Piece) -> Talk {
        Talk::new(contact(2, "bob"), String::new(), piece)
    }

    /// Every message takes two lines.
    fn two(_: &Talk, _: usize) -> usize {
        2
    }

    fn looks_at(talk: &mut Talk, rows: usize) -> (u64, usize) {
        let (look, _) = talk.settle(rows, &two);
        (talk.entries[look.lowest.unwrap()].place, look.hidden)
    }

    #[test]
    fn scrolling_goes_by_lines_and_never_beyond_the_ends() {
        let mut talk = talk(piece(1..11, false, false));
        assert_eq!(looks_at(&mut talk, 6), (10, 0));
        talk.go(Move::Up(1));
        assert_eq!(looks_at(&mut talk, 6), (10, 1));
        talk.go(Move::Up(2));
        assert_eq!(looks_at(&mut talk, 6), (9, 1));
        talk.go(Move::Down(3));
        assert_eq!(looks_at(&mut talk, 6), (10, 0));
        assert!(talk.is_at_the_newest());
        for _ in 0..9 {
            talk.go(Move::PageUp);
            looks_at(&mut talk, 6);
        }
        assert_eq!(looks_at(&mut talk, 6), (3, 0), "the first of three messages is at the top");
        talk.go(Move::PageDown);
        assert_eq!(looks_at(&mut talk, 6), (6, 1));
        // A screen that is higher than all there is shows all of it.
        assert_eq!(looks_at(&mut talk, 99), (10, 0));
    }

    #[test]
    fn what_is_looked_at_stays_while_messages_come() {
        let mut talk = talk(piece(1..11, false, false));
        talk.go(Move::Up(6));
        assert_eq!(looks_at(&mut talk, 6), (7, 0));
        talk.reload(piece(1..14, false, false), false);
        assert_eq!(looks_at(&mut talk, 6), (7, 0));
        assert_eq!(talk.unseen, 3);
        talk.go_to_the_newest();
        assert_eq!(looks_at(&mut talk, 6), (13, 0));
        assert_eq!(talk.unseen, 0);
    }

    #[test]
    fn older_messages_are_asked_for_before_one_comes_to_them_and_newer_ones_are_let_go() {
        let mut talk = talk(piece(1_000..1_300, true, false));
        assert_eq!(talk.settle(6, &two).1, None);
        let mut begin = 1_000;
        for _ in 0..3 {
            talk.go(Move::Top);
            assert_eq!(talk.settle(6, &two).1, Some(Wanted::Before(begin)));
            let before = looks_at(&mut talk, 6);
            talk.join(Wanted::Before(begin), piece(begin - 300..begin, begin > 400, false));
            assert_eq!(looks_at(&mut talk, 6), before, "what stands on the screen stays");
            begin -= 300;
        }
        assert!(talk.entries.len() <= MAX_HELD && !talk.holds_the_newest());
        // Down again: what was let go of is read again.
        let last = talk.entries.last().unwrap().place;
        let mut wanted = None;
        for _ in 0..1_000 {
            talk.go(Move::PageDown);
            wanted = talk.settle(6, &two).1;
            if wanted.is_some() {
                break;
            }
        }
        assert_eq!(wanted, Some(Wanted::Behind(last)));
        talk.join(Wanted::Behind(last), piece(last + 1..1_300, true, false));
        assert!(talk.holds_the_newest());
        // What comes too late joins nothing.
        let held = talk.entries.len();
        talk.join(Wanted::Before(1), piece(0..1, false, false));
        assert_eq!(talk.entries.len(), held);
    }

    #[test]
    fn a_conversation_opens_where_unread_messages_begin() {
        let mut some = piece(1..30, false, false);
        some.messages[10].state = MessageState::Unshown;
        some.messages[28].state = MessageState::Unshown;
        let mut unread = talk(some);
        assert_eq!(unread.unread_from, Some(11));
        assert_eq!(looks_at(&mut unread, 6), (13, 0), "the first unread one is at the top");
        let mut all_read = talk(piece(1..30, false, false));
        assert_eq!(looks_at(&mut all_read, 6), (29, 0));
    }

    #[test]
    fn more_than_the_screen_holds_is_stopped_at_and_what_comes_while_one_is_away_is_marked() {
        let unread = |places: std::ops::Range<u64>| {
            let mut piece = piece(places, false, false);
            piece.messages.iter_mut().skip(3).for_each(|message| message.state = MessageState::Unshown);
            piece
        };
        let mut few = talk(piece(1..4, false, false));
        few.reload(unread(1..6), false);
        assert_eq!((looks_at(&mut few, 6), few.unread_from), ((5, 0), None));
        let mut many = talk(piece(1..4, false, false));
        many.reload(unread(1..20), false);
        assert_eq!((looks_at(&mut many, 6), many.unread_from), ((6, 0), Some(4)));
        many.reload(unread(1..30), false);
        assert_eq!((looks_at(&mut many, 6), many.unseen), ((6, 0), 10), "and stays there");
        let mut away = talk(piece(1..4, false, false));
        away.reload(unread(1..6), true);
        away.reload(unread(1..7), true);
        assert_eq!((looks_at(&mut away, 99), away.unread_from), ((6, 0), Some(4)));
    }

    #[test]
    fn long_texts_are_held_in_shorter_pieces() {
        let long = "x".repeat(MAX_HELD_BYTES / 8);
        let messages = (0..32).map(|place| message(place, Direction::Incoming, &long, place)).collect();
        let mut talk = talk(Piece::default());
        talk.reload(Piece { messages, older: false, newer: false }, false);
        assert!(talk.entries.iter().map(|entry| entry.text.len()).sum::<usize>() <= MAX_HELD_BYTES);
        assert_eq!(talk.entries.last().unwrap().place, 31);
    }
}
