//! `kuvert search`

use crate::args::Search;
use crate::commands::history::{Pages, conversation};
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Entry;

/// Prints what contains a text, of all conversations or of one, in order of arrival.
pub async fn run(args: &Search, options: &Options) -> Result<(), Failure> {
    if args.text.is_empty() {
        return Err(Failure::new("search-empty", "there is nothing to look for: name a text"));
    }
    let client = open(options).await?;
    let own = client.whoami().await?;
    let with = match &args.with {
        Some(who) => Some(conversation(&client, who).await?),
        None => None,
    };
    let (mut pages, mut found) = (Pages::new(&client, with, Some(&args.text)), false);
    while let Some(messages) = pages.next().await? {
        for message in &messages {
            found = true;
            options.output.print(&Entry::of(message, &own).found())?;
        }
    }
    if !found {
        options.output.note("Nothing found.");
    }
    Ok(())
}
