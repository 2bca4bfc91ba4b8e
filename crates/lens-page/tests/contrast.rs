//! Every text of the page can be read: a contrast of 4.5 to 1 at least (WCAG 2.2, AA), light and dark.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

const CSS: &str = include_str!("../web/lens.css");

/// Below this share of another colour a ground carries every text; above it, only [`INK`].
const TINT: f64 = 15.0;

const INK: &str = "ink";

/// The colours that texts have.
const TEXTS: [&str; 6] = [INK, "quiet", "accent", "sealed", "safe", "seen"];

const ENOUGH: f64 = 4.5;

type Colour = [f64; 3];

/// What each scheme declares, the light one first.
fn schemes() -> Vec<BTreeMap<&'static str, Colour>> {
    let blocks = CSS.split(":root {").skip(1).map(|block| block.split('}').next().unwrap());
    let declared = |block: &'static str| {
        let colour = |line: &'static str| {
            let (name, value) = line.trim().strip_prefix("--")?.split_once(": #")?;
            let part = |at: usize| f64::from(u8::from_str_radix(&value[at..at + 2], 16).unwrap());
            Some((name, [part(0), part(2), part(4)]))
        };
        block.split(';').filter_map(colour).collect()
    };
    blocks.map(declared).collect()
}

/// Grounds that are mixed: of which colour, and how many per cent of it.
fn mixes() -> Vec<(&'static str, f64)> {
    let mixes = CSS.split("color-mix(in srgb, var(--").skip(1);
    mixes
        .map(|mix| {
            let (name, rest) = mix.split_once(") ").unwrap();
            (name, rest.split_once('%').unwrap().0.parse().unwrap())
        })
        .collect()
}

fn luminance(colour: Colour) -> f64 {
    let linear = |part: f64| {
        let part = part / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    let [red, green, blue] = colour.map(linear);
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: Colour, other: Colour) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn black_on_white_is_the_largest_contrast() {
    assert!((contrast([0.0; 3], [255.0; 3]) - 21.0).abs() < 1e-9);
}

#[test]
fn every_text_can_be_read_on_every_ground() {
    let schemes = schemes();
    assert_eq!(schemes.len(), 2, "light and dark");
    assert!(mixes().len() > 8);
    for scheme in schemes {
        for text in TEXTS {
            for ground in ["paper", "card"] {
                let contrast = contrast(scheme[text], scheme[ground]);
                assert!(contrast >= ENOUGH, "{text} on {ground}: {contrast:.2}");
            }
        }
        for (name, percent) in mixes() {
            let share = percent / 100.0;
            let ground: Colour =
                std::array::from_fn(|part| scheme[name][part] * share + scheme["card"][part] * (1.0 - share));
            let texts = if percent < TINT { &[INK, "quiet", "accent"][..] } else { &[INK] };
            for text in texts {
                let contrast = contrast(scheme[text], ground);
                assert!(contrast >= ENOUGH, "{text} on {percent} % {name}: {contrast:.2}");
            }
        }
    }
}

#[test]
fn no_text_has_another_colour() {
    for declaration in CSS.split([';', '{', '}']).map(str::trim).filter(|part| part.starts_with("color:")) {
        let known = TEXTS.iter().any(|text| declaration == format!("color: var(--{text})"));
        assert!(known, "{declaration}");
    }
}

/// What is drawn and no text: 3 to 1 is enough (WCAG 2.2, 1.4.11).
#[test]
fn every_circle_stands_out() {
    for scheme in schemes() {
        for number in 0..8 {
            let contrast = contrast(scheme[format!("c{number}").as_str()], scheme["card"]);
            assert!(contrast >= 3.0, "c{number}: {contrast:.2}");
        }
    }
}
