use kuvert_types::{AccountId, AccountKey, DeviceId, EnvelopeId, RelayUrl};
use x25519_dalek::{PublicKey, StaticSecret};

use super::*;
use crate::contact::Contact;
use crate::registration::prepare;
use crate::resets;
use crate::state::{
    self, EnvelopeRow, EnvelopeState, OutboxRow, Outgoing, PeerRow, PrekeyStateRow, RESETS, enqueue, own,
};
use crate::store::memory::MemoryStore;
use crate::store::{Log, Mode, Store as _, Table, Transaction};

/// Next to no work for scrypt.
const LITTLE_WORK: u8 = 2;

/// Made by another program, pyrage: "a letter", for the passphrase "a passphrase", and for [`KEY`].
const BY_PASSPHRASE: &[u8] = include_bytes!("fixtures/passphrase.age");
const BY_KEY: &[u8] = include_bytes!("fixtures/key.age");
const KEY: &str = include_str!("fixtures/key");

fn seal(plain: &[u8], to: &Recipient<'_>) -> Vec<u8> {
    let mut encrypting = Encrypting::begin(Vec::new(), to).unwrap();
    encrypting.write_all(plain).unwrap();
    encrypting.finish().unwrap()
}

fn open(sealed: &[u8], opener: &Opener<'_>) -> Result<Vec<u8>, String> {
    let mut opened = Decrypting::begin(sealed, opener).map_err(|refused| format!("{refused:?}"))?;
    let mut plain = Vec::new();
    opened.read_to_end(&mut plain).map_err(|error| error.to_string())?;
    Ok(plain)
}

#[test]
fn what_another_program_has_encrypted_opens() {
    assert_eq!(open(BY_PASSPHRASE, &Opener::Passphrase("a passphrase")).unwrap(), b"a letter");
    let key = age::identity(KEY.trim()).unwrap();
    assert_eq!(open(BY_KEY, &Opener::Keys(&[StaticSecret::from([1; 32]), key])).unwrap(), b"a letter");
}

#[test]
fn every_length_around_a_chunk_comes_back_and_is_no_other_file_when_it_is_cut_or_changed() {
    let passphrase = Recipient::Passphrase("p", LITTLE_WORK);
    for length in [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000] {
        let plain: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let sealed = seal(&plain, &passphrase);
        assert_eq!(open(&sealed, &Opener::Passphrase("p")).unwrap(), plain);
        let step = (sealed.len() / 40).max(1);
        for end in (0..sealed.len()).step_by(step).chain([sealed.len() - 1, sealed.len().saturating_sub(65_552)]) {
            assert!(open(&sealed[..end.min(sealed.len() - 1)], &Opener::Passphrase("p")).is_err(), "{length} {end}");
        }
        for at in (0..sealed.len()).step_by(step) {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&changed, &Opener::Passphrase("p")).is_err(), "{length} {at}");
        }
        assert!(open(&[&sealed[..], b"x"].concat(), &Opener::Passphrase("p")).is_err());
    }
}

#[test]
fn a_wrong_passphrase_a_wrong_key_and_the_wrong_kind_of_both_are_told_apart() {
    let (one, other) = (StaticSecret::from([1; 32]), StaticSecret::from([2; 32]));
    let by_passphrase = seal(b"x", &Recipient::Passphrase("p", LITTLE_WORK));
    let by_key = seal(b"x", &Recipient::Keys(&[PublicKey::from(&one), PublicKey::from(&other)]));
    assert_eq!(open(&by_passphrase, &Opener::Passphrase("q")).unwrap_err(), "Secret");
    assert_eq!(open(&by_passphrase, &Opener::Keys(std::slice::from_ref(&one))).unwrap_err(), "Kind");
    assert_eq!(open(&by_key, &Opener::Passphrase("p")).unwrap_err(), "Kind");
    assert_eq!(open(&by_key, &Opener::Keys(&[StaticSecret::from([3; 32])])).unwrap_err(), "Secret");
    for key in [one, other] {
        assert_eq!(open(&by_key, &Opener::Keys(&[key])).unwrap(), b"x");
    }
}

