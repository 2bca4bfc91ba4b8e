//! One damaged row of each kind, on the store of real homes: bytes changed on the disk, and bytes that are vouched for and mean
//! nothing. What it cost, what stands in for it, and that everything else is as it was.

use std::path::PathBuf;
use std::time::Duration;

use kuvert_protocol::identity::{AccountSecret, DeviceSecrets, LocalDevice};
use kuvert_protocol::prekey::{KemPrekeyKind, KemPrekeySecret, PrekeyBundle, SignedPrekeySecret};
use kuvert_protocol::replay::ReplayRecord;
use kuvert_protocol::session::SessionRecord;
use kuvert_types::{AccountKey, Address, DeviceId, EnvelopeId, Level, UnverifiedDeviceCertificate};
use kuvert_wire::v1;
use prost::Message as _;

use super::*;
use crate::bridge;
use crate::contact::Contact;
use crate::conversation::MessageRef;
use crate::disclosure;
use crate::event::ReceiptKind;
use crate::prekeys;
use crate::receipts;
use crate::records::{FileState, Receipts};
use crate::requests;
use crate::resets;
use crate::rng;
use crate::session::session;
use crate::state::{
    ConversationRow, DeletedRow, DisclosureRow, EnvelopeRow, FetchRow, FileRow, HeldRow, MessageRow, OutboxRow,
    Outgoing, PeerRow, PrekeyStateRow, Progress, ToldRow, UploadRow, enqueue, file_key, message_key, received_key,
};
use crate::store::sqlite::SqliteStore;
use crate::store::{Mode, Store as _};

const NOW: u64 = 1_800_000_000_000;
const OWN: AccountId = AccountId::from_bytes([9; 16]);
const ALICE: AccountId = AccountId::from_bytes([1; 16]);
const CAROL: AccountId = AccountId::from_bytes([3; 16]);

/// No protobuf message, no session, no number.
const JUNK: [u8; 3] = [0xFF; 3];

#[derive(Clone, Copy, PartialEq, Debug)]
enum How {
    /// A byte changed on the disk.
    Flipped,
    /// Sealed, and nothing that this build can read.
    Junk,
}

const BOTH: [How; 2] = [How::Flipped, How::Junk];

struct Home {
    dir: tempfile::TempDir,
    store: SqliteStore,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let store =
            SqliteStore::open_or_create(&path, &dir.path().join("key"), &[5; 32], Duration::from_secs(60)).unwrap();
        Self { dir, store }
    }

    fn write<T>(&mut self, work: impl FnOnce(&dyn Transaction) -> T) -> T {
        let tx = self.store.begin(Mode::Write).unwrap();
        let value = work(&*tx);
        tx.commit().unwrap();
        value
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("store.db")
    }

    /// The sealed values by what SQLite finds them by.
    fn sealed(&self) -> BTreeMap<(bool, Vec<u8>), Vec<u8>> {
        let db = rusqlite::Connection::open(self.path()).unwrap();
        let mut all = BTreeMap::new();
        for (is_log, sql) in [(false, "SELECT tbl, key, value FROM record"), (true, "SELECT log, key, value FROM log")]
        {
            let mut statement = db.prepare(sql).unwrap();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let (part, key): (u8, Vec<u8>) = (row.get(0).unwrap(), row.get(1).unwrap());
                all.insert((is_log, [&[part][..], &key].concat()), row.get(2).unwrap());
            }
        }
        all
    }

    /// Changes a byte of the row that sealing it anew changes.
    fn flip(&mut self, part: Part, key: &[u8]) {
        let before = self.sealed();
        self.write(|tx| match part {
            Part::Table(table) => tx.put(table, key, &tx.get(table, key).unwrap().unwrap()).unwrap(),
            Part::Log(log) => {
                let entry = tx.find(log, key).unwrap().unwrap();
                assert!(tx.replace(log, entry.place, &entry.value).unwrap());
            }
        });
        let changed: Vec<_> = self.sealed().into_iter().filter(|(at, value)| before.get(at) != Some(value)).collect();
        let [((is_log, name), value)] = &changed[..] else { panic!("{part:?}: {} rows", changed.len()) };
        let mut value = value.clone();
        let middle = value.len() - 5;
        value[middle] ^= 1;
        let sql = if *is_log {
            "UPDATE log SET value = ?3 WHERE log = ?1 AND key = ?2"
        } else {
            "UPDATE record SET value = ?3 WHERE tbl = ?1 AND key = ?2"
        };
        let db = rusqlite::Connection::open(self.path()).unwrap();
        assert_eq!(db.execute(sql, rusqlite::params![name[0], &name[1..], value]).unwrap(), 1);
    }

    fn damage(&mut self, how: How, part: Part, key: &[u8]) {
        match (how, part) {
            (How::Flipped, _) => self.flip(part, key),
            (How::Junk, Part::Table(table)) => self.write(|tx| tx.put(table, key, &JUNK).unwrap()),
            (How::Junk, Part::Log(log)) => self.write(|tx| {
                let entry = tx.find(log, key).unwrap().unwrap();
                assert!(tx.replace(log, entry.place, &JUNK).unwrap());
            }),
        }
    }

    /// Mends, and what there is to tell.
    fn mend(&mut self) -> Vec<(DamagedPart, Option<AccountId>, u64)> {
        assert!(self.write(|tx| mend(tx, NOW).unwrap()));
        assert!(!self.write(|tx| mend(tx, NOW).unwrap()), "once is enough");
        let told = self.write(|tx| untold(tx).unwrap());
        self.write(|tx| forget_told(tx).unwrap());
        assert_eq!(self.write(|tx| untold(tx).unwrap()), []);
        let told = told.into_iter().map(|event| match event {
            Event::Damaged { part, account, count, .. } => (part, account, count),
            other => panic!("{other:?}"),
        });
        told.collect()
    }
}

