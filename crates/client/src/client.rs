//! The façade: a home, opened. Everything here hands over to the parts below; nothing below knows it.

use std::fmt;
use std::path::{Path, PathBuf};

use kuvert_protocol::identity::account_key_fingerprint;
use kuvert_types::{Level, RelayUrl};

use crate::backup::{self, BackedUp, BackupSecret};
use crate::connection::{Connection, establish, establish_at, establish_patiently};
use crate::consumer::Consumer;
use crate::contacts::Contacts;
use crate::conversation::{ConversationId, MessageRef};
use crate::conversations::{self, Conversation};
use crate::disclosure::{self, Disclosure};
use crate::engine::{Changes, Engine, blocking};
use crate::erase::{self, Deleted, Extent};
use crate::error::Error;
use crate::event::{Calls, Event, EventSink};
use crate::files::{self, OutgoingFile};
use crate::history::{self, HistoryPage, Turned};
use crate::home::{Exclusive, Held, Home};
use crate::invite::InviteLink;
use crate::mend::mend;
use crate::options::{Options, Profile};
use crate::patience::BACKOFF;
use crate::people::sheet::{self, Permission, Permitted};
use crate::receive::{self, Turn};
use crate::records::{MessageRecord, MessageState, Receipts, Whoami};
use crate::registration::{check_profile, must_offer_l0, register};
use crate::send;
use crate::state::change_own;
use crate::status::{self, RelayAnswer, Status};
use crate::store::sqlite::{Opened, SqliteStore};
use crate::store::{Log, Store, Table, Transaction as _};

/// One home: an account's device, its sessions, its address book, its mail. Cheap to clone.
///
/// Everything that reads or writes the store is `async` and takes a few milliseconds, or up to [`Options::lock_timeout`] when
/// another process of the home is writing.
#[derive(Clone)]
pub struct Client(Engine);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("home", &self.0.home().directory()).finish_non_exhaustive()
    }
}

/// One of a home's processes has it: it receives for as long as it lives, and the others read what it stores.
#[derive(Debug)]
pub struct Lead {
    _held: Held,
}

/// What a home is opened or made with. Made by [`Client::builder`].
pub struct Builder {
    home: PathBuf,
    relay: Option<RelayUrl>,
    profile: Profile,
    options: Options,
    store: Option<Box<dyn Store>>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { home, relay, profile, options, store } = self;
        f.debug_struct("Builder")
            .field("home", home)
            .field("relay", relay)
            .field("profile", profile)
            .field("options", options)
            .field("store", &store.as_ref().map(|_| "given"))
            .finish()
    }
}

impl Builder {
    /// The relay at which [`register`](Self::register) makes the account.
    #[must_use]
    pub fn relay(mut self, relay: RelayUrl) -> Self {
        self.relay = Some(relay);
        self
    }

