//! A race as a picture.

use std::fmt::{self, Display, Write};

use crate::engine::Engine;
use crate::record::{Heat, Record};
use crate::stats::geometric_mean;

const WIDTH: f64 = 960.0;
/// Space for the names of models, and for the numbers at the right.
const LEFT: f64 = 230.0;
const RIGHT: f64 = 150.0;
/// Space for title and legend.
const TOP: f64 = 76.0;
const ROW: f64 = 22.0;
/// Space of a panel besides its rows: its heading above, its axis below.
const HEADING: f64 = 30.0;
const AXIS: f64 = 34.0;

/// The ends of the axis. Speeds beyond are drawn at its ends.
const SLOWEST: f64 = 1.0 / 16.0;
const FASTEST: f64 = 4.0;
const MARKS: [(f64, &str); 7] = [
    (1.0 / 16.0, "1/16"),
    (1.0 / 8.0, "1/8"),
    (1.0 / 4.0, "1/4"),
    (1.0 / 2.0, "1/2"),
    (1.0, "1"),
    (2.0, "2"),
    (4.0, "4"),
];

/// The colors are those of Okabe and Ito, which most people with color vision deficiency can tell apart; every engine has
/// a shape as well.
const STYLE: &str = "\
svg{--back:#fff;--text:#1f2328;--dim:#656d76;--line:#d0d7de;--onnxruntime:#0072b2}
@media(prefers-color-scheme:dark){svg{--back:#0d1117;--text:#e6edf3;--dim:#8d96a0;--line:#30363d;--onnxruntime:#56b4e9}}
text{fill:var(--text)}.dim{fill:var(--dim)}.line{stroke:var(--line)}.one{stroke:var(--dim);stroke-width:1.5}
.back{fill:var(--back)}.onnxide{fill:#d55e00}.onnxruntime{fill:var(--onnxruntime)}.OpenVINO{fill:#cc79a7}
.tract{fill:#009e73}.rten{fill:#e69f00}";

/// A picture with a panel for every number of threads, and in it a line for every model: how fast each engine is compared
/// with the best peer, on a logarithmic axis.
pub(crate) fn draw(record: &Record) -> String {
    let mut svg = String::new();
    write(record, &mut svg).expect("writing to a string does not fail");
    svg
}

fn write(record: &Record, svg: &mut String) -> fmt::Result {
    let threads = record.threads();
    let panel = |threads: usize| HEADING + ROW * (record.heats(threads).len() + 1) as f64 + AXIS;
    let height = TOP + threads.iter().map(|&threads| panel(threads)).sum::<f64>();
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<style>{STYLE}</style>\n<rect class=\"back\" width=\"100%\" height=\"100%\"/>"
    )?;
    writeln!(
        svg,
        "<text x=\"16\" y=\"26\" font-size=\"16\" font-weight=\"bold\">Speed compared with the best peer</text>\n\
         <text class=\"dim\" x=\"{:.1}\" y=\"26\" text-anchor=\"end\">{}, {}</text>",
        WIDTH - 16.0,
        Escaped(&record.machine.processor),
        Escaped(&record.date)
    )?;
    let mut x = 24.0;
    for engine in record.engines() {
        marker(svg, engine, x, 50.0)?;
        writeln!(svg, "<text x=\"{:.1}\" y=\"54\">{}</text>", x + 12.0, engine.name())?;
        x += 120.0;
    }
    let mut top = TOP;
    for threads in threads {
        draw_panel(svg, &record.heats(threads), &record.engines(), threads, top)?;
        top += panel(threads);
    }
    writeln!(svg, "</svg>")
}

fn draw_panel(svg: &mut String, heats: &[&Heat], engines: &[Engine], threads: usize, top: f64) -> fmt::Result {
    let first = top + HEADING;
    let bottom = first + ROW * (heats.len() + 1) as f64;
    let right = WIDTH - RIGHT;
    let plural = if threads == 1 { "" } else { "s" };
    writeln!(
        svg,
        "<text x=\"16\" y=\"{0:.1}\" font-weight=\"bold\">{threads} thread{plural}</text>\n\
         <text class=\"dim\" x=\"{1:.1}\" y=\"{0:.1}\" text-anchor=\"end\">onnxide: time, ratio</text>",
        top + 18.0,
        WIDTH - 16.0
    )?;
    for (speed, label) in MARKS {
        let (x, class) = (position(speed), if speed == 1.0 { "one" } else { "line" });
        writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{first:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>\
             <text class=\"dim\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            bottom + 16.0
        )?;
    }
    for (index, heat) in heats.iter().enumerate() {
        let y = first + ROW * (index as f64 + 0.5);
        label(svg, &heat.model, y)?;
        // onnxide last, so that nothing covers it.
        for &engine in engines.iter().rev() {
            if let (Some(_), Some(speed)) = (heat.agreeing(engine), heat.ratio(engine)) {
                marker(svg, engine, position(speed), y)?;
            }
        }
        if let Some(times) = heat.times(Engine::Onnxide) {
            let ratio = heat
                .ratio(Engine::Onnxide)
                .map(|ratio| format!(", {ratio:.2}"))
                .unwrap_or_default();
            number(svg, &format!("{:.3} ms{ratio}", times.best * 1e3), y)?;
        }
    }
    let y = bottom - ROW * 0.5;
    writeln!(
        svg,
        "<line class=\"line\" x1=\"16\" y1=\"{0:.1}\" x2=\"{right:.1}\" y2=\"{0:.1}\"/>",
        bottom - ROW
    )?;
    label(svg, "geometric mean", y)?;
    for &engine in engines.iter().rev() {
        let ratios = heats
            .iter()
            .filter(|heat| heat.agreeing(engine).is_some())
            .filter_map(|heat| heat.ratio(engine));
        let Some(mean) = geometric_mean(ratios) else {
            continue;
        };
        marker(svg, engine, position(mean), y)?;
        if engine == Engine::Onnxide {
            number(svg, &format!("{mean:.2}"), y)?;
        }
    }
    Ok(())
}

/// Where a speed is on the axis.
fn position(speed: f64) -> f64 {
    let part = (speed.clamp(SLOWEST, FASTEST) / SLOWEST).ln() / (FASTEST / SLOWEST).ln();
    LEFT + part * (WIDTH - RIGHT - LEFT)
}

fn label(svg: &mut String, text: &str, y: f64) -> fmt::Result {
    let (x, y) = (LEFT - 16.0, y + 4.5);
    writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>",
        Escaped(text)
    )
}

fn number(svg: &mut String, text: &str, y: f64) -> fmt::Result {
    let (x, y) = (WIDTH - 16.0, y + 4.5);
    writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>",
        Escaped(text)
    )
}

/// The shape of an engine.
fn marker(svg: &mut String, engine: Engine, x: f64, y: f64) -> fmt::Result {
    let name = engine.name();
    let points: &[(f64, f64)] = match engine {
        Engine::Onnxide => {
            return writeln!(svg, "<circle class=\"{name}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\"/>");
        }
        Engine::Onnxruntime => &[(-4.5, -4.5), (4.5, -4.5), (4.5, 4.5), (-4.5, 4.5)],
        Engine::Openvino => &[(0.0, -6.0), (6.0, 0.0), (0.0, 6.0), (-6.0, 0.0)],
        Engine::Tract => &[(0.0, -5.5), (5.5, 4.5), (-5.5, 4.5)],
        Engine::Rten => &[(0.0, 5.5), (5.5, -4.5), (-5.5, -4.5)],
    };
    write!(svg, "<polygon class=\"{name}\" points=\"")?;
    for (dx, dy) in points {
        write!(svg, "{:.1},{:.1} ", x + dx, y + dy)?;
    }
    writeln!(svg, "\"/>")
}

/// Text in XML.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    #[test]
    fn engines_that_are_right_are_drawn() {
        let mut record = record();
        record.machine.processor = "A&B".into();
        let svg = draw(&record);
        let count = |text: &str| svg.matches(text).count();
        // In the legend, for each of three heats, and for both means.
        assert_eq!(count("<circle class=\"onnxide\""), 6);
        assert_eq!(count("<polygon class=\"onnxruntime\""), 6);
        // Only in the legend: what is wrong or did not run has no speed.
        assert_eq!(
            (count("<polygon class=\"OpenVINO\""), count("<polygon class=\"tract\"")),
            (1, 1)
        );
        assert!(svg.contains("A&amp;B") && svg.contains("2.000 ms, 0.50"));
    }

    #[test]
    fn the_axis_is_logarithmic_and_has_ends() {
        let middle = (position(0.25) + position(1.0)) / 2.0;
        assert!((position(0.5) - middle).abs() < 1e-9);
        assert_eq!(position(100.0), WIDTH - RIGHT);
        assert_eq!(position(0.0), LEFT);
    }
}
