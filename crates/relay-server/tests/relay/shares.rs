//! Shares of a mailbox, what a full one says and to whom, and blocking, over the wire.

use kuvert_types::limits::{MAX_BLOCKED, MAX_CIPHERTEXT_BYTES};
use kuvert_wire::v1;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;

use crate::common::*;

fn refusal(answer: Response) -> v1::Error {
    match answer {
        Response::Error(error) => error,
        other => panic!("not refused: {other:?}"),
    }
}

/// Submits large envelopes until one is refused. Says how many were taken, and the refusal.
async fn fill(
    from: &Device,
    client: &mut Client,
    to: &Device,
    request: fn(v1::Envelope) -> Request,
) -> (usize, v1::Error) {
    let mut count = 0;
    loop {
        match client.ask(request(envelope_from(from, to, vec![5; MAX_CIPHERTEXT_BYTES]))).await {
            Response::Accepted(_) => count += 1,
            other => return (count, refusal(other)),
        }
    }
}

#[tokio::test]
async fn a_stranger_that_fills_its_share_keeps_neither_strangers_nor_contacts_out_and_the_owner_hears_of_it() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (mallory, trudy, alice, bob) = (Device::new(), Device::new(), Device::new(), Device::new());
    let mut bob_there = Client::register(relay.address(), &bob).await;
    bob_there.welcome(true).await;
    drop(bob_there);
    let mut mallory_there = Client::register(relay.address(), &mallory).await;
    let mut trudy_there = Client::register(relay.address(), &trudy).await;
    let mut alice_there = Client::register(relay.address(), &alice).await;

    let (by_mallory, full) = fill(&mallory, &mut mallory_there, &bob, submit).await;
    assert_eq!((by_mallory, full.code()), (21, Code::MailboxFull));
    let (by_trudy, full_for_trudy) = fill(&trudy, &mut trudy_there, &bob, submit).await;
    assert_eq!(by_trudy, 18);
    // Whoever has the key has room still, far beyond a stranger's share.
    let (by_alice, full_for_alice) = fill(&alice, &mut alice_there, &bob, submit_as_contact).await;
    assert_eq!(by_alice, 85);
    // What a refusal says does not depend on whose mail is in the way.
    assert_eq!((&full_for_trudy, &full_for_alice), (&full, &full));
    let sealed = submit_sealed(relay.address(), envelope(&bob, "small")).await;
    assert!(matches!(sealed, Response::Accepted(_)), "{sealed:?}");
    // A key that is none of Bob's does not make a contact, and is no error.
    let wrong = |envelope| {
        Request::Submit(v1::Submit { envelope: Some(envelope), access_key: Some(bytes::Bytes::from_static(&[9; 16])) })
    };
    assert_eq!(
        refusal(mallory_there.ask(wrong(envelope_from(&mallory, &bob, vec![5; MAX_CIPHERTEXT_BYTES]))).await),
        full
    );
    let short = Request::Submit(v1::Submit {
        envelope: Some(envelope_from(&mallory, &bob, "x")),
        access_key: Some(bytes::Bytes::from_static(&[9; 15])),
    });
    assert_eq!(mallory_there.refused(short).await, Code::Malformed);

    let (again, greeting) = Client::authenticate(relay.address(), &bob).await;
    let told = greeting.full.unwrap();
    assert_eq!(told.refused, 4);
    let account = |device: &Device| Some(bytes::Bytes::copy_from_slice(device.address.account.as_bytes()));
    let size = MAX_CIPHERTEXT_BYTES as u64;
    let occupant = |account, envelopes, bytes| v1::Occupant { account, envelopes, bytes };
    assert_eq!(told.largest[0], occupant(account(&alice), 85, 85 * size));
    assert_eq!(told.largest[3], occupant(None, 1, 5));
    let mut strangers = told.largest[1..3].to_vec();
    strangers.sort_by_key(|occupant| occupant.account != account(&mallory));
    assert_eq!(strangers, [occupant(account(&mallory), 21, 21 * size), occupant(account(&trudy), 18, 18 * size)]);
    drop(again);
    // Once is enough; what is refused later is told later.
    assert_eq!(Client::authenticate(relay.address(), &bob).await.1.full, None);
    mallory_there.ask(submit(envelope_from(&mallory, &bob, vec![5; MAX_CIPHERTEXT_BYTES]))).await;
    assert_eq!(Client::authenticate(relay.address(), &bob).await.1.full.unwrap().refused, 1);
    relay.shutdown().await;
}