fn device(account: AccountId) -> Address {
    Address { account, device: DeviceId::PRIMARY }
}

/// A session that was begun with a device of an account; the account's key.
fn begin_session(tx: &dyn Transaction, account: AccountId) -> AccountKey {
    let rng = &mut rng::system_rng();
    let local = |address| {
        let (account, keys) = (AccountSecret::generate(rng), DeviceSecrets::generate(rng));
        let certificate = keys.certify(&account, address);
        (certificate, LocalDevice::new(keys, certificate).unwrap())
    };
    let [(_, own), (certificate, remote)] = [device(OWN), device(account)].map(local);
    let rng = &mut rng::system_rng();
    let bundle = PrekeyBundle {
        certificate: UnverifiedDeviceCertificate::decode(&certificate.encode()).unwrap(),
        signed_prekey: SignedPrekeySecret::generate(1, remote.secrets(), rng).public(),
        kem_prekey: KemPrekeySecret::generate(1, KemPrekeyKind::LastResort, remote.secrets(), rng).public(),
        kem_kind: KemPrekeyKind::LastResort,
        one_time_prekey: None,
    };
    let bundle = bundle.verify(device(account), &certificate.account_key()).unwrap();
    let mut session = SessionRecord::new();
    session.initiate(&own, &bundle, NOW, rng).unwrap();
    tx.put(Table::Session, &device(account).to_bytes(), &session.encode()).unwrap();
    certificate.account_key()
}

fn add(tx: &dyn Transaction, account: AccountId, key: AccountKey, alias: &str) {
    Contact::new(account, key, None, alias.to_owned(), NOW).save(tx).unwrap();
}

fn text(tx: &dyn Transaction, with: AccountId, number: u8, progress: Option<Progress>) -> MessageRef {
    let author = if progress.is_some() { OWN } else { with };
    let message = MessageRef { conversation: with.into(), author, id: EnvelopeId::from_bytes([number; 16]) };
    let mut row = MessageRow {
        conversation: with.as_bytes().to_vec(),
        id: message.id.as_bytes().to_vec(),
        author: author.as_bytes().to_vec(),
        outgoing: progress.is_some(),
        text: format!("text {number}"),
        ..MessageRow::default()
    };
    row.set_progress(progress.unwrap_or(Progress::Queued));
    let place = tx.append(Log::Message, with.as_bytes(), &message_key(&message), &row.encode_to_vec()).unwrap();
    if progress.is_none() {
        tx.put(Table::Unshown, &place.unwrap().to_be_bytes(), &[]).unwrap();
    }
    message
}

/// An entry of the outbox for a text; its key.
fn queue(tx: &dyn Transaction, message: &MessageRef) -> Vec<u8> {
    let row = OutboxRow {
        conversation: message.conversation.as_bytes().to_vec(),
        content: bridge::draft(message.id, NOW, bridge::text("hello")),
        text_id: message.id.as_bytes().to_vec(),
        fresh_session_with: 0,
        author: OWN.as_bytes().to_vec(),
    };
    enqueue(tx, &row).unwrap();
    tx.scan(Log::Outbox, None, 0, usize::MAX).unwrap().pop().unwrap().key
}

/// Two contacts with sessions, texts that were not shown, texts that wait.
fn home() -> (Home, [AccountKey; 2]) {
    let mut home = Home::new();
    let keys = home.write(|tx| {
        let keys = [(ALICE, "alice", 1), (CAROL, "carol", 101)].map(|(account, alias, number)| {
            let key = begin_session(tx, account);
            add(tx, account, key, alias);
            text(tx, account, number, None);
            let waiting = text(tx, account, number + 1, Some(Progress::Queued));
            queue(tx, &waiting);
            key
        });
        tx.put(Table::Own, own::ACCOUNT, b"the account").unwrap();
        keys
    });
    (home, keys)
}

fn queued(tx: &dyn Transaction) -> Vec<(AccountId, EnvelopeId)> {
    let all = Outgoing::scan(tx, None, 0, usize::MAX).unwrap();
    all.iter().map(|one| (one.conversation.contact().unwrap(), one.text.unwrap().id)).collect()
}

