//! Two plots, as SVG, written by hand: lines, bands and bars need no crate.
//!
//! Both take the scores of several seeds, one list for each, with the same policies in the same order: the middle is drawn as a line or
//! bar, and from the least to the most as a band or whisker. Of one seed there is no spread to draw.

use std::fmt::Write as _;

use crate::report::{policy_name, town};
use crate::score::Score;
use crate::spread::Spread;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 84.0;

/// Words and lines that must be read: at least 7 to 1 on white.
const INK: &str = "#1f2933";
const QUIET: &str = "#52606d";

/// Colour and dashes of each policy: at least 4.5 to 1 on white, and told apart without colour by dashes and the order of the legend.
const SERIES: [(&str, &str); 5] = [(INK, ""), ("#6b7785", "7 4"), ("#b44d12", ""), ("#1f5f9f", "2 3"), ("#6d3fa0", "")];

/// How much of what lies behind it a band lets through.
const BAND_OPACITY: f64 = 0.18;

/// The bars of a policy, from the left.
const BARS: [(&str, &str); 3] = [("#6b7785", "precision"), ("#1f5f9f", "recall"), (INK, "F1")];

/// How soon a contact is identified: the share of targets whose first guess is right, by the number of texts.
pub fn identified(runs: &[Vec<Score>]) -> String {
    let mut out = frame("Share of targets whose first guess is a real contact", runs, "band");
    let most = runs.iter().flatten().map(|score| score.more.top1.len()).max().unwrap_or(0).max(1) as f64;
    for texts in [1.0, 10.0, 20.0, 30.0, 40.0] {
        if texts <= most {
            label(&mut out, x_of(texts / most), &format!("{texts}"));
        }
    }
    words(&mut out, (WIDTH + LEFT) / 2.0, TOP + HEIGHT + 32.0, "texts to the target");
    let policies: Vec<&Score> = runs.first().into_iter().flatten().collect();
    // Bands first: no band covers a line.
    let curves: Vec<Vec<(f64, Spread)>> = (0..policies.len()).map(|policy| curve(runs, policy, most)).collect();
    if runs.len() > 1 {
        for (curve, (colour, _)) in curves.iter().zip(SERIES.iter().cycle()) {
            let there = curve.iter().map(|(x, spread)| (*x, spread.most));
            let back = curve.iter().rev().map(|(x, spread)| (*x, spread.least));
            let points = points(there.chain(back));
            let _ = writeln!(
                out,
                "<polygon points=\"{points}\" fill=\"{colour}\" fill-opacity=\"{BAND_OPACITY}\" stroke=\"none\"/>"
            );
        }
    }
    for (curve, (colour, dashes)) in curves.iter().zip(SERIES.iter().cycle()) {
        let points = points(curve.iter().map(|(x, spread)| (*x, spread.median)));
        let _ = writeln!(
            out,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>"
        );
    }
    for (at, score) in policies.iter().enumerate() {
        let (colour, dashes) = SERIES[at % SERIES.len()];
        let (x, y) = legend_place(at, policies.len());
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"{y}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2\" \
             stroke-dasharray=\"{dashes}\"/>\n<text x=\"{:.1}\" y=\"{}\" fill=\"{INK}\">{}</text>",
            x + 26.0,
            x + 32.0,
            y + 4.0,
            policy_name(&score.more.policy)
        );
    }
    out + "</svg>\n"
}

