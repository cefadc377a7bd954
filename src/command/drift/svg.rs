//! A comparison as a picture.

use std::fmt::{self, Write};

use super::Comparison;
use crate::svg::{BOTTOM, Escaped, LEFT, RIGHT, TOP, WIDTH, begin};
use crate::term;

const HEIGHT: f64 = 500.0;
/// The highest ratio that is shown, in decibels: about that of `f32` itself.
const MOST: f64 = 140.0;

/// A layer or an output in a picture.
pub(crate) struct Bar<'a> {
    pub(crate) name: &'a str,
    /// The kernel, or what it is else.
    pub(crate) kind: &'a str,
    /// The ratio of signal to noise in decibels.
    pub(crate) snr_db: f64,
    pub(crate) color: &'static str,
}

/// The color of layers of the precision that is compared.
pub(crate) const CHANGED: &str = "#4878a8";
/// The color of layers that are as they were.
pub(crate) const UNCHANGED: &str = "#b0b0b0";
/// The color of outputs.
pub(crate) const OUTPUT: &str = "crimson";

/// A picture with the ratio of signal to noise after each layer, from left to right, and of the outputs at the end.
pub(super) fn draw(comparison: &Comparison) -> String {
    let layers = comparison.layers.iter().map(|layer| Bar {
        name: &layer.name,
        kind: &layer.kernel,
        snr_db: layer.noise.snr_db,
        color: match layer.precision == comparison.precision {
            true => CHANGED,
            false => UNCHANGED,
        },
    });
    let outputs = comparison.outputs.iter().map(|output| Bar {
        name: &output.name,
        kind: "output",
        snr_db: output.noise.snr_db,
        color: OUTPUT,
    });
    let title = format!(
        "{}: signal to noise of {} against {}, weights {} of {}",
        comparison.name,
        comparison.precision,
        comparison.against,
        term::bytes(comparison.weight_bytes),
        term::bytes(comparison.weight_bytes_against)
    );
    bars(&title, &layers.chain(outputs).collect::<Vec<_>>())
}

/// A picture of bars.
pub(crate) fn bars(title: &str, bars: &[Bar<'_>]) -> String {
    let mut svg = String::new();
    write(title, bars, &mut svg).expect("writing to a string does not fail");
    svg
}

fn write(title: &str, bars: &[Bar<'_>], svg: &mut String) -> fmt::Result {
    let finite = bars.iter().map(|bar| bar.snr_db).filter(|ratio| ratio.is_finite());
    // A mark every 10 decibels, and one above the highest bar.
    let top = (finite.fold(0.0, f64::max).min(MOST) / 10.0).floor() * 10.0 + 10.0;
    let x = |bar: usize| LEFT + bar as f64 / bars.len().max(1) as f64 * (WIDTH - LEFT - RIGHT);
    let y = |ratio: f64| HEIGHT - BOTTOM - ratio.clamp(0.0, top) / top * (HEIGHT - TOP - BOTTOM);
    begin(svg, HEIGHT, title)?;
    for mark in 0..=(top / 10.0) as usize {
        let ratio = 10.0 * mark as f64;
        writeln!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{line:.2}\" x2=\"{}\" y2=\"{line:.2}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.2}\" text-anchor=\"end\">{ratio} dB</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y(ratio) + 4.0,
            line = y(ratio)
        )?;
    }
    for (index, bar) in bars.iter().enumerate() {
        let Bar {
            name,
            kind,
            snr_db: ratio,
            color,
        } = bar;
        let (left, width) = (x(index), x(index + 1) - x(index));
        let text = if *ratio == f64::INFINITY {
            "exact".into()
        } else {
            format!("{ratio:.1} dB")
        };
        writeln!(
            svg,
            "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{:.2}\" fill=\"{color}\"><title>{}\n{}: {text}</title></rect>",
            left + 0.1 * width,
            y(*ratio),
            0.8 * width,
            HEIGHT - BOTTOM - y(*ratio),
            Escaped(name),
            Escaped(kind)
        )?;
    }
    writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.2}\">layers in the order of the model, then outputs</text>",
        HEIGHT - BOTTOM + 24.0
    )?;
    writeln!(svg, "</svg>")
}

#[cfg(test)]
mod tests {
    use super::super::tests::comparison;
    use super::*;

    #[test]
    fn every_layer_and_output_is_a_bar() {
        insta::assert_snapshot!(draw(&comparison()));
    }
}