const fn id(number: u8) -> EnvelopeId {
    EnvelopeId::from_bytes([number; 16])
}

fn contact(tx: &dyn Transaction, account: AccountId) -> Option<Contact> {
    Contact::get(tx, &account).unwrap()
}

#[test]
fn a_sound_home_is_left_as_it_is() {
    let (mut home, _) = home();
    let before = home.sealed();
    assert!(!home.write(|tx| mend(tx, NOW).unwrap()));
    assert_eq!(home.sealed(), before);
}

#[test]
fn a_session_costs_itself_and_a_fresh_one_is_due_with_that_contact_only() {
    for how in BOTH {
        let (mut home, _) = home();
        let carols = home.write(|tx| tx.get(Table::Session, &device(CAROL).to_bytes()).unwrap());
        home.damage(how, Part::Table(Table::Session), &device(ALICE).to_bytes());
        assert_eq!(home.mend(), [(DamagedPart::Session, Some(ALICE), 1)]);
        home.write(|tx| {
            assert!(session(tx, &device(ALICE)).unwrap().is_empty());
            assert_eq!(tx.get(Table::Session, &device(CAROL).to_bytes()).unwrap(), carols);
            resets::queue_what_is_due(tx, NOW, Some(NOW)).unwrap();
            let resets = Outgoing::scan(tx, Some(state::RESETS), 0, 9).unwrap();
            assert_eq!(resets.iter().map(|one| one.conversation).collect::<Vec<_>>(), [ALICE.into()]);
        });
    }
}

#[test]
fn no_fresh_session_is_begun_for_a_request_whose_session_is_damaged() {
    for how in BOTH {
        let (mut home, _) = home();
        home.write(|tx| {
            let mut request = contact(tx, ALICE).unwrap();
            request.row.request = true;
            request.save(tx).unwrap();
        });
        home.damage(how, Part::Table(Table::Session), &device(ALICE).to_bytes());
        assert_eq!(home.mend(), [(DamagedPart::Session, Some(ALICE), 1)]);
        assert!(!home.write(|tx| resets::are_due(tx, NOW).unwrap()));
    }
}

#[test]
fn a_contact_is_a_request_again_under_the_key_that_was_pinned() {
    for how in BOTH {
        let (mut home, [key, _]) = home();
        home.damage(how, Part::Table(Table::Contact), ALICE.as_bytes());
        assert_eq!(home.mend(), [(DamagedPart::Contact, Some(ALICE), 1)]);
        home.write(|tx| {
            let again = contact(tx, ALICE).unwrap();
            assert_eq!(again.row.key().unwrap(), key);
            assert!(again.row.request && !again.row.verified && again.may_send().is_err());
            assert!(!contact(tx, CAROL).unwrap().row.request);
            assert_eq!(queued(tx).len(), 2, "what waits goes on waiting");
            // Accepted, it is asked for what it sent meanwhile.
            let mut again = again;
            requests::accept(&mut again, tx, NOW).unwrap();
            again.save(tx).unwrap();
            assert!(resets::are_due(tx, NOW).unwrap());
        });
    }
}

#[test]
fn a_contact_without_a_session_is_unknown() {
    for how in BOTH {
        let (mut home, _) = home();
        home.write(|tx| tx.delete(Table::Session, &device(ALICE).to_bytes()).unwrap());
        home.damage(how, Part::Table(Table::Contact), ALICE.as_bytes());
        assert_eq!(home.mend(), [(DamagedPart::Contact, Some(ALICE), 1)]);
        home.write(|tx| assert!(contact(tx, ALICE).is_none() && contact(tx, CAROL).is_some()));
    }
}

#[test]
fn a_text_of_the_history_is_gone_and_its_conversation_is_named() {
    for how in BOTH {
        let (mut home, _) = home();
        home.damage(how, Part::Log(Log::Message), &message_key(&MessageRef::of_contact(ALICE, id(1))));
        assert_eq!(home.mend(), [(DamagedPart::Message, Some(ALICE), 1)]);
        home.write(|tx| {
            assert_eq!(tx.len(Log::Message).unwrap(), 3);
            assert_eq!(tx.count(Table::Unshown).unwrap(), 1, "no mark is left of it");
            // If it comes again, there is room for it.
            text(tx, ALICE, 1, None);
        });
    }
}

#[test]
fn a_text_that_waits_is_queued_again_from_the_history() {
    for how in BOTH {
        let (mut home, _) = home();
        let key = home.write(|tx| {
            let entry = tx.scan(Log::Outbox, None, 0, 1).unwrap().remove(0);
            let mut outgoing = Outgoing::read(tx, entry.clone()).unwrap();
            let row = EnvelopeRow {
                recipient: device(ALICE).to_bytes().to_vec(),
                id: id(7).as_bytes().to_vec(),
                ..Default::default()
            };
            outgoing.add(tx, device(ALICE), row).unwrap();
            entry.key
        });
        home.damage(how, Part::Log(Log::Outbox), &key);
        assert_eq!(home.mend(), [(DamagedPart::QueuedAgain, Some(ALICE), 1)]);
        home.write(|tx| {
            assert_eq!(queued(tx), [(CAROL, id(102)), (ALICE, id(2))]);
            let again = Outgoing::scan(tx, Some(ALICE.as_bytes()), 0, 9).unwrap().remove(0);
            let content = bridge::draft_id(&again.row.content).unwrap();
            assert_eq!(content, id(2));
            assert_eq!(tx.len(Log::Envelope).unwrap(), 0, "nothing is left of the old entry");
        });
    }
}