/// Precision, recall and F1 of the inferred pairs, for each level.
pub fn edges(runs: &[Vec<Score>]) -> String {
    let mut out = frame("Who is in contact with whom: precision, recall, F1", runs, "whisker");
    let policies: Vec<&Score> = runs.first().into_iter().flatten().collect();
    let group = (WIDTH - LEFT - RIGHT) / policies.len().max(1) as f64;
    let bar = group / 4.0;
    for (at, score) in policies.iter().enumerate() {
        let left = LEFT + group * at as f64 + bar / 2.0;
        let edges = || runs.iter().filter_map(|scores| Some(scores.get(at)?.edges));
        let bars = [
            Spread::of(edges().map(|edges| edges.precision)),
            Spread::of(edges().map(|edges| edges.recall)),
            Spread::of(edges().map(|edges| edges.f1)),
        ];
        for (place, (spread, (colour, _))) in bars.into_iter().zip(BARS).enumerate() {
            let Some(spread) = spread else { continue };
            let (x, y) = (left + bar * place as f64, y_of(spread.median));
            let height = TOP + HEIGHT - y;
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>",
                bar - 2.0
            );
            if runs.len() > 1 {
                whisker(&mut out, x + (bar - 2.0) / 2.0, spread);
            }
        }
        label(&mut out, left + 1.5 * bar, &policy_name(&score.more.policy));
    }
    for (at, (colour, text)) in BARS.into_iter().enumerate() {
        let (x, y) = legend_place(at, BARS.len());
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\n\
             <text x=\"{:.1}\" y=\"{}\" fill=\"{INK}\">{text}</text>",
            y - 6.0,
            x + 18.0,
            y + 4.0
        );
    }
    out + "</svg>\n"
}

/// The share of right first guesses after 1, 2, … texts, over all seeds, with its place on the plot. Seeds in which no target got as many
/// texts count for nothing there.
fn curve(runs: &[Vec<Score>], policy: usize, most: f64) -> Vec<(f64, Spread)> {
    let at = |texts: usize| {
        Spread::of(runs.iter().filter_map(|scores| scores.get(policy)?.more.top1.get(texts - 1).copied()))
    };
    (1..=most as usize).filter_map(|texts| Some((x_of(texts as f64 / most), at(texts)?))).collect()
}

fn points(points: impl Iterator<Item = (f64, f64)>) -> String {
    points.map(|(x, share)| format!("{x:.1},{:.1}", y_of(share))).collect::<Vec<_>>().join(" ")
}

/// From the least to the most. White below, so that it is seen on its bar, too.
fn whisker(out: &mut String, x: f64, spread: Spread) {
    let (low, high) = (y_of(spread.least), y_of(spread.most));
    let path = format!("M{:.1} {high:.1}h8m-4 0V{low:.1}m-4 0h8", x - 4.0);
    for (colour, width) in [("#ffffff", 4.0), (INK, 1.5)] {
        let _ = writeln!(out, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>");
    }
}

/// A white ground with the title, what was simulated, and lines at each quarter.
fn frame(title: &str, runs: &[Vec<Score>], mark: &str) -> String {
    let below = conditions(runs, mark);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" font-family=\"sans-serif\" font-size=\"12\" \
         role=\"img\" aria-label=\"{title}. {below}\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" fill=\"{INK}\" font-size=\"14\">{title}</text>\n\
         <text x=\"{LEFT}\" y=\"36\" fill=\"{QUIET}\">{below}</text>\n",
        TOP + HEIGHT + BOTTOM
    );
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let y = y_of(share);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#cbd2d9\"/>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{QUIET}\">{share}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0
        );
    }
    out
}

/// What was simulated, and what the marks of the spread mean.
fn conditions(runs: &[Vec<Score>], mark: &str) -> String {
    let Some(score) = runs.first().and_then(|scores| scores.first()) else { return String::new() };
    let town = town(score);
    match runs.len() {
        1 => format!("{town}, seed {}", score.seed),
        seeds => format!("{town}, {seeds} seeds: the median, and a {mark} from the least to the most"),
    }
}

fn label(out: &mut String, x: f64, text: &str) {
    words(out, x, TOP + HEIGHT + 16.0, text);
}

fn words(out: &mut String, x: f64, y: f64, text: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\" fill=\"{INK}\">{text}</text>");
}

/// Where an entry of the legend begins: all in one row below the plot, so that none lies on a line of it.
fn legend_place(at: usize, of: usize) -> (f64, f64) {
    (LEFT + (WIDTH - LEFT - RIGHT) / of.max(1) as f64 * at as f64, TOP + HEIGHT + 60.0)
}

fn x_of(share: f64) -> f64 {
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn y_of(share: f64) -> f64 {
    TOP + (1.0 - share.clamp(0.0, 1.0)) * HEIGHT
}
