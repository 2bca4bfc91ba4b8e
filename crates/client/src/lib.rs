//! The Kuvert client SDK: an account of an end-to-end encrypted messenger in a directory, a connection to its relay, messages in
//! both directions.
//!
//! ```
//! use kuvert_client::{Client, Event};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let (home, bobs_home) = (directory.path().join("alice"), directory.path().join("bob"));
//! # let data = directory.path().join("relay");
//! # let config = kuvert_relay::Config { listen: "127.0.0.1:0".parse()?, ..kuvert_relay::Config::new(data) };
//! # let relay = kuvert_relay_sqlite::embedded::start(config, std::sync::Arc::new(kuvert_relay::SystemClock::default())).await?;
//! # let url = relay.address().clone();
//! # let bobs = Client::builder(bobs_home).relay(url.clone()).name("bob").register().await?;
//! // Once. Every later time: Client::builder(home).open().await?
//! let client = Client::builder(home).relay(url).name("alice").register().await?;
//!
//! let bob = client.contacts().add("bob").await?;
//! let mut connection = client.connect().await?;
//! connection.send_text(&bob, "Hello").await?;
//! # let mut answer = bobs.connect().await?;
//! # while !matches!(answer.next_event().await?, Some(Event::CaughtUp)) {}
//! # let alice = bobs.contacts().requests().await?.remove(0).account;
//! # bobs.contacts().accept_request(alice, Some("alice")).await?;
//! # answer.send_text(alice, "Hello yourself").await?;
//!
//! while let Some(event) = connection.next_event().await? {
//!     if let Event::Message(message) = event {
//!         println!("{}: {}", message.alias, message.text);
//!         client.mark_read(&[message.message]).await?;
//! #       assert_eq!(message.text, "Hello yourself");
//! #       break;
//!     }
//! }
//! # relay.shutdown().await;
//! # Ok(())
//! # }
//! ```
//! [`Client`] and [`Connection`] are cheap handles: clone them into tasks, send and receive at the same time. Everything that
//! waits, for the relay or for the disk, is `async`; nothing blocks a thread of the executor. Programs to begin with are in
//! `examples`: `hello`, `bot`, `custom_store`.
//!
//! Every change of state is one transaction of an encrypted SQLite file. What the relay was told it may delete is on this
//! machine's disk first; what the relay confirmed is on its disk; what lies between is in the outbox and is sent again,
//! same bytes, same id. Two processes may use one home at the same time.
//!
//! A module uses only modules below it in this table; a test keeps it so.
//!
//! | module | owns |
//! |---|---|
//! | [`client`] | the façade: open, register, and what hands over to the rest |
//! | `backup` | a home as one encrypted file, and a home of such a file |
//! | `receive` | inbox: open, commit, acknowledge, receipts; events that are pulled |
//! | `status` | how the home stands, and whether its relay answers |
//! | `contacts` | the address book as the caller uses it: adding, verifying, blocking |
//! | `consumer` | readers of texts with a cursor of their own |
//! | `files` | files sent and fetched beside the mail |
//! | `send` | outbox: encrypt, submit, resubmit |
//! | `conversations` | all of them side by side, drafts, what is muted |
//! | `erase` | deleting here what was written and received |
//! | `history` | what was written and received |
//! | `account`, `report` | correcting and deleting the account; all that the relay holds about it |
//! | `consent`, `people` | the terms of a relay that runs the demonstration; what L0 tells beyond mail, and taking it back |
//! | `registration` | a new account |
//! | `prekeys` | refill, rotation, retention |
//! | `connection` | an authenticated connection |
//! | `blocking` | telling the relay who is blocked, where the owner wants that |
//! | `resets`, `requests` | sessions that were lost; accounts that wrote first |
//! | `receipts` | when receipts are sent |
//! | `disclosure` | the level, the access key, what the relay gets to know |
//! | `contact`, `directory` | trust on first use, pinned keys; what a relay says about accounts, checked |
//! | `engine`, `identity` | transactions, and this home's account and device as they see it |
//! | `devices` | device lists: refuse unsigned, older, forked |
//! | `transport` | QUIC, the relay's pin, requests and pushes |
//! | `mend` | rows that are damaged, and what follows from each |
//! | `migrate`, `state` | which tables there are and what their rows hold; rows of older stores |
//! | `store` | transactions: the trait, SQLite with sealed values, an in-memory backend, their conformance tests |
//! | `home` | the directory, its permissions, the store's key, locks between processes |
//! | `bridge` | where protocol and wire types meet |
//! | [`error`], [`invite`] | the one error type, its codes; invite links |
//! | `certain` | what a clock that is set wrong must not decide |
//! | `fold` | when two texts are the same to a person |

