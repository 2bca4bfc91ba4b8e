//! Thumbnails: made of pictures that are sent, and pixels of those that came. Both are untrusted: a picture that one sends may be another's, and
//! a small file can claim to be a large picture. What claims more than the bounds is refused before memory is taken for it.
//!
//! | bound | for what |
//! |---|---|
//! | [`MAX_PIXELS`] | a picture that is sent: a phone's; a larger one goes without |
//! | [`MAX_SCANS`] | a JPEG whose data come in ever finer layers: each takes time |
//! | [`MAX_THUMBNAIL_SIDE`] | a thumbnail that came |
//!
//! Of a thumbnail that was made here nothing stands in it but what is seen: it is encoded from pixels.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bytes::Bytes;
use jpeg_encoder::{ColorType, Encoder};
use kuvert_types::limits::{MAX_PICTURE_SIDE, MAX_THUMBNAIL_BYTES};
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::picture::{self, Kind, Size};
use super::source;

/// Pixels of a picture of which a thumbnail is made: 3 bytes each while that is done.
const MAX_PIXELS: u64 = 32 * 1024 * 1024;

/// Bytes of a JPEG that is decoded: no picture of so many pixels needs more.
const MAX_JPEG_BYTES: u64 = 48 * 1024 * 1024;

/// Layers of a JPEG.
const MAX_SCANS: usize = 32;

/// Bytes that a PNG's decoder may take beside the picture.
const MAX_PNG_BYTES: usize = 32 * 1024 * 1024;

/// Pixels of the longer side of a thumbnail, and how well it is encoded, 1 to 100: the first that fits is taken.
const TRIES: [(u32, u8); 6] = [(160, 70), (160, 45), (128, 45), (96, 45), (64, 40), (32, 30)];

/// Pixels of a side of a thumbnail that came.
pub const MAX_THUMBNAIL_SIDE: u16 = 512;

/// Bytes of a pixel: red, green, blue.
const RGB: usize = 3;

/// What is seen of a thumbnail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pixels {
    /// Pixels.
    pub width: u32,
    /// See above.
    pub height: u32,
    /// Red, green and blue of each, row by row from the top.
    pub rgb: Vec<u8>,
}

/// Of a picture that is sent: its size, and a thumbnail of at most [`MAX_THUMBNAIL_BYTES`], a JPEG. Nothing of what is no picture that is known here, or
/// larger than the bounds, or broken.
pub(super) fn of(path: &Path, kind: Kind) -> (Size, Option<Bytes>) {
    // The decoders are others' work, and a picture that breaks them is sent all the same.
    catch_unwind(AssertUnwindSafe(|| look(path, kind))).ok().flatten().unwrap_or_default()
}

fn look(path: &Path, kind: Kind) -> Option<(Size, Option<Bytes>)> {
    let file = source::open(path).ok()?;
    let bytes = file.metadata().ok()?.len();
    let input = BufReader::new(file);
    let (size, pixels) = match kind {
        Kind::Jpeg if bytes <= MAX_JPEG_BYTES => jpeg(input, u64::from(MAX_PICTURE_SIDE), MAX_PIXELS)?,
        Kind::Png => png(input)?,
        _ => return None,
    };
    Some((Some(size), pixels.and_then(|pixels| encode(&pixels))))
}

/// What is seen of a thumbnail that came; nothing of one that is larger than the bounds, or no JPEG.
pub fn pixels(thumbnail: &[u8]) -> Option<Pixels> {
    if thumbnail.len() > MAX_THUMBNAIL_BYTES {
        return None;
    }
    let side = u64::from(MAX_THUMBNAIL_SIDE);
    let decoded = catch_unwind(|| jpeg(Cursor::new(thumbnail), side, side * side)).ok()??;
    decoded.1
}

