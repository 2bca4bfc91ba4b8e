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

/// Accepts a contact's new key.
pub fn accept(who: &str, options: &Options) -> Result<(), Failure> {
    print(&open(options)?.accept_key(who)?, options)
}

/// Blocks or unblocks a contact.
pub fn block(who: &str, blocked: bool, options: &Options) -> Result<(), Failure> {
    print(&open(options)?.set_blocked(who, blocked)?, options)
}

fn print(contact: &ContactInfo, options: &Options) -> Result<(), Failure> {
    let account = contact.account.to_string();
    options.output.print(&Record::contact(contact, &account))
}