#[test]
fn an_entry_that_is_no_text_is_gone_and_that_is_told() {
    for how in BOTH {
        let (mut home, _) = home();
        let key = home.write(|tx| {
            let content = bridge::draft(id(50), NOW, bridge::receipts(&[id(1)], &[]));
            enqueue(tx, &OutboxRow { conversation: ALICE.as_bytes().to_vec(), content, ..OutboxRow::default() })
                .unwrap();
            tx.scan(Log::Outbox, None, 0, 9).unwrap().pop().unwrap().key
        });
        home.damage(how, Part::Log(Log::Outbox), &key);
        let account = (how == How::Flipped).then_some(ALICE);
        assert_eq!(home.mend(), [(DamagedPart::Waiting, account, 1)]);
        home.write(|tx| assert_eq!(queued(tx).len(), 2));
    }
}

#[test]
fn an_entry_with_a_damaged_envelope_is_encrypted_anew() {
    for how in BOTH {
        let (mut home, _) = home();
        let key = home.write(|tx| {
            let entry = tx.scan(Log::Outbox, None, 0, 1).unwrap().remove(0);
            let mut outgoing = Outgoing::read(tx, entry.clone()).unwrap();
            for number in [1, 2] {
                let to = Address { account: ALICE, device: DeviceId::new(number).unwrap() };
                let row = EnvelopeRow {
                    recipient: to.to_bytes().to_vec(),
                    id: id(7).as_bytes().to_vec(),
                    ..Default::default()
                };
                outgoing.add(tx, to, row).unwrap();
            }
            [&entry.key[..], &device(ALICE).to_bytes()].concat()
        });
        home.damage(how, Part::Log(Log::Envelope), &key);
        assert_eq!(home.mend(), []);
        home.write(|tx| {
            let all = Outgoing::scan(tx, None, 0, 9).unwrap();
            assert!(all.len() == 2 && all.iter().all(Outgoing::is_untouched));
            assert_eq!(tx.len(Log::Envelope).unwrap(), 0);
        });
    }
}

#[test]
fn held_mail_that_is_damaged_is_asked_for() {
    for how in BOTH {
        for key_changed in [false, true] {
            let (mut home, _) = home();
            let key = received_key(&device(ALICE), &id(60));
            home.write(|tx| {
                let mut alice = contact(tx, ALICE).unwrap();
                alice.row.changed_key = key_changed.then(|| vec![7; 32]);
                alice.save(tx).unwrap();
                for (account, key) in [(ALICE, key), (CAROL, received_key(&device(CAROL), &id(61)))] {
                    let row = HeldRow { id: key[20..].to_vec(), device: 1, ciphertext: vec![1], ..HeldRow::default() };
                    tx.append(Log::Held, account.as_bytes(), &key, &row.encode_to_vec()).unwrap();
                }
            });
            home.damage(how, Part::Log(Log::Held), &key);
            assert_eq!(home.mend(), [(DamagedPart::Held, Some(ALICE), 1)]);
            home.write(|tx| {
                assert_eq!(tx.len(Log::Held).unwrap(), 1);
                assert_eq!(resets::are_due(tx, NOW).unwrap(), !key_changed);
                assert_eq!(contact(tx, ALICE).unwrap().row.dropped, key_changed, "asked for once its key is accepted");
            });
        }
    }
}

#[test]
fn what_is_remembered_of_a_device_begins_anew_and_resets_stay_an_hour_apart() {
    for how in BOTH {
        let (mut home, _) = home();
        home.write(|tx| {
            for account in [ALICE, CAROL] {
                let row = PeerRow { reset_at: NOW - 1, ..PeerRow::default() };
                state::put(tx, Table::Peer, &device(account).to_bytes(), &row).unwrap();
            }
        });
        home.damage(how, Part::Table(Table::Peer), &device(ALICE).to_bytes());
        assert_eq!(home.mend(), [(DamagedPart::Session, Some(ALICE), 1)]);
        home.write(|tx| {
            assert!(!resets::are_due(tx, NOW + resets::INTERVAL_MS - 1).unwrap());
            assert!(resets::are_due(tx, NOW + resets::INTERVAL_MS).unwrap());
            assert!(resets::is_one_of_ours(tx, &device(ALICE), &id(9)).unwrap(), "no receipt accuses this home");
            // A reset of its may just have been answered, and texts may just have been sent again.
            assert!(!resets::heard(tx, &device(ALICE), id(10), NOW + resets::INTERVAL_MS - 1).unwrap());
            assert!(resets::heard(tx, &device(CAROL), id(11), NOW).unwrap());
            let key = device(ALICE).to_bytes();
            let row: PeerRow = state::get(tx, Table::Peer, &key).unwrap().unwrap();
            let asked = PeerRow { resend_due: true, reset_due: false, ..row };
            state::put(tx, Table::Peer, &key, &PeerRow { reset_at: 0, ..asked }).unwrap();
            tx.delete(Table::Peer, &device(CAROL).to_bytes()).unwrap();
            assert!(!resets::are_due(tx, NOW + resets::INTERVAL_MS - 1).unwrap());
            assert!(resets::are_due(tx, NOW + resets::INTERVAL_MS).unwrap());
        });
    }
}

