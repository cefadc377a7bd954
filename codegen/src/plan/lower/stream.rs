//! Convolutions of integers that are computed together, a few rows at a time.
//!
//! A chain of convolutions, each of which only the next one reads, can be computed from the last one backward: some rows of
//! its result need some rows of the image before, and so on. Which chains are is decided in `chains.rs`.
//!
//! Where two convolutions are added and make bytes of the sum, the one that is computed first would be stored as sums of
//! four bytes each. It has no more than a strip: the second is computed a few rows at a time, and each time after the same
//! rows of the first.

use super::super::kernel::{Conv, ConvKind, EpilogueMap, Matrix};
use super::super::streamed::{Member, Streamed};
use super::super::{Access, Base, Item, Kernel, Plan, Step};
use super::block::{drop_steps, is_private, new_scratch};
use crate::ir::{Bounds, DType, Dim};
use std::collections::HashMap;
use std::ops::Range;

/// Turns pairs of convolutions of which the second adds what only it reads of the first into one step.
pub(super) fn fuse_sums(plan: &mut Plan) {
    let is_straight = plan.program.iter().all(|item| matches!(item, Item::Step(_)));
    let mut writers: HashMap<Base, usize> = HashMap::new();
    let mut replaced: Vec<(Vec<usize>, Step)> = Vec::new();
    let mut taken = vec![false; plan.steps.len()];
    for (reader, step) in plan.steps.iter().enumerate() {
        let operands = step.reads.iter().skip(2).filter(|_| epilogue(&step.kernel).is_some());
        let mut found = operands.filter_map(|operand| {
            let writer = *writers.get(&operand.base)?;
            let waits = is_straight && (writer + 1 == reader || waits(plan, writer, reader));
            let step = sum(plan, writer, reader).filter(|_| waits && !taken[writer])?;
            Some((vec![writer, reader], step))
        });
        if let Some((steps, step)) = found.next() {
            steps.iter().for_each(|&step| taken[step] = true);
            replaced.push((steps, step));
        }
        writers.extend(step.writes.iter().map(|write| (write.base, reader)));
    }
    replace(plan, replaced);
}

/// Whether a step may be computed just before a later one: what it reads is there then, and no more is alive for that
/// reason than there would be of its result.
fn waits(plan: &Plan, step: usize, later: usize) -> bool {
    let between = &plan.steps[step + 1..later];
    let Some(Base::Buffer(result)) = plan.steps[step].writes.first().map(|write| write.base) else {
        return false;
    };
    let mut longer = 0;
    for read in &plan.steps[step].reads {
        let Base::Buffer(id) = read.base else { continue };
        if between
            .iter()
            .any(|step| step.writes.iter().any(|write| write.base == read.base))
        {
            return false;
        }
        let reads = |step: &Step| step.reads.iter().any(|other| other.base == read.base);
        if !plan.steps[later..].iter().any(reads) {
            longer += plan.buffers[id.0].bytes();
        }
    }
    longer <= plan.buffers[result.0].bytes()
}

/// Puts each step in the place of the last of several others, which are listed in order.
pub(in crate::plan) fn replace(plan: &mut Plan, replaced: Vec<(Vec<usize>, Step)>) {
    let mut dropped = vec![false; plan.steps.len()];
    for (steps, mut step) in replaced {
        add_scratch(plan, &mut step);
        if let Some((&last, others)) = steps.split_last() {
            plan.steps[last] = step;
            others.iter().for_each(|&other| dropped[other] = true);
        }
    }
    drop_steps(plan, &dropped);
}

/// The steps of a plan that can be computed together with the next one.
pub(in crate::plan) struct Chains {
    /// For each step, its image; rows and columns are known.
    images: Vec<Option<Image>>,
    /// For each step, whether it reads the image of the one before and nobody else does.
    follows: Vec<bool>,
}

impl Chains {
    pub(in crate::plan) fn new(plan: &Plan) -> Chains {
        let is_straight = plan.program.iter().all(|item| matches!(item, Item::Step(_)));
        let mut images: Vec<Option<Image>> = plan.steps.iter().map(image).collect();
        let mut follows = vec![false; plan.steps.len()];
        // A pointwise convolution has the rows and columns of the image that it reads, or of that which is read of it.
        for number in 1..plan.steps.len() {
            follows[number] = is_straight && follow(plan, &images, number);
            let before = images[number - 1].and_then(|image| image.plane);
            if let (true, Some(image)) = (follows[number], &mut images[number]) {
                image.plane = match plan.steps[number].kernel {
                    Kernel::Gemm(_) => before,
                    _ => image.plane,
                };
            }
        }
        for number in (1..plan.steps.len()).rev() {
            let seen = match &plan.steps[number].kernel {
                Kernel::Conv(conv) => conv.window.input[1].as_usize().zip(conv.window.input[2].as_usize()),
                _ => images[number].and_then(|image| image.plane).map(Into::into),
            };
            if let (true, Some(image)) = (follows[number], &mut images[number - 1]) {
                image.plane = image.plane.or(seen.map(Into::into));
            }
        }
        Chains { images, follows }
    }

