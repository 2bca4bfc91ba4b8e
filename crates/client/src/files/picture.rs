//! What a picture tells beside what is seen: place, time, camera, its owner's name. All of it is taken out before the picture is sent. JPEG, PNG and
//! WebP are copied part by part; a part is kept only if it is needed to draw the picture. Nothing is decoded, and memory is bounded whatever the size.
//!
//! | kind | kept | not kept |
//! |---|---|---|
//! | JPEG | frames, tables, scans; APP0 (JFIF), APP14 (Adobe's colours), APP2 if it is a colour profile | Exif, XMP, IPTC, maker notes, comments, embedded previews, whatever stands behind the end |
//! | PNG | the critical chunks, and those of colour, transparency, size and animation | text, Exif, time, every other chunk, whatever stands behind the end |
//! | WebP | image data, transparency, animation, colour profile | Exif, XMP, every other chunk |
//!
//! Of Exif one thing is seen: which way is up. That alone is written anew.

use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};

use kuvert_types::limits::MAX_PICTURE_SIDE;

/// Bytes that say what kind of file it is.
const MAGIC: usize = 16;
/// Exif that is looked at for the direction. A JPEG's segment has no more.
const MAX_EXIF: usize = 65_533;

/// What a file begins like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Jpeg,
    Png,
    WebP,
    /// A picture whose metadata stay in it: HEIC, AVIF, TIFF and what cameras make of it.
    Other,
    /// No picture that is known here.
    None,
}

/// Of a picture: width and height. Nothing, where they are not told or out of bounds.
pub(super) type Size = Option<(u32, u32)>;

/// Why a picture could not be copied.
#[derive(Debug)]
pub(super) enum Refused {
    /// It is not put together as it should be.
    Picture(&'static str),
    /// Reading or writing failed.
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Picture("it ends too early") } else { Self::Io(error) }
    }
}

/// What a file is, by its first bytes.
pub(super) fn kind(input: &mut impl BufRead) -> io::Result<Kind> {
    let mut start = Vec::new();
    input.take(MAGIC as u64).read_to_end(&mut start)?;
    Ok(match start.as_slice() {
        [0xFF, 0xD8, 0xFF, ..] => Kind::Jpeg,
        [0x89, b'P', b'N', b'G', ..] => Kind::Png,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Kind::WebP,
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] | [b'I', b'I', 43, 0, ..] | [b'M', b'M', 0, 43, ..] => {
            Kind::Other
        }
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] if is_still(brand) => Kind::Other,
        _ => Kind::None,
    })
}

/// The brands of HEIC, AVIF and Canon's raw pictures, among those of films.
fn is_still(brand: &[u8]) -> bool {
    let brands: [&[u8]; 9] = [b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"crx "];
    brands.iter().any(|known| brand.starts_with(known))
}

/// Copies a picture without what it tells beside what is seen.
pub(super) fn strip<I: BufRead + Seek, O: Write + Seek>(
    kind: Kind,
    input: &mut I,
    output: &mut O,
) -> Result<Size, Refused> {
    let size = match kind {
        Kind::Jpeg => jpeg(input, output)?,
        Kind::Png => png(input, output)?,
        Kind::WebP => webp(input, output)?,
        Kind::Other | Kind::None => return Err(Refused::Picture("it is of a kind that this program does not read")),
    };
    output.flush()?;
    Ok(size.filter(|(width, height)| [width, height].into_iter().all(|side| (1..=MAX_PICTURE_SIDE).contains(side))))
}

fn copy(input: &mut impl Read, output: &mut impl Write, bytes: u64) -> Result<(), Refused> {
    let copied = io::copy(&mut input.take(bytes), output)?;
    if copied == bytes { Ok(()) } else { Err(Refused::Picture("it ends too early")) }
}

fn skip(input: &mut (impl BufRead + Seek), bytes: u64) -> Result<(), Refused> {
    let bytes = i64::try_from(bytes).map_err(|_| Refused::Picture("a part of it is too long"))?;
    input.seek(SeekFrom::Current(bytes))?;
    Ok(())
}

fn array<const N: usize>(input: &mut impl Read) -> Result<[u8; N], Refused> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

const END: u8 = 0xD9;
const SCAN: u8 = 0xDA;

