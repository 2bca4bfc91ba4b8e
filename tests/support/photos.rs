//! Pictures to send.

/// A JPEG that tells a place in all the ways in which one can: EXIF, XMP, and behind its end. No picture can be seen in it.
pub fn photo(place: &[u8]) -> Vec<u8> {
    let part = |marker: u8, body: &[u8]| {
        [&[0xFF, marker][..], &u16::try_from(body.len() + 2).unwrap().to_be_bytes(), body].concat()
    };
    [
        vec![0xFF, 0xD8],
        part(0xE1, &[b"Exif\0\0II*\0".as_slice(), place].concat()),
        part(0xE1, &[b"http://ns.adobe.com/xap/1.0/\0".as_slice(), place].concat()),
        part(0xC0, &[8, 0, 2, 0, 3, 1, 1, 0x11, 0]),
        part(0xDA, &[1, 1, 0, 0, 63, 0]),
        vec![1, 2, 3, 0xFF, 0xD9],
        place.to_vec(),
    ]
    .concat()
}

/// A PNG of which a thumbnail can be made, another one for each `seed`.
pub fn drawing(seed: u8) -> Vec<u8> {
    const SIDE: u32 = 240;
    let pixel = |at: u32| {
        let (x, y) = (at % SIDE, at / SIDE);
        let wave = |by: u32| (by.wrapping_mul(3 + u32::from(seed)) % 256) as u8;
        [wave(x), wave(y), wave(x * y / 97)]
    };
    let pixels: Vec<u8> = (0..SIDE * SIDE).flat_map(pixel).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIDE, SIDE);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&pixels).unwrap();
    writer.finish().unwrap();
    bytes
}
