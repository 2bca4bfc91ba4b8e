//! `kuvert contact …`

use kuvert_client::{ContactInfo, Error};

use crate::commands::{flush, open, remark};
use crate::error::{Failure, shell_word};
use crate::options::Options;
use crate::output::record::Record;

/// Adds a contact by name or invite link.
pub async fn add(who: &str, alias: Option<&str>, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    client.contacts().check(who).await?;
    let connection = client.connect().await?;
    let contact = connection.add_contact(who, alias).await?;
    print(&contact, options)?;
    if !contact.verified {
        options.output.note(&format!(
            "Trusted on first use: compare `kuvert safety-number {0}` with them, then `kuvert contact verify {0}`.",
            shell_word(&contact.alias)
        ));
    }
    remark(&flush(&connection, options).await?, options);
    connection.close().await;
    Ok(())
}

/// Prints the address book.
pub async fn list(options: &Options) -> Result<(), Failure> {
    let contacts = open(options).await?.contacts().list().await?;
    if contacts.is_empty() {
        options.output.note("No contacts yet: add one with `kuvert contact add NAME|LINK`.");
    }
    contacts.iter().try_for_each(|contact| print(contact, options))
}

/// Calls a contact otherwise.
pub async fn rename(who: &str, alias: &str, options: &Options) -> Result<(), Failure> {
    let contacts = open(options).await?.contacts();
    let contact = contacts.find(who).await?;
    let renamed = contacts.rename(contact.account, alias).await.map_err(|error| match error {
        Error::AliasTaken { .. } => Failure::new(error.code(), format!("{error}: choose another alias")),
        other => other.into(),
    })?;
    print(&renamed, options)
}

/// Removes a contact or a request.
pub async fn remove(who: &str, history: bool, force: bool, options: &Options) -> Result<(), Failure> {
    let contacts = open(options).await?.contacts();
    let contact = contacts.find(who).await?;
    let removed = contacts.remove(contact.account, history, force).await.map_err(|error| match &error {
        Error::ContactBlocked { who } => Failure::new(
            error.code(),
            format!(
                "'{who}' is blocked, and would be unblocked by that: if you want to, `kuvert contact block --unblock {}` first",
                shell_word(who)
            ),
        ),
        _ => error.into(),
    })?;
    let account = removed.contact.account.to_string();
    options.output.print(&Record::ContactRemoved {
        alias: &removed.contact.alias,
        account: &account,
        given_up: removed.given_up,
        kept: removed.kept,
        deleted: removed.deleted,
    })
}

/// Marks a contact as verified.
pub async fn verify(who: &str, options: &Options) -> Result<(), Failure> {
    let contacts = open(options).await?.contacts();
    let contact = contacts.find(who).await?;
    print(&contacts.verify(contact.account).await?, options)
}

/// Prints those who wrote and are no contacts.
pub async fn requests(options: &Options) -> Result<(), Failure> {
    let requests = open(options).await?.contacts().requests().await?;
    if requests.is_empty() {
        options.output.note("No request waits.");
    }
    requests.iter().try_for_each(|request| print(request, options))
}

/// Accepts a request, or a contact's new key.
pub async fn accept(who: &str, alias: Option<&str>, options: &Options) -> Result<(), Failure> {
    let contacts = open(options).await?.contacts();
    let contact = contacts.find(who).await?;
    let accepted = if contact.request || alias.is_some() {
        contacts.accept_request(contact.account, alias).await?
    } else {
        contacts.accept_key(contact.account).await?
    };
    print(&accepted, options)
}

/// Blocks or unblocks a contact or a request, here and, if asked to, at the relay.
pub async fn block(who: String, blocked: bool, at_relay: bool, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let contacts = client.contacts();
    let before = contacts.find(&who).await?;
    // Here first: that needs no relay, and holds whatever becomes of the rest.
    let contact = if at_relay && blocked {
        contacts.block_at_relay(before.account).await?
    } else {
        contacts.set_blocked(before.account, blocked).await?
    };
    print(&contact, options)?;
    if contact.blocked_at_relay != before.blocked_at_relay {
        // The flush tells the relay. Without a connection the next one does.
        let connection = client.connect().await?;
        remark(&flush(&connection, options).await?, options);
        connection.close().await;
    }
    Ok(())
}

fn print(contact: &ContactInfo, options: &Options) -> Result<(), Failure> {
    let account = contact.account.to_string();
    options.output.print(&Record::contact(contact, &account))
}
