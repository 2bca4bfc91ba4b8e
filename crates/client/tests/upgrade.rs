//! A home and a relay's directory as the build before version 3 of the store left them: nothing of it is lost.
//!
//! What was made then, in this order: Alice added Bob by his link, and Carol by name. Bob read one text of Alice's and wrote two
//! that she read: the receipt for the second waits. One more of his was received and not shown, and one of Dave's, who is a
//! stranger. Two texts of hers were accepted by the relay, one was encrypted when the relay went away, two were only queued.

use kuvert_client::{Client, DamagedPart, Direction, Event, MessageState, ReceiptKind};

use crate::common::{World, fetch, messages, named, texts};
use crate::damage::{damage, told};

/// The conversation with Bob, as it stood.
const WITH_BOB: [(Direction, &str, MessageState); 8] = [
    (Direction::Outgoing, "one: read", MessageState::Read),
    (Direction::Incoming, "two: read here, the receipt waits", MessageState::Shown),
    (Direction::Incoming, "four: not shown yet", MessageState::Unshown),
    (Direction::Incoming, "five: read, and its receipt waits", MessageState::Shown),
    (Direction::Outgoing, "six: accepted, not delivered", MessageState::Accepted),
    (Direction::Outgoing, "seven: accepted, not delivered", MessageState::Accepted),
    (Direction::Outgoing, "eight: encrypted, not accepted", MessageState::Queued),
    (Direction::Outgoing, "nine: not encrypted", MessageState::Queued),
];

const QUEUED: [&str; 3] = ["eight: encrypted, not accepted", "nine: not encrypted", "ten: the first words"];

/// Opens a home, and tells it where the relay is now.
async fn moved(world: &World, name: &str) -> Client {
    let client = world.open(name).await;
    client.move_relay(world.url.clone()).await.unwrap().close().await;
    client
}

