//! What the holder of an account may ask of the relay: correction and deletion.

use kuvert_wire::v1::{self, client_frame, server_frame};

use crate::client::Client;
use crate::connect::{Connection, check_name_and_phone};
use crate::error::Error;
use crate::state::{self, OwnRow, own, own_row};
use crate::store::{Mode, Table};

/// What [`Client::correct`] changes of what was said at registration. `None`: it stays. `Some(None)`: it goes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Correction {
    /// The name by which others find the account. Contacts keep what they call it.
    pub name: Option<Option<String>>,
    /// The phone number, E.164.
    pub phone: Option<Option<String>>,
}

impl Client {
    /// Corrects what the relay was told at registration. Handles on this home that are open go on with the old name in
    /// their invite links.
    ///
    /// # Errors
    /// `name-invalid`, `phone-invalid`, `name-taken`, and those of the connection.
    pub async fn correct(&self, connection: &Connection, correction: Correction) -> Result<(), Error> {
        let Correction { name, phone } = correction;
        let given = |value: &Option<Option<String>>| value.clone().flatten();
        check_name_and_phone(given(&name).as_deref(), given(&phone).as_deref())?;
        let request = v1::UpdateAccount {
            clear_name: name == Some(None),
            clear_phone: phone == Some(None),
            name: given(&name),
            phone: given(&phone),
        };
        let about = request.name.clone().unwrap_or_default();
        match connection.link().link.request(client_frame::Body::UpdateAccount(request)).await? {
            Ok(server_frame::Body::Done(_)) => {}
            Ok(_) => return Err(Error::RelayProtocol { what: "no answer to a correction" }),
            Err(refusal) => return Err(refusal.about(&about)),
        }
        let Some(name) = name else { return Ok(()) };
        self.change_own(move |row| row.name = name)
    }

    /// Deletes the account at the relay for good. The home stays: its history can be read, everything that needs the relay
    /// fails with `account-deleted`. If the answer gets lost, calling it again is the way to know.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn delete_account(&self, connection: &Connection) -> Result<(), Error> {
        let now = self.0.now().max(1);
        self.change_own(|row| row.deletion_asked_at = now)?;
        match connection.link().link.request(client_frame::Body::DeleteAccount(v1::DeleteAccount {})).await? {
            Ok(server_frame::Body::Done(_)) => self.note_deletion(),
            Ok(_) => Err(Error::RelayProtocol { what: "no answer to a deletion" }),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    /// Whether the relay was asked to delete the account.
    pub(crate) fn deletion_was_asked(&self) -> Result<bool, Error> {
        Ok(self.0.transact(Mode::Read, own_row)?.deletion_asked_at != 0)
    }

    /// The account is no more.
    pub(crate) fn note_deletion(&self) -> Result<(), Error> {
        let now = self.0.now().max(1);
        self.change_own(|row| row.deleted_at = now)
    }

    pub(crate) fn change_own(&self, change: impl FnOnce(&mut OwnRow)) -> Result<(), Error> {
        self.0.transact(Mode::Write, |tx| {
            let mut row = own_row(tx)?;
            change(&mut row);
            state::put(tx, Table::Own, own::ACCOUNT, &row)
        })
    }
}