/// The header of a file for a passphrase, with something else in place of its work.
fn asks_for(work: &str) -> Vec<u8> {
    let sealed = seal(b"x", &Recipient::Passphrase("p", LITTLE_WORK));
    let text = String::from_utf8_lossy(&sealed);
    let salt = text.lines().nth(1).unwrap().split(' ').nth(2).unwrap();
    let wanted = format!("-> scrypt {salt} {LITTLE_WORK}\n");
    let at = sealed.windows(wanted.len()).position(|window| window == wanted.as_bytes()).unwrap();
    [&sealed[..at], format!("-> scrypt {salt} {work}\n").as_bytes(), &sealed[at + wanted.len()..]].concat()
}

#[test]
fn a_header_cannot_ask_for_more_work_or_memory_than_a_backup_needs() {
    let refusal = |bytes: &[u8]| open(bytes, &Opener::Passphrase("p")).unwrap_err();
    // Refused at once: the work of the last ones would take years.
    for work in ["19", "63", "64", "255", "256", "0", "-1", "02", "+2", "", "2 "] {
        assert!(refusal(&asks_for(work)).contains("Damaged"), "{work:?}");
    }
    assert!(refusal(&asks_for("1")).contains("Secret"), "another work gives another key");
    // Lines without an end, and stanzas without one.
    let first = b"age-encryption.org/v1\n".to_vec();
    assert!(refusal(&[first.clone(), vec![b'-'; 1 << 20]].concat()).contains("Damaged"));
    assert!(refusal(&[first.clone(), b"-> x\n\n".repeat(1 << 18)].concat()).contains("Damaged"));
    // A passphrase stands alone.
    let sealed = asks_for("2");
    let two = [&first[..], b"-> x\n\n", &sealed[first.len()..]].concat();
    assert!(refusal(&two).contains("Damaged"));
    for foreign in [&b""[..], b"age-encryption.org/v2\n", b"SQLite format 3\0", &[b'x'; 200_000]] {
        assert_eq!(refusal(foreign), "Foreign");
    }
}

#[test]
fn a_share_that_gives_the_same_key_with_every_secret_is_refused() {
    let key = StaticSecret::from([1; 32]);
    let sealed = seal(b"x", &Recipient::Keys(&[PublicKey::from(&key)]));
    let text = String::from_utf8_lossy(&sealed[..120]).into_owned();
    let share = text.lines().nth(1).unwrap().split(' ').nth(2).unwrap().to_owned();
    let zero = data_encoding::BASE64_NOPAD.encode(&[0; 32]);
    let at = sealed.windows(share.len()).position(|window| window == share.as_bytes()).unwrap();
    let bad = [&sealed[..at], zero.as_bytes(), &sealed[at + share.len()..]].concat();
    assert!(open(&bad, &Opener::Keys(&[key])).unwrap_err().contains("bad share"));
}

#[tokio::test]
async fn a_key_file_is_made_read_and_refused_where_it_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let recipient = make_backup_key(&path).await.unwrap();
    assert_eq!(make_backup_key(&path).await.unwrap_err().code(), "file-exists");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let keys = read_keys(&path).unwrap();
    assert_eq!(keys.recipients, [age::recipient(&recipient).unwrap()]);
    assert_eq!(keys.identities.len(), 1);
    for bad in [
        "",
        "# nothing\n",
        "AGE-SECRET-KEY-1X",
        &recipient.to_uppercase(),
        &KEY.trim().to_lowercase(),
        &"x".repeat(70_000),
    ] {
        fs::write(&path, bad).unwrap();
        assert_eq!(read_keys(&path).err().map(|error| error.code()), Some("backup-key-unusable"), "{bad:.40}");
    }
    fs::write(&path, format!("{recipient}\n")).unwrap();
    assert_eq!(read_keys(&path).unwrap().recipients.len(), 1);
}

