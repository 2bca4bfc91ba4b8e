//! What the holder of an account may ask of the relay: correction and deletion.

use kuvert_wire::v1::{self, client_frame, server_frame};

use crate::connection::{Connection, note_deletion};
use crate::error::Error;
use crate::registration::check_name_and_phone;
use crate::state::{OwnRow, PhoneTold, change_own};

/// What [`Connection::correct`] changes of what was said at registration. `None`: it stays. `Some(None)`: it goes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Correction {
    /// The name by which others find the account. Contacts keep what they call it.
    pub name: Option<Option<String>>,
    /// The phone number, E.164.
    pub phone: Option<Option<String>>,
}

impl Connection {
    /// Corrects what the relay was told at registration. Invite links that are made from now on have the new name.
    ///
    /// # Errors
    /// `name-invalid`, `phone-invalid`, `name-taken`, and those of the connection.
    pub async fn correct(&self, correction: Correction) -> Result<(), Error> {
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
        match self.request(client_frame::Body::UpdateAccount(request)).await? {
            Ok(server_frame::Body::Done(_)) => {}
            Ok(_) => return Err(Error::RelayProtocol { what: "no answer to a correction" }),
            Err(refusal) => return Err(refusal.about(&about)),
        }
        let change = |row: &mut OwnRow| {
            if let Some(name) = name {
                row.name = name;
            }
            if let Some(phone) = phone {
                row.set_phone_told(if phone.is_some() { PhoneTold::Yes } else { PhoneTold::No });
            }
        };
        self.engine().write(|tx| change_own(tx, change)).await
    }

    /// Deletes the account at the relay for good. The home stays: its history can be read, everything that needs the relay
    /// fails with `account-deleted`. If the answer gets lost, calling it again is the way to know.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn delete_account(&self) -> Result<(), Error> {
        self.engine()
            .write(|tx| {
                let now = tx.now().max(1);
                change_own(tx, |row| row.deletion_asked_at = now)
            })
            .await?;
        match self.request(client_frame::Body::DeleteAccount(v1::DeleteAccount {})).await? {
            Ok(server_frame::Body::Done(_)) => note_deletion(self.engine()).await,
            Ok(_) => Err(Error::RelayProtocol { what: "no answer to a deletion" }),
            Err(refusal) => Err(refusal.into_error()),
        }
    }
}