fn jpeg<I: BufRead + Seek>(input: &mut I, output: &mut impl Write) -> Result<Size, Refused> {
    let [first, second] = array(input)?;
    if (first, second) != (0xFF, 0xD8) {
        return Err(Refused::Picture("it does not begin as a JPEG"));
    }
    output.write_all(&[0xFF, 0xD8])?;
    let (mut size, mut turned) = (None, false);
    let mut marker = next_marker(input)?;
    loop {
        match marker {
            END => {
                output.write_all(&[0xFF, END])?;
                return Ok(size);
            }
            // Without a length: restarts, and one that means nothing.
            0x01 | 0xD0..=0xD7 => marker = next_marker(input)?,
            0x00 | 0xD8 | 0xFF => return Err(Refused::Picture("a marker stands where none can")),
            _ => {
                let length = usize::from(u16::from_be_bytes(array(input)?));
                let length = length.checked_sub(2).ok_or(Refused::Picture("a part of it has no length"))?;
                let mut body = vec![0; length];
                input.read_exact(&mut body)?;
                if let (0xC0..=0xCF, [_, h1, h2, w1, w2, ..]) = (marker, body.as_slice())
                    && ![0xC4, 0xC8, 0xCC].contains(&marker)
                    && size.is_none()
                {
                    let side = |bytes: [u8; 2]| u32::from(u16::from_be_bytes(bytes));
                    size = Some((side([*w1, *w2]), side([*h1, *h2])));
                }
                if is_kept(marker, &body) {
                    segment(output, marker, &body)?;
                } else if marker == 0xE1
                    && !turned
                    && let Some(direction) = body.strip_prefix(b"Exif\0\0").and_then(direction)
                {
                    turned = true;
                    segment(output, 0xE1, &[b"Exif\0\0".as_slice(), &exif(direction)].concat())?;
                }
                marker = if marker == SCAN { scan(input, output)? } else { next_marker(input)? };
            }
        }
    }
}

/// Whether a JPEG's segment is needed to draw it.
fn is_kept(marker: u8, body: &[u8]) -> bool {
    match marker {
        // Frames, tables, scans, restart intervals.
        0xC0..=0xCF | 0xDA..=0xDF => true,
        0xE0 => body.starts_with(b"JFIF\0"),
        0xE2 => body.starts_with(b"ICC_PROFILE\0"),
        0xEE => body.starts_with(b"Adobe"),
        _ => false,
    }
}

fn segment(output: &mut impl Write, marker: u8, body: &[u8]) -> Result<(), Refused> {
    let length = u16::try_from(body.len() + 2).map_err(|_| Refused::Picture("a part of it is too long"))?;
    output.write_all(&[0xFF, marker])?;
    output.write_all(&length.to_be_bytes())?;
    Ok(output.write_all(body)?)
}

fn next_marker(input: &mut impl Read) -> Result<u8, Refused> {
    let [mark] = array(input)?;
    if mark != 0xFF {
        return Err(Refused::Picture("something stands between its parts"));
    }
    loop {
        // Any number of FF may fill up.
        match array(input)? {
            [0xFF] => {}
            [marker] => return Ok(marker),
        }
    }
}

/// Copies the data of a scan; the marker behind it.
fn scan(input: &mut impl BufRead, output: &mut impl Write) -> Result<u8, Refused> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Err(Refused::Picture("it ends too early"));
        }
        let plain = buffer.iter().position(|byte| *byte == 0xFF).unwrap_or(buffer.len());
        output.write_all(&buffer[..plain])?;
        let at_mark = plain < buffer.len();
        input.consume(plain);
        if !at_mark {
            continue;
        }
        let marker = next_marker(input)?;
        match marker {
            // A byte of data that is FF, or a restart within the scan.
            0x00 | 0xD0..=0xD7 => output.write_all(&[0xFF, marker])?,
            _ => return Ok(marker),
        }
    }
}

