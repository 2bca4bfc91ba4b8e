//! Looking through the relay's files, byte by byte, as a thief of the disk would.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;

/// Ciphertext is looked for in pieces of this many bytes: any run of twice as many that is left holds a whole piece, and
/// 16 random bytes stand nowhere by chance.
const PIECE: usize = 16;

/// All files of a directory, read at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    files: Vec<Vec<u8>>,
}

impl Snapshot {
    /// Reads everything below a directory. A file that goes while it is being looked at holds nothing any more.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn take(directory: &Path) -> io::Result<Self> {
        let mut snapshot = Self::default();
        snapshot.read(directory)?;
        Ok(snapshot)
    }

    fn read(&mut self, path: &Path) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let read = if entry.file_type()?.is_dir() {
                self.read(&entry.path())
            } else {
                fs::read(entry.path()).map(|bytes| self.files.push(bytes))
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Number of files.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.files.iter().map(Vec::len).sum()
    }

    /// How often a text stands in the files.
    pub fn count(&self, text: &str) -> usize {
        let needle = text.as_bytes();
        let Some(first) = needle.first() else { return 0 };
        let places = |file: &&Vec<u8>| {
            let starts = file.iter().enumerate().filter(|(_, byte)| *byte == first);
            starts.filter(|(start, _)| file[*start..].starts_with(needle)).count()
        };
        self.files.iter().map(|file| places(&file)).sum()
    }

    /// How many bytes of these ciphertexts stand in the files.
    pub fn left_of(&self, ciphertexts: &[Vec<u8>]) -> usize {
        self.pieces_of(ciphertexts).len() * PIECE
    }

    /// How many bytes of these ciphertexts stand in the files and did not stand in the earlier ones: the first message of a
    /// session carries its sender's certificate, which is public and which the relay knows since the registration.
    pub fn left_beyond(&self, earlier: &Self, ciphertexts: &[Vec<u8>]) -> usize {
        self.pieces_of(ciphertexts).difference(&earlier.pieces_of(ciphertexts)).count() * PIECE
    }

    fn pieces_of(&self, ciphertexts: &[Vec<u8>]) -> HashSet<[u8; PIECE]> {
        // First byte pairs filter: most places are ruled out by one look at a small table.
        let mut begins = vec![false; 1 << 16];
        let mut pieces: HashMap<[u8; PIECE], bool> = HashMap::new();
        for piece in ciphertexts.iter().flat_map(|ciphertext| ciphertext.chunks_exact(PIECE)) {
            let Ok(piece) = <[u8; PIECE]>::try_from(piece) else { continue };
            begins[pair(&piece)] = true;
            pieces.insert(piece, false);
        }
        for window in self.files.iter().flat_map(|file| file.windows(PIECE)) {
            if begins[pair(window)]
                && let Ok(window) = <[u8; PIECE]>::try_from(window)
                && let Some(found) = pieces.get_mut(&window)
            {
                *found = true;
            }
        }
        pieces.into_iter().filter(|(_, found)| *found).map(|(piece, _)| piece).collect()
    }
}

fn pair(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(files: &[&[u8]]) -> Snapshot {
        Snapshot { files: files.iter().map(|file| file.to_vec()).collect() }
    }

    #[test]
    fn finds_texts_wherever_they_stand() {
        let files = snapshot(&[b"xxlettera letter", b"le", b"letter"]);
        assert_eq!(files.count("letter"), 3);
        assert_eq!(files.count("letters"), 0);
        assert_eq!(files.count(""), 0);
        assert_eq!((files.files(), files.bytes()), (3, 24));
    }

    #[test]
    fn finds_what_is_left_of_a_ciphertext() {
        let ciphertext: Vec<u8> = (0..100).map(|i| (i * 37 + 11) as u8).collect();
        let all = snapshot(&[&ciphertext]);
        assert_eq!(all.left_of(std::slice::from_ref(&ciphertext)), 96, "whole pieces");
        // A run of 31 bytes holds a whole piece wherever it begins.
        for start in 0..65 {
            let mut file = vec![0; 40];
            file.extend_from_slice(&ciphertext[start..start + 31]);
            assert_eq!(snapshot(&[&file]).left_of(std::slice::from_ref(&ciphertext)), 16, "{start}");
        }
        assert_eq!(snapshot(&[&[0; 4096]]).left_of(&[ciphertext]), 0);
    }

    #[test]
    fn what_was_known_before_is_not_counted() {
        let ciphertext: Vec<u8> = (0..64).map(|i| (i * 37 + 11) as u8).collect();
        let (earlier, later) = (snapshot(&[&ciphertext[16..32]]), snapshot(&[&ciphertext[16..48]]));
        assert_eq!(later.left_of(std::slice::from_ref(&ciphertext)), 32);
        assert_eq!(later.left_beyond(&earlier, std::slice::from_ref(&ciphertext)), 16);
        assert_eq!(snapshot(&[]).left_beyond(&earlier, &[ciphertext]), 0);
    }

    #[test]
    fn reads_directories_below() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("tls")).unwrap();
        fs::write(directory.path().join("tls/key"), b"abc").unwrap();
        fs::write(directory.path().join("db"), b"abc").unwrap();
        assert_eq!(Snapshot::take(directory.path()).unwrap().count("abc"), 2);
    }
}
