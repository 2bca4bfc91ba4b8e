//! The examples, run as they are.

use kuvert_client::store::{Store, conformance};

use crate::common::{World, add, fetch, say, texts, within};

#[path = "../examples/bot.rs"]
mod bot;
#[path = "../examples/custom_store.rs"]
mod custom_store;
#[path = "../examples/hello.rs"]
mod hello;

#[tokio::test(flavor = "multi_thread")]
async fn hello_is_said_heard_and_confirmed() {
    let world = World::new().await;
    let seen = within(hello::hello(world.dir.path(), world.url.clone())).await.unwrap();
    assert_eq!(seen[..2], ["verified: true true", "received: Hello"]);
    assert!(seen[2].starts_with("receipt: "), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bot_answers_each_text_once_also_after_a_restart() {
    let world = World::new().await;
    let (alice, bob) = world.alice_and_bob().await;
    say(&alice, "bob", "ping").await;
    let mut connection = bob.connect().await.unwrap();
    assert_eq!(within(bot::answer_texts(&mut connection, 1)).await.unwrap(), ["pong"]);
    connection.close().await;
    // Started anew, and a stranger wrote meanwhile.
    let carol = world.register("carol").await;
    add(&carol, "bob").await;
    say(&carol, "bob", "hello").await;
    say(&alice, "bob", "four").await;
    let bob = world.open("bob").await;
    let mut connection = bob.connect().await.unwrap();
    let answers = within(bot::answer_texts(&mut connection, 1)).await.unwrap();
    assert_eq!(answers, ["I am a bot. You wrote 4 characters."]);
    connection.close().await;
    assert_eq!(texts(&fetch(&alice).await), ["pong", "I am a bot. You wrote 4 characters."]);
    assert!(texts(&fetch(&carol).await).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_ones_own_conforms_and_holds_an_account() {
    conformance::run(|| Box::new(custom_store::Counting::default()) as Box<dyn Store>);
    let world = World::new().await;
    let (client, commits) = within(custom_store::register(&world.home("counted"), world.url.clone())).await.unwrap();
    assert!((3..50).contains(&commits), "{commits}");
    assert!(!world.home("counted").join("store.db").exists());
    client.connect().await.unwrap().close().await;
}
