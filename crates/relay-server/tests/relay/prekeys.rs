//! The prekey directory: handed out once, and not to be drained.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kuvert_relay::SystemClock;
use kuvert_relay::config::Rate;
use kuvert_types::limits::MAX_PREKEYS_PER_PUBLISH;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self, PrekeyBundle};

use crate::common::*;

async fn take(client: &mut Client, of: &Device) -> PrekeyBundle {
    match client.ask(take_bundles(of)).await {
        Response::Bundles(mut bundles) => {
            assert_eq!(bundles.device_list, of.list(1).encode());
            assert_eq!(bundles.bundles.len(), 1);
            bundles.bundles.remove(0)
        }
        other => panic!("{other:?}"),
    }
}

async fn publish(client: &mut Client, prekeys: v1::PublishPrekeys) {
    let answer = client.ask(Request::PublishPrekeys(prekeys)).await;
    assert!(matches!(answer, Response::Done(_)), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_one_time_prekey_is_handed_out_once_and_then_the_last_resort() {
    // More than there are keys: the last 25 go to takers that have had none.
    const TAKERS: usize = 60;
    const TAKES: usize = 2;
    const KEYS: u32 = 50;
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    let many = Rate { burst: 1000, per_hour: 1 };
    config.limits.one_time_prekeys_per_account = many;
    config.limits.one_time_prekeys_per_taker = many;
    config.limits.bundles_per_taker = many;
    let relay = start_with(config, Arc::new(SystemClock::new())).await;
    let bob = Device::new();
    let mut bob_there = Client::register(relay.address(), &bob).await;
    publish(&mut bob_there, prekeys(1, KEYS, true)).await;

    let takers = (0..TAKERS).map(|_| {
        let (url, bob) = (relay.address().clone(), bob.clone());
        tokio::spawn(async move {
            let mut client = Client::register(&url, &Device::new()).await;
            // All at once, on this connection and on the others.
            let mut requests = Vec::new();
            for _ in 0..TAKES {
                requests.push(client.send(take_bundles(&bob)).await);
            }
            let mut bundles = Vec::new();
            for request in requests {
                match client.answer(request).await {
                    Response::Bundles(mut answer) => bundles.append(&mut answer.bundles),
                    other => panic!("{other:?}"),
                }
            }
            bundles
        })
    });
    let mut bundles = Vec::new();
    for taker in takers.collect::<Vec<_>>() {
        bundles.extend(taker.await.unwrap());
    }
    assert_eq!(bundles.len(), TAKERS * TAKES);
    let certificate = bob.certificate().encode();
    assert!(bundles.iter().all(|bundle| bundle.certificate == certificate[..] && bundle.signed_prekey.is_some()));
    let curve: Vec<u32> = bundles.iter().filter_map(|bundle| Some(bundle.one_time_prekey.as_ref()?.id)).collect();
    let (last_resort, one_time): (Vec<_>, Vec<_>) = bundles.iter().partition(|bundle| bundle.kem_prekey_is_last_resort);
    let kem: HashSet<u32> = one_time.iter().map(|bundle| bundle.kem_prekey.as_ref().unwrap().id).collect();
    assert_eq!((curve.len(), curve.iter().collect::<HashSet<_>>().len()), (KEYS as usize, KEYS as usize));
    assert_eq!((one_time.len(), kem.len()), (KEYS as usize, KEYS as usize));
    assert_eq!(last_resort.len(), TAKERS * TAKES - KEYS as usize);
    assert!(last_resort.iter().all(|bundle| bundle.kem_prekey.as_ref().unwrap().id == 1));
    relay.shutdown().await;
}

#[tokio::test]
async fn one_time_prekeys_cannot_be_drained() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.limits.one_time_prekeys_per_account = Rate { burst: 3, per_hour: 1 };
    let relay = start_with(config, Arc::new(SystemClock::new())).await;
    let (bob, carol) = (Device::new(), Device::new());
    let mut bob_there = Client::register(relay.address(), &bob).await;
    let mut carol_there = Client::register(relay.address(), &carol).await;
    publish(&mut bob_there, prekeys(1, 20, true)).await;
    publish(&mut carol_there, prekeys(1, 20, true)).await;
    // Different takers: the limit is the target's.
    for number in 0..8 {
        let mut taker = Client::register(relay.address(), &Device::new()).await;
        let bundle = take(&mut taker, &bob).await;
        let one_time = !bundle.kem_prekey_is_last_resort && bundle.one_time_prekey.is_some();
        let none = bundle.kem_prekey_is_last_resort && bundle.one_time_prekey.is_none();
        assert!(if number < 3 { one_time } else { none }, "{number}");
    }
    let Response::PrekeyCounts(left) = bob_there.ask(Request::CountPrekeys(v1::CountPrekeys {})).await else {
        panic!("no counts")
    };
    assert_eq!((left.one_time, left.one_time_kem), (17, 17));
    assert!(!take(&mut bob_there, &carol).await.kem_prekey_is_last_resort, "carol is not concerned");
    relay.shutdown().await;
}

fn is_one_time(bundle: &PrekeyBundle) -> (bool, bool) {
    (!bundle.kem_prekey_is_last_resort, bundle.one_time_prekey.is_some())
}

const BOTH: (bool, bool) = (true, true);
const NEITHER: (bool, bool) = (false, false);

#[tokio::test]
async fn a_stranger_alone_gets_two_one_time_prekeys_of_an_account_and_no_error_for_more() {
    let data = tempfile::tempdir().unwrap();
    let (relay, clock) = start_at_noon(data.path()).await;
    let (bob, carol) = (Device::new(), Device::new());
    let mut bob_there = Client::register(relay.address(), &bob).await;
    let mut carol_there = Client::register(relay.address(), &carol).await;
    publish(&mut bob_there, prekeys(1, 50, true)).await;
    publish(&mut carol_there, prekeys(1, 50, true)).await;
    let mut stranger = Client::register(relay.address(), &Device::new()).await;
    let mut taken = Vec::new();
    for _ in 0..10 {
        taken.push(is_one_time(&take(&mut stranger, &bob).await));
    }
    assert_eq!((&taken[..2], &taken[2..]), (&[BOTH; 2][..], &[NEITHER; 8][..]));
    let Response::Error(error) = stranger.ask(take_bundles(&bob)).await else { panic!("an eleventh bundle") };
    assert_eq!((error.code(), error.retry_after_ms), (Code::Limited, 180_000), "20 an hour");
    let Response::PrekeyCounts(left) = bob_there.ask(Request::CountPrekeys(v1::CountPrekeys {})).await else {
        panic!("no counts")
    };
    assert_eq!((left.one_time, left.one_time_kem), (48, 48));
    // Neither the stranger's other targets nor the target's other takers are concerned.
    assert_eq!(is_one_time(&take(&mut stranger, &carol).await), BOTH);
    assert_eq!(is_one_time(&take(&mut carol_there, &bob).await), BOTH);
    clock.advance(Duration::from_secs(3600));
    assert_eq!(is_one_time(&take(&mut stranger, &bob).await), BOTH);
    assert_eq!(is_one_time(&take(&mut stranger, &bob).await), NEITHER);
    relay.shutdown().await;
}

#[tokio::test]
async fn the_last_one_time_prekeys_are_for_takers_that_had_none() {
    let data = tempfile::tempdir().unwrap();
    let (relay, clock) = start_at_noon(data.path()).await;
    let bob = Device::new();
    let mut bob_there = Client::register(relay.address(), &bob).await;
    publish(&mut bob_there, prekeys(1, 25, true)).await;
    let mut first = Client::register(relay.address(), &Device::new()).await;
    let mut second = Client::register(relay.address(), &Device::new()).await;
    // 25 are left, then 24: from here on it is one for each.
    assert_eq!(is_one_time(&take(&mut first, &bob).await), BOTH);
    assert_eq!(is_one_time(&take(&mut first, &bob).await), NEITHER);
    assert_eq!(is_one_time(&take(&mut second, &bob).await), BOTH);
    assert_eq!(is_one_time(&take(&mut second, &bob).await), NEITHER);
    publish(&mut bob_there, prekeys(100, 20, false)).await;
    clock.advance(Duration::from_secs(3600));
    assert_eq!(is_one_time(&take(&mut first, &bob).await), BOTH, "there are enough again");
    relay.shutdown().await;
}

#[tokio::test]
async fn one_device_takes_so_many_bundles_and_no_more() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.limits.bundles_per_device = Rate { burst: 2, per_hour: 1 };
    config.limits.lookups_per_device = Rate { burst: 1, per_hour: 1 };
    let relay = start_with(config, Arc::new(SystemClock::new())).await;
    let bob = Device::new();
    let mut bob_there = Client::register(relay.address(), &bob).await;
    publish(&mut bob_there, prekeys(1, 20, true)).await;
    let mut taker = Client::register(relay.address(), &Device::new()).await;
    take(&mut taker, &bob).await;
    take(&mut taker, &bob).await;
    match taker.ask(take_bundles(&bob)).await {
        Response::Error(error) => {
            assert_eq!(error.code(), Code::Limited);
            assert!(error.retry_after_ms > 1_000_000, "{error:?}");
        }
        other => panic!("{other:?}"),
    }
    let lookup = || {
        let by = Some(v1::get_account::By::Name("nobody".into()));
        Request::GetAccount(v1::GetAccount { by })
    };
    assert_eq!(taker.refused(lookup()).await, Code::UnknownRecipient);
    assert_eq!(taker.refused(lookup()).await, Code::Limited);
    take(&mut bob_there, &bob).await;
    relay.shutdown().await;
}