/// The direction that Exif tells, if it is another than upright: 2 to 8.
pub(super) fn direction(tiff: &[u8]) -> Option<u8> {
    let tiff = &tiff[..tiff.len().min(MAX_EXIF)];
    let big = match tiff.get(..4)? {
        b"II*\0" => false,
        b"MM\0*" => true,
        _ => return None,
    };
    let u16_at = |at: usize| -> Option<u16> {
        let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let u32_at = |at: usize| -> Option<u32> {
        let bytes = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let first = usize::try_from(u32_at(4)?).ok()?;
    let entries = usize::from(u16_at(first)?);
    for entry in 0..entries {
        let at = first.checked_add(2 + entry * 12)?;
        if u16_at(at)? == 0x0112 {
            return u16_at(at.checked_add(8)?)
                .and_then(|value| u8::try_from(value).ok())
                .filter(|value| (2..=8).contains(value));
        }
    }
    None
}

/// Exif that tells the direction and nothing else.
fn exif(direction: u8) -> Vec<u8> {
    let entry = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, direction, 0, 0];
    [b"MM\0*\0\0\0\x08\0\x01".as_slice(), &entry, &[0; 4]].concat()
}

const PNG_MAGIC: [u8; 8] = [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A];

/// PNG's chunks beside the critical ones that are drawn with.
const PNG_KEPT: [&[u8; 4]; 13] = [
    b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"bKGD", b"hIST", b"pHYs", b"acTL", b"fcTL", b"fdAT",
];

fn png<I: BufRead + Seek>(input: &mut I, output: &mut impl Write) -> Result<Size, Refused> {
    if array::<8>(input)? != PNG_MAGIC {
        return Err(Refused::Picture("it does not begin as a PNG"));
    }
    output.write_all(&PNG_MAGIC)?;
    let mut size = None;
    loop {
        let length: [u8; 4] = array(input)?;
        let name: [u8; 4] = array(input)?;
        let body = u64::from(u32::from_be_bytes(length)) + 4; // its checksum
        if &name == b"IHDR" && size.is_none() && body >= 12 {
            let (width, height): ([u8; 4], [u8; 4]) = (array(input)?, array(input)?);
            size = Some((u32::from_be_bytes(width), u32::from_be_bytes(height)));
            output.write_all(&[length, name, width, height].concat())?;
            copy(input, output, body - 8)?;
        } else if [b"IHDR", b"PLTE", b"IDAT", b"IEND"].contains(&&name) || PNG_KEPT.contains(&&name) {
            output.write_all(&[length, name].concat())?;
            copy(input, output, body)?;
        } else {
            skip(input, body)?;
        }
        if &name == b"IEND" {
            return Ok(size);
        }
    }
}

/// In a WebP's header: it has Exif, it has XMP.
const WEBP_METADATA: u8 = 0x08 | 0x04;

fn webp<I: BufRead + Seek, O: Write + Seek>(input: &mut I, output: &mut O) -> Result<Size, Refused> {
    let head: [u8; 12] = array(input)?;
    let riff = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
    let mut left = riff.checked_sub(4).ok_or(Refused::Picture("it has no length"))?;
    output.write_all(&head)?;
    let (mut size, mut written) = (None, 4_u64);
    while left >= 8 {
        let name: [u8; 4] = array(input)?;
        let length: [u8; 4] = array(input)?;
        let body = u64::from(u32::from_le_bytes(length));
        // Chunks begin at even places.
        let padded = body + body % 2;
        left = left.checked_sub(8 + padded).ok_or(Refused::Picture("a part of it is too long"))?;
        match &name {
            b"VP8X" if body >= 10 => {
                let mut header: [u8; 10] = array(input)?;
                header[0] &= !WEBP_METADATA;
                let side =
                    |bytes: &[u8]| 1 + (u32::from(bytes[0]) | u32::from(bytes[1]) << 8 | u32::from(bytes[2]) << 16);
                size = Some((side(&header[4..7]), side(&header[7..10])));
                output.write_all(&[name.as_slice(), &length, &header].concat())?;
                copy(input, output, padded - 10)?;
                written += 8 + padded;
            }
            b"VP8 " | b"VP8L" | b"ALPH" | b"ANIM" | b"ANMF" | b"ICCP" => {
                output.write_all(&[name, length].concat())?;
                copy(input, output, padded)?;
                written += 8 + padded;
            }
            _ => skip(input, padded)?,
        }
    }
    let written = u32::try_from(written).map_err(|_| Refused::Picture("it is too long"))?;
    output.seek(SeekFrom::Start(4))?;
    output.write_all(&written.to_le_bytes())?;
    output.seek(SeekFrom::End(0))?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const CANARY: &[u8] = b"GPS 52.5200 13.4050 Canon of Alice";

    fn stripped(bytes: &[u8]) -> Result<(Vec<u8>, Size), Refused> {
        let mut output = Cursor::new(Vec::new());
        let kind = kind(&mut Cursor::new(bytes)).unwrap();
        let size = strip(kind, &mut Cursor::new(bytes), &mut output)?;
        Ok((output.into_inner(), size))
    }

    fn has_canary(bytes: &[u8]) -> bool {
        bytes.windows(6).any(|window| CANARY.windows(6).any(|canary| canary == window))
    }

    fn part(marker: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        segment(&mut out, marker, body).unwrap();
        out
    }

    fn tiff(direction: u8) -> Vec<u8> {
        [exif(direction), CANARY.to_vec()].concat()
    }

    fn a_jpeg() -> Vec<u8> {
        [
            vec![0xFF, 0xD8],
            part(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
            part(0xE1, &[b"Exif\0\0".as_slice(), &tiff(6)].concat()),
            part(0xE1, &[b"http://ns.adobe.com/xap/1.0/\0".as_slice(), CANARY].concat()),
            part(0xE2, b"ICC_PROFILE\0\x01\x01profile"),
            part(0xE2, &[b"MPF\0".as_slice(), CANARY].concat()),
            part(0xED, CANARY),
            part(0xFE, CANARY),
            part(0xDB, b"tables"),
            part(0xC2, &[8, 0, 48, 0, 64, 3, 1, 2, 3]),
            part(0xDA, b"scan"),
            vec![1, 2, 0xFF, 0, 3, 0xFF, 0xD0, 4],
            part(0xFE, CANARY),
            part(0xC4, b"more tables"),
            part(0xDA, b"scan 2"),
            vec![5, 6, 0xFF, 0xFF, 0xD9],
            CANARY.to_vec(),
        ]
        .concat()
    }

    fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&u32::try_from(body.len()).unwrap().to_be_bytes(), name.as_slice(), body, b"csum"].concat()
    }

    fn a_png() -> Vec<u8> {
        [
            PNG_MAGIC.to_vec(),
            chunk(b"IHDR", &[0, 0, 0, 64, 0, 0, 0, 48, 8, 2, 0, 0, 0]),
            chunk(b"tEXt", CANARY),
            chunk(b"eXIf", &tiff(1)),
            chunk(b"pHYs", b"ninebytes"),
            chunk(b"IDAT", b"pixels"),
            chunk(b"vnDR", CANARY),
            chunk(b"IEND", b""),
            CANARY.to_vec(),
        ]
        .concat()
    }

    fn a_webp() -> Vec<u8> {
        let chunk = |name: &[u8; 4], body: &[u8]| {
            let padding = vec![0; body.len() % 2];
            [name.as_slice(), &u32::try_from(body.len()).unwrap().to_le_bytes(), body, &padding].concat()
        };
        let body = [
            chunk(b"VP8X", &[0x2C, 0, 0, 0, 63, 0, 0, 47, 0, 0]),
            chunk(b"ICCP", b"odd"),
            chunk(b"VP8 ", b"pixels"),
            chunk(b"EXIF", &tiff(1)),
            chunk(b"XMP ", CANARY),
        ]
        .concat();
        let length = u32::try_from(body.len() + 4).unwrap().to_le_bytes();
        [b"RIFF".as_slice(), &length, b"WEBP", &body].concat()
    }

    #[test]
    fn nothing_that_is_not_seen_is_left_in_a_picture() {
        for (name, picture) in [("JPEG", a_jpeg()), ("PNG", a_png()), ("WebP", a_webp())] {
            assert!(has_canary(&picture));
            let (clean, size) = stripped(&picture).unwrap();
            assert!(!has_canary(&clean), "{name}");
            assert_eq!(size, Some((64, 48)), "{name}");
            let (again, _) = stripped(&clean).unwrap();
            assert_eq!(again, clean, "{name}: a picture without metadata stays as it is");
        }
    }

    #[test]
    fn what_is_drawn_stays_and_so_does_which_way_is_up() {
        let (clean, _) = stripped(&a_jpeg()).unwrap();
        let has = |bytes: &[u8]| clean.windows(bytes.len()).any(|window| window == bytes);
        for kept in
            [b"JFIF".as_slice(), b"profile", b"tables", b"more tables", b"scan 2", &[1, 2, 0xFF, 0, 3, 0xFF, 0xD0, 4]]
        {
            assert!(has(kept), "{kept:?}");
        }
        let at = clean.windows(6).position(|window| window == b"Exif\0\0").unwrap();
        assert_eq!(direction(&clean[at + 6..]), Some(6));
        assert!(clean.ends_with(&[0xFF, 0xD9]));
        let (png, _) = stripped(&a_png()).unwrap();
        assert!(
            png.windows(6).any(|window| window == b"pixels") && png.windows(9).any(|window| window == b"ninebytes")
        );
        let (webp, _) = stripped(&a_webp()).unwrap();
        assert_eq!(u32::from_le_bytes(webp[4..8].try_into().unwrap()) as usize, webp.len() - 8);
        assert_eq!(webp[20], 0x20, "the header says that nothing of it is there");
    }

    #[test]
    fn a_picture_that_is_cut_or_changed_is_refused_or_clean_and_nothing_panics() {
        for picture in [a_jpeg(), a_png(), a_webp()] {
            for end in 0..picture.len() {
                let _ = stripped(&picture[..end]);
            }
            for at in 0..picture.len() {
                for bit in [0x01, 0x80, 0xFF] {
                    let mut bad = picture.clone();
                    bad[at] ^= bit;
                    let _ = stripped(&bad);
                }
            }
        }
    }

    #[test]
    fn kinds_that_keep_their_metadata_are_known() {
        for (start, expected) in [
            (b"\0\0\0\x18ftypheic....".as_slice(), Kind::Other),
            (b"\0\0\0\x18ftypavif....", Kind::Other),
            (b"\0\0\0\x18ftypisom....", Kind::None),
            (b"II*\0\x08\0\0\0........", Kind::Other),
            (b"GIF89a..........", Kind::None),
            (b"", Kind::None),
        ] {
            assert_eq!(kind(&mut Cursor::new(start)).unwrap(), expected, "{start:?}");
        }
    }
}
