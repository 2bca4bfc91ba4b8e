//! The list of all conversations, as a value.

use std::cmp::Reverse;

use kuvert_client::{Conversation, ConversationId, Direction, MessageState, safe_file_name};

use crate::output::harmless;

/// One conversation in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which one.
    pub id: ConversationId,
    /// Its alias, made harmless.
    pub alias: String,
    /// With a stranger who wrote first.
    pub request: bool,
    /// With one that is blocked.
    pub blocked: bool,
    /// Texts that were not shown.
    pub unread: u64,
    /// No bell.
    pub muted: bool,
    /// Something was written and not sent.
    pub draft: bool,
    /// The beginning of the newest message, made harmless, on one line.
    pub preview: String,
    /// The newest message is the user's, and has come this far.
    pub own: Option<MessageState>,
    /// When the newest message was stored here, Unix milliseconds.
    pub at: Option<u64>,
    /// Its place in the home's order of arrival; 0: there is none.
    pub place: u64,
}

impl Row {
    fn of(conversation: &Conversation) -> Self {
        let Conversation { contact, last, unread, has_draft, muted, .. } = conversation;
        let preview = last.as_ref().map_or_else(String::new, |last| match last.attachments.first() {
            Some(file) if last.text.is_empty() => format!("[{}]", harmless::line(&safe_file_name(&file.name))),
            _ => harmless::line(&last.text.replace('\n', " ")).into(),
        });
        let own = last.as_ref().filter(|last| last.direction == Direction::Outgoing).map(|last| last.state.clone());
        Self {
            id: contact.conversation(),
            alias: harmless::line(&contact.alias).into_owned(),
            request: contact.request,
            blocked: contact.blocked,
            unread: *unread,
            muted: *muted,
            draft: *has_draft,
            preview,
            own,
            at: last.as_ref().map(|last| last.stored_at),
            place: last.as_ref().map_or(0, |last| last.place),
        }
    }
}

/// All conversations, in the order in which they stand.
#[derive(Debug, Default)]
pub struct List {
    /// Those with contacts, the newest first; then requests.
    pub rows: Vec<Row>,
    /// The one that Enter opens.
    pub selected: Option<ConversationId>,
}

impl List {
    /// As the store has them. Blocked requests are not shown.
    pub fn renew(&mut self, all: &[Conversation]) {
        self.rows = all.iter().filter(|one| !(one.contact.request && one.contact.blocked)).map(Row::of).collect();
        self.rows.sort_by(|a, b| {
            let key = |row: &Row| (row.request, row.blocked, Reverse(row.place));
            key(a).cmp(&key(b)).then_with(|| a.alias.cmp(&b.alias))
        });
        if self.index(self.selected).is_none() {
            self.selected = self.rows.first().map(|row| row.id);
        }
    }

    /// Where a conversation stands.
    pub fn index(&self, id: Option<ConversationId>) -> Option<usize> {
        self.rows.iter().position(|row| Some(row.id) == id)
    }

    /// A conversation.
    pub fn row(&self, id: ConversationId) -> Option<&Row> {
        self.rows.iter().find(|row| row.id == id)
    }

    /// The one so many behind, or before; the first and the last are neighbours.
    pub fn beside(&self, id: Option<ConversationId>, by: isize) -> Option<ConversationId> {
        let count = isize::try_from(self.rows.len()).ok().filter(|count| *count > 0)?;
        let at = match self.index(id) {
            Some(at) => isize::try_from(at).unwrap_or(0) + by,
            None if by < 0 => -1,
            None => 0,
        };
        self.rows.get(usize::try_from(at.rem_euclid(count)).unwrap_or(0)).map(|row| row.id)
    }

    /// The next one behind this with something unread, also of those that are muted.
    pub fn next_unread(&self, id: Option<ConversationId>) -> Option<ConversationId> {
        let count = self.rows.len();
        let begin = self.index(id).map_or(0, |at| at + 1);
        let others = (0..count).filter_map(|step| self.rows.get((begin + step) % count));
        others.filter(|row| Some(row.id) != id).find(|row| row.unread > 0).map(|row| row.id)
    }

    /// Where requests begin.
    pub fn first_request(&self) -> Option<usize> {
        self.rows.iter().position(|row| row.request)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A row without a message.
    pub fn row(number: u8, alias: &str, place: u64) -> Row {
        Row {
            id: kuvert_client::AccountId::from_bytes([number; 16]).into(),
            alias: alias.into(),
            request: false,
            blocked: false,
            unread: 0,
            muted: false,
            draft: false,
            preview: String::new(),
            own: None,
            at: None,
            place,
        }
    }

    #[test]
    fn one_goes_around_the_list_and_from_unread_to_unread() {
        let mut list = List { rows: vec![row(1, "a", 3), row(2, "b", 2), row(3, "c", 1)], selected: None };
        let id = |at: usize| Some(list.rows[at].id);
        assert_eq!((list.beside(id(0), 1), list.beside(id(2), 1), list.beside(id(0), -1)), (id(1), id(0), id(2)));
        assert_eq!((list.beside(None, 1), list.beside(None, -1)), (id(0), id(2)));
        assert_eq!(List::default().beside(None, 1), None);
        assert_eq!(list.next_unread(id(0)), None);
        let (first, third) = (id(0), id(2));
        list.rows[0].unread = 1;
        list.rows[2].unread = 1;
        assert_eq!((list.next_unread(first), list.next_unread(third), list.next_unread(None)), (third, first, first));
        list.rows[2].unread = 0;
        assert_eq!(list.next_unread(first), None, "not the open one");
    }
}
