//! Correcting and deleting an account, the report, and the demonstration's terms, through the client.

use crate::common::{World, fetch, named, say, texts};
use kuvert_client::{Client, Correction, Options, Profile};

fn code<T: std::fmt::Debug>(result: Result<T, kuvert_client::Error>) -> &'static str {
    result.unwrap_err().code()
}

#[tokio::test]
async fn a_correction_changes_what_others_find_and_not_what_they_call_it() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let connection = bob.connect().await.unwrap();
    let name = |name: Option<&str>| Correction { name: Some(name.map(str::to_owned)), phone: None };
    assert_eq!(code(connection.correct(name(Some("alice"))).await), "name-taken");
    assert_eq!(code(connection.correct(name(Some("Bob!"))).await), "name-invalid");
    let phone = |phone: &str| Correction { name: None, phone: Some(Some(phone.to_owned())) };
    assert_eq!(code(connection.correct(phone("0170")).await), "phone-invalid");
    assert_eq!(bob.whoami().await.unwrap().name.as_deref(), Some("bob"), "a refusal changes nothing");
    connection.correct(phone("+4915550000001")).await.unwrap();
    connection.correct(name(Some("robert"))).await.unwrap();
    assert_eq!(world.open("bob").await.whoami().await.unwrap().name.as_deref(), Some("robert"));
    say(&alice, "bob", "still bob to me").await;
    assert_eq!(texts(&fetch(&bob).await), ["still bob to me"]);
    let connection = alice.connect().await.unwrap();
    assert_eq!(connection.add_contact("robert", None).await.unwrap().alias, "bob");
    bob.connect().await.unwrap().correct(name(None)).await.unwrap();
    assert_eq!(bob.whoami().await.unwrap().name, None);
}

#[tokio::test]
async fn a_home_whose_account_was_deleted_can_be_read_and_nothing_else() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    say(&alice, "bob", "hello").await;
    assert_eq!(texts(&fetch(&bob).await), ["hello"]);
    say(&alice, "bob", "goodbye").await;
    let open = alice.connect().await.unwrap();
    alice.connect().await.unwrap().delete_account().await.unwrap();
    for client in [&alice, &world.open("alice").await] {
        assert_eq!(code(client.connect().await), "account-deleted");
        assert_eq!(code(client.queue_text(named(client, "bob").await, "hi").await), "account-deleted");
        assert_eq!(code(client.invite().await), "account-deleted");
        assert_eq!(client.history(named(client, "bob").await, None).await.unwrap().len(), 2);
        assert!(client.whoami().await.unwrap().deleted_at.is_some());
    }
    assert!(open.flush(|_| {}).await.is_err() || alice.queued().await.unwrap().is_empty());
    let again = Profile { name: Some("alice".into()), ..Profile::default() };
    let options = Options { ..world.options() };
    assert_eq!(
        code(Client::register(&world.home("alice"), world.url.clone(), again, options).await),
        "account-deleted",
        "the old keys are not used for a new account"
    );
    // What she sent arrives; what is written to her is given up.
    assert_eq!(texts(&fetch(&bob).await), ["goodbye"]);
    let connection = bob.connect().await.unwrap();
    assert_eq!(code(connection.send_text(named(&bob, "alice").await, "are you there?").await), "unknown-recipient");
}

#[tokio::test]
async fn a_deletion_whose_answer_got_lost_is_noticed_at_the_next_connection() {
    let world = World::new().await;
    let (alice, _bob) = world.alice_and_bob().await;
    let connection = alice.connect().await.unwrap();
    connection.clone().close().await;
    assert_eq!(code(connection.delete_account().await), "connection-lost");
    // The relay never heard of it: the account is there and can be used.
    assert!(alice.connect().await.is_ok());
    assert!(alice.whoami().await.unwrap().deleted_at.is_none());
    // It did.
    let account = alice.whoami().await.unwrap().address.account;
    world.relay().store().delete_account(account).await.unwrap();
    assert_eq!(code(alice.connect().await), "account-deleted");
    assert!(world.open("alice").await.whoami().await.unwrap().deleted_at.is_some());
}

#[tokio::test]
async fn an_account_that_the_relay_lost_is_not_taken_for_one_that_was_deleted() {
    let world = World::new().await;
    let alice = world.register("alice").await;
    world.relay().store().delete_account(alice.whoami().await.unwrap().address.account).await.unwrap();
    assert_eq!(code(alice.connect().await), "authentication-failed");
    assert!(alice.whoami().await.unwrap().deleted_at.is_none());
}

#[tokio::test]
async fn the_report_comes_whole() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    let connection = bob.connect().await.unwrap();
    assert_eq!(code(connection.fetch_report().await), "relay-refused", "none was asked for");
    for text in ["one", "two"] {
        say(&alice, "bob", text).await;
    }
    let status = connection.request_report().await.unwrap();
    assert_eq!(status.ready_at, status.requested_at);
    let report = connection.fetch_report().await.unwrap();
    let queue = report.files.iter().find(|file| file.name == "queue.json").unwrap();
    let queue: serde_json::Value = serde_json::from_slice(&queue.content).unwrap();
    assert_eq!(queue["envelope"].as_array().unwrap().len(), 2);
    // 200 one-time prekeys make it longer than a frame.
    let bytes: usize = report.files.iter().map(|file| file.content.len()).sum();
    assert!(bytes > kuvert_types::limits::MAX_FRAME_BYTES, "{bytes}");
    assert_eq!(code(connection.terms().await), "no-demonstration");
}

#[tokio::test]
async fn a_relay_that_lies_in_its_report_writes_no_page_and_no_file_of_its_own() {
    use prost::Message as _;
    let world = World::new().await;
    let bob = world.register("bob").await;
    let connection = bob.connect().await.unwrap();
    connection.request_report().await.unwrap();
    let sent = async |report: Vec<u8>| {
        let people = rusqlite::Connection::open(world.dir.path().join("relay/people.db")).unwrap();
        people.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
        people.execute("UPDATE report_request SET report = ?1", [report]).unwrap();
        connection.fetch_report().await
    };
    let named = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(name, content)| kuvert_wire::v1::ReportFile {
            name: (*name).to_owned(),
            content: content.as_bytes().to_vec().into(),
        });
        kuvert_wire::v1::Report { files: files.collect() }.encode_to_vec()
    };
    let manifest = format!("{{\"files\":[{{\"name\":\"index.html\",\"sha256\":\"{}\"}}]}}", "0".repeat(64));
    assert_eq!(code(sent(named(&[("manifest.json", &manifest), ("index.html", "<b>")])).await), "relay-protocol");
    assert_eq!(code(sent(named(&[("manifest.json", "{\"files\":[]}"), ("../evil", "x")])).await), "relay-protocol");
    assert_eq!(code(sent(vec![0; (64 << 20) + 1]).await), "relay-protocol", "refused at its first piece");
    let report = sent(named(&[("manifest.json", "{\"files\":[]}")])).await.unwrap();
    let page = &report.files.iter().find(|file| file.name == "index.html").unwrap().content;
    assert!(String::from_utf8_lossy(page).contains("made by the program kuvert"));
}