#[test]
fn a_text_that_was_not_shown_stays_so() {
    let (mut home, _) = home();
    let [place, other] = home.write(|tx| {
        let places: Vec<Vec<u8>> = tx.list(Table::Unshown).unwrap().into_iter().map(|(place, _)| place).collect();
        <[Vec<u8>; 2]>::try_from(places).unwrap()
    });
    home.damage(How::Flipped, Part::Table(Table::Unshown), &place);
    assert_eq!(home.mend(), []);
    home.write(|tx| {
        let left: Vec<Vec<u8>> = tx.list(Table::Unshown).unwrap().into_iter().map(|(place, _)| place).collect();
        assert_eq!(left, [place, other]);
    });
}

#[test]
fn a_receipt_that_is_due_stays_due_if_its_text_is_there() {
    for how in BOTH {
        let (mut home, _) = home();
        let of_text = MessageRef::of_contact(ALICE, id(1));
        let of_none = MessageRef::of_contact(CAROL, id(77));
        home.write(|tx| {
            for message in [of_text, of_none] {
                receipts::note(tx, &message, ReceiptKind::Delivered, NOW).unwrap();
            }
        });
        for message in [of_text, of_none] {
            home.damage(how, Part::Table(Table::ReceiptDue), &message_key(&message));
        }
        assert_eq!(home.mend(), [(DamagedPart::Receipt, None, 1)]);
        let due = home.write(|tx| receipts::due(tx, NOW).unwrap());
        assert_eq!(due[&ALICE], [(of_text, false)]);
        assert_eq!(due.len(), 1);
    }
}

#[test]
fn prekeys_go_and_those_that_have_to_be_there_are_made_anew() {
    for how in BOTH {
        let mut home = Home::new();
        let secrets = DeviceSecrets::generate(&mut rng::system_rng());
        let make = |home: &mut Home| {
            home.write(|tx| {
                prekeys::make_some(tx, &secrets, NOW);
                tx.list(Table::Prekey).unwrap().into_iter().map(|(key, _)| key).collect::<Vec<_>>()
            })
        };
        let keys = make(&mut home);
        let of_kind =
            |keys: &[Vec<u8>], kind: u8| keys.iter().filter(|key| key[0] == kind).cloned().collect::<Vec<_>>();
        // A one-time prekey: no other is touched.
        home.damage(how, Part::Table(Table::Prekey), &of_kind(&keys, 2)[0]);
        assert_eq!(home.mend(), [(DamagedPart::Prekey, None, 1)]);
        assert_eq!(make(&mut home).len(), keys.len() - 1);
        // The signed one, and the one of last resort, are in use at all times.
        for kind in [1, 4] {
            let before = make(&mut home);
            // The one in use: those that were replaced before stand behind it.
            home.damage(how, Part::Table(Table::Prekey), &of_kind(&before, kind).pop().unwrap());
            assert_eq!(home.mend(), [(DamagedPart::Prekey, None, 1)]);
            let after = make(&mut home);
            let newest = of_kind(&after, kind).pop().unwrap();
            assert!(!before.contains(&newest), "{kind}");
        }
    }
}

#[test]
fn a_prekey_whose_replays_cannot_be_told_goes_with_its_record() {
    for how in BOTH {
        let mut home = Home::new();
        let secrets = DeviceSecrets::generate(&mut rng::system_rng());
        let last_resort = home.write(|tx| {
            prekeys::make_some(tx, &secrets, NOW);
            let keys = tx.list(Table::Prekey).unwrap();
            let key = keys.into_iter().map(|(key, _)| key).find(|key| key[0] == 4).unwrap();
            tx.put(Table::Replay, &key[1..], &ReplayRecord::new().encode()).unwrap();
            tx.put(Table::Replay, &[9; 4], &ReplayRecord::new().encode()).unwrap();
            key
        });
        home.damage(how, Part::Table(Table::Replay), &last_resort[1..]);
        assert_eq!(home.mend(), [(DamagedPart::Prekey, None, 1)]);
        home.write(|tx| {
            assert!(tx.get(Table::Prekey, &last_resort).unwrap().is_none());
            assert_eq!(tx.count(Table::Replay).unwrap(), 1);
            prekeys::make_some(tx, &secrets, NOW);
            assert!(tx.list(Table::Prekey).unwrap().iter().any(|(key, _)| key[0] == 4), "and another is made");
        });
    }
}

