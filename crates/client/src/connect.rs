//! From a home to an authenticated connection: registering once, authenticating ever after.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use kuvert_protocol::identity::{AccountSecret, DeviceSecrets, LocalDevice};
use kuvert_types::authentication::{CHALLENGE_LEN, statement};
use kuvert_types::device_list::{DeviceEntry, DeviceListBody};
use kuvert_types::limits::{is_valid_name, is_valid_phone};
use kuvert_types::{AccountId, Address, DeviceId, Level, RelayUrl, label};
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::{self, client_frame, server_frame};

use crate::client::{Client, Inner, Own};
use crate::disclosure;
use crate::error::Error;
use crate::home::{Exclusive, Home};
use crate::options::{Options, Profile};
use crate::patience::millis;
use crate::people;
use crate::prekeys;
use crate::rng;
use crate::state::{self, OwnRow, own};
use crate::store::sqlite::SqliteStore;
use crate::store::{Mode, Store, Table};
use crate::transport::{Link, Refusal, dial};

/// An authenticated connection to the relay. Cheap to clone; closed when the last clone is dropped.
///
/// It may be used for sending and receiving at the same time. When it breaks, requests fail with `connection-lost`;
/// [`Client::receive`] in follow mode mends it in place, so that the same handle works again.
#[derive(Clone, Debug)]
pub struct Connection(Arc<State>);

#[derive(Debug)]
struct State {
    /// Replaced as a whole by a reconnect.
    established: RwLock<Arc<Established>>,
    /// Whose device list was compared with the relay's on this connection. Once is enough: a relay that wants to lie can
    /// wait.
    compared: Mutex<HashSet<AccountId>>,
}

/// A link on which the relay knows who we are.
#[derive(Debug)]
pub(crate) struct Established {
    /// The stream.
    pub link: Link,
    /// What the relay said waits.
    pub waiting: u64,
    /// What the relay said expired, less what the user was told.
    pub expired: AtomicU64,
    /// What the relay said about mail that did not fit, until the user is told.
    pub full: Mutex<Option<v1::FullMailbox>>,
    /// Where the delivery of mail stands.
    pub inbox: Mutex<Inbox>,
    relay_time: u64,
    since: Instant,
}

/// How far the delivery of mail on one link has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Inbox {
    /// Nothing was asked for; or another connection took over.
    Detached,
    /// The relay delivers. Whether it said that nothing is left.
    Attached {
        /// See the variant.
        caught_up: bool,
    },
    /// Attaching is under way, or deliveries were taken from the queue and are not committed yet. Whoever finds it like this
    /// (the call was dropped) must not acknowledge anything on this link: that would delete what nobody has.
    InDoubt,
}

