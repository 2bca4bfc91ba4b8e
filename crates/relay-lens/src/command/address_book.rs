//! UploadAddressBook: an account tells the relay whom it knows, and hears which of them have an account.

use bytes::Bytes;
use kuvert_types::limits::{
    MAX_ADDRESS_BOOK, MAX_BIRTHDAY_BYTES, MAX_DISPLAY_NAME_BYTES, MAX_EMAIL_BYTES, MAX_PEOPLE_PER_UPLOAD,
    MAX_POSTAL_ADDRESS_BYTES, is_valid_line, is_valid_phone,
};
use kuvert_wire::v1::demonstration as wire;
use kuvert_wire::v1::demonstration::answer::Body as Response;

use super::Answer;
use super::phone::bad_number;
use crate::Lens;
use crate::address_book::{self, Person, Uploaded};
use kuvert_relay::command::error::Code;
use kuvert_relay::command::{AuthenticatedDevice, CommandError};
use kuvert_relay::incidents::Kind;
use kuvert_relay::observe::Event;

/// Stores people in the caller's address book.
///
/// # Errors
/// `INVALID`, `LIMITED`; the answer can also be `ADDRESS_BOOK_FULL`.
pub fn upload(
    lens: &Lens,
    caller: &AuthenticatedDevice,
    request: wire::UploadAddressBook,
) -> Result<Answer, CommandError> {
    let wire::UploadAddressBook { people, replace } = request;
    if people.len() > MAX_PEOPLE_PER_UPLOAD {
        return Err(CommandError::new(
            Code::Invalid,
            format!("one command uploads at most {MAX_PEOPLE_PER_UPLOAD} people; send several"),
        ));
    }
    let people = people.into_iter().map(check).collect::<Result<Vec<_>, _>>()?;
    let AuthenticatedDevice { service, device, connection } = caller.clone();
    // Whoever uploads every number there is learns who is here, so that has its price.
    service.limiter.numbers_checked(&device.account, people.len()).map_err(|wait| {
        service.incidents.note(device.account, Kind::NumbersChecked);
        CommandError::limited("phone numbers of other people", wait)
    })?;
    let rows = lens.people.clone();
    Ok(Box::pin(async move {
        let (now, entries) = (service.clock.now_ms(), people.len());
        let work =
            move |tx: &rusqlite::Transaction<'_>| address_book::upload(tx, &device.account, &people, replace, now);
        // An empty book instead of the one that was there: a deletion.
        let uploaded = match (entries, replace) {
            (0, true) => rows.run_erasing(work).await?,
            _ => rows.run(work).await?,
        };
        let uploaded = uploaded.ok_or_else(|| {
            CommandError::new(
                Code::AddressBookFull,
                format!("an address book holds at most {MAX_ADDRESS_BOOK} people; replace it by a smaller one"),
            )
        })?;
        let matched = uploaded.matches.len();
        service.observe(Event::AddressBookUploaded { connection, device, entries, matched });
        Ok(Response::AddressBookStored(to_wire(uploaded)))
    }))
}

fn check(person: wire::Person) -> Result<Person, CommandError> {
    let wire::Person { phone, name, email, birthday, address } = person;
    if !is_valid_phone(&phone) {
        return Err(bad_number());
    }
    for (what, part, most) in [
        ("a person's name", &name, MAX_DISPLAY_NAME_BYTES),
        ("a person's e-mail address", &email, MAX_EMAIL_BYTES),
        ("a birthday", &birthday, MAX_BIRTHDAY_BYTES),
        ("a postal address", &address, MAX_POSTAL_ADDRESS_BYTES),
    ] {
        if part.as_ref().is_some_and(|part| !is_valid_line(part, most)) {
            return Err(CommandError::new(
                Code::Invalid,
                format!("{what} has 1 to {most} bytes and no control characters; leave it out if there is none"),
            ));
        }
    }
    Ok(Person { phone, name, email, birthday, address })
}

fn to_wire(uploaded: Uploaded) -> wire::AddressBookStored {
    let Uploaded { matches, stored, without_account } = uploaded;
    let matches = matches.into_iter().map(|(phone, account)| {
        let account = Bytes::copy_from_slice(account.as_bytes());
        wire::Match { phone, account }
    });
    // Bounded by MAX_ADDRESS_BOOK.
    let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    wire::AddressBookStored {
        matches: matches.collect(),
        stored: small(stored),
        without_account: small(without_account),
    }
}
