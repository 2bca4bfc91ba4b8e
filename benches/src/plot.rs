//! One plot: encrypting and decrypting beside the bound and vodozemac, by size, as SVG. Written by hand: bars need no crate.

use std::fmt::Write as _;

use crate::rows::{Row, SIZES};

const BAR: f64 = 14.0;
const GROUP: f64 = 62.0;
const LEFT: f64 = 64.0;
const HEIGHT: f64 = 220.0;
const TOP: f64 = 46.0;
/// Decades of the axis: 0.1 µs to 10 ms.
const DECADES: [(f64, &str); 6] =
    [(1e2, "0.1 µs"), (1e3, "1 µs"), (1e4, "10 µs"), (1e5, "100 µs"), (1e6, "1 ms"), (1e7, "10 ms")];
const SERIES: [(&str, &str); 3] = [("lower bound", "#9aa5b1"), ("Kuvert", "#2563a8"), ("vodozemac", "#d08a2d")];

/// The plot of these rows.
pub fn svg(rows: &[Row]) -> String {
    let panel = LEFT + GROUP * SIZES.len() as f64 + 12.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        2.0 * panel,
        TOP + HEIGHT + 48.0
    );
    for (at, (name, colour)) in SERIES.iter().enumerate() {
        let x = LEFT + 110.0 * at as f64;
        let _ = writeln!(out, "<rect x=\"{x}\" y=\"8\" width=\"11\" height=\"11\" fill=\"{colour}\"/>");
        let _ = writeln!(out, "<text x=\"{}\" y=\"18\" fill=\"#1f2933\">{name}</text>", x + 16.0);
    }
    for (panel_at, name) in ["encrypt", "decrypt"].iter().enumerate() {
        let x = panel * panel_at as f64;
        axis(&mut out, x, panel, name);
        for (group, size) in SIZES.iter().enumerate() {
            let Some(row) = rows.iter().find(|row| row.name == *name && row.size == Some(*size)) else { continue };
            let left = x + LEFT + GROUP * group as f64 + 8.0;
            for (bar, value) in [row.lower_bound_ns, row.ns, row.vodozemac_ns].into_iter().enumerate() {
                let Some(value) = value else { continue };
                let y = height_of(value);
                let (bar_x, colour) = (left + BAR * bar as f64, SERIES[bar].1);
                let _ = writeln!(
                    out,
                    "<rect x=\"{bar_x:.1}\" y=\"{:.1}\" width=\"{}\" height=\"{y:.1}\" fill=\"{colour}\"/>",
                    TOP + HEIGHT - y,
                    BAR - 1.0
                );
            }
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#1f2933\">{}</text>",
                left + 1.5 * BAR,
                TOP + HEIGHT + 16.0,
                label(*size)
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Logarithmic, 0 at the first decade.
fn height_of(ns: f64) -> f64 {
    let decades = (DECADES.len() - 1) as f64;
    ((ns / DECADES[0].0).log10() / decades).clamp(0.0, 1.0) * HEIGHT
}

fn axis(out: &mut String, x: f64, panel: f64, name: &str) {
    for (ns, label) in DECADES {
        let y = TOP + HEIGHT - height_of(ns);
        let (from, to) = (x + LEFT, x + panel - 12.0);
        let _ = writeln!(out, "<line x1=\"{from}\" x2=\"{to}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#e4e7eb\"/>");
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#52606d\">{label}</text>",
            from - 6.0,
            y + 4.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#1f2933\">{name}, CPU time of one content by its size</text>",
        x + (panel + LEFT) / 2.0,
        TOP + HEIGHT + 36.0
    );
}

fn label(size: usize) -> String {
    match size {
        0..=1_023 => format!("{size} B"),
        1_024..=1_048_575 => format!("{} KiB", size / 1_024),
        _ => format!("{} MiB", size / 1_048_576),
    }
}