    /// The name by which others find the new account ([`kuvert_types::limits::is_valid_name`]).
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.profile.name = Some(name.into());
        self
    }

    /// All that the new account tells the relay about its owner.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// How the home is opened, and how patient its connections are.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// A store of the caller's own in place of the home's encrypted SQLite file. The directory is then used for locks only.
    #[must_use]
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.store = Some(Box::new(store));
        self
    }

    /// Makes an account in the home (created if missing, mode 0700), registers it at the relay and publishes prekeys.
    /// If it was interrupted before, it goes on with the same keys.
    ///
    /// # Errors
    /// `relay-missing`, `already-registered`, `name-invalid`, `phone-invalid`, `not-offered`, `name-taken`, `registration-closed`,
    /// `invitation-needed`, `invitation-refused`, and those of [`Client::connect`] and [`open`](Self::open).
    pub async fn register(self) -> Result<Client, Error> {
        let Self { home, relay, profile, options, store } = self;
        let relay = relay.ok_or(Error::RelayMissing)?;
        check_profile(&profile)?;
        if options.level == Some(Level::L0) {
            // Before anything is stored or told.
            must_offer_l0(&relay, &options).await?;
        }
        let key_file = options.store_key_file.clone();
        let home = blocking(move || Home::create(&home, key_file.as_deref())).await?;
        // The store's key is drawn by one process at a time.
        let held = home.hold(Exclusive::Outbox, options.lock_timeout).await?;
        let (place, busy) = (home.clone(), options.lock_timeout);
        let store = match store {
            Some(store) => store,
            None => {
                let make = move || {
                    let key = place.store_key_or_make()?;
                    SqliteStore::open_or_create(&place.store_file(), place.key_file(), &key, busy)
                };
                Box::new(blocking(make).await?)
            }
        };
        let engine = Engine::new(home, store, options, Some(mend));
        register(&engine, relay, profile).await?;
        drop(held);
        Ok(Client(engine))
    }

    /// Opens a home that holds an account.
    ///
    /// # Errors
    /// `not-registered`, `permissions`, `home-unusable`, and those that start with `store-`.
    pub async fn open(self) -> Result<Client, Error> {
        let Self { home, options, store, .. } = self;
        let (key_file, busy) = (options.store_key_file.clone(), options.lock_timeout);
        let read_only = options.read_only;
        let (home, store) = blocking(move || {
            let home = Home::open(&home, key_file.as_deref())?;
            let store = store.map_or_else(|| open_store(&home, busy, read_only), Ok)?;
            Ok((home, store))
        })
        .await?;
        let engine = Engine::new(home, store, options, Some(mend));
        if !engine.identity().await?.registered {
            return Err(Error::NotRegistered { home: engine.home().directory().to_owned() });
        }
        if !engine.options().read_only {
            erase::scrub_if_due(&engine).await?;
        }
        let client = Client(engine);
        if let Some(level) = client.0.options().level {
            client.set_level(level).await?;
        }
        Ok(client)
    }
}

fn open_store(home: &Home, busy: std::time::Duration, read_only: bool) -> Result<Box<dyn Store>, Error> {
    let none = || Error::NotRegistered { home: home.directory().to_owned() };
    if !home.store_file().exists() {
        return Err(none());
    }
    let key = home.store_key()?;
    let open = if read_only { SqliteStore::open_to_read } else { SqliteStore::open };
    match open(&home.store_file(), home.key_file(), &key, busy)? {
        Opened::Store(store) => Ok(Box::new(store)),
        Opened::Nothing => Err(none()),
    }
}

impl Client {
    /// Begins to open a home, or to make one.
    pub fn builder(home: impl Into<PathBuf>) -> Builder {
        Builder {
            home: home.into(),
            relay: None,
            profile: Profile::default(),
            options: Options::default(),
            store: None,
        }
    }

    /// Opens a home that holds an account: [`Builder::open`].
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub async fn open(home: &Path, options: Options) -> Result<Self, Error> {
        Self::builder(home).options(options).open().await
    }

    /// Makes an account: [`Builder::register`].
    ///
    /// # Errors
    /// As [`Builder::register`].
    pub async fn register(home: &Path, relay: RelayUrl, profile: Profile, options: Options) -> Result<Self, Error> {
        Self::builder(home).relay(relay).profile(profile).options(options).register().await
    }

    /// Connects, checks the relay's fingerprint, authenticates.
    ///
    /// # Errors
    /// `account-deleted`, `relay-unreachable`, `relay-fingerprint`, `authentication-failed`, …
    pub async fn connect(&self) -> Result<Connection, Error> {
        Ok(Connection::new(self.0.clone(), establish(&self.0).await?))
    }

    /// Connects after an error that passes ([`Error::passes`]): waits, tries, and goes on until the relay is there. Pauses
    /// grow from a quarter of a second to 15 s; where the relay asked for more, to that. Can be dropped at any time.
    ///
    /// # Errors
    /// What time does not heal: `relay-fingerprint`, `authentication-failed`, `account-deleted`, those of the store, …
    pub async fn connect_patiently(&self, after: &Error) -> Result<Connection, Error> {
        let (link, _) = establish_patiently(&self.0, BACKOFF.0, after).await?;
        Ok(Connection::new(self.0.clone(), link))
    }