/// Size and pixels of a JPEG; no pixels if it has more than `most`.
fn jpeg(input: impl BufRead + Seek, side: u64, most: u64) -> Option<((u32, u32), Option<Pixels>)> {
    let side = usize::try_from(side).ok()?;
    let options = DecoderOptions::default()
        .set_max_width(side)
        .set_max_height(side)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(input, options);
    decoder.decode_headers().ok()?;
    let info = decoder.info()?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    if u64::from(width) * u64::from(height) > most {
        return Some(((width, height), None));
    }
    let direction = decoder.exif().and_then(|exif| picture::direction(exif));
    let rgb = decoder.decode().ok().filter(|rgb| rgb.len() == width as usize * height as usize * RGB);
    let pixels = rgb.map(|rgb| shrunk(Pixels { width, height, rgb }).turned(direction.unwrap_or(1)));
    Some(((width, height), pixels))
}

/// The same of a PNG.
fn png(input: BufReader<File>) -> Option<((u32, u32), Option<Pixels>)> {
    let mut decoder = png::Decoder::new_with_limits(input, png::Limits { bytes: MAX_PNG_BYTES });
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().ok()?;
    let (width, height) = (reader.info().width, reader.info().height);
    // Four bytes of a pixel here.
    if u64::from(width) * u64::from(height) > MAX_PIXELS / 2 {
        return Some(((width, height), None));
    }
    let mut bytes = vec![0; reader.output_buffer_size()?];
    let frame = reader.next_frame(&mut bytes).ok();
    let channels = frame.map(|frame| frame.color_type.samples());
    let pixels =
        channels.filter(|channels| bytes.len() == width as usize * height as usize * channels).map(|channels| {
            let rgb = bytes.chunks_exact(channels).flat_map(seen).collect();
            shrunk(Pixels { width, height, rgb })
        });
    Some(((width, height), pixels))
}

/// A pixel of one to four channels, upon white where it is transparent.
fn seen(pixel: &[u8]) -> [u8; RGB] {
    let (colours, alpha) = match *pixel {
        [grey] => ([grey; RGB], u8::MAX),
        [grey, alpha] => ([grey; RGB], alpha),
        [red, green, blue] => ([red, green, blue], u8::MAX),
        [red, green, blue, alpha] => ([red, green, blue], alpha),
        _ => ([u8::MAX; RGB], u8::MAX),
    };
    let (most, alpha) = (u32::from(u8::MAX), u32::from(alpha));
    colours.map(|colour| {
        let mixed = (u32::from(colour) * alpha + most * (most - alpha)) / most;
        u8::try_from(mixed).unwrap_or(u8::MAX)
    })
}

/// As large as the largest thumbnail: each pixel is the mean of those that it stands for.
fn shrunk(from: Pixels) -> Pixels {
    resized(&from, TRIES[0].0).unwrap_or(from)
}

/// With a longer side of so many pixels; nothing if it is no longer than that.
fn resized(from: &Pixels, side: u32) -> Option<Pixels> {
    let longer = from.width.max(from.height);
    if longer <= side || from.width == 0 || from.height == 0 {
        return None;
    }
    let scaled = |length: u32| (u64::from(length) * u64::from(side) / u64::from(longer)).max(1) as u32;
    let (width, height) = (scaled(from.width), scaled(from.height));
    let mut rgb = Vec::with_capacity(width as usize * height as usize * RGB);
    // Where the part of a row or a column that becomes one pixel begins.
    let begin = |at: u32, of: u32, whole: u32| (u64::from(at) * u64::from(whole) / u64::from(of)) as usize;
    for y in 0..height {
        let rows = begin(y, height, from.height)..begin(y + 1, height, from.height);
        for x in 0..width {
            let columns = begin(x, width, from.width)..begin(x + 1, width, from.width);
            let (mut sums, mut count) = ([0_u64; RGB], 0);
            for row in rows.clone() {
                let start = (row * from.width as usize + columns.start) * RGB;
                let part = from.rgb.get(start..start + columns.len() * RGB).unwrap_or_default();
                for pixel in part.chunks_exact(RGB) {
                    sums.iter_mut().zip(pixel).for_each(|(sum, colour)| *sum += u64::from(*colour));
                    count += 1;
                }
            }
            rgb.extend(sums.map(|sum| u8::try_from(sum / u64::max(count, 1)).unwrap_or(u8::MAX)));
        }
    }
    Some(Pixels { width, height, rgb })
}

