//! What `secure_delete` leaves behind, and wiping it.
//!
//! SQLite zeroes a deleted cell and a freed page. But when deletions leave a page nearly empty, it merges neighbours, and
//! where a page has to be laid out anew (`rebuildPage` in its `btree.c`) the cells' earlier bytes stay in the page's
//! unallocated middle. Nothing deletes those copies when the rows themselves are deleted later.
//!
//! So the writer notes which pages a transaction with deletions wrote (the log says so), and when the log has been copied,
//! the unallocated middle of those pages is overwritten with zeros in the main file. To SQLite these bytes mean nothing
//! (<https://www.sqlite.org/fileformat2.html#b_tree_pages>), and what changes such a page later writes it to the log
//! again, where it is noted again. Only one thread works on the main file at a time: the checkpoint thread, or the writer
//! while that one rests. After a crash, when the notes are lost, all pages are looked at once.
//!
//! The handle on the main file is shared and outlives SQLite's: closing any handle of a file drops the locks that this
//! process has on it.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LOG_FILE;
use super::schema::PAGE_BYTES;

const PAGE: usize = PAGE_BYTES as usize;

/// <https://www.sqlite.org/fileformat2.html#walformat>
const LOG_HEADER: u64 = 32;
const LOG_SALTS: u64 = 16;
const FRAME_HEADER: u64 = 24;

/// The header of the file, before the first page's own.
const FILE_HEADER: usize = 100;

/// A page number below has a zero as its first byte, so that a page that begins with one (overflow, list of free pages)
/// is not mistaken for a page of a tree, which begins with its type. That is 64 GiB.
const MAX_FILE_PAGES: u64 = 1 << 24;

/// Notes beyond this are given up in favour of looking at every page.
const MAX_NOTES: usize = 1 << 18;

/// Which pages to look at.
#[derive(Debug)]
pub enum Suspects {
    Pages(Vec<u32>),
    All,
}

/// The notes.
pub struct Scrub {
    database: Arc<File>,
    log_path: PathBuf,
    log: Option<File>,
    /// Of the log's header: they change when the log starts over.
    salts: [u8; 8],
    /// Frames of this log that were looked at.
    seen: u64,
    pages: HashSet<u32>,
    all: bool,
}

impl Scrub {
    /// `unclean`: the process before may have lost its notes.
    pub fn new(database: &Path, unclean: bool) -> io::Result<Self> {
        Ok(Self {
            database: Arc::new(OpenOptions::new().read(true).write(true).open(database)?),
            log_path: database.with_file_name(LOG_FILE),
            log: None,
            salts: [0; 8],
            seen: 0,
            pages: HashSet::new(),
            all: unclean,
        })
    }

    pub fn database(&self) -> &Arc<File> {
        &self.database
    }

    /// After a commit, when the log has `frames`. `deleted`: the transaction deleted envelopes.
    pub fn committed(&mut self, frames: u64, deleted: bool) {
        if let Err(error) = self.note(frames, deleted) {
            tracing::warn!(%error, "the log cannot be read: all pages will be looked at");
            self.all = true;
        }
    }

    fn note(&mut self, frames: u64, deleted: bool) -> io::Result<()> {
        // An empty log has no header to read: a transaction that changed nothing leaves it so.
        if frames == 0 {
            self.seen = 0;
            return Ok(());
        }
        if self.log.is_none() {
            self.log = Some(File::open(&self.log_path)?);
        }
        let Some(log) = &self.log else { return Ok(()) };
        let mut salts = [0; 8];
        log.read_exact_at(&mut salts, LOG_SALTS)?;
        if salts != self.salts {
            self.salts = salts;
            self.seen = 0;
        }
        if deleted && !self.all {
            for frame in self.seen..frames {
                let mut page = [0; 4];
                log.read_exact_at(&mut page, LOG_HEADER + frame * (FRAME_HEADER + PAGE_BYTES))?;
                self.pages.insert(u32::from_be_bytes(page));
            }
            if self.pages.len() > MAX_NOTES {
                self.all = true;
                self.pages = HashSet::new();
            }
        }
        self.seen = frames;
        Ok(())
    }