    /// Tells this home that its relay is at another address now. It has to show the key that is pinned, and to know this
    /// device, before the address is stored; account, contacts and history stay as they are. Other processes on this home
    /// take the new address with their next connection.
    ///
    /// # Errors
    /// `relay-fingerprint`: it is another relay's address, or another relay is there; `authentication-failed`: it has the key
    /// and not the data; those of [`connect`](Self::connect). The address stays then.
    pub async fn move_relay(&self, to: RelayUrl) -> Result<Connection, Error> {
        let own = self.0.identity().await?;
        own.must_exist()?;
        if to.fingerprint != own.relay.fingerprint {
            return Err(Error::RelayFingerprint {
                address: to.host_port(),
                expected: own.relay.fingerprint_text(),
                seen: to.fingerprint_text(),
            });
        }
        let link = establish_at(&self.0, &own, &to).await?;
        self.0.write(move |tx| change_own(tx, |row| row.relay = to.to_string())).await?;
        Ok(Connection::new(self.0.clone(), link))
    }

    /// What this home is.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn whoami(&self) -> Result<Whoami, Error> {
        self.0
            .read(|tx| {
                let own = tx.identity()?;
                Ok(Whoami {
                    home: tx.home().to_owned(),
                    address: own.address,
                    name: own.name.clone(),
                    relay: own.relay.clone(),
                    fingerprint: account_key_fingerprint(&own.account(), &own.key),
                    deleted_at: (own.deleted_at != 0).then_some(own.deleted_at),
                    queued: tx.len(Log::Outbox)?,
                    unshown: tx.count(Table::Unshown)?,
                    level: disclosure::row(tx)?.level(),
                })
            })
            .await
    }

    /// The link by which others add this account, verified at once.
    ///
    /// # Errors
    /// `account-deleted`.
    pub async fn invite(&self) -> Result<InviteLink, Error> {
        let own = self.0.identity().await?;
        own.must_exist()?;
        Ok(InviteLink {
            relay: own.relay.clone(),
            account: own.account(),
            fingerprint: account_key_fingerprint(&own.account(), &own.key),
            name: own.name.clone(),
        })
    }

    /// The address book.
    pub fn contacts(&self) -> Contacts {
        Contacts::new(self.0.clone())
    }

    /// A conversation in order of arrival, filtered by `search` if given: what contains it, upper and
    /// lower case and composed and decomposed letters alike (see [`fold`](crate::fold())).
    ///
    /// # Errors
    /// `contact-unknown`, `own-address`.
    pub async fn history(
        &self,
        conversation: impl Into<ConversationId>,
        search: Option<&str>,
    ) -> Result<Vec<MessageRecord>, Error> {
        history::conversation(&self.0, conversation.into(), search).await
    }

    /// Puts a text into the outbox. It survives; the next flush sends it.
    ///
    /// # Errors
    /// `text-empty`, `text-too-long`, `contact-unknown`, `contact-blocked`, `own-address`, `identity-changed`,
    /// `account-deleted`.
    pub async fn queue_text(&self, to: impl Into<ConversationId>, text: &str) -> Result<MessageRef, Error> {
        send::queue_text(&self.0, to.into(), text).await
    }

    /// Puts a text with files into the history; the text may be empty. It survives, and is sent by
    /// [`Connection::send_files`] and a flush behind that; a call of [`Connection::receive`] that follows does both. Until then the files have
    /// to stay where and as they are, except pictures: of those a copy without what they tell of place, time and camera is kept and sent.
    ///
    /// # Errors
    /// Those of [`queue_text`](Self::queue_text), `too-many-files`, `file-unusable`, `file-too-large`, `picture-unreadable`,
    /// `voice-unreadable`, `disk-full`. Nothing is queued then.
    pub async fn queue_files(
        &self,
        to: impl Into<ConversationId>,
        text: &str,
        files: Vec<OutgoingFile>,
    ) -> Result<MessageRef, Error> {
        files::queue(&self.0, to.into(), text, files).await
    }

    /// Whether a message of one's own waits for its files to be sent.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn message_files_wait(&self, message: &MessageRef) -> Result<bool, Error> {
        let message = *message;
        self.0
            .read(move |tx| {
                let waiting = files::waiting(tx, Some(&message.conversation))?;
                Ok(waiting.iter().any(|stored| stored.message().is_ok_and(|waiting| waiting == message)))
            })
            .await
    }

    /// The directory of this home.
    pub fn directory(&self) -> &Path {
        self.0.home().directory()
    }

    /// The messages of all conversations that a person names by an id or by its beginning, each with its place.
    ///
    /// # Errors
    /// `message-unknown`, `message-ambiguous`.
    pub async fn find_anywhere(&self, id: &str) -> Result<Vec<(u64, MessageRecord)>, Error> {
        erase::named_anywhere(&self.0, id).await
    }

    /// Erases a file that was to be shown once, and was: its key, and what lies of it in this home.
    ///
    /// # Errors
    /// Those of the store and of the file system.
    pub async fn erase_file(&self, message: &MessageRef, number: u8) -> Result<(), Error> {
        files::fetch::erase(&self.0, *message, number).await
    }

    /// A piece of one conversation, or of all, in order of arrival, read behind a place: what contains `search`, if that is
    /// given, as in [`history`](Self::history). A piece may be empty though more follows.
    ///
    /// The conversation of an account that was removed is there for as long as its messages are.
    ///
    /// # Errors
    /// `contact-unknown`, `own-address`.
    pub async fn history_page(
        &self,
        conversation: Option<ConversationId>,
        search: Option<&str>,
        after: u64,
    ) -> Result<HistoryPage, Error> {
        history::page(&self.0, conversation, search, Turned::Behind(after)).await
    }

    /// A piece of one conversation, or of all, as [`history_page`](Self::history_page) gives it, read backwards from before a place:
    /// [`u64::MAX`] for the newest. Within the piece messages stand in order of arrival.
    ///
    /// # Errors
    /// `contact-unknown`, `own-address`.
    pub async fn history_page_before(
        &self,
        conversation: Option<ConversationId>,
        search: Option<&str>,
        before: u64,
    ) -> Result<HistoryPage, Error> {
        history::page(&self.0, conversation, search, Turned::Before(before)).await
    }

    /// How many messages stand before a place, in one conversation or in all.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn history_before(&self, conversation: Option<ConversationId>, before: u64) -> Result<u64, Error> {
        history::count_before(&self.0, conversation, before).await
    }

    /// The messages of a conversation that a person names by an id or by its beginning, each with its place. More than one where the
    /// other side gave a message the id of one of this home's.
    ///
    /// # Errors
    /// `contact-unknown`, `own-address`, `message-unknown`, `message-ambiguous`.
    pub async fn find_messages(
        &self,
        conversation: impl Into<ConversationId>,
        id: &str,
    ) -> Result<Vec<(u64, MessageRecord)>, Error> {
        erase::named(&self.0, conversation.into(), id).await
    }

    /// How large a conversation is now.
    ///
    /// # Errors
    /// `contact-unknown`, `own-address`.
    pub async fn extent(&self, conversation: impl Into<ConversationId>) -> Result<Extent, Error> {
        erase::extent(&self.0, conversation.into()).await
    }

    /// Deletes messages here, and what stood of them in the home's files. The other side keeps its own. A mark stays, without text
    /// and time, so that a message that is sent again stays out.
    ///
    /// # Errors
    /// `texts-waiting`: one of them waits to be sent; with `force` it is given up. `store-locked`, with `force`: another process
    /// sends.
    pub async fn delete_messages(&self, messages: &[MessageRef], force: bool) -> Result<Deleted, Error> {
        erase::messages(&self.0, messages.to_vec(), force).await
    }

    /// Deletes the messages of a conversation that stand before a place here: with [`Extent::end`] all that there were when that was
    /// asked. As [`delete_messages`](Self::delete_messages) otherwise.
    ///
    /// # Errors
    /// As [`delete_messages`](Self::delete_messages).
    pub async fn delete_conversation(
        &self,
        conversation: impl Into<ConversationId>,
        end: u64,
        force: bool,
    ) -> Result<Deleted, Error> {
        erase::conversation(&self.0, conversation.into(), end, force).await
    }

    /// All conversations with contacts and requests, by alias: for each its newest message, how much is unread, and what is kept
    /// beside it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn conversations(&self) -> Result<Vec<Conversation>, Error> {
        conversations::all(&self.0).await
    }

    /// What was begun to be written in a conversation; empty: nothing.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn draft(&self, conversation: impl Into<ConversationId>) -> Result<String, Error> {
        conversations::draft(&self.0, conversation.into()).await
    }

    /// Keeps what was begun to be written, sealed like the messages; empty: nothing. It goes where the messages go
    /// ([`Contacts::remove`]).
    ///
    /// # Errors
    /// `text-too-long`: more than [`MAX_DRAFT_BYTES`](crate::MAX_DRAFT_BYTES); `contact-unknown`, `own-address`.
    pub async fn set_draft(&self, conversation: impl Into<ConversationId>, draft: &str) -> Result<(), Error> {
        conversations::set_draft(&self.0, conversation.into(), draft).await
    }

    /// Mutes a conversation, or ends that. It is kept for screens to heed; here nothing changes by it.
    ///
    /// # Errors
    /// `contact-unknown`, `own-address`.
    pub async fn set_muted(&self, conversation: impl Into<ConversationId>, muted: bool) -> Result<(), Error> {
        conversations::set_muted(&self.0, conversation.into(), muted).await
    }

    /// A mark of the home's state, to be compared with a later one: they are equal for as long as no process changed anything.
    /// Cheap: to be asked for several times a second.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn changes(&self) -> Result<Changes, Error> {
        self.0.changes().await
    }

    /// How this home stands, in numbers.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn status(&self) -> Result<Status, Error> {
        status::status(&self.0).await
    }

    /// Asks the relay whether it is there and what time it has, over a connection of its own. It fetches and acknowledges
    /// nothing, sends nothing of what waits, and displaces no receiver.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn ask_relay(&self) -> Result<RelayAnswer, Error> {
        status::ask_relay(&self.0).await
    }

    /// Texts that wait in the outbox, in order.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn queued(&self) -> Result<Vec<MessageRecord>, Error> {
        history::queued(&self.0).await
    }

    /// How far a message of one's own has come; `None` if there is none of this name.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn message_state(&self, message: &MessageRef) -> Result<Option<MessageState>, Error> {
        history::message_state(&self.0, *message).await
    }

    /// Messages that were stored and never marked as shown, in order of arrival. Another process that receives may be
    /// showing them now: to show them, use [`show_stored`](Self::show_stored).
    ///
    /// # Errors
    /// Those of the store.
    pub async fn unshown(&self) -> Result<Vec<MessageRecord>, Error> {
        self.0.read(|tx| history::unshown(tx, 0)).await
    }

    /// What [`Connection::receive`] does first, without a relay: reports messages that were stored and never marked as
    /// shown, until `on_message` says stop. None while another process receives, for that one shows them.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn show_stored(
        &self,
        mut on_message: impl FnMut(MessageRecord) -> std::ops::ControlFlow<()> + Send,
    ) -> Result<(), Error> {
        let sink = Calls(|event| match event {
            Event::Message(message) => on_message(message),
            _ => std::ops::ControlFlow::Continue(()),
        });
        self.show_stored_into(sink).await
    }

    /// [`show_stored`](Self::show_stored) for a caller that may have to wait before it can take a message.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn show_stored_into(&self, sink: impl EventSink) -> Result<(), Error> {
        receive::show_stored(&self.0, sink).await
    }

    /// Marks messages as shown: they do not come again. Cheap: survives a kill of the process at once, a power failure
    /// from the next full commit on.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn mark_shown(&self, messages: &[MessageRef]) -> Result<(), Error> {
        history::mark(&self.0, messages, false).await
    }

    /// Marks messages as shown and read: read receipts go out with the next flush.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn mark_read(&self, messages: &[MessageRef]) -> Result<(), Error> {
        history::mark(&self.0, messages, true).await
    }

    /// Marks every unshown message of a conversation up to a place as shown and read; how many there were.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn mark_read_until(&self, conversation: impl Into<ConversationId>, place: u64) -> Result<u64, Error> {
        history::mark_until(&self.0, conversation.into(), place).await
    }

    /// A reader of incoming texts with a name and a cursor of its own: it reads on where it stopped, also in another process,
    /// whatever other readers of this home do.
    ///
    /// # Errors
    /// `consumer-name-invalid`: it has 1 to 64 bytes.
    pub fn consumer(&self, name: &str) -> Result<Consumer, Error> {
        Consumer::new(self.0.clone(), name)
    }

    /// Waits until no other process of this home receives, and keeps others of this home waiting from then on. A process that was
    /// displaced comes back this way without displacing in turn. Can be dropped at any point.
    ///
    /// # Errors
    /// `home-unusable`.
    pub async fn wait_for_turn(&self) -> Result<Turn, Error> {
        receive::wait_for_turn(&self.0).await
    }

    /// Makes this process the one that receives for all of this home's until the value is dropped, unless another one is: that
    /// one's mail can be read from the store as it comes ([`changes`](Self::changes)). Processes that receive once and end go
    /// between ([`wait_for_turn`](Self::wait_for_turn)).
    ///
    /// # Errors
    /// `home-unusable`, `home-read-only`.
    pub async fn try_lead(&self) -> Result<Option<Lead>, Error> {
        match self.0.home().hold(Exclusive::Lead, std::time::Duration::ZERO).await {
            Ok(held) => Ok(Some(Lead { _held: held })),
            Err(Error::StoreLocked { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes this home into one encrypted file: what it stores as it is now, and the files that came. Other processes of the home go on
    /// meanwhile. [`restore`](crate::restore) makes a home of it. A store of the caller's own cannot be written so.
    ///
    /// # Errors
    /// `file-exists`, `passphrase-unusable`, `backup-key-unusable`, `backup-unusable`, `disk-full`. Nothing is left then.
    pub async fn back_up(&self, file: &Path, secret: BackupSecret) -> Result<BackedUp, Error> {
        backup::write(&self.0, file.to_owned(), secret).await
    }

    /// The level of disclosure that this home is at.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn level(&self) -> Result<Level, Error> {
        self.0.read(|tx| Ok(disclosure::row(tx)?.level())).await
    }

    /// Goes to another level, for good. The relay hears of it with the next flush.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn set_level(&self, level: Level) -> Result<(), Error> {
        if self.level().await? == level {
            return Ok(());
        }
        self.0.write(move |tx| disclosure::set_level(tx, level, tx.now())).await
    }

    /// When receipts are sent.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn receipts(&self) -> Result<Receipts, Error> {
        self.0.read(|tx| Ok(disclosure::row(tx)?.receipts())).await
    }

    /// Chooses when receipts are sent, whatever the level.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn set_receipts(&self, receipts: Receipts) -> Result<(), Error> {
        self.0.write(move |tx| disclosure::set_receipts(tx, receipts)).await
    }

    /// What the relay gets to know at the present level.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn disclosure(&self) -> Result<Disclosure, Error> {
        disclosure::disclosure(&self.0).await
    }

    /// The simulated permission sheet. Above L0 all of it is denied.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn permissions(&self) -> Result<Vec<Permitted>, Error> {
        sheet::permissions(&self.0).await
    }

    /// Grants and denies permissions of the simulated sheet; what is in both is denied. The relay hears of it with the next
    /// connection: of what is denied, nothing is left there.
    ///
    /// # Errors
    /// `level-too-high` where something is granted above L0; the sheet is unchanged then.
    pub async fn set_permissions(&self, grant: &[Permission], deny: &[Permission]) -> Result<(), Error> {
        sheet::set_permissions(&self.0, grant, deny).await
    }
}

impl Connection {
    /// The home that this connection belongs to.
    pub fn client(&self) -> Client {
        Client(self.engine().clone())
    }
}