#[test]
fn ids_of_what_was_received_are_missed_by_nothing() {
    for how in BOTH {
        let (mut home, _) = home();
        let key = received_key(&device(ALICE), &id(60));
        home.write(|tx| tx.append(Log::Received, &[], &key, &NOW.to_be_bytes()).unwrap());
        home.write(|tx| tx.put(Table::Received, id(61).as_bytes(), &NOW.to_be_bytes()).unwrap());
        home.damage(how, Part::Log(Log::Received), &key);
        home.damage(how, Part::Table(Table::Received), id(61).as_bytes());
        assert_eq!(home.mend(), []);
    }
}

#[test]
fn settings_that_are_lost_are_the_strictest() {
    for how in BOTH {
        let (mut home, _) = home();
        home.write(|tx| {
            disclosure::set_level(tx, Level::L1, NOW).unwrap();
            disclosure::set_receipts(tx, Receipts::Off).unwrap();
            state::put(tx, Table::Own, own::TOLD, &ToldRow { told: true, ..ToldRow::default() }).unwrap();
            tx.put(Table::Own, b"consumer bot", &7_u64.to_be_bytes()).unwrap();
            tx.put(Table::Own, b"consumer other", &8_u64.to_be_bytes()).unwrap();
        });
        for key in [own::DISCLOSURE, own::TOLD, b"consumer bot"] {
            home.damage(how, Part::Table(Table::Own), key);
        }
        assert_eq!(home.mend(), [(DamagedPart::Level, None, 1), (DamagedPart::Consumer, None, 1)]);
        home.write(|tx| {
            let row = disclosure::row(tx).unwrap();
            assert_eq!((row.level(), row.receipts()), (Level::L3, Receipts::Off));
            let told: ToldRow = state::get(tx, Table::Own, own::TOLD).unwrap().unwrap();
            assert!(told.told, "it is taken back once the level forbids it");
            assert!(tx.get(Table::Own, b"consumer bot").unwrap().is_none());
            assert_eq!(tx.get(Table::Own, b"consumer other").unwrap().unwrap().as_slice(), 8_u64.to_be_bytes());
        });
    }
}

#[test]
fn a_text_that_was_deleted_stays_so_where_it_is_known_which_it_was() {
    for how in BOTH {
        let (mut home, _) = home();
        let key = message_key(&MessageRef::of_contact(ALICE, id(80)));
        home.write(|tx| state::put(tx, Table::Deleted, &key, &DeletedRow { confirmed_for: 7 }).unwrap());
        home.damage(how, Part::Table(Table::Deleted), &key);
        let told = if how == How::Junk { vec![] } else { vec![(DamagedPart::Deleted, None, 1)] };
        assert_eq!(home.mend(), told);
        assert_eq!(home.write(|tx| tx.get(Table::Deleted, &key).unwrap().is_some()), how == How::Junk);
    }
}

#[test]
fn a_draft_that_is_damaged_is_told_of_and_gone() {
    for how in BOTH {
        let (mut home, _) = home();
        let row = ConversationRow { draft: "half a".into(), muted: true };
        home.write(|tx| state::put(tx, Table::Conversation, ALICE.as_bytes(), &row).unwrap());
        home.damage(how, Part::Table(Table::Conversation), ALICE.as_bytes());
        assert_eq!(home.mend(), [(DamagedPart::Draft, None, 1)]);
        assert_eq!(home.write(|tx| tx.count(Table::Conversation).unwrap()), 0);
    }
}

#[test]
fn a_level_with_an_access_key_that_is_none_is_damage() {
    let (mut home, _) = home();
    let row = DisclosureRow { access_key: vec![1; 3], level_and_one: 2, ..DisclosureRow::default() };
    home.write(|tx| state::put(tx, Table::Own, own::DISCLOSURE, &row).unwrap());
    assert_eq!(home.mend(), [(DamagedPart::Level, None, 1)]);
}

#[test]
fn prekey_numbers_are_not_given_twice_after_their_counters_are_lost() {
    for how in BOTH {
        let mut home = Home::new();
        let secrets = DeviceSecrets::generate(&mut rng::system_rng());
        let before: PrekeyStateRow = home.write(|tx| {
            prekeys::make_some(tx, &secrets, NOW);
            state::get(tx, Table::Own, own::PREKEYS).unwrap().unwrap()
        });
        home.damage(how, Part::Table(Table::Own), own::PREKEYS);
        assert_eq!(home.mend(), []);
        let after: PrekeyStateRow = home.write(|tx| state::get(tx, Table::Own, own::PREKEYS).unwrap().unwrap());
        for (before, after) in [
            (before.last_signed, after.last_signed),
            (before.last_one_time, after.last_one_time),
            (before.last_kem, after.last_kem),
        ] {
            assert!(after > before + 1_000);
        }
    }
}