/// A home with an account, that no relay knows.
async fn engine(dir: &Path) -> Engine {
    let home = Home::create(&dir.join("home"), None).unwrap();
    let key = home.store_key_or_make().unwrap();
    let store = SqliteStore::open_or_create(&home.store_file(), home.key_file(), &key, Duration::from_secs(5)).unwrap();
    let engine = Engine::new(home, Box::new(store), Options::default(), None);
    let registered = engine.write(|tx| {
        let relay = RelayUrl { host: "relay.example".to_owned(), port: 4433, fingerprint: [7; 32] };
        prepare(tx, &relay, None, None, || Error::Internal { what: "registered" })?;
        state::change_own(tx, |row| row.registered = true)
    });
    registered.await.unwrap();
    engine
}

fn passphrase() -> BackupSecret {
    BackupSecret::Passphrase(Zeroizing::new("p".to_owned()))
}

async fn restored(file: &Path, home: &Path) -> Result<Restored, Error> {
    restore(file, home, Options::default(), passphrase()).await
}

/// What lies in a directory, by its name.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_home_comes_back_with_its_files_and_one_that_is_there_stays() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path()).await;
    let home = engine.home().directory().to_owned();
    fs::create_dir(home.join(FILES)).unwrap();
    let large: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    fs::write(home.join(FILES).join("a large one"), &large).unwrap();
    fs::write(home.join(FILES).join("an empty one"), b"").unwrap();
    // No file of the home's.
    std::os::unix::fs::symlink("/etc/passwd", home.join(FILES).join("link")).unwrap();
    fs::create_dir(home.join(FILES).join("folder")).unwrap();
    let file = dir.path().join("backup");
    let made = write_with(&engine, file.clone(), passphrase(), LITTLE_WORK).await.unwrap();
    assert_eq!(made.bytes, fs::metadata(&file).unwrap().len());
    let again = write_with(&engine, file.clone(), passphrase(), LITTLE_WORK).await.unwrap_err();
    assert_eq!(again.code(), "file-exists");
    assert_eq!(restored(&file, &home).await.unwrap_err().code(), "home-exists");
    let other = dir.path().join("other");
    // Not one that is empty, either: its owner may have made it for something else.
    fs::create_dir(&other).unwrap();
    assert_eq!(restored(&file, &other).await.unwrap_err().code(), "home-exists");
    fs::remove_dir(&other).unwrap();
    let address = engine.identity().await.unwrap().address;
    assert_eq!(restored(&file, &other).await.unwrap().address, address);
    assert_eq!(names(dir.path()), ["backup", "home", "other"]);
    assert_eq!(names(&other), ["files", "outbox.lock", "store.db", "store.key"]);
    assert_eq!(names(&other.join(FILES)), ["a large one", "an empty one"]);
    assert_eq!(fs::read(other.join(FILES).join("a large one")).unwrap(), large);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&other), mode(&other.join(FILES))), (0o700, 0o700));
    assert_eq!(
        (mode(&other.join("store.db")) & 0o077, mode(&other.join(FILES).join("an empty one"))),
        (0o044 & mode(&other.join("store.db")), 0o600)
    );
    assert_ne!(fs::read(home.join("store.key")).unwrap(), fs::read(other.join("store.key")).unwrap());
}

#[tokio::test]
async fn a_backup_that_is_cut_or_changed_anywhere_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path()).await;
    let file = dir.path().join("backup");
    write_with(&engine, file.clone(), passphrase(), LITTLE_WORK).await.unwrap();
    let (whole, target) = (fs::read(&file).unwrap(), dir.path().join("new"));
    for end in (0..whole.len()).step_by((whole.len() / 30).max(1)).chain([whole.len() - 1]) {
        fs::write(&file, &whole[..end]).unwrap();
        let code = restored(&file, &target).await.unwrap_err().code();
        assert_eq!(code, if end < 22 { "backup-foreign" } else { "backup-damaged" }, "{end}");
        assert_eq!(names(dir.path()), ["backup", "home"]);
    }
    for at in (200..whole.len()).step_by((whole.len() / 30).max(1)) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&file, &changed).unwrap();
        assert_eq!(restored(&file, &target).await.unwrap_err().code(), "backup-damaged", "{at}");
        assert_eq!(names(dir.path()), ["backup", "home"]);
    }
    fs::write(&file, &whole).unwrap();
    let secret = BackupSecret::Passphrase(Zeroizing::new("q".to_owned()));
    let wrong = restore(&file, &target, Options::default(), secret).await.unwrap_err();
    assert_eq!(wrong.code(), "backup-passphrase-wrong");
    let secret = BackupSecret::Passphrase(Zeroizing::new(String::new()));
    assert_eq!(restore(&file, &target, Options::default(), secret).await.unwrap_err().code(), "passphrase-unusable");
    assert_eq!(names(dir.path()), ["backup", "home"]);
}