    /// The steps that can be computed together, two and more of them, as far as that is known of each and the next.
    pub(in crate::plan) fn runs(&self) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (number, &follows) in self.follows.iter().enumerate().skip(1) {
            match runs.last_mut() {
                Some(run) if follows && run.end == number => run.end += 1,
                _ if follows => runs.push(number - 1..number + 1),
                _ => {}
            }
        }
        runs
    }

    /// The step that does what some steps of a run do.
    pub(in crate::plan) fn step(&self, plan: &Plan, steps: Range<usize>) -> Option<Step> {
        let images = self.images[steps.clone()].iter();
        let members = steps.clone().zip(images).map(|(number, image)| {
            let (step, image) = (&plan.steps[number], (*image)?);
            let [rows, columns] = image.plane.unwrap_or([image.pixels, 1]);
            let strip = |read: usize| (read == 0 && number > steps.start).then(|| number - steps.start - 1);
            Some(Member {
                kernel: step.kernel.clone(),
                image: [rows, columns, image.channels],
                dtype: step.writes[0].dtype,
                strips: (0..step.reads.len()).map(strip).collect(),
            })
        });
        let members = members.collect::<Option<Vec<Member>>>()?;
        let last = members.last()?.image[0];
        let steps: Vec<&Step> = plan.steps[steps].iter().collect();
        let sees = steps.iter().all(|step| sees_in_every_row(&step.kernel));
        (last > 1 && sees).then(|| streamed(&steps, members)).flatten()
    }
}

/// Whether a step reads the image of the one before, and nobody else does.
fn follow(plan: &Plan, images: &[Option<Image>], reader: usize) -> bool {
    let (before, step) = (&plan.steps[reader - 1], &plan.steps[reader]);
    let (Some(image), Some(_)) = (images[reader - 1], images[reader]) else {
        return false;
    };
    let channels = image.channels as i64;
    let whole = match &step.kernel {
        Kernel::Gemm(gemm) => {
            let dense = matches!(&gemm.a, Matrix::Strided { row, column } if row.is(channels) && column.is(1));
            dense && gemm.k.is(channels) && gemm.m.is(image.pixels as i64)
        }
        Kernel::Conv(conv) => {
            let [depth, rows, columns] = [0, 1, 2].map(|axis| conv.window.input[axis].as_usize().unwrap_or(0));
            let plane = image.plane.is_none_or(|plane| plane == [rows, columns]);
            let row = columns as i64 * channels;
            let [x_channel, x_row, x_column] = &conv.window.x;
            let dense = x_channel.is(1) && x_row.is(row) && x_column.is(channels);
            dense && plane && depth as i64 == channels && rows * columns == image.pixels
        }
        _ => false,
    };
    whole
        && step.reads[0].offset.is(0)
        && is_strip(plan, before, image.pixels * image.channels)
        && is_private(plan, reader - 1, reader, 0)
}

fn add_scratch(plan: &mut Plan, step: &mut Step) {
    if let Kernel::Streamed(streamed) = &step.kernel {
        step.scratch = Some(new_scratch(plan, streamed.scratch_min()));
    }
}

/// The step that does what two steps do, if the second one adds the result of the first.
fn sum(plan: &Plan, writer: usize, reader: usize) -> Option<Step> {
    let steps = [&plan.steps[writer], &plan.steps[reader]];
    let [first, second] = steps;
    let operands = &epilogue(&second.kernel)?.operands;
    let written = first.writes.first()?.base;
    let place = second.reads.iter().position(|read| read.base == written)?;
    let operand = operands.get(place.checked_sub(2)?)?;
    if !is_private(plan, writer, reader, place) || !second.reads[place].offset.is(0) {
        return None;
    }
    let images = [image(first)?, image(second)?];
    let [rows, columns] = rows_and_columns(images)?;
    let channels = images[0].channels;
    let is_alike = operand.per_column && operand.row.is(channels as i64) && images[1].channels == channels;
    if rows < 2 || !is_alike || !steps.iter().all(|step| sees_in_every_row(&step.kernel)) {
        return None;
    }
    let member = |step: &Step, strip: Option<usize>| Member {
        kernel: step.kernel.clone(),
        image: [rows, columns, channels],
        dtype: step.writes[0].dtype,
        strips: (0..step.reads.len())
            .map(|read| (Some(read) == strip).then_some(0))
            .collect(),
    };
    let members = vec![member(first, None), member(second, Some(place))];
    is_strip(plan, first, members[0].elements(rows))
        .then(|| streamed(&steps, members))
        .flatten()
}

