//! Two accounts, one message, one receipt: `cargo run -p kuvert-client --example hello -- kuvert://HOST:PORT#FINGERPRINT`
//!
//! The relay prints its address in the first line of its output. The homes are made in a temporary directory and go with it.

use kuvert_client::{Client, Error, Event, RelayUrl};

/// Registers two accounts at `relay`, in homes below `directory`, and has one write to the other. What each of them saw.
pub async fn hello(directory: &std::path::Path, relay: RelayUrl) -> Result<Vec<String>, Error> {
    let mut seen = Vec::new();
    let alice = Client::builder(directory.join("alice")).relay(relay.clone()).register().await?;
    let bob = Client::builder(directory.join("bob")).relay(relay).register().await?;

    // An invite link names the account and its key: a contact that is added by it is verified at once.
    let to_bob = alice.contacts().add(&bob.invite().await?.to_string()).await?;
    let to_alice = bob.contacts().add(&alice.invite().await?.to_string()).await?;
    seen.push(format!("verified: {} {}", to_bob.verified, to_alice.verified));

    let mut alices = alice.connect().await?;
    let mut bobs = bob.connect().await?;
    // Returns once the message is on the relay's disk.
    alices.send_text(&to_bob, "Hello").await?;

    while let Some(event) = bobs.next_event().await? {
        if let Event::Message(message) = event {
            seen.push(format!("received: {}", message.text));
            // From here on it does not come again, and its author is told that it was read.
            bob.mark_read(&[message.message]).await?;
            break;
        }
    }
    bobs.flush(|_| {}).await?;

    while let Some(event) = alices.next_event().await? {
        if let Event::Receipt { kind, .. } = event {
            seen.push(format!("receipt: {kind:?}"));
            break;
        }
    }
    alices.close().await;
    bobs.close().await;
    Ok(seen)
}

#[tokio::main]
#[allow(dead_code, reason = "the tests take this file as a module")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(relay) = std::env::args().nth(1) else { return Err("give the relay's address: kuvert://…".into()) };
    let directory = std::env::temp_dir().join(format!("kuvert-hello-{}", std::process::id()));
    let seen = hello(&directory, relay.parse()?).await;
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    for line in seen? {
        println!("{line}");
    }
    Ok(())
}
