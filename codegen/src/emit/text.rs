//! Text in the form that rustfmt gives it, for the few constructs that generated modules consist of.
//!
//! Lines are at most [`WIDTH`] wide; lists that are wider than rustfmt allows on one line are set one item per line.

/// The width of a line.
pub(super) const WIDTH: usize = 120;

/// The width of the items of a call, a tuple or an array on one line (rustfmt's `fn_call_width` for this [`WIDTH`]).
const LIST_WIDTH: usize = 72;

/// The width of the fields of a struct literal on one line (`struct_lit_width`).
const STRUCT_WIDTH: usize = 22;

/// The width of arguments that are filled into lines (`short_array_element_width_threshold`).
const SHORT: usize = 10;

/// An indented text under construction.
#[derive(Debug, Default)]
pub(super) struct Writer {
    text: String,
    indent: usize,
}

impl Writer {
    /// A text whose lines are indented by `indent` levels.
    pub(super) fn new(indent: usize) -> Writer {
        Writer {
            text: String::new(),
            indent,
        }
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.text
    }

    /// Appends a line.
    pub(super) fn line(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref();
        if !text.is_empty() {
            for _ in 0..self.indent {
                self.text.push_str("    ");
            }
            self.text.push_str(text);
        }
        self.text.push('\n');
    }

    /// Appends an empty line.
    pub(super) fn blank(&mut self) {
        self.line("");
    }

