//! Clients that do what they should not. They cost bounded memory, are told what is wrong, and harm no other client.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kuvert_types::limits::MAX_FRAME_BYTES;
use kuvert_wire::frame;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::error::Code;
use kuvert_wire::v1::server_frame::Body as Response;
use kuvert_wire::v1::{self, ClientFrame};
use kuvert_wire::{ALPN, VERSION};

use crate::common::*;

/// Two devices that write to each other all the while. Fails when they cannot.
struct Honest {
    alice: Client,
    bob: Client,
    bob_device: Device,
}

impl Honest {
    async fn new(relay: &kuvert_relay::RunningRelay) -> Self {
        let bob_device = Device::new();
        let alice = Client::register(relay.address(), &Device::new()).await;
        let mut bob = Client::register(relay.address(), &bob_device).await;
        bob.attach().await;
        bob.caught_up().await;
        Self { alice, bob, bob_device }
    }

    async fn go_on(&mut self) {
        self.alice.submit(envelope(&self.bob_device, "still here")).await;
        let cursor = self.bob.delivery().await.cursor;
        self.bob.caught_up().await;
        self.bob.acknowledge(cursor).await;
    }
}

async fn write(client: &mut Client, bytes: &[u8]) {
    // The relay may have closed the connection before it took all.
    let _ = within(client.send.write_all(bytes)).await;
}