#[test]
fn marks_that_something_is_to_be_done_stay() {
    let (mut home, _) = home();
    let keys = [own::BLOCKS, own::NAME_NEWS, own::TRACES, own::TIDIED, own::RECEIVER, own::COPY_SEEN];
    home.write(|tx| keys.into_iter().for_each(|key| tx.put(Table::Own, key, &[]).unwrap()));
    keys.into_iter().for_each(|key| home.damage(How::Flipped, Part::Table(Table::Own), key));
    assert_eq!(home.mend(), []);
    home.write(|tx| {
        let there = keys.map(|key| tx.get(Table::Own, key).unwrap().is_some());
        assert_eq!(there, [true, true, true, false, false, false], "old rows are looked for once more");
    });
}

#[test]
fn a_home_without_its_account_and_one_with_too_many_damaged_rows_is_left_as_it_is() {
    let (mut home, _) = home();
    home.damage(How::Flipped, Part::Table(Table::Session), &device(ALICE).to_bytes());
    home.damage(How::Flipped, Part::Table(Table::Own), own::ACCOUNT);
    let before = home.sealed();
    let refused = |home: &mut Home| {
        let tx = home.store.begin(Mode::Write).unwrap();
        mend(&*tx, NOW).unwrap_err().code()
    };
    assert_eq!(refused(&mut home), "store-corrupt");
    assert_eq!(home.sealed(), before);

    for how in BOTH {
        let mut home = Home::new();
        let consumer = |number: usize| format!("consumer {number}").into_bytes();
        for number in 0..=MAX_DAMAGED {
            home.write(|tx| tx.put(Table::Own, &consumer(number), &[0; 8]).unwrap());
        }
        for number in 0..=MAX_DAMAGED {
            home.damage(how, Part::Table(Table::Own), &consumer(number));
        }
        let before = home.sealed();
        assert_eq!(refused(&mut home), "store-corrupt");
        assert_eq!(home.sealed(), before);
        home.write(|tx| tx.delete(Table::Own, &consumer(0)).unwrap());
        assert_eq!(home.mend(), [(DamagedPart::Consumer, None, MAX_DAMAGED as u64)], "as many as that are removed");
    }
}

/// A message with one file.
fn with_file(tx: &dyn Transaction, with: AccountId, number: u8, outgoing: bool, file: FileRow) -> MessageRef {
    let author = if outgoing { OWN } else { with };
    let message = MessageRef { conversation: with.into(), author, id: id(number) };
    let mut row = MessageRow {
        conversation: with.as_bytes().to_vec(),
        id: message.id.as_bytes().to_vec(),
        author: author.as_bytes().to_vec(),
        outgoing,
        files: vec![file],
        ..MessageRow::default()
    };
    row.set_progress(Progress::Queued);
    tx.append(Log::Message, with.as_bytes(), &message_key(&message), &row.encode_to_vec()).unwrap();
    message
}

fn upload() -> UploadRow {
    UploadRow { file_key: vec![1; 32], secret: vec![2; 32], content: vec![3; 32], ..UploadRow::default() }
}

#[test]
fn a_file_that_cannot_be_sent_on_fails_its_message_and_no_other() {
    for how in BOTH {
        let (mut home, _) = home();
        let told = v1::Attachment { blob: vec![7; 16].into(), ..v1::Attachment::default() };
        let at_the_relay = FileRow { told: Some(told), ..FileRow::default() };
        let here = FileRow { state: FileState::Here as i32, ..FileRow::default() };
        let [stuck, came] = home.write(|tx| {
            let stuck = with_file(tx, ALICE, 50, true, FileRow::default());
            state::put(tx, Table::Upload, &file_key(&stuck, 1), &upload()).unwrap();
            let goes_on = with_file(tx, CAROL, 51, true, FileRow::default());
            state::put(tx, Table::Upload, &file_key(&goes_on, 1), &upload()).unwrap();
            with_file(tx, CAROL, 52, true, at_the_relay);
            with_file(tx, CAROL, 53, false, here);
            let begun = with_file(tx, CAROL, 55, false, FileRow::default());
            let fetch = FetchRow { size: 9, ..FetchRow::default() };
            state::put(tx, Table::Fetch, &file_key(&begun, 1), &fetch).unwrap();
            [stuck, with_file(tx, CAROL, 54, false, FileRow::default())]
        });
        home.damage(how, Part::Table(Table::Upload), &file_key(&stuck, 1));
        assert_eq!(home.mend(), [(DamagedPart::Waiting, Some(ALICE), 1)]);
        home.write(|tx| {
            let fetches = tx.list(Table::Fetch).unwrap().into_iter();
            let fetches: Vec<_> =
                fetches.map(|(key, row)| (key, FetchRow::decode(row.as_slice()).unwrap().size)).collect();
            let begun = file_key(&MessageRef::of_contact(CAROL, id(55)), 1);
            assert_eq!(
                fetches,
                [(file_key(&came, 1), 0), (begun, 9)],
                "what came and is not here is looked for once more"
            );
        });
    }
}