/// The step of a chain whose members are the convolutions of some steps.
fn streamed(steps: &[&Step], members: Vec<Member>) -> Option<Step> {
    let mut reads = Vec::new();
    for (step, member) in steps.iter().zip(&members) {
        let own = step.reads.iter().zip(&member.strips);
        reads.extend(own.filter(|(_, strip)| strip.is_none()).map(|(read, _)| read.clone()));
    }
    let last = steps.last()?;
    // Rows that one band writes may be read for another.
    if reads.iter().any(|read: &Access| read.base == last.writes[0].base) {
        return None;
    }
    Some(Step {
        kernel: Kernel::Streamed(Streamed { members, rows: 1 }),
        loops: Vec::new(),
        reads,
        writes: last.writes.clone(),
        scratch: None,
        parts: Dim::from(1i64),
        divides_loop: false,
        origin: steps.iter().flat_map(|step| step.origin.iter().cloned()).collect(),
        results: last.results.clone(),
        macs: steps.iter().map(|step| step.macs).sum(),
        function: usize::MAX,
    })
}

/// An image as a step computes it.
#[derive(Clone, Copy)]
struct Image {
    /// Rows and columns, if they are known of a matrix of pixels.
    plane: Option<[usize; 2]>,
    pixels: usize,
    channels: usize,
    /// Elements between pixels.
    pitch: usize,
}

/// The result of a convolution of integers of one image of a known size.
fn image(step: &Step) -> Option<Image> {
    if !step.loops.is_empty() {
        return None;
    }
    match &step.kernel {
        Kernel::Gemm(gemm) if gemm.b == Matrix::PackedInt8 => Some(Image {
            plane: None,
            pixels: gemm.m.as_usize()?,
            channels: gemm.n.as_usize()?,
            pitch: gemm.c_row.as_usize()?,
        }),
        Kernel::Conv(conv) if step.kernel.is_int8() && conv.window.is_fixed() => {
            let [channels, rows, columns] = [0, 1, 2].map(|axis| conv.window.output[axis].as_usize());
            Some(Image {
                plane: Some([rows?, columns?]),
                pixels: rows? * columns?,
                channels: channels?,
                pitch: conv.y_pixel.as_usize()?,
            })
        }
        _ => None,
    }
}

/// The rows and columns of images that have as many pixels.
fn rows_and_columns(images: [Image; 2]) -> Option<[usize; 2]> {
    let [first, second] = images.map(|image| image.plane);
    let plane = first.or(second).unwrap_or([images[0].pixels, 1]);
    let is_alike = images.iter().all(|image| image.pixels == plane[0] * plane[1]);
    let agree = second.is_none_or(|second| second == plane);
    (is_alike && agree).then_some(plane)
}

/// Whether every row of a result sees a row of the image, so that no band is made of nothing.
fn sees_in_every_row(kernel: &Kernel) -> bool {
    let Kernel::Conv(conv) = kernel else { return true };
    let problem = conv.problem(&Bounds::new());
    let reach = problem.kernel[0].saturating_sub(1) * problem.dilation[0];
    let last = problem.out_height.saturating_sub(1) * problem.stride[0];
    problem.in_height > 0 && problem.pad[0] <= reach && last < problem.in_height + problem.pad[0]
}

/// Whether the result of a step can be a strip: it is dense, fills its buffer, and its elements have no more than 4 bytes.
fn is_strip(plan: &Plan, step: &Step, elements: usize) -> bool {
    let Base::Buffer(id) = step.writes[0].base else {
        return false;
    };
    let is_known = matches!(step.writes[0].dtype, DType::F32 | DType::I32 | DType::U8 | DType::I8);
    let dense = image(step).is_some_and(|image| image.pitch == image.channels);
    is_known
        && dense
        && !step.kernel.overwrites()
        && step.writes[0].offset.is(0)
        && plan.buffers[id.0].capacity == elements
}

fn epilogue(kernel: &Kernel) -> Option<&EpilogueMap> {
    match kernel {
        Kernel::Gemm(gemm) => gemm.epilogue.as_ref(),
        Kernel::Conv(Conv { epilogue, kind, .. }) => {
            let is_int8 = matches!(kind, ConvKind::Int8(_) | ConvKind::DepthwiseInt8(_));
            epilogue.as_ref().filter(|_| is_int8)
        }
        _ => None,
    }
}