impl Established {
    pub fn inbox(&self) -> Inbox {
        *self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_inbox(&self, state: Inbox) {
        *self.inbox.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// The relay's clock, as far as is known.
    pub fn relay_now(&self) -> u64 {
        self.relay_time.saturating_add(u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl Connection {
    pub(crate) fn new(established: Established) -> Self {
        Self(Arc::new(State { established: RwLock::new(Arc::new(established)), compared: Mutex::default() }))
    }

    pub(crate) fn link(&self) -> Arc<Established> {
        Arc::clone(&self.0.established.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, established: Established) {
        *self.0.established.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(established);
        self.compared().clear();
    }

    /// See the field.
    pub(crate) fn compared(&self) -> std::sync::MutexGuard<'_, HashSet<AccountId>> {
        self.0.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Envelopes that waited for this device when the connection was made.
    pub fn waiting(&self) -> u64 {
        self.link().waiting
    }

    /// Says goodbye to the relay and waits until it was heard, at most a second. Dropping works too, less politely.
    pub async fn close(self) {
        self.link().link.close().await;
    }
}

impl Client {
    /// Makes an account in `home` (created if missing, mode 0700), registers it at `relay` and publishes prekeys.
    /// If it was interrupted before, it goes on with the same keys.
    ///
    /// # Errors
    /// `already-registered`, `name-invalid`, `phone-invalid`, `not-offered`, `name-taken`, `registration-closed`,
    /// `invitation-needed`, `invitation-refused`, and those of [`connect`](Self::connect) and [`open`](Self::open).
    pub async fn register(home: &Path, relay: RelayUrl, profile: Profile, options: Options) -> Result<Self, Error> {
        check_profile(&profile)?;
        if options.level == Some(Level::L0) {
            // Before anything is stored or told.
            must_offer_l0(&relay, &options).await?;
        }
        let home = Home::create(home, options.store_key_file.as_deref())?;
        let _held = home.hold(Exclusive::Outbox, options.lock_timeout).await?;
        let key = home.store_key_or_make()?;
        let mut store = SqliteStore::open_or_create(&home.store_file(), home.key_file(), &key, options.lock_timeout)?;
        prepare(&mut store, &home, &relay, &profile, options.level)?;
        let inner = Inner::load(home, Box::new(store), options)?;

        let link = dial(&inner.own.relay, &inner.options).await?;
        let established = register_at(&inner, link, &profile).await?;
        let name = profile.name;
        inner.transact(Mode::Write, |tx| {
            let mut row: OwnRow = state::get(tx, Table::Own, own::ACCOUNT)?.unwrap_or_default();
            row.registered = true;
            row.name = name;
            state::put(tx, Table::Own, own::ACCOUNT, &row)
        })?;
        // Read again: the name counts from now on.
        let client = Self(inner.reload()?);
        let connection = Connection::new(established);
        prekeys::maintain(&client.0, &connection).await?;
        people::settle(&client.0, &connection.link().link).await?;
        connection.close().await;
        Ok(client)
    }

    /// Connects, checks the relay's fingerprint, authenticates.
    ///
    /// # Errors
    /// `account-deleted`, `relay-unreachable`, `relay-fingerprint`, `authentication-failed`, …
    pub async fn connect(&self) -> Result<Connection, Error> {
        Ok(Connection::new(self.establish().await?))
    }

    /// A fresh link for a connection.
    pub(crate) async fn establish(&self) -> Result<Established, Error> {
        self.0.must_exist()?;
        self.establish_at(&self.0.relay()?).await
    }

    /// Tells this home that its relay is at another address now. It has to show the key that is pinned, and to know this
    /// device, before the address is stored; account, contacts and history stay as they are. Other processes on this home
    /// take the new address with their next connection.
    ///
    /// # Errors
    /// `relay-fingerprint`: it is another relay's address, or another relay is there; `authentication-failed`: it has the key
    /// and not the data; those of [`connect`](Self::connect). The address stays then.
    pub async fn move_relay(&self, to: RelayUrl) -> Result<Connection, Error> {
        self.0.must_exist()?;
        let pinned = &self.0.own.relay;
        if to.fingerprint != pinned.fingerprint {
            return Err(Error::RelayFingerprint {
                address: to.host_port(),
                expected: pinned.fingerprint_text(),
                seen: to.fingerprint_text(),
            });
        }
        let established = self.establish_at(&to).await?;
        self.change_own(|row| row.relay = to.to_string())?;
        Ok(Connection::new(established))
    }

    async fn establish_at(&self, relay: &RelayUrl) -> Result<Established, Error> {
        let begun = Instant::now();
        let link = dial(relay, &self.0.options).await?;
        let signature = sign_challenge(&self.0, &link).await?;
        let body = client_frame::Body::Authenticate(v1::Authenticate {
            address: Some(kuvert_wire::checked::to_wire(&self.0.own.address)),
            signature,
        });
        let established = match link.request(body).await? {
            Ok(body) => established(link, body)?,
            // The relay did what it was asked, and its answer got lost.
            Err(refusal) if refusal.code == Code::AuthenticationFailed && self.deletion_was_asked()? => {
                self.note_deletion()?;
                return Err(Error::AccountDeleted);
            }
            Err(refusal) => return Err(refusal.into_error()),
        };
        self.0.relay_clock.heard(established.relay_now());
        self.0.blocking(|inner| disclosure::settle(inner)).await?;
        people::settle(&self.0, &established.link).await?;
        tracing::info!(
            waiting = established.waiting,
            milliseconds = millis(begun.elapsed()),
            "connected, and known to the relay"
        );
        Ok(established)
    }
}

fn check_profile(profile: &Profile) -> Result<(), Error> {
    check_name_and_phone(profile.name.as_deref(), profile.phone.as_deref())
}

/// What the relay would refuse.
pub(crate) fn check_name_and_phone(name: Option<&str>, phone: Option<&str>) -> Result<(), Error> {
    if let Some(name) = name.filter(|name| !is_valid_name(name)) {
        return Err(Error::NameInvalid { name: name.escape_default().to_string() });
    }
    if let Some(phone) = phone.filter(|phone| !is_valid_phone(phone)) {
        return Err(Error::PhoneInvalid { phone: phone.escape_default().to_string() });
    }
    Ok(())
}

/// Draws the account's and the device's keys, unless a try before did. They are on disk before the relay hears of them, so
/// that no answer that gets lost can leave an account without its keys.
fn prepare(
    store: &mut dyn Store,
    home: &Home,
    relay: &RelayUrl,
    profile: &Profile,
    level: Option<Level>,
) -> Result<(), Error> {
    let tx = store.begin(Mode::Write)?;
    let row = match state::get::<OwnRow>(&*tx, Table::Own, own::ACCOUNT)? {
        Some(row) if row.deleted_at != 0 => return Err(Error::AccountDeleted),
        Some(row) if row.registered => return Err(Error::AlreadyRegistered { home: home.directory().to_owned() }),
        Some(row) => row,
        None => {
            let mut rng = rng::system_rng();
            let (account, device) = (AccountSecret::generate(&mut rng), DeviceSecrets::generate(&mut rng));
            let address = Address { account: AccountId::from_bytes(rng::bytes()), device: DeviceId::PRIMARY };
            let certificate = device.certify(&account, address);
            let entry = DeviceEntry { device: address.device, certificate_hash: certificate.hash() };
            let list = DeviceListBody { account: address.account, number: 1, devices: vec![entry] };
            let list = account.sign_device_list(&list).map_err(|_| Error::Internal { what: "own device list" })?;
            tx.put(Table::Own, own::ACCOUNT_SECRET, &*account.to_bytes())?;
            tx.put(Table::Own, own::DEVICE_SECRETS, &*device.to_bytes())?;
            OwnRow { certificate: certificate.encode().to_vec(), device_list: list.encode(), ..OwnRow::default() }
        }
    };
    let row = OwnRow { relay: relay.to_string(), name: profile.name.clone(), ..row };
    state::put(&*tx, Table::Own, own::ACCOUNT, &row)?;
    if let Some(level) = level {
        disclosure::set_level(&*tx, level, 0)?;
    }
    Ok(tx.commit()?)
}

/// Registers, or authenticates if the relay knows this account already: then a try before got through and its answer did not.
async fn register_at(inner: &Arc<Inner>, link: Link, profile: &Profile) -> Result<Established, Error> {
    let signature = sign_challenge(inner, &link).await?;
    people::note_registration(inner, &link).await?;
    let body = client_frame::Body::Register(v1::Register {
        certificate: inner.device.certificate().encode().to_vec().into(),
        device_list: inner.own.list.encode().into(),
        name: profile.name.clone(),
        phone: profile.phone.clone(),
        signature: signature.clone(),
        invitation: profile.invitation.clone(),
    });
    let refusal = match link.request(body).await? {
        Ok(body) => return established(link, body),
        Err(refusal) => refusal,
    };
    // The name may be taken by ourselves.
    if matches!(refusal.code, Code::AccountExists | Code::NameTaken) {
        let client_body = client_frame::Body::Authenticate(v1::Authenticate {
            address: Some(kuvert_wire::checked::to_wire(&inner.own.address)),
            signature,
        });
        if let Ok(body) = link.request(client_body).await? {
            return established(link, body);
        }
    }
    Err(refusal.about(profile.name.as_deref().unwrap_or_default()))
}

/// Says Hello and nothing else.
///
/// # Errors
/// `not-offered`; those of the connection.
async fn must_offer_l0(relay: &RelayUrl, options: &Options) -> Result<(), Error> {
    let link = dial(relay, options).await?;
    challenge(&link).await?;
    people::must_be_offered(&link)
}

/// Says Hello, and notes what the relay offers.
async fn challenge(link: &Link) -> Result<[u8; CHALLENGE_LEN], Error> {
    let hello = client_frame::Body::Hello(v1::Hello { version: kuvert_wire::VERSION });
    let v1::Challenge { challenge, extensions } = match link.request(hello).await? {
        Ok(server_frame::Body::Challenge(challenge)) => challenge,
        Ok(_) => return Err(Error::RelayProtocol { what: "no challenge" }),
        Err(refusal) => return Err(refusal.into_error()),
    };
    link.note_extensions(extensions);
    challenge.as_ref().try_into().map_err(|_| Error::RelayProtocol { what: "challenge of another length" })
}

/// Asks for the challenge and signs it for this connection.
async fn sign_challenge(inner: &Inner, link: &Link) -> Result<bytes::Bytes, Error> {
    let challenge = challenge(link).await?;
    let exporter = link.exporter(label::TLS_EXPORTER, &challenge)?;
    let statement = statement(&inner.own.address, &challenge, &exporter);
    let signature = inner.device.secrets().sign_authentication(&statement);
    Ok(bytes::Bytes::copy_from_slice(signature.as_bytes()))
}

fn established(link: Link, body: server_frame::Body) -> Result<Established, Error> {
    let server_frame::Body::Authenticated(v1::Authenticated { waiting, waiting_bytes: _, expired, relay_time, full }) =
        body
    else {
        return Err(Error::RelayProtocol { what: "no welcome" });
    };
    Ok(Established {
        link,
        waiting,
        expired: AtomicU64::new(expired),
        full: Mutex::new(full),
        inbox: Mutex::new(Inbox::Detached),
        relay_time,
        since: Instant::now(),
    })
}

impl Established {
    /// What the relay said about mail that did not fit; `None` from now on.
    pub fn take_full(&self) -> Option<v1::FullMailbox> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How many envelopes expired that the user was not told of; 0 from now on.
    pub fn take_expired(&self) -> u64 {
        self.expired.swap(0, Ordering::Relaxed)
    }
}

/// Looks an account up at the relay.
///
/// # Errors
/// Those of the connection; `Ok(Err)`: the relay says no.
pub(crate) async fn look_up(link: &Link, by: v1::get_account::By) -> Result<Result<v1::AccountRecord, Refusal>, Error> {
    match link.request(client_frame::Body::GetAccount(v1::GetAccount { by: Some(by) })).await? {
        Ok(server_frame::Body::Account(record)) => Ok(Ok(record)),
        Ok(_) => Err(Error::RelayProtocol { what: "no account record" }),
        Err(refusal) => Ok(Err(refusal)),
    }
}

pub(crate) fn load_own(store: &mut dyn Store, home: &Home) -> Result<(Own, LocalDevice), Error> {
    let tx = store.begin(Mode::Read)?;
    let none = || Error::NotRegistered { home: home.directory().to_owned() };
    let row: OwnRow = state::get(&*tx, Table::Own, own::ACCOUNT)?.ok_or_else(none)?;
    let secrets = tx.get(Table::Own, own::DEVICE_SECRETS)?.ok_or_else(|| state::damaged("device secrets"))?;
    let secrets: &[u8; 64] = secrets.as_slice().try_into().map_err(|_| state::damaged("device secrets"))?;
    Own::from_row(&row, DeviceSecrets::from_bytes(secrets))
}