async fn states(client: &Client, who: &str) -> Vec<(Direction, String, MessageState)> {
    let history = client.history(named(client, who).await, None).await.unwrap();
    history.into_iter().map(|message| (message.direction, message.text, message.state)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_of_version_2_keeps_contacts_history_queue_and_what_was_not_shown() {
    let world = World::of_fixture("version2").await;
    // Once more: what is of version 3 already is left alone.
    for _ in 0..2 {
        let alice = world.open("alice").await;
        let whoami = alice.whoami().await.unwrap();
        assert_eq!((whoami.name.as_deref(), whoami.queued, whoami.unshown), (Some("alice"), 3, 2));
        let contacts = alice.contacts().list().await.unwrap();
        let known: Vec<_> = contacts.iter().map(|contact| (contact.alias.as_str(), contact.verified)).collect();
        assert_eq!(known, [("Carol from the choir", false), ("bob", true)]);
        assert_eq!(alice.contacts().requests().await.unwrap().len(), 1, "Dave's");
        let expected = WITH_BOB.map(|(direction, text, state)| (direction, text.to_owned(), state));
        assert_eq!(states(&alice, "bob").await, expected);
        let queued: Vec<_> = alice.queued().await.unwrap().into_iter().map(|message| message.text).collect();
        assert_eq!(queued, QUEUED);
        let unshown: Vec<_> = alice.unshown().await.unwrap().into_iter().map(|message| message.text).collect();
        assert_eq!(unshown, ["three: of a stranger", "four: not shown yet"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_in_a_home_of_version_2_leaves_and_its_sessions_go_on() {
    let world = World::of_fixture("version2").await;
    let (alice, bob, carol) = (moved(&world, "alice").await, moved(&world, "bob").await, moved(&world, "carol").await);
    let connection = alice.connect().await.unwrap();
    let mut accepted = Vec::new();
    let report = connection.flush(|one| accepted.push(one.message)).await.unwrap();
    assert!(report.not_sent.is_empty(), "{report:?}");
    connection.close().await;
    let history = alice.history(named(&alice, "bob").await, None).await.unwrap();
    assert_eq!(accepted[..2], [history[6].message, history[7].message], "in the order in which they were queued");
    assert_eq!((accepted.len(), alice.whoami().await.unwrap().queued), (3, 0));

    let events = fetch(&bob).await;
    let outgoing = WITH_BOB.iter().filter(|(direction, ..)| *direction == Direction::Outgoing);
    let expected: Vec<_> = outgoing.map(|(_, text, _)| *text).skip(1).collect();
    assert_eq!(texts(&events), expected, "each once, in order, in the sessions that there were: {events:?}");
    let read: Vec<_> =
        events.iter().filter(|event| matches!(event, Event::Receipt { kind: ReceiptKind::Read, .. })).collect();
    assert_eq!(read.len(), 2, "the receipts that waited: {events:?}");
    let strange = |event: &&Event| matches!(event, Event::Undecryptable { .. } | Event::SessionReset { .. });
    assert_eq!(events.iter().find(strange), None);
    let events = fetch(&carol).await;
    assert_eq!(texts(&events), ["ten: the first words"]);
    assert!(messages(&events)[0].request);

    let answer = bob.connect().await.unwrap();
    answer.send_text(named(&bob, "alice").await, "eleven").await.unwrap();
    let events = fetch(&alice).await;
    assert_eq!(texts(&events), ["three: of a stranger", "four: not shown yet", "eleven"]);
    let last = states(&alice, "bob").await;
    let undelivered = |(direction, _, state): &&(Direction, String, MessageState)| {
        *direction == Direction::Outgoing && !matches!(state, MessageState::Delivered | MessageState::Read)
    };
    assert_eq!(last.iter().find(undelivered), None);
}

/// A table or a log by its number in the store; what is told if one of its rows is damaged; how many of ten messages are left.
const CASES: [(&str, bool, u8, Option<DamagedPart>, usize); 8] = [
    ("nothing", false, 200, None, 10),
    ("contact", false, 2, Some(DamagedPart::Contact), 10),
    ("session", false, 3, Some(DamagedPart::Session), 10),
    ("prekey", false, 4, Some(DamagedPart::Prekey), 10),
    ("not shown", false, 6, None, 10),
    ("text", true, 1, Some(DamagedPart::Message), 9),
    ("outbox", true, 2, Some(DamagedPart::QueuedAgain), 10),
    ("received", true, 3, None, 10),
];

/// A damaged row of an older version costs what it held and keeps no other from becoming one of this version.
#[tokio::test(flavor = "multi_thread")]
async fn a_home_of_version_2_with_a_damaged_row_becomes_one_of_this_version_and_says_what_was_lost() {
    for (what, is_log, number, expected, messages) in CASES {
        for last in [false, true] {
            let world = World::of_fixture("version2").await;
            assert_eq!(damage(&world.home("alice"), is_log, number, last), what != "nothing", "{what}");
            let alice = world.open("alice").await;
            assert_eq!(alice.history_page(None, None, 0).await.unwrap().messages.len(), messages, "{what} {last}");
            assert_eq!(alice.queued().await.unwrap().len(), 3, "{what} {last}");
            let contacts = alice.contacts();
            let known = contacts.list().await.unwrap().len() + contacts.requests().await.unwrap().len();
            // One that no session stands for is unknown.
            assert!(known == 3 || (known == 2 && what == "contact"), "{what} {last}: {known}");
            drop((alice, contacts));
            let alice = moved(&world, "alice").await;
            assert_eq!(told(&fetch(&alice).await), Vec::from_iter(expected), "{what} {last}");
        }
    }
}

/// What nothing can stand in for is said, and the home is left as it is, in its version.
#[tokio::test(flavor = "multi_thread")]
async fn a_home_of_version_2_without_its_account_is_left_as_it_is() {
    let world = World::of_fixture("version2").await;
    let home = world.home("alice");
    let db = rusqlite::Connection::open(home.join("store.db")).unwrap();
    db.execute("UPDATE record SET value = x'00' WHERE tbl = 1", []).unwrap();
    let rows = || -> Vec<Vec<u8>> {
        let mut statement = db.prepare("SELECT value FROM record UNION ALL SELECT value FROM log").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let before = rows();
    let error = Client::open(&home, world.options()).await.unwrap_err();
    assert_eq!(error.code(), "store-corrupt");
    assert!(error.to_string().contains("backup"), "{error}");
    assert_eq!(rows(), before);
    let version: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 2);
}
