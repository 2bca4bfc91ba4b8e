//! Voice notes: Ogg Opus (RFC 7845), taken as it is. How long it is stands in its last page. How loud it is in each part is estimated from how many bytes
//! each part takes: an encoder spends little on silence. Nothing is decoded.

use std::io::{self, BufReader, Read};
use std::path::Path;

use kuvert_types::limits::{MAX_VOICE_MS, WAVEFORM_STEPS};
use kuvert_wire::attachment::Voice;

use super::source;
use crate::error::Error;

/// Of a page, before its table of segments.
const HEADER: usize = 27;
/// Opus counts in 48,000ths of a second.
const PER_MS: u64 = 48;

/// What is told of a voice note.
///
/// # Errors
/// `voice-unreadable`.
pub(super) fn read(path: &Path) -> Result<Voice, Error> {
    let unreadable = |reason| Error::VoiceUnreadable { path: path.to_owned(), reason };
    let file = source::open(path).map_err(|_| unreadable("it cannot be read"))?;
    measure(BufReader::new(file)).map_err(unreadable)
}

fn measure(mut input: impl Read) -> Result<Voice, &'static str> {
    let (mut before, mut end) = (None, 0);
    // The bytes of each page, and where it ends.
    let mut pages: Vec<(u64, usize)> = Vec::new();
    while let Some(page) = Page::read(&mut input)? {
        match before {
            None => {
                let head = page.body.strip_prefix(b"OpusHead").ok_or("it is not Opus")?;
                before = Some(head.get(2..4).map_or(0, |skip| u64::from(skip[0]) | u64::from(skip[1]) << 8));
            }
            // −1: no packet ends on the page.
            Some(_) if page.granule == u64::MAX => {}
            Some(skip) => {
                end = page.granule.saturating_sub(skip).max(end);
                pages.push((end, page.body.len()));
            }
        }
    }
    if before.is_none() {
        return Err("it is empty");
    }
    match end.div_ceil(PER_MS) {
        0 => Err("it has no sound"),
        ms if ms > u64::from(MAX_VOICE_MS) => Err("it is longer than a day"),
        ms => Ok(Voice { duration_ms: u32::try_from(ms).unwrap_or(MAX_VOICE_MS), waveform: waveform(&pages, end) }),
    }
}

/// Bytes for each 64th of the time, the most as 255.
fn waveform(pages: &[(u64, usize)], end: u64) -> [u8; WAVEFORM_STEPS] {
    let mut rates = [0_u64; WAVEFORM_STEPS];
    let mut start = 0;
    for (until, bytes) in pages {
        let duration = (until - start).max(1);
        let rate = (*bytes as u64 * 1_000_000) / duration;
        let step =
            |at: u64| usize::try_from(at * WAVEFORM_STEPS as u64 / end.max(1)).unwrap_or(0).min(WAVEFORM_STEPS - 1);
        rates[step(start)..=step(until.saturating_sub(1).max(start))].fill(rate);
        start = *until;
    }
    let most = rates.iter().copied().max().unwrap_or(0).max(1);
    rates.map(|rate| u8::try_from(rate * 255 / most).unwrap_or(u8::MAX))
}

struct Page {
    granule: u64,
    body: Vec<u8>,
}

impl Page {
    /// The next page; none at the end. A page has at most 65,025 bytes.
    fn read(input: &mut impl Read) -> Result<Option<Self>, &'static str> {
        let mut header = [0; HEADER];
        let got = fill(input, &mut header).map_err(|_| "it cannot be read")?;
        if got == 0 {
            return Ok(None);
        }
        if got < HEADER || &header[..4] != b"OggS" || header[4] != 0 {
            return Err("it is not Ogg");
        }
        let mut granule = [0; 8];
        granule.copy_from_slice(&header[6..14]);
        let mut table = vec![0; usize::from(header[26])];
        input.read_exact(&mut table).map_err(|_| "it ends too early")?;
        let mut body = vec![0; table.iter().map(|length| usize::from(*length)).sum()];
        input.read_exact(&mut body).map_err(|_| "it ends too early")?;
        Ok(Some(Self { granule: u64::from_le_bytes(granule), body }))
    }
}

/// Reads until the buffer is full or the input ends; how much.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match input.read(&mut buffer[got..])? {
            0 => break,
            more => got += more,
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(granule: u64, body: &[u8]) -> Vec<u8> {
        let mut page = b"OggS\0\0".to_vec();
        page.extend_from_slice(&granule.to_le_bytes());
        page.extend_from_slice(&[0; 12]);
        let mut table = vec![255; body.len() / 255];
        table.push(u8::try_from(body.len() % 255).unwrap());
        page.push(u8::try_from(table.len()).unwrap());
        page.extend_from_slice(&table);
        page.extend_from_slice(body);
        page
    }

    fn note() -> Vec<u8> {
        let head = page(0, b"OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0");
        let tags = page(0, b"OpusTags");
        [head, tags, page(312 + 48_000, &[1; 4_000]), page(312 + 96_000, &[1; 400])].concat()
    }

    #[test]
    fn a_note_has_the_length_of_its_last_page_and_quiet_parts_are_low() {
        let voice = measure(note().as_slice()).unwrap();
        assert_eq!(voice.duration_ms, 2_000);
        assert_eq!((voice.waveform[0], voice.waveform[31]), (255, 255));
        assert!(voice.waveform[33] < 30 && voice.waveform[63] < 30, "{:?}", voice.waveform);
    }

    #[test]
    fn what_is_no_note_is_refused_and_nothing_panics() {
        assert!(measure(&b""[..]).is_err());
        assert!(measure(&b"RIFF....WAVEfmt "[..]).is_err());
        assert!(measure(page(0, b"\x01vorbis").as_slice()).is_err());
        let note = note();
        for end in 0..note.len() {
            let _ = measure(&note[..end]);
        }
        for at in 0..200 {
            let mut bad = note.clone();
            bad[at] ^= 0xFF;
            let _ = measure(bad.as_slice());
        }
        let far = [&note[..], &page(u64::MAX - 1, &[1; 10])].concat();
        assert_eq!(measure(far.as_slice()), Err("it is longer than a day"));
    }
}
