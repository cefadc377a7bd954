//! Chains of convolutions, a few rows at a time.

use super::function::{Body, Roles};
use super::linear;
use super::literal::rust_type;
use crate::ir::Dim;
use crate::plan::kernel::{Conv, ConvKind, EpilogueMap, Matrix};
use crate::plan::streamed::{Member, Streamed};
use crate::plan::{Access, Base, BufferId, Kernel, Step};

/// The names of what each member reads: those of a step of its own, with its number, or that of a strip.
pub(super) fn roles(streamed: &Streamed) -> Vec<Vec<String>> {
    let members = streamed.members.iter().zip(1..);
    let names = members.map(|(member, number)| {
        let first = match member.kernel {
            Kernel::Gemm(_) => ["a", "b"],
            _ => ["x", "w"],
        };
        let operands = (1..).map(|operand| match operand {
            1 => "e".to_owned(),
            operand => format!("e{operand}"),
        });
        let names = first.into_iter().map(str::to_owned).chain(operands);
        let named = names.zip(&member.strips).map(|(name, strip)| match strip {
            Some(of) => format!("strip_{}", of + 1),
            None => format!("{name}_{number}"),
        });
        named.collect()
    });
    names.collect()
}

pub(super) fn print(body: &mut Body<'_>, streamed: &Streamed) {
    let roles = roles(streamed);
    let count = streamed.height() / streamed.rows;
    for (number, member) in streamed.members.iter().enumerate() {
        if let (Kernel::Conv(conv), false) = (&member.kernel, count == 1) {
            linear::conv_problem(body, &format!("conv_{}", number + 1), conv);
        }
    }
    if count == 1 {
        return members(body, streamed, &roles, None);
    }
    let last = &streamed.members[streamed.members.len() - 1];
    let pitch = match &last.kernel {
        Kernel::Gemm(gemm) => &gemm.c_row,
        Kernel::Conv(conv) => &conv.y_pixel,
        _ => unreachable!("a member is a product or a convolution"),
    };
    let len = Dim::from(streamed.rows * last.image[1]) * pitch.clone();
    let len = body.sizes.text(&len);
    if body.step.is_divided() {
        body.imports.add("linear", "Linear");
        let scratch = body.scratch();
        body.writer.open(format!(
            "s.chunks({count}, y, {len}, {scratch}, |s, band, y, scratch| {{"
        ));
    } else {
        body.writer.open(format!("for band in 0..{count} {{"));
        body.writer.line(format!("let y = &mut y[{len} * band..];"));
    }
    let rows = streamed.rows;
    body.writer.line(match rows {
        1 => "let rows = band..band + 1;".to_owned(),
        _ => format!("let rows = {rows} * band..{rows} * (band + 1);"),
    });
    let ranges = ranges(body, streamed);
    members(body, streamed, &roles, Some(&ranges));
    body.writer.close(if body.step.is_divided() { "});" } else { "}" });
}

/// The names of the rows that each member computes of its image, and of those that it sees.
fn ranges(body: &mut Body<'_>, streamed: &Streamed) -> Vec<[String; 2]> {
    let count = streamed.members.len();
    let mut ranges = vec![["rows".to_owned(), "rows".to_owned()]; count];
    for number in (0..count).rev() {
        if number + 1 < count {
            let (reader, is_image) = streamed.reader(number);
            ranges[number][0] = ranges[reader][usize::from(is_image)].clone();
        }
        let rows = ranges[number][0].clone();
        ranges[number][1] = match &streamed.members[number].kernel {
            Kernel::Conv(_) => {
                let (of, sees) = (number + 1, format!("rows_{}", number + 1));
                body.writer
                    .line(format!("let (conv_{of}, {sees}) = conv_{of}.band(&{rows});"));
                sees
            }
            _ => rows,
        };
    }
    ranges
}