fn framed(frame: &ClientFrame) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame::encode(frame, &mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn what_is_no_frame_closes_the_connection_with_an_error() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let mut honest = Honest::new(&relay).await;
    let device = Device::new();
    drop(Client::register(relay.address(), &device).await);

    let hello = framed(&ClientFrame { request: 1, body: Some(Request::Hello(v1::Hello { version: VERSION })) });
    let mut announces_too_much = BytesMut::new();
    prost::encode_length_delimiter(MAX_FRAME_BYTES + 1, &mut announces_too_much).unwrap();
    let mut endless_length = BytesMut::new();
    endless_length.put_bytes(0xFF, 32);
    let mut broken_body = hello.to_vec();
    broken_body[1] = 0xFF;
    let cases: [(&[u8], Code); 3] =
        [(&announces_too_much, Code::TooLarge), (&endless_length, Code::TooLarge), (&broken_body, Code::Malformed)];
    for authenticated in [false, true] {
        for (bytes, code) in cases {
            let mut client = if authenticated {
                Client::authenticate(relay.address(), &device).await.0
            } else {
                Client::connect(relay.address()).await
            };
            write(&mut client, bytes).await;
            let (error, reason) = client.closed().await;
            assert_eq!((error.unwrap().code(), reason.as_str()), (code, "protocol error"));
            honest.go_on().await;
        }
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn random_bytes_and_bent_frames_harm_nobody() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let mut honest = Honest::new(&relay).await;
    let device = Device::new();
    drop(Client::register(relay.address(), &device).await);
    let good = framed(&ClientFrame { request: 1, body: Some(submit(envelope_from(&device, &device, vec![5; 300]))) });
    for round in 0..60usize {
        let (mut client, _) = Client::authenticate(relay.address(), &device).await;
        let mut bytes = good.to_vec();
        match round % 3 {
            0 => bytes = random::<512>().to_vec(),
            1 => {
                let [at, value] = random::<2>();
                let at = usize::from(at) % 40;
                bytes[at] = value;
            }
            _ => bytes.truncate(1 + round * 4),
        }
        write(&mut client, &bytes).await;
        // A frame that is cut off by the end of the stream, or by the end of the connection.
        if round % 2 == 0 {
            let _ = client.send.finish();
            while client.frame().await.is_some() {}
        } else {
            client.connection.close(0u32.into(), b"");
        }
        honest.go_on().await;
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn a_command_that_nobody_knows_is_answered_and_the_connection_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let device = Device::new();
    let mut client = Client::register(relay.address(), &device).await;
    // Field 99 of ClientFrame: of some later version.
    let mut body = BytesMut::new();
    prost::encoding::uint64::encode(1, &77, &mut body);
    prost::encoding::string::encode(99, &"later".to_owned(), &mut body);
    let mut bytes = BytesMut::new();
    prost::encode_length_delimiter(body.len(), &mut bytes).unwrap();
    bytes.extend_from_slice(&body);
    write(&mut client, &bytes).await;
    let Response::Error(error) = client.answer(77).await else { panic!("no error") };
    assert_eq!(error.code(), Code::Malformed);
    client.submit(envelope(&device, "to myself")).await;
    relay.shutdown().await;
}

#[tokio::test]
async fn a_large_frame_before_authentication_is_refused_before_it_is_whole() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let large = |size| framed(&ClientFrame { request: 1, body: Some(submit(envelope(&Device::new(), vec![5; size]))) });
    // The beginning of a large one; and one that is there whole before the relay looks.
    for bytes in [&large(60_000)[..5_000], &large(5_000)] {
        let mut client = Client::connect(relay.address()).await;
        write(&mut client, bytes).await;
        let (error, _) = client.closed().await;
        assert_eq!(error.unwrap().code(), Code::TooLarge);
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn a_stream_beside_the_mail_is_for_a_blob_and_what_is_none_ends_it_alone() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let mut client = Client::register(relay.address(), &Device::new()).await;
    for body in [
        Request::Hello(v1::Hello { version: VERSION }),
        Request::CountPrekeys(v1::CountPrekeys {}),
        Request::Blob(v1::BlobRequest { what: None }),
    ] {
        let mut stream = blob::Stream::open(&client.connection).await;
        let mut bytes = BytesMut::new();
        frame::encode(&ClientFrame { request: 7, body: Some(body) }, &mut bytes).unwrap();
        stream.send.write_all(&bytes).await.unwrap();
        assert_eq!(stream.answer().await, Err(Code::Malformed));
        assert!(stream.frame().await.is_none(), "the stream ends");
    }
    for bytes in [&b"hello?"[..], &[0xFF; 8]] {
        let mut stream = blob::Stream::open(&client.connection).await;
        stream.send.write_all(bytes).await.unwrap();
        stream.send.finish().unwrap();
        while stream.frame().await.is_some() {}
    }
    // The first stream is not concerned.
    client.ask(Request::CountPrekeys(v1::CountPrekeys {})).await;
    relay.shutdown().await;
}

#[tokio::test]
async fn where_sealed_mail_is_submitted_other_streams_are_turned_away_and_many_of_them_end_the_connection() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let mut client = Client::connect(relay.address()).await;
    client.hello().await;
    let access_key = Bytes::from_static(CONTACTS_KEY.as_bytes());
    let sealed = v1::SubmitSealed { envelope: Some(envelope(&Device::new(), "sealed")), access_key };
    assert_eq!(client.refused(Request::SubmitSealed(sealed.clone())).await, Code::AccessRefused);
    let (mut send, mut receive) = within(client.connection.open_bi()).await.unwrap();
    let _ = send.write_all(b"hello?").await;
    let refused = within(receive.read_chunk(10, true)).await;
    assert!(matches!(refused, Err(quinn::ReadError::Reset(_))), "{refused:?}");
    drop((send, receive));
    // The first stream is not concerned.
    assert_eq!(client.refused(Request::SubmitSealed(sealed)).await, Code::AccessRefused);

    let connection = client.connection.clone();
    let opening = tokio::spawn(async move {
        while let Ok((mut send, _receive)) = connection.open_bi().await {
            let _ = send.write_all(b"and again").await;
        }
    });
    let (error, reason) = client.closed().await;
    assert_eq!((error.unwrap().code(), reason.as_str()), (Code::Malformed, "one stream per connection"));
    within(opening).await.unwrap();
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_is_let_go() {
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let mut without_stream = Client::connect(relay.address()).await;
    let mut after_hello = Client::connect(relay.address()).await;
    after_hello.hello().await;
    // A stream that was opened and on which nothing came does not exist yet for the relay.
    let (error, reason) = {
        let closed = without_stream.frame().await;
        assert!(closed.is_none());
        (None::<v1::Error>, within(without_stream.connection.closed()).await.to_string())
    };
    assert!(error.is_none() && reason.contains("too slow"), "{reason}");
    let (error, reason) = after_hello.closed().await;
    assert_eq!((error.unwrap().code(), reason.as_str()), (Code::Limited, "too slow"));
    relay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_let_go_and_its_mail_kept() {
    const LARGE: usize = 90_000;
    const COUNT: usize = 40;
    let data = tempfile::tempdir().unwrap();
    let relay = start(data.path()).await;
    let (alice, bob) = (Device::new(), Device::new());
    let mut alice_there = Client::register(relay.address(), &alice).await;
    Client::register(relay.address(), &bob).await.welcome_contacts().await;
    for _ in 0..COUNT {
        let answer = alice_there.ask(submit_as_contact(envelope_from(&alice, &bob, vec![7; LARGE]))).await;
        assert!(matches!(answer, Response::Accepted(_)), "{answer:?}");
    }
    let mut config = client_config(relay.address(), kuvert_relay::tls::provider(), &[ALPN]);
    let mut transport = quinn::TransportConfig::default();
    // What it takes without being read.
    transport.receive_window(100_000u32.into()).keep_alive_interval(Some(Duration::from_secs(1)));
    config.transport_config(transport.into());
    let mut lazy = Client::connect_with(relay.address(), config).await.unwrap();
    let proof = lazy.hello().await;
    lazy.ask(Request::Authenticate(bob.authenticate_request(&proof))).await;
    lazy.attach().await;
    // It goes on asking, and does not read the answers either, until the relay stops listening to it.
    let asking = async {
        let ask = framed(&ClientFrame { request: 9, body: Some(Request::CountPrekeys(v1::CountPrekeys {})) });
        while lazy.send.write_all(&ask).await.is_ok() {}
    };
    let mut honest = Honest::new(&relay).await;
    let others = async {
        for _ in 0..50 {
            honest.go_on().await;
        }
    };
    within(async { tokio::join!(asking, others) }).await;
    let reason = within(lazy.connection.closed()).await.to_string();
    assert!(reason.contains("not reading"), "{reason}");

    let (_, greeting) = Client::authenticate(relay.address(), &bob).await;
    assert_eq!(greeting.waiting, COUNT as u64, "nothing is lost");
    relay.shutdown().await;
}

#[tokio::test]
async fn more_requests_than_allowed_are_slowed_down_and_not_reordered() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.limits.requests_per_device = kuvert_relay::config::Rate { burst: 10, per_hour: 36_000 };
    let relay = start_with(config, std::sync::Arc::new(kuvert_relay::SystemClock::new())).await;
    let device = Device::new();
    let mut client = Client::register(relay.address(), &device).await;
    let started = std::time::Instant::now();
    let mut requests = Vec::new();
    for number in 0..30u8 {
        requests.push(client.send(submit(envelope_from(&device, &device, vec![number]))).await);
    }
    for request in requests {
        let answer = client.answer(request).await;
        assert!(matches!(answer, Response::Accepted(_)), "{answer:?}");
    }
    // 10 at once, 20 more at 10 a second.
    assert!(started.elapsed() > Duration::from_millis(1_500), "{:?}", started.elapsed());
    relay.shutdown().await;
}