#[tokio::test]
async fn another_accounts_envelope_with_the_same_id_keeps_no_honest_one_out() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, mallory, bob) = (Device::new(), Device::new(), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut mallory_there = Client::register(relay.address(), &mallory).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    bob_there.welcome(true).await;
    let honest = envelope_from(&alice, &bob, "honest");
    let same_id = |envelope: v1::Envelope| v1::Envelope { id: honest.id.clone(), ..envelope };
    let rival = same_id(envelope_from(&mallory, &bob, "in the way"));
    let sealed = same_id(envelope(&bob, "sealed"));
    mallory_there.submit(rival.clone()).await;
    submit_sealed(relay.address(), sealed.clone()).await;
    // Her own repetition is none of the others', and theirs none of hers.
    let accepted = alice_there.submit(honest.clone()).await;
    assert_eq!(alice_there.submit(honest.clone()).await, accepted);
    mallory_there.submit(rival.clone()).await;
    submit_sealed(relay.address(), sealed.clone()).await;
    bob_there.attach().await;
    for envelope in [rival, sealed, honest] {
        assert_eq!(bob_there.delivery().await.envelope, Some(envelope));
    }
    bob_there.caught_up().await;
    relay.shutdown().await;
}

#[tokio::test]
async fn who_is_blocked_is_answered_as_before_and_its_mail_is_dropped() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, mallory, bob) = (Device::new(), Device::new(), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    let mut mallory_there = Client::register(relay.address(), &mallory).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    bob_there.welcome_contacts().await;
    bob_there.attach().await;
    bob_there.caught_up().await;
    for blocked in [true, true] {
        let answer = bob_there.ask(set_blocked(&mallory, blocked)).await;
        assert!(matches!(answer, Response::Done(_)), "{answer:?}");
    }
    for request in [submit, submit_as_contact] {
        let unwanted = envelope_from(&mallory, &bob, "unwanted");
        let answer = mallory_there.ask(request(unwanted.clone())).await;
        assert_eq!(answer, Response::Accepted(v1::Accepted { id: unwanted.id }));
    }
    // The next thing that Bob hears of is Alice's mail.
    alice_there.submit(envelope(&bob, "wanted")).await;
    assert_eq!(bob_there.delivery().await.envelope.unwrap().ciphertext, "wanted".as_bytes());
    bob_there.caught_up().await;
    // Mallory's mail to others goes on, and so does Bob's to Mallory.
    mallory_there.submit(envelope(&alice, "hello")).await;
    bob_there.submit(envelope(&mallory, "no more, please")).await;
    assert_eq!(relay.store().stats().await.unwrap().waiting, 3);
    bob_there.ask(set_blocked(&mallory, false)).await;
    mallory_there.submit(envelope(&bob, "sorry")).await;
    assert_eq!(bob_there.delivery().await.envelope.unwrap().ciphertext, "sorry".as_bytes());
    relay.shutdown().await;
}

#[tokio::test]
async fn a_full_mailbox_is_full_for_the_blocked_as_well() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (mallory, bob) = (Device::new(), Device::new());
    let mut mallory_there = Client::register(relay.address(), &mallory).await;
    let mut bob_there = Client::register(relay.address(), &bob).await;
    let (_, full) = fill(&mallory, &mut mallory_there, &bob, submit).await;
    drop(Client::authenticate(relay.address(), &bob).await);
    bob_there.ask(set_blocked(&mallory, true)).await;
    let (count, still_full) = fill(&mallory, &mut mallory_there, &bob, submit).await;
    assert_eq!((count, still_full), (0, full));
    // And that is nothing that Bob needs to hear of.
    assert_eq!(Client::authenticate(relay.address(), &bob).await.1.full, None);
    relay.shutdown().await;
}

#[tokio::test]
async fn blocking_has_its_bound_and_its_words() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let bob = Device::new();
    let mut bob_there = Client::register(relay.address(), &bob).await;
    let block = |account: &[u8]| {
        Request::SetBlocked(v1::SetBlocked { account: bytes::Bytes::copy_from_slice(account), blocked: true })
    };
    assert_eq!(bob_there.refused(block(&[1; 15])).await, Code::Malformed);
    assert_eq!(bob_there.refused(block(bob.address.account.as_bytes())).await, Code::Invalid);
    let mut asked = Vec::new();
    for number in 0..MAX_BLOCKED as u128 {
        asked.push(bob_there.send(block(&number.to_be_bytes())).await);
    }
    for request in asked {
        let answer = bob_there.answer(request).await;
        assert!(matches!(answer, Response::Done(_)), "{answer:?}");
    }
    let refused = refusal(bob_there.ask(block(&[9; 16])).await);
    assert_eq!(refused.code(), Code::Invalid);
    assert!(refused.message.contains("1000"), "{}", refused.message);
    relay.shutdown().await;
}