#[tokio::test]
async fn an_id_never_comes_back_and_lengths_are_checked() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let bob = Device::new();
    let mut client = Client::register(relay.address(), &bob).await;
    publish(&mut client, prekeys(10, 2, true)).await;
    assert_eq!(client.refused(Request::PublishPrekeys(prekeys(11, 1, false))).await, Code::PrekeyReused);
    assert_eq!(client.refused(Request::PublishPrekeys(prekeys(1, 1, false))).await, Code::PrekeyReused);
    publish(&mut client, prekeys(12, 1, false)).await;
    let too_many = prekeys(100, MAX_PREKEYS_PER_PUBLISH as u32 + 1, false);
    let too_many = v1::PublishPrekeys { one_time_kem_prekeys: vec![], ..too_many };
    assert_eq!(client.refused(Request::PublishPrekeys(too_many)).await, Code::Invalid);
    let mut short = prekeys(200, 1, true);
    short.one_time_prekeys[0].public_key = vec![0; 31].into();
    assert_eq!(client.refused(Request::PublishPrekeys(short)).await, Code::Malformed);
    let mut short = prekeys(200, 1, true);
    short.one_time_kem_prekeys[0].public_key = vec![0; 1567].into();
    assert_eq!(client.refused(Request::PublishPrekeys(short)).await, Code::Malformed);
    let mut short = prekeys(200, 1, true);
    short.signed_prekey.as_mut().unwrap().signature = vec![0; 63].into();
    assert_eq!(client.refused(Request::PublishPrekeys(short)).await, Code::Malformed);
    // The largest honest command fits a frame.
    publish(&mut client, prekeys(300, MAX_PREKEYS_PER_PUBLISH as u32, false)).await;
    relay.shutdown().await;
}
