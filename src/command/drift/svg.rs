//! A comparison as a picture.

use std::fmt::{self, Write};

use super::Comparison;
use crate::svg::{BOTTOM, Escaped, LEFT, RIGHT, TOP, WIDTH, begin};
use crate::term;

const HEIGHT: f64 = 500.0;
/// The highest ratio that is shown, in decibels: about that of `f32` itself.
const MOST: f64 = 140.0;

/// A picture with the ratio of signal to noise after each layer, from left to right, and of the outputs at the end.
pub(super) fn draw(comparison: &Comparison) -> String {
    let mut svg = String::new();
    write(comparison, &mut svg).expect("writing to a string does not fail");
    svg
}

fn write(comparison: &Comparison, svg: &mut String) -> fmt::Result {
    let layers = comparison.layers.iter().map(|layer| {
        let color = if layer.precision == comparison.precision {
            "#4878a8"
        } else {
            "#b0b0b0"
        };
        (layer.name.as_str(), layer.kernel.as_str(), layer.noise.snr_db, color)
    });
    let outputs = comparison.outputs.iter().map(|output| {
        let name = output.name.as_str();
        (name, "output", output.noise.snr_db, "crimson")
    });
    let bars: Vec<_> = layers.chain(outputs).collect();
    let finite = bars.iter().map(|bar| bar.2).filter(|ratio| ratio.is_finite());
    // A mark every 10 decibels, and one above the highest bar.
    let top = (finite.fold(0.0, f64::max).min(MOST) / 10.0).floor() * 10.0 + 10.0;
    let x = |bar: usize| LEFT + bar as f64 / bars.len().max(1) as f64 * (WIDTH - LEFT - RIGHT);
    let y = |ratio: f64| HEIGHT - BOTTOM - ratio.clamp(0.0, top) / top * (HEIGHT - TOP - BOTTOM);
    let title = format!(
        "{}: signal to noise of {} against {}, weights {} of {}",
        comparison.name,
        comparison.precision,
        comparison.against,
        term::bytes(comparison.weight_bytes),
        term::bytes(comparison.weight_bytes_against)
    );
    begin(svg, HEIGHT, &title)?;
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
    for (index, (name, kernel, ratio, color)) in bars.iter().enumerate() {
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
            Escaped(kernel)
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
