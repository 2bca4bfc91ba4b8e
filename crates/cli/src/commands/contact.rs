//! `kuvert contact …`

use kuvert_client::ContactInfo;
use kuvert_client::error::shell_word;

use crate::commands::{flush, open, remark};
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;

/// Adds a contact by name or invite link.
pub async fn add(who: &str, alias: Option<&str>, options: &Options) -> Result<(), Failure> {
    let client = open(options)?;
    client.check_contact(who)?;
    let connection = client.connect().await?;
    let contact = client.add_contact(&connection, who, alias).await?;
    print(&contact, options)?;
    if !contact.verified {
        options.output.note(&format!(
            "Trusted on first use: compare `kuvert safety-number {0}` with them, then `kuvert contact verify {0}`.",
            shell_word(&contact.alias)
        ));
    }
    remark(&flush(&client, &connection, options).await?, options);
    connection.close().await;
    Ok(())
}

/// Prints the address book.
pub fn list(options: &Options) -> Result<(), Failure> {
    let contacts = open(options)?.contacts()?;
    if contacts.is_empty() {
        options.output.note("No contacts yet: add one with `kuvert contact add NAME|LINK`.");
    }
    contacts.iter().try_for_each(|contact| print(contact, options))
}

/// Marks a contact as verified.
pub fn verify(who: &str, options: &Options) -> Result<(), Failure> {
    print(&open(options)?.verify(who)?, options)
}

/// Prints those who wrote and are no contacts.
pub fn requests(options: &Options) -> Result<(), Failure> {
    let requests = open(options)?.requests()?;
    if requests.is_empty() {
        options.output.note("No request waits.");
    }
    requests.iter().try_for_each(|request| print(request, options))
}

/// Accepts a request, or a contact's new key.
pub fn accept(who: &str, alias: Option<&str>, options: &Options) -> Result<(), Failure> {
    let client = open(options)?;
    let accepted = match client.contact(who) {
        Ok(contact) if !contact.request && alias.is_none() => client.accept_key(who)?,
        // Also what is neither: the client says so.
        _ => client.accept_request(who, alias)?,
    };
    print(&accepted, options)
}

/// Blocks or unblocks a contact or a request, here and, if asked to, at the relay.
pub async fn block(who: String, blocked: bool, at_relay: bool, options: &Options) -> Result<(), Failure> {
    let client = open(options)?;
    let known_at_relay = client.contact(&who)?.blocked_at_relay;
    // Here first: that needs no relay, and holds whatever becomes of the rest.
    let contact = if at_relay && blocked { client.block_at_relay(&who) } else { client.set_blocked(&who, blocked) }?;
    print(&contact, options)?;
    if contact.blocked_at_relay != known_at_relay {
        // The flush tells the relay. Without a connection the next one does.
        let connection = client.connect().await?;
        remark(&flush(&client, &connection, options).await?, options);
        connection.close().await;
    }
    Ok(())
}

fn print(contact: &ContactInfo, options: &Options) -> Result<(), Failure> {
    let account = contact.account.to_string();
    options.output.print(&Record::contact(contact, &account))
}
