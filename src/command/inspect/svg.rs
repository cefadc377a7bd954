//! Memory over time, as a picture.

use std::fmt::{self, Write};

use onnxide_codegen::compiler::Report;

use super::table;
use crate::svg::{BOTTOM, Escaped, LEFT, RIGHT, TOP, WIDTH, begin};
use crate::term;

const HEIGHT: f64 = 600.0;
/// Golden angle in degrees, which keeps the hues of neighbors apart.
const HUE_STEP: f64 = 137.508;

/// A picture with a rectangle for every slot: steps from left to right, bytes from bottom to top. A line marks the lower
/// bound of the arena, another the bytes alive at each step.
pub(super) fn draw(report: &Report) -> String {
    let mut svg = String::new();
    write(report, &mut svg).expect("writing to a string does not fail");
    svg
}

fn write(report: &Report, svg: &mut String) -> fmt::Result {
    let steps = report.steps.len().max(1) as f64;
    let top = report.arena_bytes.max(1) as f64;
    let x = |step: f64| LEFT + step / steps * (WIDTH - LEFT - RIGHT);
    let y = |bytes: u64| HEIGHT - BOTTOM - bytes as f64 / top * (HEIGHT - TOP - BOTTOM);

    let title = format!(
        "{}: arena {}, lower bound {}, {} steps",
        report.name,
        term::bytes(report.arena_bytes),
        term::bytes(report.arena_lower_bound),
        report.steps.len()
    );
    begin(svg, HEIGHT, &title)?;
    axes(report, svg, &x, &y)?;

    for (index, slot) in report.slots.iter().enumerate() {
        let (left, right) = (x(slot.first as f64), x(slot.last as f64 + 1.0));
        let (upper, lower) = (y(slot.offset + slot.bytes), y(slot.offset));
        writeln!(
            svg,
            "<rect x=\"{left:.2}\" y=\"{upper:.2}\" width=\"{:.2}\" height=\"{:.2}\" fill=\"{}\" stroke=\"white\" \
             stroke-width=\"0.5\"><title>{}\n{} at {}, steps {} to {}</title></rect>",
            right - left,
            lower - upper,
            color(index as f64 * HUE_STEP % 360.0),
            Escaped(&slot.name),
            term::bytes(slot.bytes),
            slot.offset,
            slot.first,
            slot.last
        )?;
    }
    live(report, svg, &x, &y)?;
    writeln!(
        svg,
        "<line x1=\"{LEFT}\" y1=\"{bound:.2}\" x2=\"{:.2}\" y2=\"{bound:.2}\" stroke=\"crimson\" stroke-dasharray=\"6 4\">\
         <title>lower bound {}</title></line>",
        x(steps),
        term::bytes(report.arena_lower_bound),
        bound = y(report.arena_lower_bound)
    )?;
    writeln!(svg, "</svg>")
}

/// The frame with marks at quarters of the arena, and at about every tenth of the steps.
fn axes(report: &Report, svg: &mut String, x: &dyn Fn(f64) -> f64, y: &dyn Fn(u64) -> f64) -> fmt::Result {
    let right = WIDTH - RIGHT;
    for quarter in 0..=4 {
        let bytes = report.arena_bytes * quarter / 4;
        let line = y(bytes);
        writeln!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{line:.2}\" x2=\"{right}\" y2=\"{line:.2}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.2}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            line + 4.0,
            term::bytes(bytes)
        )?;
    }
    let stride = report.steps.len().div_ceil(10).max(1);
    for step in (0..report.steps.len()).step_by(stride) {
        writeln!(
            svg,
            "<text x=\"{:.2}\" y=\"{:.2}\" text-anchor=\"middle\">{step}</text>",
            x(step as f64 + 0.5),
            HEIGHT - BOTTOM + 20.0
        )?;
    }
    Ok(())
}

