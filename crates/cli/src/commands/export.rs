//! `kuvert export`

use std::fs::File;
use std::io::{self, BufWriter, Write as _};

use kuvert_client::{Client, ConversationId, Whoami};

use crate::args::Export;
use crate::commands::history::{Pages, conversation};
use crate::commands::open;
use crate::error::Failure;
use crate::files::Folder;
use crate::options::Options;
use crate::output::record::{Entry, Record};
use crate::output::{as_json, as_text};

/// The conversation for people.
const TEXT: &str = "messages.txt";

/// The same for programs: what `kuvert --json history` prints.
const JSON: &str = "messages.jsonl";

/// Writes a conversation into a new directory.
pub async fn run(args: &Export, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let own = client.whoami().await?;
    let conversation = conversation(&client, &args.who.who).await?;
    // Before anything is made: whether there is such a conversation.
    client.history_page(Some(conversation), None, u64::MAX >> 1).await?;
    if args.to.symlink_metadata().is_ok() {
        let message = format!("{} exists already: name a new directory", args.to.display());
        return Err(Failure::new("export-exists", message));
    }
    let directory = args.to.display().to_string();
    let failed = |error: io::Error| Failure::io(&format!("write the messages to {directory}"), &error);
    let mut writer = Writer::make(&args.to).map_err(failed)?;
    let messages = writer.write_all(&client, conversation, &own, &failed).await?;
    writer.end().map_err(failed)?;
    options.output.print(&Record::Exported { directory: &directory, messages })
}

/// The two files that are written.
struct Writer {
    text: BufWriter<File>,
    json: BufWriter<File>,
}

impl Writer {
    fn make(directory: &std::path::Path) -> io::Result<Self> {
        let folder = Folder::make(directory)?;
        Ok(Self { text: BufWriter::new(folder.file(TEXT)?), json: BufWriter::new(folder.file(JSON)?) })
    }

    /// How many messages were written.
    async fn write_all(
        &mut self,
        client: &Client,
        conversation: ConversationId,
        own: &Whoami,
        failed: &impl Fn(io::Error) -> Failure,
    ) -> Result<u64, Failure> {
        let (mut pages, mut count) = (Pages::new(client, Some(conversation), None), 0);
        while let Some(messages) = pages.next().await? {
            for message in &messages {
                let entry = Entry::of(message, own);
                writeln!(self.text, "{}", as_text(&entry.record())).map_err(failed)?;
                writeln!(self.json, "{}", as_json(&entry.record())?).map_err(failed)?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn end(self) -> io::Result<()> {
        for file in [self.text, self.json] {
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        }
        Ok(())
    }
}