#[test]
fn what_is_not_told_yet_is_counted_by_whose_it_was() {
    let (mut home, _) = home();
    for (account, number) in [(ALICE, 1), (CAROL, 101), (ALICE, 2)] {
        let message = MessageRef {
            author: if number == 2 { OWN } else { account },
            ..MessageRef::of_contact(account, id(number))
        };
        home.damage(How::Junk, Part::Log(Log::Message), &message_key(&message));
        assert!(home.write(|tx| mend(tx, NOW).unwrap()));
    }
    let told = home.write(|tx| untold(tx).unwrap()).into_iter().filter_map(|event| match event {
        Event::Damaged { part: DamagedPart::Message, account, count, .. } => Some((account, count)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(Some(ALICE), 2), (Some(CAROL), 1)]);
}

/// A row is read by its key and by its value: it is damage if either means nothing.
#[test]
fn a_row_of_which_a_part_means_nothing_is_damage() {
    let message = message_key(&MessageRef::of_contact(ALICE, id(1)));
    let file = file_key(&MessageRef::of_contact(ALICE, id(1)), 1);
    let device = device(ALICE).to_bytes();
    let tables: [(Table, &[u8], Vec<u8>); 6] = [
        (Table::Session, &device, SessionRecord::new().encode().to_vec()),
        (Table::Peer, &device, PeerRow::default().encode_to_vec()),
        (Table::Deleted, &message, DeletedRow::default().encode_to_vec()),
        (Table::Conversation, ALICE.as_bytes(), ConversationRow::default().encode_to_vec()),
        (Table::Upload, &file, upload().encode_to_vec()),
        (Table::Fetch, &file, FetchRow::default().encode_to_vec()),
    ];
    let mut home = Home::new();
    let mut removed = |table, key: &[u8], value: &[u8]| {
        home.write(|tx| {
            tx.put(table, key, value).unwrap();
            let removed = rows::remove_undecodable(tx).unwrap();
            assert_eq!(tx.get(table, key).unwrap().is_none(), removed == [(Part::Table(table), key.to_vec())]);
            tx.delete(table, key).unwrap();
            !removed.is_empty()
        })
    };
    for (table, key, value) in tables {
        assert!(!removed(table, key, &value), "{table:?}");
        assert!(removed(table, &key[1..], &value), "{table:?} under another key");
        assert!(removed(table, key, &JUNK), "{table:?} with another value");
    }
    for key in [own::DISCLOSURE, own::PREKEYS, own::TOLD, own::DAMAGE] {
        assert!(!removed(Table::Own, key, &[]), "{key:?}");
        assert!(removed(Table::Own, key, &JUNK), "{key:?}");
    }
    for key in [own::COPY_SEEN, b"consumer bot"] {
        assert!(!removed(Table::Own, key, &[0; 8]));
        assert!(removed(Table::Own, key, &[0; 7]));
    }

    // What waits for sending: whose, in which conversation, and what.
    let (mut home, _) = self::home();
    let sound = home.write(|tx| {
        let entry = tx.scan(Log::Outbox, None, 0, 1).unwrap().pop().unwrap();
        OutboxRow::decode(entry.value.as_slice()).unwrap()
    });
    let receipt = OutboxRow { text_id: Vec::new(), author: Vec::new(), ..sound.clone() };
    for (row, is_sound) in [
        (sound.clone(), true),
        (receipt, true),
        (OutboxRow { author: vec![1; 3], ..sound.clone() }, false),
        (OutboxRow { text_id: vec![1; 3], ..sound.clone() }, false),
        (OutboxRow { conversation: vec![1; 3], ..sound.clone() }, false),
        (OutboxRow { content: JUNK.to_vec(), ..sound }, false),
    ] {
        home.write(|tx| {
            let entry = tx.scan(Log::Outbox, None, 0, 1).unwrap().pop().unwrap();
            assert!(tx.replace(Log::Outbox, entry.place, &row.encode_to_vec()).unwrap());
            let removed = rows::remove_undecodable(tx).unwrap();
            assert_eq!(removed.is_empty(), is_sound, "{row:?}");
            if !is_sound {
                assert_eq!(removed, [(Part::Log(Log::Outbox), entry.key)]);
                // Another one to try the next with.
                queue(tx, &MessageRef::of_contact(ALICE, id(2)));
            }
        });
    }
}

#[test]
fn what_was_removed_of_an_older_store_is_known_by_its_key() {
    for damaged in [own::REPLAY, own::TOLD] {
        let mut home = Home::new();
        home.write(|tx| {
            tx.put(Table::Own, damaged, &[1; 20]).unwrap();
            tx.put(Table::Received, own::REPLAY, &[0; 8]).unwrap();
        });
        home.damage(How::Flipped, Part::Table(Table::Own), damaged);
        home.damage(How::Flipped, Part::Table(Table::Received), own::REPLAY);
        home.write(|tx| {
            let removed = before_migrating(tx).unwrap();
            assert_eq!(removed.has_own(tx, own::REPLAY), damaged == own::REPLAY);
            assert!(tx.get(Table::Own, damaged).unwrap().is_none());
        });
    }
}
