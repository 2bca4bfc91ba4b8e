//! What stands in a backup, once it is decrypted: frames, so that neither side holds more than one of them in memory.
//!
//! ```text
//! "kuvert backup 1\n"
//! frame = tag u8 ‖ length u32 ‖ body
//!   S store: schema version u32 ‖ store key 32 ‖ the sealed cipher        first, once
//!   R row of a table: table u8 ‖ key 32 ‖ sealed value
//!   L entry of a log: place u64 ‖ log u8 ‖ group 32 ‖ key 32 ‖ sealed value
//!   P the last place that was given: u64                                  once, behind them
//!   F a file: folder u8 ‖ its name                                        then
//!   C bytes of it, as many frames as there are
//!   D its end: how many bytes u64
//!   E the end: rows u64 ‖ entries u64 ‖ files u64                         last, once
//! ```
//! Numbers are big-endian. Rows stay sealed as they are in the store: a backup is read without looking into any of them.

use std::io::{self, ErrorKind, Read, Write};

use kuvert_types::Reader;
use zeroize::Zeroizing;

use crate::error::Error;

const MAGIC: &[u8] = b"kuvert backup ";
const VERSION: &[u8] = b"1\n";

/// Of one frame: the largest rows, replay records, have some 3 MB.
const MAX_FRAME: usize = 16 * 1024 * 1024;

/// Of a file's frame.
pub const PIECE: usize = 64 * 1024;

/// A hash of a key, as the store keeps keys.
pub type Hash = [u8; 32];

/// One frame.
#[derive(PartialEq, Eq, Debug)]
pub enum Frame {
    /// What the rows are sealed with.
    Store { version: u32, key: Zeroizing<[u8; 32]>, cipher: Vec<u8> },
    /// A row of a table.
    Row { table: u8, key: Hash, value: Vec<u8> },
    /// An entry of a log.
    Entry { place: u64, log: u8, group: Hash, key: Hash, value: Vec<u8> },
    /// The last place that was given.
    LastPlace(u64),
    /// A file begins.
    File { folder: u8, name: Vec<u8> },
    /// Bytes of it.
    Piece(Zeroizing<Vec<u8>>),
    /// It ends.
    FileEnd { bytes: u64 },
    /// Everything ends.
    End(Counts),
}

/// What a backup holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub rows: u64,
    pub entries: u64,
    pub files: u64,
}

impl Frame {
    fn encode(&self) -> (u8, Zeroizing<Vec<u8>>) {
        let mut body = Zeroizing::new(Vec::new());
        let mut put = |fields: &[&[u8]]| {
            // Made once at its length: no piece of it is left behind where it grew.
            body.reserve_exact(fields.iter().map(|field| field.len()).sum());
            fields.iter().for_each(|field| body.extend_from_slice(field));
        };
        let tag = match self {
            Self::Store { version, key, cipher } => {
                put(&[&version.to_be_bytes(), &key[..], cipher]);
                b'S'
            }
            Self::Row { table, key, value } => {
                put(&[&[*table], key, value]);
                b'R'
            }
            Self::Entry { place, log, group, key, value } => {
                put(&[&place.to_be_bytes(), &[*log], group, key, value]);
                b'L'
            }
            Self::LastPlace(place) => {
                put(&[&place.to_be_bytes()]);
                b'P'
            }
            Self::File { folder, name } => {
                put(&[&[*folder], name]);
                b'F'
            }
            Self::Piece(bytes) => {
                put(&[bytes]);
                b'C'
            }
            Self::FileEnd { bytes } => {
                put(&[&bytes.to_be_bytes()]);
                b'D'
            }
            Self::End(Counts { rows, entries, files }) => {
                put(&[&rows.to_be_bytes(), &entries.to_be_bytes(), &files.to_be_bytes()]);
                b'E'
            }
        };
        (tag, body)
    }

    fn decode(tag: u8, body: Zeroizing<Vec<u8>>) -> Result<Option<Self>, kuvert_types::DecodeError> {
        let mut reader = Reader::new(&body);
        let frame = match tag {
            b'S' => {
                let (version, key) = (reader.u32()?, Zeroizing::new(reader.array()?));
                Self::Store { version, key, cipher: reader.rest().to_vec() }
            }
            b'R' => Self::Row { table: reader.u8()?, key: reader.array()?, value: reader.rest().to_vec() },
            b'L' => {
                let (place, log) = (reader.u64()?, reader.u8()?);
                Self::Entry { place, log, group: reader.array()?, key: reader.array()?, value: reader.rest().to_vec() }
            }
            b'P' => Self::LastPlace(reader.u64()?),
            b'F' => Self::File { folder: reader.u8()?, name: reader.rest().to_vec() },
            b'C' => return Ok(Some(Self::Piece(body))),
            b'D' => Self::FileEnd { bytes: reader.u64()? },
            b'E' => Self::End(Counts { rows: reader.u64()?, entries: reader.u64()?, files: reader.u64()? }),
            _ => return Ok(None),
        };
        Ok(reader.rest().is_empty().then_some(frame))
    }
}

/// Writes frames.
pub struct Writer<W>(W);

impl<W: Write> Writer<W> {
    /// Writes what a backup begins with.
    pub fn begin(mut out: W) -> io::Result<Self> {
        out.write_all(&[MAGIC, VERSION].concat())?;
        Ok(Self(out))
    }

