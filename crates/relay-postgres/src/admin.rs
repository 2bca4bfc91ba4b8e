//! What an operator's program does to a store on PostgreSQL, also while relays serve it. Each call is short and by itself.

use std::path::Path;

use kuvert_relay::admin::{
    Admin, BackupMade, Invitation, KnownAccount, KnownBlob, KnownDevice, Rights, WaitingEnvelope,
};
use kuvert_relay::blobs::store::{BlobError, BlobGauges};
use kuvert_relay::store::{Cursor, InvitationHash, NewInvitation, Stats, StoreError};
use kuvert_types::{AccountId, Address, UnverifiedDeviceCertificate};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::Row;

use crate::blobs::rows;
use crate::groups::Groups;
use crate::link::{Door, Link};
use crate::outcome::Fault;
use crate::rights;
use crate::schema::OpenError;
use crate::settings::Settings;
use crate::store::column::{account, address, array, bytes, device, envelope_id, get, signed, unsigned};
use crate::store::whole;

/// Why an operation fails. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The store cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Backups are made otherwise.
    #[error(
        "a store on PostgreSQL is backed up with PostgreSQL's own means: see docs/OPERATING.md, part \"many machines\""
    )]
    Backup,
}

/// [`Admin`] on a store.
#[derive(Debug)]
pub struct PostgresAdmin {
    runtime: Runtime,
    groups: Groups,
    link: Link,
}

impl PostgresAdmin {
    /// On a store of this version.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(OpenError::Threads)?;
        let (groups, link) = runtime.block_on(async {
            let door = Door::new(settings.clone())?;
            Ok::<_, OpenError>((Groups::read(door.clone()).await?, door.open().await?))
        })?;
        Ok(Self { runtime, groups, link })
    }

    fn run<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, AdminError> {
        Ok(self.runtime.block_on(work).map_err(|fault| fault.store_error())?)
    }
}

impl PostgresAdmin {
    /// How many files are on their way.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn blob_gauges(&self) -> Result<BlobGauges, AdminError> {
        readable(self.run(rows::gauges(&self.link))?)
    }

    /// Files on their way, in the order in which they began.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn blobs(&self) -> Result<Vec<KnownBlob>, AdminError> {
        readable(self.run(rows::all(&self.link))?)
    }
}

fn readable<T>(answer: Result<T, BlobError>) -> Result<T, AdminError> {
    answer.map_err(|error| match error {
        BlobError::Store(error) => error.into(),
        other => StoreError::Corrupt(other.to_string()).into(),
    })
}

/// As the embedded backend shows keys.
fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

impl Admin for PostgresAdmin {
    type Error = AdminError;

    fn invite(&mut self, invitation: &NewInvitation) -> Result<(), AdminError> {
        self.run(whole::add_invitation(&self.link, invitation))
    }

    fn invitations(&self) -> Result<Vec<Invitation>, AdminError> {
        let sql = "SELECT hash, uses_left, created_at, expires_at FROM invitation ORDER BY created_at, hash";
        let rows = self.run(self.link.query(sql, &[]))?;
        let invitation = |row: &Row| {
            Ok(Invitation {
                hash: array(row, 0)?,
                uses_left: unsigned(row, 1)?,
                created_at: unsigned(row, 2)?,
                expires_at: unsigned(row, 3)?,
            })
        };
        Ok(rows.iter().map(invitation).collect::<Result<_, StoreError>>()?)
    }

    fn revoke(&mut self, hash: &InvitationHash) -> Result<bool, AdminError> {
        Ok(self.run(self.link.execute("DELETE FROM invitation WHERE hash = $1", &[&&hash[..]]))? > 0)
    }

    fn hold(&mut self, account: &AccountId, reason: &str, now: u64) -> Result<bool, AdminError> {
        self.run(rights::add_hold(&self.link, account, reason, now))
    }

    fn held_report(&self, account: &AccountId) -> Result<Option<Vec<u8>>, AdminError> {
        self.run(rights::held_report(&self.link, account))
    }

    fn release(&mut self, account: &AccountId) -> Result<bool, AdminError> {
        self.run(rights::release(&self.link, account))
    }

    fn rights(&self) -> Result<Rights, AdminError> {
        Ok(self.run(rights::look(&self.link))??)
    }

    fn stats(&self) -> Result<Stats, AdminError> {
        self.run(whole::stats(&self.groups, true))
    }