/// A backup that says that it is whole, with these frames behind those of a store.
fn forged(whole: &Path, frames: &[Frame]) {
    let opener = Opener::Passphrase("p");
    let opened = Decrypting::begin(BufReader::new(File::open(whole).unwrap()), &opener).unwrap();
    let mut read = Frames::begin(opened).unwrap();
    let out = Encrypting::begin(Vec::new(), &Recipient::Passphrase("p", LITTLE_WORK)).unwrap();
    let (mut writer, mut counts) = (Writer::begin(out).unwrap(), Counts::default());
    loop {
        let frame = read.next().unwrap();
        writer.write(&frame).unwrap();
        match frame {
            Frame::Row { .. } => counts.rows += 1,
            Frame::Entry { .. } => counts.entries += 1,
            Frame::LastPlace(_) => break,
            _ => {}
        }
    }
    counts.files = frames.iter().filter(|frame| matches!(frame, Frame::File { .. })).count() as u64;
    frames.iter().for_each(|frame| writer.write(frame).unwrap());
    if !matches!(frames.last(), Some(Frame::End(_))) {
        writer.write(&Frame::End(counts)).unwrap();
    }
    fs::write(whole, writer.end().finish().unwrap()).unwrap();
}

#[tokio::test]
async fn no_name_of_a_forged_backup_leads_out_of_the_new_home() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path()).await;
    let (file, target) = (dir.path().join("backup"), dir.path().join("new"));
    let absolute = dir.path().join("victim");
    let long = vec![b'x'; 256];
    let named = |folder, name: &[u8]| {
        let piece = Frame::Piece(Zeroizing::new(b"mine".to_vec()));
        vec![Frame::File { folder, name: name.to_vec() }, piece, Frame::FileEnd { bytes: 4 }]
    };
    let names_of_none: [&[u8]; 11] = [
        b"../victim",
        b"../../victim",
        absolute.as_os_str().as_bytes(),
        b"a/../../../victim",
        b"..",
        b".",
        b"",
        b"a/b",
        b"a\0b",
        b"/",
        &long,
    ];
    let mut all: Vec<Vec<Frame>> = names_of_none.iter().map(|name| named(1, name)).collect();
    all.extend([0, 3, 255].map(|folder| named(folder, b"victim")));
    all.push(named(1, b"twice").into_iter().chain(named(1, b"twice")).collect());
    all.push(vec![Frame::File { folder: 1, name: b"endless".to_vec() }]);
    all.push(vec![Frame::Piece(Zeroizing::new(vec![1]))]);
    all.push(vec![Frame::LastPlace(u64::MAX)]);
    all.push(vec![Frame::End(Counts { rows: 1, entries: 0, files: 0 })]);
    all.push(vec![Frame::File { folder: 1, name: b"short".to_vec() }, Frame::FileEnd { bytes: 9 }]);
    for frames in all {
        write_with(&engine, file.clone(), passphrase(), LITTLE_WORK).await.unwrap();
        forged(&file, &frames);
        assert_eq!(restored(&file, &target).await.unwrap_err().code(), "backup-damaged", "{frames:?}");
        assert_eq!(names(dir.path()), ["backup", "home"], "{frames:?}");
        fs::remove_file(&file).unwrap();
    }
    write_with(&engine, file.clone(), passphrase(), LITTLE_WORK).await.unwrap();
    forged(&file, &named(2, b"victim"));
    restored(&file, &target).await.unwrap();
    assert_eq!(fs::read(target.join(OUTGOING).join("victim")).unwrap(), b"mine");
}

