//! Two plots, as SVG, written by hand: lines and bars need no crate.

use std::fmt::Write as _;

use crate::report::policy_name;
use crate::score::Score;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 48.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;
/// Dark enough on white, and told apart without colour by their order in the legend and by dashes.
const SERIES: [(&str, &str); 5] =
    [("#1f2933", ""), ("#9aa5b1", "6 4"), ("#b44d12", ""), ("#2563a8", ""), ("#2563a8", "2 4")];

/// The bars of a level, from the left.
const BARS: [(&str, &str); 3] = [("#9aa5b1", "precision"), ("#2563a8", "recall"), ("#1f2933", "F1")];

/// How soon a contact is identified: the share of targets whose first guess is right, by the number of texts.
pub fn identified(scores: &[Score]) -> String {
    let mut out = frame("Share of targets whose first guess is a real contact", "texts to the target");
    let most = scores.iter().map(|score| score.more.top1.len()).max().unwrap_or(0).max(1) as f64;
    for texts in [1.0, 10.0, 20.0, 30.0, 40.0] {
        if texts <= most {
            label(&mut out, x_of(texts / most), &format!("{texts}"));
        }
    }
    for (at, score) in scores.iter().enumerate() {
        let (colour, dashes) = SERIES[at % SERIES.len()];
        let points: Vec<String> = (1..)
            .zip(&score.more.top1)
            .map(|(texts, share)| format!("{:.1},{:.1}", x_of(f64::from(texts) / most), y_of(*share)))
            .collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>",
            points.join(" ")
        );
        legend(&mut out, at, scores.len(), &policy_name(&score.more.policy));
    }
    out + "</svg>\n"
}

/// Precision, recall and F1 of the inferred pairs, for each level.
pub fn edges(scores: &[Score]) -> String {
    let mut out = frame("Who is in contact with whom: precision, recall, F1", "");
    let group = (WIDTH - LEFT - 12.0) / scores.len().max(1) as f64;
    let bar = group / 4.0;
    for (at, score) in scores.iter().enumerate() {
        let left = LEFT + group * at as f64 + bar / 2.0;
        let edges = score.edges;
        let bars = [edges.precision, edges.recall, edges.f1];
        for (place, (share, (colour, _))) in bars.into_iter().zip(BARS).enumerate() {
            let (x, y) = (left + bar * place as f64, y_of(share));
            let height = TOP + HEIGHT - y;
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>",
                bar - 2.0
            );
        }
        label(&mut out, left + 1.5 * bar, &policy_name(&score.more.policy));
    }
    for (at, (colour, text)) in BARS.into_iter().enumerate() {
        let (x, y) = (LEFT + 90.0 * at as f64, TOP + HEIGHT + 26.0);
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\n\
             <text x=\"{}\" y=\"{}\" fill=\"#1f2933\">{text}</text>",
            x + 15.0,
            y + 9.0
        );
    }
    out + "</svg>\n"
}

/// A white ground with lines at each quarter.
fn frame(title: &str, below: &str) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" font-family=\"sans-serif\" font-size=\"11\" \
         role=\"img\" aria-label=\"{title}\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"16\" fill=\"#1f2933\" font-size=\"13\">{title}</text>\n",
        TOP + HEIGHT + BOTTOM
    );
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let y = y_of(share);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#e4e7eb\"/>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#52606d\">{share}</text>",
            WIDTH - 12.0,
            LEFT - 6.0,
            y + 4.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#52606d\">{below}</text>",
        (WIDTH + LEFT) / 2.0,
        TOP + HEIGHT + 34.0
    );
    out
}

fn label(out: &mut String, x: f64, text: &str) {
    let y = TOP + HEIGHT + 16.0;
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#1f2933\">{text}</text>");
}

fn legend(out: &mut String, at: usize, of: usize, text: &str) {
    let (colour, dashes) = SERIES[at % SERIES.len()];
    let y = TOP + HEIGHT - 16.0 * (of - at) as f64;
    let (x, end) = (WIDTH - 150.0, WIDTH - 120.0);
    let _ = writeln!(
        out,
        "<line x1=\"{x}\" x2=\"{end}\" y1=\"{y}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2\" \
         stroke-dasharray=\"{dashes}\"/>\n<text x=\"{}\" y=\"{}\" fill=\"#1f2933\">{text}</text>",
        end + 6.0,
        y + 4.0
    );
}

fn x_of(share: f64) -> f64 {
    LEFT + share * (WIDTH - LEFT - 12.0)
}

fn y_of(share: f64) -> f64 {
    TOP + (1.0 - share.clamp(0.0, 1.0)) * HEIGHT
}