    /// Appends lines that are indented already.
    pub(super) fn raw(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Appends a line and indents what follows.
    pub(super) fn open(&mut self, text: impl AsRef<str>) {
        self.line(text);
        self.indent += 1;
    }

    /// Appends a line indented one level less, as what follows.
    pub(super) fn close(&mut self, text: impl AsRef<str>) {
        self.indent -= 1;
        self.line(text);
    }

    /// Appends a line between two blocks: `} else {`.
    pub(super) fn between(&mut self, text: impl AsRef<str>) {
        self.indent -= 1;
        self.open(text);
    }

    /// Appends a comment after `marker`, broken into lines at spaces.
    pub(super) fn comment(&mut self, marker: &str, text: &str) {
        let width = WIDTH - 4 * self.indent - marker.len() - 1;
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                self.line(format!("{marker} {line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(format!("{marker} {line}"));
    }

    /// Appends `head`, the code and `tail`.
    pub(super) fn code(&mut self, head: &str, code: &Code, tail: &str) {
        let mut text = String::from(head);
        code.write(&mut text, self.indent, head.chars().count(), tail.chars().count());
        text.push_str(tail);
        self.line(text);
    }

    /// Appends `head`, the code and `tail`, indented one level more.
    pub(super) fn nested(&mut self, head: &str, code: &Code, tail: &str) {
        self.indent += 1;
        self.code(head, code, tail);
        self.indent -= 1;
    }

    /// Appends the head of a function, up to the brace, and indents what follows.
    pub(super) fn open_function(&mut self, head: &str, parameters: &[String], tail: &str) {
        let one_line = format!("{head}({}){tail} {{", parameters.join(", "));
        if 4 * self.indent + one_line.chars().count() <= WIDTH {
            self.open(one_line);
            return;
        }
        self.open(format!("{head}("));
        for parameter in parameters {
            self.line(format!("{parameter},"));
        }
        self.between(format!("){tail} {{"));
    }

    /// Appends words separated by commas and filled into lines, each but the last with a comma after it.
    pub(super) fn fill(&mut self, words: &[String]) {
        let width = WIDTH - 4 * self.indent;
        let mut line = String::new();
        for word in words {
            if !line.is_empty() && line.chars().count() + 2 + word.chars().count() > width {
                self.line(&line);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
            line.push(',');
        }
        if !line.is_empty() {
            self.line(&line);
        }
    }
}

/// An expression whose lists can be broken into lines.
#[derive(Clone, Debug)]
pub(super) enum Code {
    /// Text on one line.
    Text(String),
    /// `open`, items separated by commas, `close`.
    List {
        /// Such as `s.gemm(` or `[`.
        open: String,
        items: Vec<Code>,
        close: &'static str,
        kind: ListKind,
    },
    /// A closure with a body of several lines, the last argument of a call: its head, up to the brace, and its lines.
    Block { head: String, lines: Vec<String> },
}

/// What a [`Code::List`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListKind {
    Call,
    Tuple,
    Array,
    Struct,
}

impl From<&str> for Code {
    fn from(text: &str) -> Code {
        Code::Text(text.to_owned())
    }
}

impl From<String> for Code {
    fn from(text: String) -> Code {
        Code::Text(text)
    }
}

impl Code {
    /// A call of `function`.
    pub(super) fn call(function: &str, items: Vec<Code>) -> Code {
        Code::List {
            open: format!("{function}("),
            items,
            close: ")",
            kind: ListKind::Call,
        }
    }

    /// The same list with something after it: `f(x)?`.
    pub(super) fn ending(self, end: &'static str) -> Code {
        match self {
            Code::List { open, items, kind, .. } => Code::List {
                open,
                items,
                close: end,
                kind,
            },
            other => other,
        }
    }

    /// A tuple.
    pub(super) fn tuple(items: Vec<Code>) -> Code {
        Code::List {
            open: "(".into(),
            items,
            close: ")",
            kind: ListKind::Tuple,
        }
    }

    /// An array.
    pub(super) fn array(items: Vec<Code>) -> Code {
        Code::List {
            open: "[".into(),
            items,
            close: "]",
            kind: ListKind::Array,
        }
    }

    /// A struct literal.
    pub(super) fn structure(name: &str, fields: Vec<Code>) -> Code {
        Code::List {
            open: format!("{name} {{"),
            items: fields,
            close: "}",
            kind: ListKind::Struct,
        }
    }

    /// The text on one line, if it has one.
    pub(super) fn one_line(&self) -> Option<String> {
        match self {
            Code::Text(text) => Some(text.clone()),
            Code::Block { .. } => None,
            Code::List {
                open,
                items,
                close,
                kind,
            } => {
                let items: Option<Vec<String>> = items.iter().map(Code::one_line).collect();
                let inner = items?.join(", ");
                let wide = inner.chars().count();
                match kind {
                    ListKind::Struct if wide <= STRUCT_WIDTH => Some(format!("{open} {inner} {close}")),
                    ListKind::Tuple if wide <= LIST_WIDTH && items_len(self) == 1 => {
                        Some(format!("{open}{inner},{close}"))
                    }
                    ListKind::Struct => None,
                    _ if wide <= LIST_WIDTH => Some(format!("{open}{inner}{close}")),
                    _ => None,
                }
            }
        }
    }

    /// Whether this is a name or a number, or a field of it, of a few characters.
    fn is_short(&self) -> bool {
        let simple = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        match self {
            Code::Text(text) => text.len() <= SHORT && text.trim_start_matches('&').chars().all(simple),
            _ => false,
        }
    }

    /// Appends the code, of which the first line starts at `column` after `indent` levels and the last one is followed by
    /// `tail` characters.
    fn write(&self, text: &mut String, indent: usize, column: usize, tail: usize) {
        let room = WIDTH.saturating_sub(4 * indent + tail);
        if let Some(line) = self.one_line()
            && column + line.chars().count() <= room
        {
            text.push_str(&line);
            return;
        }
        match self {
            Code::Text(line) => text.push_str(line),
            Code::Block { head, lines } => {
                text.push_str(head);
                for line in lines {
                    newline(text, indent + 1);
                    text.push_str(line);
                }
                newline(text, indent);
                text.push('}');
            }
            Code::List {
                open,
                items,
                close,
                kind,
            } => {
                text.push_str(open);
                if *kind == ListKind::Call && items.iter().all(Code::is_short) {
                    let words: Vec<String> = items.iter().filter_map(Code::one_line).collect();
                    let mut lines = Writer::new(indent + 1);
                    lines.fill(&words);
                    text.push('\n');
                    text.push_str(&lines.finish());
                    text.push_str(&"    ".repeat(indent));
                } else if let [
                    Code::List {
                        kind: ListKind::Struct, ..
                    },
                ] = items.as_slice()
                {
                    items[0].write(text, indent, 0, close.len());
                } else if let Some((head, last)) = overflow(items) {
                    text.push_str(&head);
                    last.write(text, indent, 0, 0);
                } else {
                    for item in items {
                        newline(text, indent + 1);
                        item.write(text, indent + 1, 0, 1);
                        text.push(',');
                    }
                    newline(text, indent);
                }
                text.push_str(close);
            }
        }
    }
}

/// The arguments before a closure and the closure, if it can start on the line of the call.
fn overflow(items: &[Code]) -> Option<(String, &Code)> {
    let (last, others) = items.split_last()?;
    let Code::Block { head, .. } = last else {
        return None;
    };
    let mut text = String::new();
    for item in others {
        text.push_str(&item.one_line()?);
        text.push_str(", ");
    }
    (text.chars().count() + head.chars().count() <= LIST_WIDTH).then_some((text, last))
}

fn items_len(code: &Code) -> usize {
    match code {
        Code::List { items, .. } => items.len(),
        _ => 0,
    }
}

fn newline(text: &mut String, indent: usize) {
    text.push('\n');
    for _ in 0..indent {
        text.push_str("    ");
    }
}
