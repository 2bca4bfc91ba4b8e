//! How metrics are written: OpenMetrics 1.0 where it is asked for, else the text format 0.0.4, which everything reads that
//! speaks of Prometheus.
//!
//! The two differ in what stands around the samples: OpenMetrics names a counter without `_total` and an info without `_info`, may tell
//! a unit, and ends with `# EOF`; the text format names each as its samples do, knows no infos and no units, and has no end.

/// A way to write metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Exposition {
    /// The text format 0.0.4.
    #[default]
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// The value of `Content-Type`.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What the value of `Accept` asks for: OpenMetrics if it is named and nothing is liked better, else text.
    pub fn wanted(accept: &str) -> Self {
        let (mut open, mut text) = (0.0, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse().ok());
            let weight = weight.filter(|weight: &f64| (0.0..=1.0).contains(weight)).unwrap_or(1.0);
            match kind.as_str() {
                "application/openmetrics-text" => open = weight,
                "text/plain" => text = weight,
                _ => {}
            }
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// Metrics that are written as OpenMetrics, in this way.
    pub fn write(self, open_metrics: String) -> String {
        match self {
            Self::Text => as_text(&open_metrics),
            Self::OpenMetrics => open_metrics,
        }
    }
}

fn as_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.extend([line, "\n"]);
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("HELP"), Some(_), told) => help = told,
            (Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    other => ("", other),
                };
                if let Some(help) = help.take() {
                    text.extend(["# HELP ", name, suffix, " ", help, "\n"]);
                }
                text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
            }
            // Units and the end.
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_only_where_it_is_asked_for() {
        for accept in [
            "application/openmetrics-text",
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "text/plain;q=0.5, Application/OpenMetrics-Text; q=0.5",
        ] {
            assert_eq!(Exposition::wanted(accept), Exposition::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/html,*/*;q=0.8",
            "application/openmetrics-text;q=0",
            "a,,;q=x;=,",
            "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;q=0.5",
        ] {
            assert_eq!(Exposition::wanted(accept), Exposition::Text, "{accept}");
        }
    }

    #[test]
    fn what_differs_is_changed_and_the_rest_is_not() {
        let open = "# HELP a_seconds How long.\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\na_seconds_bucket{le=\"1.0\"} 1\n\
                    # HELP b Many.\n# TYPE b counter\nb_total{c=\"# TYPE\"} 2\n# TYPE d info\nd_info{e=\"f\"} 1\n# EOF\n";
        let text = "# HELP a_seconds How long.\n# TYPE a_seconds histogram\na_seconds_bucket{le=\"1.0\"} 1\n\
                    # HELP b_total Many.\n# TYPE b_total counter\nb_total{c=\"# TYPE\"} 2\n# TYPE d_info gauge\nd_info{e=\"f\"} 1\n";
        assert_eq!(Exposition::Text.write(open.to_owned()), text);
        assert_eq!(Exposition::OpenMetrics.write(open.to_owned()), open);
    }
}