#![deny(missing_docs)]

mod account;
mod backup;
mod blocking;
mod bridge;
mod certain;
pub mod client;
mod connection;
mod consent;
mod consumer;
mod contact;
mod contacts;
mod conversation;
mod conversations;
mod devices;
mod directory;
mod disclosure;
mod engine;
mod erase;
pub mod error;
mod event;
mod files;
mod fold;
mod history;
pub mod home;
mod identity;
pub mod invite;
mod mend;
mod migrate;
mod options;
mod patience;
mod people;
mod prekeys;
mod receipts;
mod receive;
mod records;
mod registration;
mod report;
mod requests;
mod resets;
mod rng;
mod send;
mod session;
mod state;
mod status;
pub mod store;
pub mod transport;

pub use account::Correction;
pub use backup::{BackedUp, BackupSecret, MAX_PASSPHRASE_BYTES, Restored, make_backup_key, restore};
pub use certain::MAX_SKEW_MS;
pub use client::{Builder, Client, Lead};
pub use connection::Connection;
pub use consent::{Consent, Policy, Terms};
pub use consumer::{Consumer, Cursor};
pub use contacts::{Contacts, Removed};
pub use conversation::{ConversationId, MessageRef};
pub use conversations::{Conversation, MAX_DRAFT_BYTES, PREVIEW_BYTES};
pub use disclosure::{Disclosure, Item, Seen};
pub use engine::Changes;
pub use erase::{Deleted, Extent};
pub use error::Error;
pub use event::{DamagedPart, DropReason, Event, EventSink, ListConflict, Occupant, ReceiptKind};
pub use files::thumbnail::{MAX_THUMBNAIL_SIDE, Pixels, pixels as thumbnail_pixels};
pub use files::upload::FilesReport;
pub use files::{OutgoingFile, safe_file_name};
pub use fold::{fold, is_invisible};
pub use history::HistoryPage;
pub use invite::{InviteLink, InviteLinkError};
pub use options::{Clock, Options, Profile, ReceiveOptions, SystemClock};
pub use people::address_book::{Match, Person, Upload};
pub use people::phone::VerifiedPhone;
pub use people::profile::{ProfileChange, ProfileInfo};
pub use people::sheet::{PERMISSIONS, Permission, Permitted};
pub use receive::Turn;
pub use records::{
    Accepted, ContactInfo, Direction, FileInfo, FileState, FlushReport, MAX_AHEAD_MS, MessageRecord, MessageState,
    NotSent, Receipts, ReceiveEnd, SafetyNumber, Transfer, Whoami, written_at,
};
pub use report::{Report, ReportFile, ReportStatus};
pub use status::{RelayAnswer, Status};

/// Not part of the interface: what the fuzz targets check.
#[doc(hidden)]
pub mod internal {
    pub use crate::bridge::{
        Body, Content, draft, finish_content, kem_prekey, one_time_prekey, open_content, prekey_bundle, receipts,
        session_reset, signed_prekey, text,
    };
}

/// Files of one message at most.
pub use kuvert_types::limits::MAX_ATTACHMENTS;
/// The types in this crate's signatures.
pub use kuvert_types::{AccountId, Address, DeviceId, EnvelopeId, Level, RelayUrl};
