//! Words of the text form.

use super::ParseError;

/// A word and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) line: u32,
    pub(super) column: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A name; keywords are names.
    Word(String),
    /// A quoted text, without quotes and escapes.
    Text(String),
    /// The number of a value.
    Value(u32),
    /// A number without sign, as written.
    Number(String),
    /// One of the marks `{ } ( ) [ ] < > , : ; = == + - * / -> ? .. ..=`.
    Mark(&'static str),
    /// The end of the text.
    End,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::Word(text) | Kind::Number(text) => write!(f, "`{text}`"),
            Kind::Text(text) => write!(f, "{text:?}"),
            Kind::Value(id) => write!(f, "`%{id}`"),
            Kind::Mark(mark) => write!(f, "`{mark}`"),
            Kind::End => f.write_str("the end"),
        }
    }
}

const MARKS: [&str; 21] = [
    "..=", "..", "==", "->", "{", "}", "(", ")", "[", "]", "<", ">", ",", ":", ";", "=", "+", "-", "*", "/", "?",
];

/// Splits a text into words; the last one is the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut lexer = Lexer {
        rest: text,
        line: 1,
        column: 1,
    };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_space();
        let (line, column) = (lexer.line, lexer.column);
        let kind = lexer.next()?;
        let end = kind == Kind::End;
        tokens.push(Token { kind, line, column });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    rest: &'a str,
    line: u32,
    column: u32,
}

impl<'a> Lexer<'a> {
    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError {
            line: self.line,
            column: self.column,
            message: message.into(),
        }
    }

    /// Takes so many bytes, which end between characters.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        for c in taken.chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn skip_space(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if !self.rest.starts_with("//") {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn next(&mut self) -> Result<Kind, ParseError> {
        let Some(first) = self.rest.chars().next() else {
            return Ok(Kind::End);
        };
        if first.is_ascii_alphabetic() || first == '_' {
            let word = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
            return Ok(Kind::Word(word.to_owned()));
        }
        if first.is_ascii_digit() {
            return Ok(Kind::Number(self.number().to_owned()));
        }
        if first == '"' {
            return self.quoted().map(Kind::Text);
        }
        if first == '%' {
            self.take(1);
            let digits = self.take_while(|c| c.is_ascii_digit());
            return match digits.parse() {
                Ok(id) => Ok(Kind::Value(id)),
                Err(_) => Err(self.error("expected the number of a value")),
            };
        }
        match MARKS.into_iter().find(|mark| self.rest.starts_with(mark)) {
            Some(mark) => {
                self.take(mark.len());
                Ok(Kind::Mark(mark))
            }
            None => Err(self.error(format!("unexpected {first:?}"))),
        }
    }

    /// Digits, then perhaps a fraction and an exponent, or hexadecimal digits after `0x`.
    fn number(&mut self) -> &'a str {
        let start = self.rest;
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let mut end = digits(start);
        if start[..end] == *"0" && start[end..].starts_with('x') {
            end += 1 + start[end + 1..].bytes().take_while(u8::is_ascii_hexdigit).count();
            return self.take(end);
        }
        let fraction = start[end..].strip_prefix('.').map_or(0, digits);
        if fraction > 0 {
            end += 1 + fraction;
        }
        if let Some(exponent) = start[end..].strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            let length = digits(&exponent[sign..]);
            if length > 0 {
                end += 1 + sign + length;
            }
        }
        self.take(end)
    }

    fn quoted(&mut self) -> Result<String, ParseError> {
        self.take(1);
        let mut text = String::new();
        loop {
            text.push_str(self.take_while(|c| c != '"' && c != '\\'));
            let mut next = self.rest.chars();
            match (next.next(), next.next()) {
                (Some('"'), _) => {
                    self.take(1);
                    return Ok(text);
                }
                (Some('\\'), Some(c @ ('"' | '\\'))) => {
                    self.take(2);
                    text.push(c);
                }
                (Some('\\'), Some('n')) => {
                    self.take(2);
                    text.push('\n');
                }
                (Some('\\'), Some('u')) => {
                    self.take(2);
                    let code = self
                        .rest
                        .strip_prefix('{')
                        .and_then(|rest| rest.split_once('}'))
                        .map(|(code, _)| code);
                    let c = code
                        .and_then(|code| u32::from_str_radix(code, 16).ok())
                        .and_then(char::from_u32);
                    let (Some(code), Some(c)) = (code, c) else {
                        return Err(self.error("expected a character number in braces"));
                    };
                    self.take(code.len() + 2);
                    text.push(c);
                }
                (Some(_), _) => return Err(self.error("unknown escape")),
                (None, _) => return Err(self.error("a quote is not closed")),
            }
        }
    }
}
