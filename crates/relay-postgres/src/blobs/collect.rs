//! Objects and rows that lack their other half.

use std::collections::{BTreeSet, HashMap, HashSet};

use kuvert_relay::blobs::store::{BlobError, Collected};
use kuvert_types::BlobId;

use super::objects::ObjectError;
use super::objects::name::{FOLDERS, Piece, folder};
use super::{Core, object_error, read, reading, rows, written};

impl Core {
    /// Deletes what is in the list of what is to go, then compares rows with objects, a folder after the other. One node does that at
    /// a time.
    pub(super) async fn collect(self: &std::sync::Arc<Self>) -> Result<Collected, BlobError> {
        self.scrub().await?;
        self.make_sure().await?;
        self.delete_gone().await?;
        let guard = self.lend().await?;
        let lock = "SELECT pg_try_advisory_lock($1, hashtext(current_schema()))";
        let mine: bool = guard.query_one(lock, &[&rows::COLLECTING]).await.map_err(|fault| reading(&fault))?.get(0);
        if !mine {
            return Ok(Collected::default());
        }
        let mut collected = Collected::default();
        let mut done = Ok(());
        for number in 0..FOLDERS {
            done = self.collect_folder(number, &mut collected).await;
            if done.is_err() {
                break;
            }
        }
        let unlock = "SELECT pg_advisory_unlock($1, hashtext(current_schema()))";
        guard.query_one(unlock, &[&rows::COLLECTING]).await.map_err(|fault| reading(&fault))?;
        done.map(|()| collected)
    }

    async fn collect_folder(
        self: &std::sync::Arc<Self>,
        number: u8,
        collected: &mut Collected,
    ) -> Result<(), BlobError> {
        // Objects are listed between two looks at the rows: what a row names in both was there all the time.
        let before = read(rows::pieces(&*self.lend().await?, number).await)?;
        let listed = self.objects.list(&folder(number)).await.map_err(|error| object_error(&error))?;
        let (uploads, after) = {
            let link = self.lend().await?;
            (read(rows::uploads(&link, number).await)?, read(rows::pieces(&link, number).await)?)
        };
        let blobs: HashMap<BlobId, Option<u64>> = uploads.into_iter().collect();
        let after: HashMap<(BlobId, u32), Piece> =
            after.into_iter().map(|(blob, piece)| ((blob, piece.number), piece)).collect();

        let mut found = HashSet::new();
        let mut left = Vec::new();
        for (object, size) in listed {
            // What has another name is not ours, and stays.
            let Some((blob, piece)) = Piece::parse(&object) else { continue };
            let noted = after.get(&(blob, piece.number));
            if noted == Some(&piece) {
                if size == u64::from(piece.length) {
                    found.insert((blob, piece));
                }
            } else if is_left(blobs.get(&blob), noted, piece) {
                left.push(object);
            }
        }
        if !left.is_empty() {
            collected.files += left.len() as u64;
            self.delete(left).await?;
        }

        let lost = before.into_iter().filter(|(blob, piece)| {
            after.get(&(*blob, piece.number)) == Some(piece) && !found.contains(&(*blob, *piece))
        });
        let mut broken = BTreeSet::new();
        for (blob, piece) in lost {
            // A list may be behind; the object itself is not.
            let last = u64::from(piece.length).saturating_sub(1);
            match self.objects.get(&piece.name(&blob), last..last + 1).await {
                Err(ObjectError::Missing) => {
                    broken.insert(blob);
                }
                Err(error) => return Err(object_error(&error)),
                Ok(_) => {}
            }
        }
        if !broken.is_empty() {
            let broken: Vec<BlobId> = broken.into_iter().collect();
            let erased = written(rows::erase_these(&*self.lend().await?, &broken).await)?;
            collected.rows += erased.ids.len() as u64;
            self.erased(erased);
        }
        Ok(())
    }
}

/// Whether no row will ever refer to an object that none refers to now. `blob`: `None` without a row, else the epoch of an upload.
fn is_left(blob: Option<&Option<u64>>, noted: Option<&Piece>, piece: Piece) -> bool {
    match blob {
        // Rows come before objects.
        None | Some(None) => true,
        // Of the stream that goes on with it: it may be noted in a moment, unless a longer one was.
        Some(Some(epoch)) if piece.epoch >= *epoch => {
            noted.is_some_and(|noted| noted.epoch == piece.epoch && noted.length > piece.length)
        }
        Some(Some(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_still_be_noted_stays() {
        let piece = |epoch, length| Piece { number: 0, epoch, length };
        let longer = piece(3, 10);
        for (blob, noted, of, left) in [
            (None, None, piece(3, 5), true),
            (Some(&None), Some(&longer), piece(3, 5), true),
            (Some(&Some(3)), None, piece(3, 5), false),
            (Some(&Some(3)), Some(&longer), piece(3, 5), true),
            (Some(&Some(3)), Some(&longer), piece(3, 11), false),
            (Some(&Some(3)), Some(&piece(2, 10)), piece(3, 5), false),
            (Some(&Some(3)), None, piece(2, 5), true),
            // It began since the rows were looked at.
            (Some(&Some(3)), None, piece(4, 5), false),
        ] {
            assert_eq!(is_left(blob, noted, of), left, "{blob:?} {noted:?} {of:?}");
        }
    }
}