    /// Writes one.
    pub fn write(&mut self, frame: &Frame) -> io::Result<()> {
        let (tag, body) = frame.encode();
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_FRAME);
        let length = length.ok_or_else(|| io::Error::other("a row is too large for a backup"))?;
        self.0.write_all(&[tag])?;
        self.0.write_all(&length.to_be_bytes())?;
        self.0.write_all(&body)
    }

    /// What was written to.
    pub fn end(self) -> W {
        self.0
    }
}

/// Reads frames.
pub struct Frames<R>(R);

/// That a backup is not as it was written.
pub fn damaged(what: impl Into<String>) -> Error {
    Error::BackupDamaged { what: what.into() }
}

fn failed(error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => damaged("it ends too early"),
        ErrorKind::InvalidData => damaged(error.to_string()),
        _ => damaged(format!("it cannot be read: {error}")),
    }
}

impl<R: Read> Frames<R> {
    /// Reads what a backup begins with.
    ///
    /// # Errors
    /// `backup-foreign`, `backup-newer`, `backup-damaged`.
    pub fn begin(mut input: R) -> Result<Self, Error> {
        let mut magic = [0; MAGIC.len()];
        let mut version = [0; VERSION.len()];
        match input.read_exact(&mut magic).and_then(|()| input.read_exact(&mut version)) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(Error::BackupForeign),
            other => other.map_err(|error| failed(&error))?,
        }
        if magic != MAGIC {
            return Err(Error::BackupForeign);
        }
        if version == VERSION { Ok(Self(input)) } else { Err(Error::BackupNewer) }
    }

    /// The next one.
    ///
    /// # Errors
    /// `backup-damaged`.
    pub fn next(&mut self) -> Result<Frame, Error> {
        let mut head = [0; 5];
        self.0.read_exact(&mut head).map_err(|error| failed(&error))?;
        let [tag, length @ ..] = head;
        let length = u32::from_be_bytes(length);
        let bound = if tag == b'C' { PIECE } else { MAX_FRAME };
        if usize::try_from(length).map_or(true, |length| length > bound) {
            return Err(damaged("a part of it is too large"));
        }
        // Grows with what is there, not with what is said to be.
        let mut body = Zeroizing::new(Vec::new());
        let read = self.0.by_ref().take(u64::from(length)).read_to_end(&mut body).map_err(|error| failed(&error))?;
        if read as u64 != u64::from(length) {
            return Err(damaged("it ends too early"));
        }
        Frame::decode(tag, body).ok().flatten().ok_or_else(|| damaged("a part of it makes no sense"))
    }

    /// Looks that nothing follows.
    ///
    /// # Errors
    /// `backup-damaged`.
    pub fn end(mut self) -> Result<(), Error> {
        match self.0.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(damaged("something follows its end")),
            Err(error) => Err(failed(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Store { version: 6, key: Zeroizing::new([1; 32]), cipher: vec![2; 40] },
            Frame::Row { table: 1, key: [3; 32], value: vec![4; 10] },
            Frame::Entry { place: 7, log: 1, group: [5; 32], key: [6; 32], value: Vec::new() },
            Frame::LastPlace(9),
            Frame::File { folder: 1, name: b"a.txt".to_vec() },
            Frame::Piece(Zeroizing::new(vec![8; PIECE])),
            Frame::FileEnd { bytes: PIECE as u64 },
            Frame::End(Counts { rows: 1, entries: 1, files: 1 }),
        ]
    }

    fn written() -> Vec<u8> {
        let mut writer = Writer::begin(Vec::new()).unwrap();
        frames().iter().for_each(|frame| writer.write(frame).unwrap());
        writer.end()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Frame>, Error> {
        let mut frames = Frames::begin(bytes)?;
        let mut seen = Vec::new();
        loop {
            seen.push(frames.next()?);
            if matches!(seen.last(), Some(Frame::End(_))) {
                return frames.end().map(|()| seen);
            }
        }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(read(&written()).unwrap(), frames());
    }

    #[test]
    fn what_ends_too_early_or_goes_on_is_refused() {
        let written = written();
        for length in (0..200).chain([written.len() - 1]) {
            let error = read(&written[..length]).unwrap_err();
            assert_eq!(error.code(), if length < 16 { "backup-foreign" } else { "backup-damaged" }, "{length}");
        }
        assert_eq!(read(&[&written[..], b"x"].concat()).unwrap_err().code(), "backup-damaged");
    }

    #[test]
    fn a_newer_form_and_another_file_are_told_apart() {
        assert_eq!(read(b"kuvert backup 2\n").unwrap_err(), Error::BackupNewer);
        assert_eq!(read(b"another program's file").unwrap_err(), Error::BackupForeign);
    }

    #[test]
    fn a_length_is_believed_only_as_far_as_bytes_are_there() {
        let head = b"kuvert backup 1\n";
        for (tag, length) in [(b'R', MAX_FRAME as u32 + 1), (b'R', u32::MAX), (b'C', PIECE as u32 + 1), (b'R', 1 << 20)]
        {
            let bytes = [&head[..], &[tag], &length.to_be_bytes()].concat();
            assert_eq!(read(&bytes).unwrap_err().code(), "backup-damaged");
        }
        // Nor where they are there: a frame is held in memory.
        for (tag, length) in [(b'R', MAX_FRAME as u32 + 1), (b'C', PIECE as u32 + 1)] {
            let begun = [&head[..], &[tag], &length.to_be_bytes()].concat();
            let mut frames = Frames::begin(begun.as_slice().chain(io::repeat(0))).unwrap();
            assert_eq!(frames.next().unwrap_err().code(), "backup-damaged");
        }
        assert_eq!(read(&[&head[..], b"X\0\0\0\0"].concat()).unwrap_err().code(), "backup-damaged");
    }
}