impl Pixels {
    /// Upright, of a picture whose Exif tells this direction, 1 to 8.
    fn turned(self, direction: u8) -> Self {
        let Self { width, height, .. } = self;
        let (across, down) = if direction >= 5 { (height, width) } else { (width, height) };
        let mut rgb = Vec::with_capacity(self.rgb.len());
        for y in 0..down {
            for x in 0..across {
                let (x, y) = match direction {
                    2 => (width - 1 - x, y),
                    3 => (width - 1 - x, height - 1 - y),
                    4 => (x, height - 1 - y),
                    5 => (y, x),
                    6 => (y, height - 1 - x),
                    7 => (width - 1 - y, height - 1 - x),
                    8 => (width - 1 - y, x),
                    _ => (x, y),
                };
                let at = (y as usize * width as usize + x as usize) * RGB;
                rgb.extend_from_slice(self.rgb.get(at..at + RGB).unwrap_or(&[0; RGB]));
            }
        }
        Self { width: across, height: down, rgb }
    }
}

fn encode(pixels: &Pixels) -> Option<Bytes> {
    TRIES.into_iter().find_map(|(side, quality)| {
        let smaller = resized(pixels, side);
        let Pixels { width, height, rgb } = smaller.as_ref().unwrap_or(pixels);
        let mut out = Vec::new();
        let (width, height) = (u16::try_from(*width).ok()?, u16::try_from(*height).ok()?);
        Encoder::new(&mut out, quality).encode(rgb, width, height, ColorType::Rgb).ok()?;
        (out.len() <= MAX_THUMBNAIL_BYTES).then(|| out.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Left red, right blue; the upper half of the left part green.
    fn picture(width: u32, height: u32) -> Pixels {
        let pixel = |x: u32, y: u32| match (x < width / 2, y < height / 2) {
            (true, true) => [0, 200, 0],
            (true, false) => [200, 0, 0],
            (false, _) => [0, 0, 200],
        };
        let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect();
        Pixels { width, height, rgb }
    }

    fn jpeg_of(pixels: &Pixels) -> Vec<u8> {
        let mut out = Vec::new();
        let (width, height) = (pixels.width as u16, pixels.height as u16);
        Encoder::new(&mut out, 90).encode(&pixels.rgb, width, height, ColorType::Rgb).unwrap();
        out
    }

    fn png_of(pixels: &Pixels) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, pixels.width, pixels.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(&pixels.rgb).unwrap();
        out
    }

    fn looked(bytes: &[u8], kind: Kind) -> (Size, Option<Pixels>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, bytes).unwrap();
        let (size, thumbnail) = of(&path, kind);
        let thumbnail = thumbnail.inspect(|bytes| assert!((1..=MAX_THUMBNAIL_BYTES).contains(&bytes.len())));
        (size, thumbnail.map(|bytes| pixels(&bytes).unwrap()))
    }

    fn colour(pixels: &Pixels, x: u32, y: u32) -> &'static str {
        let at = (y * pixels.width + x) as usize * RGB;
        match pixels.rgb[at..at + RGB] {
            [r, g, b] if r > 120 && g < 90 && b < 90 => "red",
            [r, g, b] if r < 90 && g > 120 && b < 90 => "green",
            [r, g, b] if r < 90 && g < 90 && b > 120 => "blue",
            _ => "another",
        }
    }

    #[test]
    fn a_thumbnail_shows_what_the_picture_does_and_is_small() {
        let large = picture(1_200, 600);
        for (bytes, kind) in [(jpeg_of(&large), Kind::Jpeg), (png_of(&large), Kind::Png)] {
            let (size, seen) = looked(&bytes, kind);
            let seen = seen.unwrap();
            assert_eq!((size, seen.width, seen.height), (Some((1_200, 600)), 160, 80), "{kind:?}");
            let corners = [colour(&seen, 5, 5), colour(&seen, 5, 75), colour(&seen, 155, 5), colour(&seen, 155, 75)];
            assert_eq!(corners, ["green", "red", "blue", "blue"], "{kind:?}");
        }
        let noise: Vec<u8> =
            (0..600_u64 * 600 * 3).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
        let noise = Pixels { width: 600, height: 600, rgb: noise };
        assert!(looked(&png_of(&noise), Kind::Png).1.is_some(), "what is hard to encode gets smaller");
        let small = picture(8, 6);
        assert_eq!(looked(&png_of(&small), Kind::Png).1.map(|seen| (seen.width, seen.height)), Some((8, 6)));
    }

    #[test]
    fn a_picture_that_was_taken_sideways_stands_upright() {
        let turned = |direction| {
            let seen = picture(40, 20).turned(direction);
            let (right, bottom) = (seen.width - 2, seen.height - 2);
            [colour(&seen, 1, 1), colour(&seen, right, 1), colour(&seen, 1, bottom), colour(&seen, right, bottom)]
        };
        assert_eq!(turned(1), ["green", "blue", "red", "blue"]);
        assert_eq!(turned(2), ["blue", "green", "blue", "red"]);
        assert_eq!(turned(3), ["blue", "red", "blue", "green"]);
        assert_eq!(turned(6), ["red", "green", "blue", "blue"]);
        assert_eq!(turned(8), ["blue", "blue", "green", "red"]);
    }

    /// A header of a JPEG or a PNG that claims so many pixels, and little behind it.
    fn claiming(kind: Kind, width: u16, height: u16) -> Vec<u8> {
        let (w, h) = (width.to_be_bytes(), height.to_be_bytes());
        match kind {
            Kind::Jpeg => {
                let mut bytes = jpeg_of(&picture(16, 16));
                let frame = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
                bytes[frame + 5..frame + 9].copy_from_slice(&[h[0], h[1], w[0], w[1]]);
                bytes
            }
            _ => {
                let mut bytes = png_of(&picture(16, 16));
                bytes[16..24].copy_from_slice(&[0, 0, w[0], w[1], 0, 0, h[0], h[1]]);
                let checksum = crc(&bytes[12..29]);
                bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
                bytes
            }
        }
    }

    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |mut crc, byte| {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            }
            crc
        })
    }

    #[test]
    fn a_picture_that_explodes_is_sent_without_a_thumbnail() {
        for kind in [Kind::Jpeg, Kind::Png] {
            let (size, thumbnail) = looked(&claiming(kind, 60_000, 60_000), kind);
            assert_eq!((size, thumbnail), (Some((60_000, 60_000)), None), "{kind:?}");
            let whole = claiming(kind, 16, 16);
            assert!(looked(&whole, kind).1.is_some(), "{kind:?}: its size is all that is wrong");
            for end in 0..whole.len() {
                looked(&whole[..end], kind);
            }
            for at in 0..whole.len() {
                let mut bad = whole.clone();
                bad[at] ^= 0x55;
                looked(&bad, kind);
            }
        }
    }

    #[test]
    fn a_thumbnail_that_explodes_is_not_decoded() {
        for (width, height) in [(60_000, 60_000), (513, 1), (1, 513)] {
            let bytes = claiming(Kind::Jpeg, width, height);
            assert!(bytes.len() <= MAX_THUMBNAIL_BYTES);
            assert_eq!(pixels(&bytes), None, "{width} × {height}");
        }
        assert!(pixels(&claiming(Kind::Jpeg, 16, 16)).is_some());
        assert_eq!(pixels(b"no picture"), None);
        assert_eq!(pixels(&vec![0xFF; MAX_THUMBNAIL_BYTES + 1]), None);
        let whole = jpeg_of(&picture(64, 64));
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 0xA5;
            let _ = pixels(&bad);
            let _ = pixels(&whole[..at]);
        }
    }
}
