//! `kuvert history`

use crate::args::History;
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Entry;

/// Prints a conversation in order of arrival.
pub async fn run(args: &History, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let own = client.whoami().await?;
    let messages = client.history(client.contacts().find(&args.who.who).await?, args.search.as_deref()).await?;
    if messages.is_empty() {
        options.output.note("Nothing found.");
    }
    let skipped = args.last.map_or(0, |last| messages.len().saturating_sub(last));
    for message in messages.iter().skip(skipped) {
        options.output.print(&Entry::of(message, &own).record())?;
    }
    Ok(())
}
