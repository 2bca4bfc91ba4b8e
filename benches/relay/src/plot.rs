//! One plot: latency of live delivery over load, as SVG.

use std::fmt::Write as _;

use crate::report::Point;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 68.0;
const TOP: f64 = 40.0;
/// Decades of the axis in milliseconds.
const DECADES: [f64; 6] = [0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0];
/// Name, colour and dashes: at least 4.5 to 1 on white, and told apart without colour.
const SERIES: [(&str, &str, &str); 3] =
    [("p50", "#2563a8", ""), ("p99", "#a8650d", "7 4"), ("p99.9", "#b3362c", "2 3")];
/// Loads nearer to each other than this get one label.
const LABEL_WIDTH: f64 = 36.0;

/// The plot of these points.
pub fn svg(points: &[Point]) -> String {
    let most = points.iter().map(|point| point.offered).fold(1.0, f64::max);
    let x = |rate: f64| LEFT + rate / most * (WIDTH - LEFT - 24.0);
    let y = |ms: f64| {
        let height = (ms.max(DECADES[0]) / DECADES[0]).log10() / (DECADES.len() - 1) as f64;
        TOP + HEIGHT * (1.0 - height.min(1.0))
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        TOP + HEIGHT + 44.0
    );
    for ms in DECADES {
        let at = y(ms);
        let _ = writeln!(out, "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{WIDTH}\" y2=\"{at:.1}\" stroke=\"#e4e7eb\"/>");
        let _ = writeln!(out, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{ms} ms</text>", LEFT - 6.0, at + 4.0);
    }
    let mut free = 0.0;
    for point in points {
        let at = x(point.offered);
        if at < free {
            continue;
        }
        free = at + LABEL_WIDTH;
        let below = TOP + HEIGHT + 16.0;
        let _ = writeln!(out, "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{}</text>", point.offered);
    }
    let middle = LEFT + (WIDTH - LEFT) / 2.0;
    let bottom = TOP + HEIGHT + 36.0;
    let _ = writeln!(out, "<text x=\"{middle}\" y=\"{bottom}\" text-anchor=\"middle\">envelopes per second</text>");
    for (at, (name, colour, dashes)) in SERIES.iter().enumerate() {
        let line: Vec<_> = points
            .iter()
            .map(|point| (x(point.offered), y([point.p50_ms, point.p99_ms, point.p999_ms][at])))
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>",
            line.join(" ")
        );
        let left = LEFT + 90.0 * at as f64;
        let _ = writeln!(out, "<rect x=\"{left}\" y=\"10\" width=\"11\" height=\"11\" fill=\"{colour}\"/>");
        let _ = writeln!(out, "<text x=\"{}\" y=\"20\">{name}</text>", left + 16.0);
    }
    out.push_str("</svg>\n");
    out
}