#[tokio::test]
async fn what_a_process_left_that_was_killed_is_in_nothing_s_way() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path()).await;
    let (file, target) = (dir.path().join("backup"), dir.path().join("new"));
    fs::write(dir.path().join(".backup.part"), b"half of it").unwrap();
    write_with(&engine, file.clone(), passphrase(), LITTLE_WORK).await.unwrap();
    let aside = dir.path().join(".new.restoring");
    fs::create_dir_all(aside.join(FILES)).unwrap();
    fs::write(aside.join("store.db"), b"half of it").unwrap();
    // One that goes on is left alone.
    let lock = File::create(aside.join("outbox.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(restored(&file, &target).await.unwrap_err().code(), "store-locked");
    assert!(aside.join("store.db").exists());
    drop(lock);
    restored(&file, &target).await.unwrap();
    assert_eq!(names(dir.path()), ["backup", "home", "new"]);
    // A link in its place is not followed.
    let victim = dir.path().join("victim");
    fs::create_dir(&victim).unwrap();
    std::os::unix::fs::symlink(&victim, dir.path().join(".other.restoring")).unwrap();
    assert_eq!(restored(&file, &dir.path().join("other")).await.unwrap_err().code(), "backup-unusable");
    std::os::unix::fs::symlink(&victim, dir.path().join(".more.part")).unwrap();
    let more = write_with(&engine, dir.path().join("more"), passphrase(), LITTLE_WORK).await.unwrap_err();
    assert_eq!(more.code(), "backup-unusable");
    assert_eq!(names(&victim), [""; 0]);
}

#[tokio::test]
async fn a_key_that_lies_elsewhere_is_used_and_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path()).await;
    let (file, elsewhere) = (dir.path().join("backup"), dir.path().join("elsewhere"));
    write_with(&engine, file.clone(), passphrase(), LITTLE_WORK).await.unwrap();
    fs::write(&elsewhere, [9; 32]).unwrap();
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o600)).unwrap();
    let options = Options { store_key_file: Some(elsewhere.clone()), ..Options::default() };
    restore(&file, &dir.path().join("new"), options, passphrase()).await.unwrap();
    assert_eq!(fs::read(&elsewhere).unwrap(), [9; 32]);
    assert_eq!(names(&dir.path().join("new")), ["outbox.lock", "store.db"]);
    let path = dir.path().join("new/store.db");
    assert!(matches!(SqliteStore::open(&path, &elsewhere, &[9; 32], Duration::from_secs(5)), Ok(Opened::Store(_))));
}

const NOW: u64 = 1_700_000_000_000;

fn contact(tx: &dyn Transaction, number: u8, change: impl FnOnce(&mut Contact)) -> Address {
    let account = AccountId::from_bytes([number; 16]);
    let mut contact = Contact::new(account, AccountKey::from_bytes([number; 32]), None, format!("c{number}"), NOW);
    change(&mut contact);
    contact.save(tx).unwrap();
    Address { account, device: DeviceId::PRIMARY }
}

fn peer(tx: &dyn Transaction, device: &Address) -> PeerRow {
    state::get(tx, Table::Peer, &device.to_bytes()).unwrap().unwrap_or_default()
}