    fn accounts(&self) -> Result<Vec<KnownAccount>, AdminError> {
        let accounts = "SELECT id, account_key, device_list_number, name, phone, registered_at,
                access_key_hash IS NOT NULL, takes_sealed FROM account ORDER BY registered_at, id";
        let accounts = self.run(self.link.query(accounts, &[]))?;
        let devices = "SELECT d.account, d.number, d.signing_key, d.certificate,
                (SELECT count(*) FROM one_time_prekey p WHERE p.mailbox = d.mailbox AND p.kind = 0),
                (SELECT count(*) FROM one_time_prekey p WHERE p.mailbox = d.mailbox AND p.kind = 1),
                coalesce((SELECT count FROM expired x WHERE x.mailbox = d.mailbox), 0), d.last_seen_day, d.mailbox
            FROM device d ORDER BY d.number";
        let devices = self.run(self.link.query(devices, &[]))?;
        let mut elsewhere = std::collections::HashMap::<i64, u64>::new();
        for group in self.groups.others() {
            let rows =
                self.run(async { group.pool.lend().await?.query("SELECT mailbox, count FROM expired", &[]).await })?;
            elsewhere.extend(rows.iter().map(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1).unsigned_abs())));
        }
        let blocked = self.run(self.link.query("SELECT account, blocked FROM blocked ORDER BY blocked", &[]))?;
        let mut known: Vec<KnownAccount> = accounts.iter().map(known_account).collect::<Result<_, StoreError>>()?;
        let places: std::collections::HashMap<AccountId, usize> =
            known.iter().enumerate().map(|(place, known)| (known.account, place)).collect();
        // Rows of an account that was made since the accounts were read are left out.
        for row in &devices {
            let known = places.get(&account(row, 0)?).and_then(|place| known.get_mut(*place));
            if let Some(known) = known {
                let mut device = known_device(row)?;
                // Of the group that the mail is in; where it was before, there is none any more.
                device.expired = device.expired.max(elsewhere.get(&row.get(8)).copied().unwrap_or_default());
                known.devices.push(device);
            }
        }
        for row in &blocked {
            let known = places.get(&account(row, 0)?).and_then(|place| known.get_mut(*place));
            if let Some(known) = known {
                known.blocked.push(account(row, 1)?);
            }
        }
        Ok(known)
    }

    fn waiting(&self, after: Cursor, limit: usize) -> Result<Vec<WaitingEnvelope>, AdminError> {
        let sql = "SELECT k.cursor, e.id, k.mailbox, e.source, k.size, e.accepted_at
            FROM envelope_key k JOIN envelope e ON e.mailbox = k.mailbox AND e.cursor = k.cursor AND e.day = k.day
                JOIN lease l ON l.slot = e.slot
            WHERE k.cursor > $1 AND k.mailbox <> 0 ORDER BY k.cursor LIMIT $2";
        let devices = "SELECT mailbox, account, number FROM device WHERE mailbox = ANY($1)";
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut waiting = Vec::new();
        for group in self.groups.all() {
            let rows = self.run(async { group.pool.lend().await?.query(sql, &[&signed(after.get()), &most]).await })?;
            let mailboxes: Vec<i64> = rows.iter().map(|row| row.get(2)).collect();
            let found = self.run(self.link.query(devices, &[&mailboxes]))?;
            let address =
                |row: &Row| Ok::<_, StoreError>(Address { account: account(row, 1)?, device: device(row, 2)? });
            let found: std::collections::HashMap<i64, Address> =
                found.iter().map(|row| Ok((row.get(0), address(row)?))).collect::<Result<_, StoreError>>()?;
            for row in &rows {
                // One of a device that was deleted meanwhile is left out.
                let Some(recipient) = found.get(&row.get(2)) else { continue };
                waiting.push(waiting_envelope(row, *recipient)?);
            }
        }
        waiting.sort_by_key(|envelope| envelope.cursor);
        waiting.truncate(limit);
        Ok(waiting)
    }

    fn back_up(&self, _: &Path, _: u64) -> Result<BackupMade, AdminError> {
        Err(AdminError::Backup)
    }
}

fn waiting_envelope(row: &Row, recipient: Address) -> Result<WaitingEnvelope, StoreError> {
    Ok(WaitingEnvelope {
        cursor: Cursor::new(unsigned(row, 0)?),
        id: envelope_id(row, 1)?,
        recipient,
        sender: address(row, 3)?,
        size: u64::from(get::<i32>(row, 4)?.unsigned_abs()),
        accepted_at: unsigned(row, 5)?,
    })
}

fn known_account(row: &Row) -> Result<KnownAccount, StoreError> {
    Ok(KnownAccount {
        account: account(row, 0)?,
        account_key: hex(get(row, 1)?),
        device_list_number: get(row, 2)?,
        name: get(row, 3)?,
        phone: get(row, 4)?,
        registered_at: unsigned(row, 5)?,
        access_key: get(row, 6)?,
        sealed_mail: get(row, 7)?,
        blocked: Vec::new(),
        devices: Vec::new(),
    })
}

fn known_device(row: &Row) -> Result<KnownDevice, StoreError> {
    let identity_key = match UnverifiedDeviceCertificate::decode(&bytes(row, 3)?) {
        Ok(certificate) => hex(certificate.claimed().identity_key.as_bytes()),
        Err(_) => "not readable".to_owned(),
    };
    Ok(KnownDevice {
        device: device(row, 1)?.get(),
        signing_key: hex(get(row, 2)?),
        identity_key,
        one_time: unsigned(row, 4)?,
        one_time_kem: unsigned(row, 5)?,
        expired: unsigned(row, 6)?,
        last_seen_day: get::<Option<i64>>(row, 7)?.and_then(|day| u32::try_from(day).ok()),
    })
}
