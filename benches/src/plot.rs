//! Plots as SVG: encrypting and decrypting beside the bound and vodozemac by size, whole clients, timing. Written by hand: bars
//! need no crate.

use std::fmt::Write as _;

#[cfg(feature = "program")]
use crate::client::ClientRow;
use crate::rows::{Row, SIZES};
use crate::timing::{LEAK, TimingRow};

const BAR: f64 = 14.0;
const GROUP: f64 = 62.0;
const LEFT: f64 = 64.0;
const HEIGHT: f64 = 220.0;
const TOP: f64 = 46.0;
/// Decades of the axis: 0.1 µs to 10 ms.
const DECADES: [(f64, &str); 6] =
    [(1e2, "0.1 µs"), (1e3, "1 µs"), (1e4, "10 µs"), (1e5, "100 µs"), (1e6, "1 ms"), (1e7, "10 ms")];
const SERIES: [(&str, &str); 3] = [("lower bound", "#6b7785"), ("Kuvert", "#2563a8"), ("vodozemac", "#a8650d")];

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

/// Bars that lie, one group for each row, on a logarithmic axis.
struct Lying<'a> {
    /// Value and label of each line of the axis, the first one where the bars begin.
    axis: &'a [(f64, &'a str)],
    series: &'a [(&'a str, &'a str)],
    rows: Vec<(&'a str, Vec<f64>)>,
    caption: &'a str,
}

impl Lying<'_> {
    const LEFT: f64 = 250.0;
    const WIDTH: f64 = 480.0;

    fn svg(&self) -> String {
        let group = 14.0 * self.series.len() as f64 + 12.0;
        let bottom = TOP + group * self.rows.len() as f64;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"11\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
            Self::LEFT + Self::WIDTH + 24.0,
            bottom + 48.0
        );
        for (at, (name, colour)) in self.series.iter().enumerate() {
            let x = Self::LEFT + 160.0 * at as f64;
            let _ = writeln!(out, "<rect x=\"{x}\" y=\"8\" width=\"11\" height=\"11\" fill=\"{colour}\"/>");
            let _ = writeln!(out, "<text x=\"{}\" y=\"18\" fill=\"#1f2933\">{name}</text>", x + 16.0);
        }
        for (value, label) in self.axis {
            let x = Self::LEFT + self.width_of(*value);
            let _ =
                writeln!(out, "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#e4e7eb\"/>");
            let y = bottom + 16.0;
            let _ =
                writeln!(out, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#52606d\">{label}</text>");
        }
        for (at, (name, values)) in self.rows.iter().enumerate() {
            let y = TOP + group * at as f64 + 6.0;
            let (x, middle) = (Self::LEFT - 8.0, y + (group - 12.0) / 2.0 + 4.0);
            let _ = writeln!(out, "<text x=\"{x}\" y=\"{middle}\" text-anchor=\"end\" fill=\"#1f2933\">{name}</text>");
            for (bar, (value, (_, colour))) in values.iter().zip(self.series).enumerate() {
                let (y, width) = (y + 14.0 * bar as f64, self.width_of(*value));
                let _ = writeln!(
                    out,
                    "<rect x=\"{}\" y=\"{y}\" width=\"{width:.1}\" height=\"13\" fill=\"{colour}\"/>",
                    Self::LEFT
                );
            }
        }
        let (x, y) = (Self::LEFT + Self::WIDTH / 2.0, bottom + 36.0);
        let _ =
            writeln!(out, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#1f2933\">{}</text>", self.caption);
        out.push_str("</svg>\n");
        out
    }

    fn width_of(&self, value: f64) -> f64 {
        let [(first, _), .., (last, _)] = self.axis else { return 0.0 };
        ((value / first).log10() / (last / first).log10()).clamp(0.0, 1.0) * Self::WIDTH
    }
}

/// Time of one message in a whole client, and the store's share.
#[cfg(feature = "program")]
pub fn client(rows: &[ClientRow]) -> String {
    Lying {
        axis: &[(10.0, "10 µs"), (100.0, "100 µs"), (1e3, "1 ms"), (1e4, "10 ms")],
        series: &[("one message", "#2563a8"), ("of this in the store", "#6b7785")],
        rows: rows.iter().map(|row| (row.name, vec![row.us, row.store_us])).collect(),
        caption: "time of one message in a whole client, by the clock on the wall",
    }
    .svg()
}

/// How far the times of two classes of inputs lie apart.
pub fn timing(rows: &[TimingRow]) -> String {
    let leak = format!("{LEAK}: a leak");
    Lying {
        axis: &[
            (0.1, "0.1"),
            (1.0, "1"),
            (LEAK, &leak),
            (1e2, "100"),
            (1e3, "1000"),
            (1e4, "10 000"),
            (1e5, "100 000"),
        ],
        series: &[("|t|", "#2563a8")],
        rows: rows.iter().map(|row| (row.name, vec![row.t.abs()])).collect(),
        caption: "Welch's t between the times of two classes of inputs",
    }
    .svg()
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
