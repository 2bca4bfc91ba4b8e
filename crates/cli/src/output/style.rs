//! A few colours, by meaning. A painter that is off returns the text as it is.

/// Paints words for one output.
#[derive(Clone, Copy, Debug)]
pub struct Painter {
    on: bool,
}

impl Painter {
    /// On for a terminal that wants colours.
    pub const fn new(on: bool) -> Self {
        Self { on }
    }

    /// Whether it paints at all.
    pub const fn is_on(&self) -> bool {
        self.on
    }

    fn paint(&self, codes: &str, text: &str) -> String {
        if self.on && !text.is_empty() { format!("\x1b[{codes}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// What carries the line: a name, a title.
    pub fn strong(&self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What may be overlooked: times, identifiers.
    pub fn faint(&self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Private, verified, done.
    pub fn good(&self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Seen by others, or in need of attention.
    pub fn warning(&self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Ciphertext.
    pub fn sealed(&self, text: &str) -> String {
        self.paint("36", text)
    }

    /// A person's name.
    pub fn person(&self, text: &str) -> String {
        self.paint("1;34", text)
    }
}
