//! What all pictures have in common.

use std::fmt::{self, Display, Write};

pub(crate) const WIDTH: f64 = 1200.0;
/// Space for the labels at the left and the bottom, and for the title at the top.
pub(crate) const LEFT: f64 = 90.0;
pub(crate) const BOTTOM: f64 = 40.0;
pub(crate) const TOP: f64 = 40.0;
pub(crate) const RIGHT: f64 = 20.0;

/// Begins a picture of a height, with its title.
pub(crate) fn begin(svg: &mut String, height: f64, title: &str) -> fmt::Result {
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">"
    )?;
    writeln!(svg, "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>")?;
    let title = Escaped(title);
    writeln!(svg, "<text x=\"{LEFT}\" y=\"24\" font-size=\"16\">{title}</text>")
}

/// Text for XML. Characters that XML has no way to write are left out.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '\t' | '\n' => f.write_char(c)?,
                c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