    /// The log was copied: what is to be looked at now, if anything.
    pub fn take(&mut self) -> Option<Suspects> {
        if std::mem::take(&mut self.all) {
            self.pages.clear();
            return Some(Suspects::All);
        }
        let pages = std::mem::take(&mut self.pages);
        (!pages.is_empty()).then(|| {
            let mut pages: Vec<_> = pages.into_iter().collect();
            pages.sort_unstable();
            Suspects::Pages(pages)
        })
    }

    /// It was not done after all.
    pub fn put_back(&mut self, suspects: Suspects) {
        match suspects {
            Suspects::Pages(pages) => self.pages.extend(pages),
            Suspects::All => self.all = true,
        }
    }
}

/// Overwrites the unallocated middle of pages in the main file. Nothing else writes to it meanwhile.
pub fn wipe(database: &File, suspects: &Suspects) -> io::Result<()> {
    let count = database.metadata()?.len() / PAGE_BYTES;
    if count >= MAX_FILE_PAGES {
        tracing::warn!("the database is too large for wiping what deletions leave within pages");
        return Ok(());
    }
    let mut wiped = 0_u64;
    match suspects {
        Suspects::Pages(pages) => {
            for page in pages.iter().map(|page| u64::from(*page)).filter(|page| *page <= count) {
                wiped += u64::from(wipe_page(database, page)?);
            }
        }
        Suspects::All => {
            for page in 1..=count {
                wiped += u64::from(wipe_page(database, page)?);
            }
        }
    }
    if wiped > 0 {
        tracing::debug!(wiped, "wiped pages");
        database.sync_data()?;
    }
    Ok(())
}

/// Says whether there was anything. Pages count from 1.
fn wipe_page(database: &File, number: u64) -> io::Result<bool> {
    static ZEROS: [u8; PAGE] = [0; PAGE];
    let Some(offset) = number.checked_sub(1).map(|index| index * PAGE_BYTES) else { return Ok(false) };
    let mut page = [0; PAGE];
    database.read_exact_at(&mut page, offset)?;
    let Some(middle) = unallocated(&page, if number == 1 { FILE_HEADER } else { 0 }) else { return Ok(false) };
    if page[middle.clone()].iter().all(|byte| *byte == 0) {
        return Ok(false);
    }
    database.write_all_at(&ZEROS[..middle.len()], offset + middle.start as u64)?;
    Ok(true)
}

/// The bytes between a tree page's cell pointers and its cells; `None` if this is no page of a tree.
fn unallocated(page: &[u8; PAGE], header: usize) -> Option<Range<usize>> {
    let header_len = match page[header] {
        2 | 5 => 12,
        10 | 13 => 8,
        _ => return None,
    };
    let number = |at: usize| usize::from(u16::from_be_bytes([page[header + at], page[header + at + 1]]));
    let pointers_end = header + header_len + 2 * number(3);
    let cells = number(5);
    (pointers_end <= cells && cells <= PAGE).then_some(pointers_end..cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(kind: u8, cells: u16, content: u16) -> [u8; PAGE] {
        let mut page = [0xEE; PAGE];
        page[0] = kind;
        page[3..5].copy_from_slice(&cells.to_be_bytes());
        page[5..7].copy_from_slice(&content.to_be_bytes());
        page
    }

    #[test]
    fn the_middle_lies_between_pointers_and_cells() {
        assert_eq!(unallocated(&page(13, 7, 100), 0), Some(22..100));
        assert_eq!(unallocated(&page(5, 7, 100), 0), Some(26..100));
        assert_eq!(unallocated(&page(13, 0, 4096), 0), Some(8..4096));
        assert_eq!(unallocated(&page(13, 7, 22), 0), Some(22..22));
    }

    #[test]
    fn a_transaction_that_changed_nothing_is_no_reason_to_look_at_all_pages() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("relay.db");
        File::create(&database).unwrap();
        File::create(folder.path().join(LOG_FILE)).unwrap();
        let mut scrub = Scrub::new(&database, false).unwrap();
        scrub.committed(0, false);
        assert!(scrub.take().is_none());
    }

    #[test]
    fn what_is_no_sound_tree_page_is_left_alone() {
        for page in [page(0, 7, 100), page(13, 7, 21), page(13, 7, 4097), page(13, u16::MAX, 4096)] {
            assert_eq!(unallocated(&page, 0), None);
        }
    }
}