/// The calls of the members, for the ranges of a band or for whole images.
fn members(body: &mut Body<'_>, streamed: &Streamed, roles: &[Vec<String>], ranges: Option<&[[String; 2]]>) {
    let bands = streamed.bands(streamed.rows);
    let last = streamed.members.len() - 1;
    let copies = |member: &Member| {
        matches!(
            member.kernel,
            Kernel::Conv(Conv {
                kind: ConvKind::Int8(_),
                ..
            })
        )
    };
    for (number, member) in streamed.members.iter().enumerate() {
        let mut target = "y".to_owned();
        if number < last {
            target = format!("strip_{}", number + 1);
            body.imports.add("linear", "strip");
            let (ty, len) = (rust_type(member.dtype), member.elements(bands[number]));
            let more = streamed.members[number..last].len() > 1 || streamed.members[number..].iter().any(copies);
            let left = if more { "scratch" } else { "_" };
            body.writer
                .line(format!("let ({target}, {left}) = strip::<{ty}>(scratch, {len});"));
        }
        if let Some(ranges) = ranges {
            slices(body, member, &roles[number], &ranges[number]);
        }
        let step = own_step(body.step, streamed, number);
        let names = Roles {
            reads: roles[number].clone(),
            writes: vec![target],
        };
        body.within(&step, names, |body| match &member.kernel {
            Kernel::Gemm(gemm) => {
                let rows = ranges.map(|ranges| (ranges[number][0].as_str(), member.image[1]));
                linear::gemm_rows(body, gemm, rows);
            }
            Kernel::Conv(conv) => {
                let name = match ranges {
                    Some(_) => format!("conv_{}", number + 1),
                    None => {
                        linear::conv_problem(body, "problem", conv);
                        "problem".to_owned()
                    }
                };
                linear::conv_of(body, &name, conv);
            }
            _ => unreachable!("a member is a product or a convolution"),
        });
    }
}

/// The parts of what a member reads that belong to its rows.
fn slices(body: &mut Body<'_>, member: &Member, names: &[String], [rows, sees]: &[String; 2]) {
    let width = Dim::from(member.image[1]);
    let mut slice = |name: &str, row: Dim, rows: &str| {
        let row = body.sizes.text(&row);
        body.writer
            .line(format!("let {name} = &{name}[{row} * {rows}.start..];"));
    };
    let epilogue: Option<&EpilogueMap> = match &member.kernel {
        Kernel::Gemm(gemm) => {
            if let (None, Matrix::Strided { row, .. }) = (member.strips[0], &gemm.a) {
                slice(&names[0], width.clone() * row.clone(), rows);
            }
            gemm.epilogue.as_ref()
        }
        Kernel::Conv(conv) => {
            if member.strips[0].is_none() {
                slice(&names[0], conv.window.x[1].clone(), sees);
            }
            conv.epilogue.as_ref()
        }
        _ => None,
    };
    let operands = epilogue.map(|map| map.operands.as_slice()).unwrap_or_default();
    for (index, operand) in operands.iter().enumerate() {
        let used = epilogue.is_some_and(|map| map.uses(index));
        if used && member.strips[2 + index].is_none() && !operand.row.is(0) {
            slice(&names[2 + index], width.clone() * operand.row.clone(), rows);
        }
    }
}

/// The step that a member would be by itself.
fn own_step(step: &Step, streamed: &Streamed, number: usize) -> Step {
    let member = &streamed.members[number];
    let mut own = step.reads[streamed.first_reads()[number]..].iter();
    // A strip is as a buffer is.
    let strip = |of: usize| Access {
        base: Base::Buffer(BufferId(usize::MAX)),
        dtype: streamed.members[of].dtype,
        offset: Dim::from(0i64),
        loop_strides: Vec::new(),
    };
    let reads = member.strips.iter().map(|of| match of {
        Some(of) => strip(*of),
        None => own.next().expect("a member reads what the step does").clone(),
    });
    Step {
        reads: reads.collect(),
        writes: vec![strip(number)],
        kernel: member.kernel.clone(),
        scratch: matches!(member.kernel, Kernel::Conv(_))
            .then(|| step.scratch.clone())
            .flatten(),
        ..step.clone()
    }
}
