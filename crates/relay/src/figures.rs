//! What a relay counts beyond what every relay has: what stands behind a trait can tell of itself.

use std::fmt;

/// Something that counts.
pub trait Figures: fmt::Debug + Send + Sync + 'static {
    /// All figures as they are now. Names and their order stay the same for as long as the relay runs.
    fn figures(&self) -> Vec<Figure>;
}

/// One figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figure {
    /// Its name: small letters and `_`, without what every name begins with, and of a counter without `_total`.
    pub name: &'static str,
    /// What it is, without a full stop.
    pub help: &'static str,
    /// It only rises.
    pub counter: bool,
    /// Now.
    pub value: u64,
}

impl Figure {
    /// As OpenMetrics, with what every name begins with.
    pub(crate) fn write(&self, prefix: &str, text: &mut String) {
        let Self { name, help, counter, value } = self;
        let (kind, suffix) = if *counter { ("counter", "_total") } else { ("gauge", "") };
        text.push_str(&format!(
            "# HELP {prefix}_{name} {help}.\n# TYPE {prefix}_{name} {kind}\n{prefix}_{name}{suffix} {value}\n"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::Exposition;

    #[test]
    fn a_figure_is_written_as_the_others_are() {
        let mut text = String::new();
        Figure { name: "a", help: "Ays", counter: true, value: 3 }.write("k", &mut text);
        Figure { name: "b", help: "Bees", counter: false, value: 4 }.write("k", &mut text);
        let open = "# HELP k_a Ays.\n# TYPE k_a counter\nk_a_total 3\n# HELP k_b Bees.\n# TYPE k_b gauge\nk_b 4\n";
        assert_eq!(text, open);
        let old = Exposition::Text.write(text);
        assert!(old.contains("# TYPE k_a_total counter\nk_a_total 3\n"), "{old}");
    }
}
