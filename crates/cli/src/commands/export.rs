//! `kuvert export`

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use kuvert_client::{Client, ConversationId, Direction, FileInfo, MessageRecord, Whoami, safe_file_name};
use rustix::fs::OFlags;

use crate::args::Export;
use crate::commands::history::{Pages, conversation};
use crate::commands::{open, save};
use crate::error::Failure;
use crate::files::Folder;
use crate::options::Options;
use crate::output::record::{Entry, Record};
use crate::output::{as_json, as_text};

/// The conversation for people.
const TEXT: &str = "messages.txt";

/// The same for programs: what `kuvert --json history` prints.
const JSON: &str = "messages.jsonl";

/// Where copies of files lie, made with the first of them.
const FILES: &str = "files";

/// Files of one name at most: beyond, something else is wrong.
const MAX_OF_A_NAME: u32 = 10_000;

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
    let files = writer.end().map_err(failed)?;
    options.output.print(&Record::Exported { directory: &directory, messages, files })
}

/// What is written.
struct Writer {
    folder: Folder,
    text: BufWriter<File>,
    json: BufWriter<File>,
    /// Made with the first file.
    files: Option<Folder>,
    copied: u64,
}

impl Writer {
    fn make(directory: &Path) -> io::Result<Self> {
        let folder = Folder::make(directory)?;
        let (text, json) = (BufWriter::new(folder.file(TEXT)?), BufWriter::new(folder.file(JSON)?));
        Ok(Self { folder, text, json, files: None, copied: 0 })
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
                let mut entry = Entry::of(message, own);
                for (shown, file) in entry.attachments_mut().iter_mut().zip(&message.attachments) {
                    shown.path = self.copy(client.directory(), message, file).map_err(failed)?;
                }
                writeln!(self.text, "{}", as_text(&entry.record())).map_err(failed)?;
                writeln!(self.json, "{}", as_json(&entry.record())?).map_err(failed)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Copies a file that is here; where the copy is, within the directory. One that is to be shown once is not kept, and one of one's own is copied
    /// as long as it is where it was sent from, as large as it was.
    fn copy(&mut self, home: &Path, message: &MessageRecord, file: &FileInfo) -> io::Result<Option<String>> {
        let Some(here) = file.path(home).filter(|_| !save::is_once(message, file)) else { return Ok(None) };
        let Some(mut input) = regular(&here, file.size) else {
            // It was moved or removed, or is another one by now.
            tracing::debug!(outgoing = message.direction == Direction::Outgoing, "a file is not where it was");
            return Ok(None);
        };
        let folder = match self.files.take() {
            Some(folder) => folder,
            None => self.folder.folder(FILES)?,
        };
        let folder = self.files.insert(folder);
        let safe = safe_file_name(&file.name);
        for number in 1..=MAX_OF_A_NAME {
            let name = match number {
                1 => safe.clone(),
                _ => save::numbered(Path::new(&safe), number).display().to_string(),
            };
            let mut output = match folder.file(&name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                output => output?,
            };
            io::copy(&mut input, &mut output)?;
            output.sync_all()?;
            self.copied += 1;
            return Ok(Some(format!("{FILES}/{name}")));
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many files have one name"))
    }

    /// How many files were copied.
    fn end(self) -> io::Result<u64> {
        for file in [self.text, self.json] {
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        }
        Ok(self.copied)
    }
}

/// Opens a file of this size; what is none, or another one, is not waited for.
fn regular(path: &Path, size: u64) -> Option<File> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).ok()?;
    let found = file.metadata().ok()?;
    (found.is_file() && found.len() == size).then_some(file)
}
