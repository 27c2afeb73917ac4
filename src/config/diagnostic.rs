//! What is wrong with a file: data for programs, and rendered as compilers do for people.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::model::Position;
use super::source::Excerpt;

/// One thing that is wrong, or worth a second look, in a configuration file.
///
/// [`Display`](fmt::Display) renders it over several lines, without a newline at the end:
///
/// ```text
/// config.toml:12:3: error: unknown key `conect_timeout` in [[pool]]
///    |
/// 12 |   conect_timeout = "2s"
///    |   ^^^^^^^^^^^^^^
///    = help: did you mean `connect_timeout`?
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// The file, if the text came from one.
    pub file: Option<Arc<str>>,
    /// Where the offending text begins.
    pub position: Position,
    /// What is wrong, in one line.
    pub message: String,
    /// How to put it right, in one line.
    pub help: Option<String>,
    /// The line it is about; `None` when the text is no longer at hand.
    pub excerpt: Option<Excerpt>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and perhaps does not say what was meant.
    Warning,
}

/// Every error of a file, in the order of the file. There is always at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(Vec<Diagnostic>);

/// What is wrong with a value and how to put it right, before it is known where the value stands.
/// The message is a predicate: `` `key` `` is put before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Diagnostic {
    /// Something that appeared when what the file names was looked at.
    pub fn at(position: Position, severity: Severity, message: String) -> Self {
        Self {
            severity,
            file: None,
            position,
            message,
            help: None,
            excerpt: None,
        }
    }

    /// Says in which file each is.
    pub fn name_file(diagnostics: &mut [Self], path: &Path) {
        let name: Arc<str> = path.display().to_string().into();
        for diagnostic in diagnostics {
            diagnostic.file = Some(Arc::clone(&name));
        }
    }

    /// Renders with ANSI colours, for a terminal.
    pub fn coloured(&self) -> impl fmt::Display + '_ {
        Rendered(self, &COLOURED)
    }

    fn render(&self, f: &mut fmt::Formatter<'_>, style: &Style) -> fmt::Result {
        let Position { line, column } = self.position;
        let (label, paint) = match self.severity {
            Severity::Error => ("error", style.error),
            Severity::Warning => ("warning", style.warning),
        };
        let Style { bold, plain, .. } = style;
        if let Some(file) = &self.file {
            write!(f, "{bold}{file}:")?;
        }
        write!(
            f,
            "{bold}{line}:{column}: {plain}{paint}{label}{plain}{bold}: "
        )?;
        write!(f, "{}{plain}", self.message)?;

        let gutter = line.to_string().len();
        if let Some(excerpt) = &self.excerpt {
            let marks = "^".repeat(excerpt.mark_width);
            let before = excerpt.mark_at;
            write!(f, "\n{:gutter$} |", "")?;
            write!(f, "\n{line} | {}", excerpt.text.trim_end())?;
            write!(f, "\n{:gutter$} | {:before$}{paint}{marks}{plain}", "", "")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{:gutter$} = {bold}help{plain}: {help}", "")?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.render(f, &Style::default())
    }
}

impl Errors {
    pub(super) fn new(errors: Vec<Diagnostic>) -> Self {
        debug_assert!(!errors.is_empty(), "a failure has a reason");
        Self(errors)
    }

    /// An error if there are any, brought into the order of the file.
    ///
    /// # Errors
    /// All of them.
    pub fn if_any(mut errors: Vec<Diagnostic>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort_by_key(|error| error.position);
        Err(Self::new(errors))
    }

    /// In the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// The first error in one line, and how many more there are: for a log record.
    pub fn summary(&self) -> String {
        let Some(first) = self.0.first() else {
            return String::new();
        };
        let file = first.file.iter().map(|file| format!("{file}:"));
        let Position { line, column } = first.position;
        let mut summary: String = file.collect();
        summary += &format!("{line}:{column}: {}", first.message);
        if self.0.len() > 1 {
            summary += &format!(" (and {} more)", self.0.len() - 1);
        }
        summary
    }

    /// These and others, in the order of the file.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self.0.sort_by_key(|error| error.position);
        self
    }

    /// Says in which file they are.
    #[must_use]
    pub fn in_file(mut self, path: &Path) -> Self {
        Diagnostic::name_file(&mut self.0, path);
        self
    }

    /// Renders with ANSI colours, for a terminal.
    pub fn coloured(&self) -> impl fmt::Display + '_ {
        RenderedAll(&self.0, &COLOURED)
    }
}

impl Error for Errors {}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        RenderedAll(&self.0, &Style::default()).fmt(f)
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Errors {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Complaint {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Makes a sentence of the predicate.
    #[must_use]
    pub(super) fn about(mut self, key: &str) -> Self {
        self.message = format!("`{key}` {}", self.message);
        self
    }
}

/// Escape sequences; empty ones by default.
#[derive(Default)]
struct Style {
    bold: &'static str,
    error: &'static str,
    warning: &'static str,
    plain: &'static str,
}

const COLOURED: Style = Style {
    bold: "\x1b[1m",
    error: "\x1b[1;31m",
    warning: "\x1b[1;33m",
    plain: "\x1b[0m",
};

struct Rendered<'a>(&'a Diagnostic, &'a Style);

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.render(f, self.1)
    }
}

struct RenderedAll<'a>(&'a [Diagnostic], &'a Style);

impl fmt::Display for RenderedAll<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            diagnostic.render(f, self.1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Source;

    fn diagnostic() -> Diagnostic {
        let text = "\n[[pool]]\nconect = 1\n";
        let source = Source::new(text);
        Diagnostic {
            severity: Severity::Error,
            file: None,
            position: source.position(10),
            message: "unknown key `conect`".into(),
            help: Some("leave it out".into()),
            excerpt: Some(source.excerpt(&(10..16))),
        }
    }

    #[test]
    fn a_diagnostic_is_rendered_as_compilers_do() {
        let expected = "3:1: error: unknown key `conect`\n  \
                        |\n3 | conect = 1\n  | ^^^^^^\n  = help: leave it out";
        assert_eq!(diagnostic().to_string(), expected);
    }

    #[test]
    fn colours_come_only_when_asked_for() {
        assert!(!diagnostic().to_string().contains('\x1b'));
        assert!(
            diagnostic()
                .coloured()
                .to_string()
                .contains("\x1b[1;31merror")
        );
    }

    #[test]
    fn errors_name_their_file_and_fit_in_a_line_for_the_log() {
        let errors = Errors::new(vec![diagnostic(), diagnostic()]).in_file(Path::new("r.toml"));
        assert_eq!(
            errors.summary(),
            "r.toml:3:1: unknown key `conect` (and 1 more)"
        );
        assert_eq!(errors.to_string().matches("r.toml:3:1: error: ").count(), 2);
    }
}
