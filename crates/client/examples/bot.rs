//! A bot that answers what contacts write: `cargo run -p kuvert-client --example bot -- HOME`
//!
//! It reads as a named consumer. Whatever else reads the mail of this home, and however often the bot is restarted, it answers each
//! text once: the answer is in the outbox before the cursor moves, and a crash in between makes the bot look whether it is there.

use std::path::Path;

use kuvert_client::{Client, Connection, Direction, Error, Event, MessageRecord};

/// What the bot says.
fn answer(text: &str) -> String {
    match text.trim() {
        "ping" => "pong".to_owned(),
        other => format!("I am a bot. You wrote {} characters.", other.chars().count()),
    }
}

/// Answers until `enough` texts were answered. Gives the answers.
pub async fn answer_texts(connection: &mut Connection, enough: usize) -> Result<Vec<String>, Error> {
    let client = connection.client();
    let consumer = client.consumer("bot")?;
    let mut answers = Vec::new();
    loop {
        while let Some((cursor, message)) = consumer.next().await? {
            // An account that wrote first is not answered before the owner of this home accepts it.
            if !message.request {
                let said = answer(&message.text);
                if !was_said(&client, &message, &said).await? {
                    client.queue_text(message.message.conversation, &said).await?;
                }
                connection.flush(|_| {}).await?;
                answers.push(said);
            }
            consumer.acknowledge(cursor).await?;
            client.mark_read(&[message.message]).await?;
        }
        if answers.len() >= enough {
            return Ok(answers);
        }
        // Something came: the consumer looks whether it is a text.
        match connection.next_event().await? {
            Some(Event::Disconnected { message, .. }) => eprintln!("{message}"),
            Some(_) => {}
            None => return Ok(answers),
        }
    }
}

/// Whether the answer stands behind the text already: the last run ended between the two steps.
async fn was_said(client: &Client, message: &MessageRecord, said: &str) -> Result<bool, Error> {
    let history = client.history(message.message.conversation, None).await?;
    let behind = history.iter().skip_while(|one| one.message != message.message).skip(1);
    let next = behind.take_while(|one| one.direction == Direction::Outgoing);
    Ok(next.into_iter().any(|one| one.text == said))
}

#[tokio::main]
#[allow(dead_code, reason = "the tests take this file as a module")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(home) = std::env::args().nth(1) else { return Err("give the home of an account".into()) };
    let client = Client::builder(Path::new(&home)).open().await?;
    let mut connection = client.connect().await?;
    answer_texts(&mut connection, usize::MAX).await?;
    Ok(())
}
