//! The address book of the owner's, uploaded: people who were never asked.

use std::collections::BTreeSet;

use kuvert_types::AccountId;
use kuvert_types::limits::{
    MAX_ADDRESS_BOOK, MAX_BIRTHDAY_BYTES, MAX_DISPLAY_NAME_BYTES, MAX_EMAIL_BYTES, MAX_PEOPLE_PER_UPLOAD,
    MAX_POSTAL_ADDRESS_BYTES, is_valid_line, is_valid_phone,
};
use kuvert_wire::v1::demonstration as wire;
use kuvert_wire::v1::demonstration::{answer, request};
use prost::Message as _;

use super::{ask, tell};
use crate::connection::Connection;
use crate::error::Error;

/// Bytes of people in one request; a frame has room for 128 KiB.
const MAX_PIECE_BYTES: usize = 100 * 1024;

/// A person in an address book.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Person {
    /// E.164.
    pub phone: String,
    /// What the owner calls that person.
    pub name: Option<String>,
    /// An e-mail address.
    pub email: Option<String>,
    /// A birthday, as it is written.
    pub birthday: Option<String>,
    /// A postal address.
    pub address: Option<String>,
}

impl Person {
    /// Refuses what no relay takes.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        let Self { phone, name, email, birthday, address } = self;
        if !is_valid_phone(phone) {
            return Err("a phone number reads like +4930123456");
        }
        let good = |part: &Option<String>, most| part.as_deref().is_none_or(|part| is_valid_line(part, most));
        if !good(name, MAX_DISPLAY_NAME_BYTES) {
            return Err("a name has at most 128 bytes on one line");
        }
        if !good(email, MAX_EMAIL_BYTES) {
            return Err("an e-mail address has at most 254 bytes on one line");
        }
        if !good(birthday, MAX_BIRTHDAY_BYTES) {
            return Err("a birthday has at most 32 bytes on one line");
        }
        if !good(address, MAX_POSTAL_ADDRESS_BYTES) {
            return Err("an address has at most 512 bytes on one line");
        }
        Ok(())
    }
}

impl From<&Person> for wire::Person {
    fn from(person: &Person) -> Self {
        let Person { phone, name, email, birthday, address } = person.clone();
        Self { phone, name, email, birthday, address }
    }
}

/// A person in the address book who has an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Match {
    /// The number.
    pub phone: String,
    /// The account that verified it.
    pub account: AccountId,
}

/// What an upload led to.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Upload {
    /// Who has an account.
    pub matches: Vec<Match>,
    /// People in this account's address book at the relay.
    pub stored: u32,
    /// Those of them who have none, and whom the relay knows now all the same.
    pub without_account: u32,
}

impl Connection {
    /// Uploads an address book instead of the one that was uploaded before. It goes in pieces: if it is interrupted, the
    /// relay has some of them; another upload begins anew.
    ///
    /// # Errors
    /// `level-too-high`, `not-offered`, `address-book-invalid`, `address-book-full`, `limited`.
    pub async fn upload_address_book(&self, people: &[Person]) -> Result<Upload, Error> {
        if let Some((index, what)) = people.iter().enumerate().find_map(|(n, person)| Some((n, person.check().err()?)))
        {
            return Err(Error::AddressBookInvalid { entry: index + 1, what });
        }
        let distinct: BTreeSet<&str> = people.iter().map(|person| person.phone.as_str()).collect();
        if distinct.len() > MAX_ADDRESS_BOOK {
            return Err(Error::AddressBookFull);
        }
        tell(self.engine(), &self.link().link).await?;
        let mut upload = Upload::default();
        for (number, piece) in pieces(people).into_iter().enumerate() {
            let Upload { matches, stored, without_account } = send(self, piece, number == 0).await?;
            upload.matches.extend(matches);
            (upload.stored, upload.without_account) = (stored, without_account);
        }
        Ok(upload)
    }

    /// Deletes the address book at the relay, at any level.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn withdraw_address_book(&self) -> Result<(), Error> {
        send(self, Vec::new(), true).await.map(drop)
    }
}

/// What fits a request each; one empty piece where there is none.
fn pieces(people: &[Person]) -> Vec<Vec<wire::Person>> {
    let mut pieces = vec![Vec::new()];
    let mut bytes = 0;
    for person in people.iter().map(wire::Person::from) {
        let size = person.encoded_len();
        let full = pieces.last().is_some_and(|piece: &Vec<_>| piece.len() == MAX_PEOPLE_PER_UPLOAD);
        if full || bytes + size > MAX_PIECE_BYTES {
            pieces.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(piece) = pieces.last_mut() {
            piece.push(person);
        }
    }
    pieces
}

async fn send(connection: &Connection, people: Vec<wire::Person>, replace: bool) -> Result<Upload, Error> {
    let request = request::Body::UploadAddressBook(wire::UploadAddressBook { people, replace });
    let wire::AddressBookStored { matches, stored, without_account } =
        match ask(&connection.link().link, request).await? {
            Ok(answer::Body::AddressBookStored(stored)) => stored,
            Ok(_) => return Err(Error::RelayProtocol { what: "no answer to an address book" }),
            Err(refusal) => return Err(refusal.into_error()),
        };
    let check = |found: wire::Match| {
        let account = AccountId::try_from(found.account.as_ref()).ok()?;
        is_valid_phone(&found.phone).then_some(Match { phone: found.phone, account })
    };
    let matches: Option<_> = matches.into_iter().map(check).collect();
    let matches = matches.ok_or(Error::RelayProtocol { what: "a match that is none" })?;
    Ok(Upload { matches, stored, without_account })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kuvert_types::limits::MAX_FRAME_BYTES;

    fn person(n: usize, filler: usize) -> Person {
        let address = (filler > 0).then(|| "x".repeat(filler));
        Person { phone: format!("+49155500{n:05}"), address, ..Person::default() }
    }

    #[test]
    fn every_piece_fits_a_frame_and_nobody_is_left_out() {
        for filler in [0, 512] {
            let people: Vec<_> = (0..1_201).map(|n| person(n, filler)).collect();
            let pieces = pieces(&people);
            assert_eq!(pieces.iter().map(Vec::len).sum::<usize>(), people.len());
            for people in pieces {
                assert!((1..=MAX_PEOPLE_PER_UPLOAD).contains(&people.len()));
                let request = wire::UploadAddressBook { people, replace: true };
                assert!(request.encoded_len() < MAX_FRAME_BYTES - 64);
            }
        }
        assert_eq!(pieces(&[]).len(), 1, "an empty book replaces the old one");
    }

    #[test]
    fn what_no_relay_takes_is_refused_here() {
        assert_eq!(person(1, 512).check(), Ok(()));
        assert!(person(1, 513).check().is_err());
        assert!(Person { phone: "0301234567".into(), ..Person::default() }.check().is_err());
        assert!(Person { name: Some("a\nb".into()), ..person(1, 0) }.check().is_err());
    }
}