#[test]
fn nothing_goes_on_that_the_copied_home_went_on_with() {
    let mut store = MemoryStore::new();
    let tx = store.begin(Mode::Write).unwrap();
    let bob = contact(&*tx, 1, |_| {});
    let stranger = contact(&*tx, 2, |contact| contact.row.request = true);
    let blocked = contact(&*tx, 3, |contact| contact.row.set_at_relay(state::AtRelay::Yes));
    let removed = Address { account: AccountId::from_bytes([4; 16]), device: DeviceId::PRIMARY };
    let quiet = contact(&*tx, 5, |_| {});
    for device in [&bob, &stranger, &removed] {
        tx.put(Table::Session, &device.to_bytes(), b"used").unwrap();
    }
    // A reset went out a minute before the backup, and waits to be confirmed.
    let before = PeerRow {
        reset_at: NOW - 60_000,
        unconfirmed_reset: vec![1; 16],
        repeats: 3,
        own_resets: vec![vec![1; 16]],
        ..PeerRow::default()
    };
    state::put(&*tx, Table::Peer, &bob.to_bytes(), &before).unwrap();
    let conversation = bob.account.as_bytes().to_vec();
    enqueue(&*tx, &OutboxRow { conversation: conversation.clone(), fresh_session_with: 1, ..OutboxRow::default() })
        .unwrap();
    let id = EnvelopeId::from_bytes([8; 16]).as_bytes().to_vec();
    enqueue(&*tx, &OutboxRow { conversation, text_id: id, author: vec![9; 16], ..OutboxRow::default() }).unwrap();
    let mut text = Outgoing::scan(&*tx, Some(bob.account.as_bytes()), 0, 9).unwrap().remove(0);
    let row = EnvelopeRow {
        recipient: bob.to_bytes().to_vec(),
        state: EnvelopeState::Encrypted.into(),
        ciphertext: vec![1],
        ..EnvelopeRow::default()
    };
    text.add(&*tx, bob, row).unwrap();
    for mark in [own::RECEIVER, own::COPY_SEEN] {
        tx.put(Table::Own, mark, &NOW.to_be_bytes()).unwrap();
    }
    let numbers =
        PrekeyStateRow { last_one_time: 7, last_kem: 8, last_signed: 9, rotated_at: NOW, ..PrekeyStateRow::default() };
    state::put(&*tx, Table::Own, own::PREKEYS, &numbers).unwrap();
    let told =
        state::DisclosureRow { access_key: vec![1; 16], published: vec![2; 33], ..state::DisclosureRow::default() };
    state::put(&*tx, Table::Own, own::DISCLOSURE, &told).unwrap();

    fresh::begin_anew(&*tx, NOW).unwrap();

    assert_eq!(tx.count(Table::Session).unwrap(), 0, "no key is used twice");
    assert!(Outgoing::scan(&*tx, Some(RESETS), 0, 9).unwrap().is_empty());
    let waiting = Outgoing::scan(&*tx, None, 0, 9).unwrap();
    assert!(waiting.len() == 1 && waiting[0].is_untouched() && waiting[0].text.is_some(), "encrypted anew");
    assert_eq!(tx.len(Log::Envelope).unwrap(), 0);
    let now = peer(&*tx, &bob);
    assert!(now.reset_due && now.unconfirmed_reset.is_empty() && now.reset_at == 0);
    assert_eq!(now.own_resets, before.own_resets, "a late receipt for it is known");
    assert!(peer(&*tx, &stranger).reset_due, "once it is accepted");
    assert!(!peer(&*tx, &removed).reset_due && !peer(&*tx, &quiet).reset_due);
    assert_eq!(Contact::get(&*tx, &blocked.account).unwrap().unwrap().row.at_relay(), state::AtRelay::Wanted);
    assert!(tx.get(Table::Own, own::BLOCKS).unwrap().is_some());
    assert!(
        tx.get(Table::Own, own::RECEIVER).unwrap().is_none() && tx.get(Table::Own, own::COPY_SEEN).unwrap().is_none()
    );
    let numbers: PrekeyStateRow = state::get(&*tx, Table::Own, own::PREKEYS).unwrap().unwrap();
    assert!(numbers.last_one_time > 10_000 && numbers.last_kem > 10_000 && numbers.last_signed > 10_000);
    assert_eq!(numbers.rotated_at, 0);
    let told: state::DisclosureRow = state::get(&*tx, Table::Own, own::DISCLOSURE).unwrap().unwrap();
    assert!(told.published.is_empty() && !told.access_key.is_empty());
    // It goes out at once, whatever went out before the backup.
    resets::queue_what_is_due(&*tx, NOW, Some(NOW)).unwrap();
    let queued = Outgoing::scan(&*tx, Some(RESETS), 0, 9).unwrap();
    assert_eq!(queued.iter().map(|reset| reset.conversation.contact()).collect::<Vec<_>>(), [Some(bob.account)]);
}