/// A line along the bytes alive at each step, with the step's name where the pointer rests.
fn live(report: &Report, svg: &mut String, x: &dyn Fn(f64) -> f64, y: &dyn Fn(u64) -> f64) -> fmt::Result {
    let mut path = String::new();
    for (index, step) in report.steps.iter().enumerate() {
        let level = y(step.live_bytes);
        let verb = if index == 0 { 'M' } else { 'L' };
        write!(
            path,
            "{verb}{:.2} {level:.2}H{:.2}",
            x(index as f64),
            x(index as f64 + 1.0)
        )?;
    }
    writeln!(
        svg,
        "<path d=\"{path}\" fill=\"none\" stroke=\"#333\" pointer-events=\"none\"/>"
    )?;
    for (index, step) in report.steps.iter().enumerate() {
        let left = x(index as f64);
        writeln!(
            svg,
            "<rect x=\"{left:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{BOTTOM}\" fill=\"none\" pointer-events=\"all\">\
             <title>step {index}: {}, {} alive\n{}</title></rect>",
            HEIGHT - BOTTOM,
            x(index as f64 + 1.0) - left,
            Escaped(&step.kernel),
            term::bytes(step.live_bytes),
            Escaped(&table::nodes(step))
        )?;
    }
    Ok(())
}

/// A light color of a hue in degrees, in the notation that every viewer of SVG reads.
fn color(hue: f64) -> String {
    const LIGHTNESS: f64 = 0.7;
    const AMPLITUDE: f64 = 0.55 * 0.3;
    let channel = |offset: f64| {
        let position = (offset + hue / 30.0) % 12.0;
        let value = LIGHTNESS - AMPLITUDE * (position - 3.0).min(9.0 - position).clamp(-1.0, 1.0);
        (value * 255.0).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", channel(0.0), channel(8.0), channel(4.0))
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn every_slot_is_a_rectangle() {
        insta::assert_snapshot!(draw(&report()), @r##"
        <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 600" font-family="sans-serif" font-size="13">
        <rect width="100%" height="100%" fill="white"/>
        <text x="90" y="24" font-size="16">cat: arena 7.2 KiB, lower bound 7.0 KiB, 3 steps</text>
        <line x1="90" y1="560.00" x2="1180" y2="560.00" stroke="#ddd"/><text x="82" y="564.00" text-anchor="end">0 B</text>
        <line x1="90" y1="430.00" x2="1180" y2="430.00" stroke="#ddd"/><text x="82" y="434.00" text-anchor="end">1.8 KiB</text>
        <line x1="90" y1="300.00" x2="1180" y2="300.00" stroke="#ddd"/><text x="82" y="304.00" text-anchor="end">3.6 KiB</text>
        <line x1="90" y1="170.00" x2="1180" y2="170.00" stroke="#ddd"/><text x="82" y="174.00" text-anchor="end">5.4 KiB</text>
        <line x1="90" y1="40.00" x2="1180" y2="40.00" stroke="#ddd"/><text x="82" y="44.00" text-anchor="end">7.2 KiB</text>
        <text x="271.67" y="580.00" text-anchor="middle">0</text>
        <text x="635.00" y="580.00" text-anchor="middle">1</text>
        <text x="998.33" y="580.00" text-anchor="middle">2</text>
        <rect x="90.00" y="273.10" width="726.67" height="286.90" fill="#dd8888" stroke="white" stroke-width="0.5"><title>h
        4.0 KiB at 0, steps 0 to 1</title></rect>
        <rect x="453.33" y="57.93" width="726.67" height="215.17" fill="#88dda1" stroke="white" stroke-width="0.5"><title>g
        3.0 KiB at 4096, steps 1 to 2</title></rect>
        <rect x="816.67" y="555.52" width="363.33" height="4.48" fill="#ba88dd" stroke="white" stroke-width="0.5"><title>a&lt;b
        64 B at 0, steps 2 to 2</title></rect>
        <path d="M90.00 273.10H453.33L453.33 57.93H816.67L816.67 340.34H1180.00" fill="none" stroke="#333" pointer-events="none"/>
        <rect x="90.00" y="560.00" width="363.33" height="40" fill="none" pointer-events="all"><title>step 0: gemm, 4.0 KiB alive
        /layer.0/MatMul +2</title></rect>
        <rect x="453.33" y="560.00" width="363.33" height="40" fill="none" pointer-events="all"><title>step 1: gemm, 7.0 KiB alive
        /layer.1/MatMul</title></rect>
        <rect x="816.67" y="560.00" width="363.33" height="40" fill="none" pointer-events="all"><title>step 2: softmax, 3.1 KiB alive
        a&lt;b</title></rect>
        <line x1="90" y1="57.93" x2="1180.00" y2="57.93" stroke="crimson" stroke-dasharray="6 4"><title>lower bound 7.0 KiB</title></line>
        </svg>
        "##);
    }

    #[test]
    fn a_model_without_steps_has_a_picture() {
        assert!(draw(&Report::default()).ends_with("</svg>\n"));
    }
}
