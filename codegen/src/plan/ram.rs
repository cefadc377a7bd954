//! Plans for an arena of a given size.
//!
//! A plan that is as fast as the compiler can make it may need more memory than there is. There are several ways to give
//! up time for memory: less working memory for kernels, no tiles for convolutions that have no room for them, rows
//! streamed through depthwise blocks whose images a cache would hold, and through chains of convolutions of integers, some
//! of whose rows are then computed twice. Of the plans that fit, the one with the least estimated time is taken.

use super::lower::{LARGE, LowerOptions, lower};
use super::scratch::Room;
use super::{Access, Base, Buffer, Kernel, Plan, PlanError, PlanOptions, chains, place, reorder, scratch, threads};
use crate::ir::graph::Graph;
use std::fmt;
use std::str::FromStr;

/// An amount of memory in bytes: as a text, a number with `K` for 1024 bytes, `M` for 1024 of these, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RamSize(pub usize);

impl FromStr for RamSize {
    type Err = String;

    fn from_str(text: &str) -> Result<RamSize, String> {
        let expected = || format!("`{text}` is no amount of memory; expected bytes, such as 65536, 64K or 1.5M");
        let text = text.trim();
        let (number, unit) = match text.strip_suffix(['K', 'k', 'M', 'm']) {
            Some(number) if text.ends_with(['K', 'k']) => (number, 1 << 10),
            Some(number) => (number, 1 << 20),
            None => (text, 1),
        };
        let (whole, part) = number.trim().split_once('.').unwrap_or((number.trim(), "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 6 || (unit == 1 && number.contains('.')) {
            return Err(expected());
        }
        let whole: usize = whole.parse().map_err(|_| expected())?;
        let part = part.parse::<usize>().map_err(|_| expected())? * unit / 10usize.pow(part.len() as u32);
        let bytes = whole.checked_mul(unit).and_then(|bytes| bytes.checked_add(part));
        bytes.map(RamSize).ok_or_else(expected)
    }
}

impl fmt::Display for RamSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            bytes if bytes.is_multiple_of(1 << 20) => write!(f, "{}M", bytes >> 20),
            bytes if bytes.is_multiple_of(1 << 10) => write!(f, "{}K", bytes >> 10),
            bytes => write!(f, "{bytes}"),
        }
    }
}

/// The plan of a graph with places for all values, before weights have theirs.
pub(super) fn plan(graph: &Graph, options: &PlanOptions) -> Result<Plan, Vec<PlanError>> {
    let lowered = lowered(graph, options, lower_options(options))?;
    let fast = best_order(&lowered, options, None, false);
    let limit = match options.ram {
        Some(limit) if fast.certificate.arena_bytes > limit => limit,
        _ => return Ok(fast),
    };
    let plans = bounded(graph, options, &lowered, limit)?;
    let (fits, others): (Vec<Plan>, Vec<Plan>) = plans
        .into_iter()
        .partition(|plan| plan.certificate.arena_bytes <= limit);
    let fastest = fits
        .into_iter()
        .min_by(|a, b| scratch::time(a).total_cmp(&scratch::time(b)));
    fastest.ok_or_else(|| {
        let smallest = others.iter().min_by_key(|plan| plan.certificate.arena_bytes);
        smallest.map_or_else(Vec::new, |plan| refuse(plan, limit))
    })
}

/// The plan with the smallest arena that is found, before weights have places.
pub(super) fn smallest(graph: &Graph, options: &PlanOptions) -> Result<Plan, Vec<PlanError>> {
    let lowered = lowered(graph, options, lower_options(options))?;
    let plans = bounded(graph, options, &lowered, 0)?;
    let smallest = plans.into_iter().min_by_key(|plan| plan.certificate.arena_bytes);
    smallest.ok_or_else(Vec::new)
}

/// The ways to give up time for memory.
fn bounded(graph: &Graph, options: &PlanOptions, lowered: &Plan, limit: usize) -> Result<Vec<Plan>, Vec<PlanError>> {
    let streams = LowerOptions {
        stream_from: 0,
        ..lower_options(options)
    };
    let streamed = self::lowered(graph, options, streams)?;
    let mut lowered = vec![lowered.clone(), streamed];
    let mut chained = lower(graph, streams)?;
    if chains::fuse(&mut chained, limit, options.threads.max(1)) {
        lowered.push(divided(chained, options));
    }
    let mut plans = Vec::new();
    for direct in [false, true] {
        let plan = |lowered| best_order(lowered, options, Some(limit), direct);
        plans.extend(lowered.iter().map(plan));
    }
    Ok(plans)
}

fn lower_options(options: &PlanOptions) -> LowerOptions<'_> {
    LowerOptions {
        threads: options.threads,
        winograd: options.winograd,
        precision: options.precision,
        accumulate: !options.plain,
        stream_from: if options.plain { i64::MAX } else { LARGE },
        tuning: &options.tuning,
    }
}

/// A lowered graph whose steps are divided and have the least working memory.
fn lowered(graph: &Graph, options: &PlanOptions, how: LowerOptions<'_>) -> Result<Plan, Vec<PlanError>> {
    Ok(divided(lower(graph, how)?, options))
}

fn divided(mut plan: Plan, options: &PlanOptions) -> Plan {
    threads::divide(&mut plan, options.threads, &options.tuning);
    scratch::shrink(&mut plan);
    plan
}

/// The plan with the steps as they are given, or in another order if that has a smaller arena.
fn best_order(lowered: &Plan, options: &PlanOptions, limit: Option<usize>, direct: bool) -> Plan {
    let mut given = lowered.clone();
    if let (true, Some(limit)) = (direct, limit) {
        scratch::without_tiles(&mut given, limit);
    }
    let mut other = given.clone();
    place_all(&mut given, options, limit);
    if options.plain || limit.is_some_and(|limit| given.certificate.arena_bytes <= limit) {
        return given;
    }
    if reorder::reorder(&mut other) {
        place_all(&mut other, options, limit);
        if other.certificate.arena_bytes < given.certificate.arena_bytes {
            return other;
        }
    }
    given
}

fn place_all(plan: &mut Plan, options: &PlanOptions, limit: Option<usize>) {
    super::function::find_functions(plan);
    let room = match limit {
        _ if options.plain => Room::Fastest,
        Some(limit) => Room::Within(limit),
        None => Room::Balanced,
    };
    scratch::size(plan, room);
    place::place(plan);
}

/// How many steps, and values of each, an error lists.
const LISTED: usize = 4;

/// Says which steps keep a model from fitting.
fn refuse(plan: &Plan, limit: usize) -> Vec<PlanError> {
    let arena = plan.certificate.arena_bytes;
    let mut steps: Vec<usize> = (0..plan.steps.len()).collect();
    steps.sort_by_key(|&step| (std::cmp::Reverse(plan.certificate.peaks[step]), step));
    let over = steps.iter().filter(|&&step| plan.certificate.peaks[step] > limit);
    let over = over.count();
    let message = match over {
        0 => format!(
            "an arena of {limit} bytes would hold what is alive at any step, but no order of places was found with \
             which it does; the smallest arena found has {arena} bytes"
        ),
        _ => format!(
            "an arena of {limit} bytes is too small, the smallest arena found has {arena} bytes; in {over} of {} steps \
             more is alive than fits",
            plan.steps.len()
        ),
    };
    let mut errors = vec![PlanError {
        origin: Vec::new(),
        operator: "memory",
        message,
    }];
    errors.extend(steps[..over.clamp(1, LISTED).min(steps.len())].iter().map(|&number| {
        let step = &plan.steps[number];
        let mut alive: Vec<&Buffer> = plan.buffers.iter().collect();
        alive.retain(|buffer| buffer.first <= number && number <= buffer.last);
        alive.sort_by_key(|buffer| std::cmp::Reverse(buffer.bytes()));
        let shown = alive.iter().take(LISTED);
        let mut values: Vec<String> = shown
            .map(|buffer| format!("{} {}", buffer.bytes(), named(plan, buffer)))
            .collect();
        if alive.len() > LISTED {
            let rest: usize = alive[LISTED..].iter().map(|buffer| buffer.bytes()).sum();
            values.push(format!("{rest} in {} more", alive.len() - LISTED));
        }
        PlanError {
            origin: step.origin.clone(),
            operator: step.kernel.name(),
            message: format!(
                "{} bytes are alive: {}{}",
                plan.certificate.peaks[number],
                values.join(", "),
                reason(&step.kernel)
            ),
        }
    }));
    errors
}

/// What a buffer holds, for people.
fn named(plan: &Plan, buffer: &Buffer) -> String {
    if buffer.name == "scratch" {
        return "of working memory".to_owned();
    }
    if !buffer.name.is_empty() {
        return format!("`{}`", buffer.name);
    }
    let holds = |access: &Access| match access.base {
        Base::Buffer(id) => std::ptr::eq(&plan.buffers[id.0], buffer),
        _ => false,
    };
    let writer = plan.steps.iter().find(|step| step.writes.iter().any(holds));
    match writer.and_then(|step| step.origin.first()) {
        Some(node) => format!("of the result of `{node}`"),
        None => "of a copy".to_owned(),
    }
}

/// Why a step cannot do with less.
fn reason(kernel: &Kernel) -> &'static str {
    match kernel {
        Kernel::Conv(_) | Kernel::Pool(_) | Kernel::ConvTranspose(_) => {
            "; its input is read by windows, so that the result needs a place of its own"
        }
        Kernel::Gemm(_) => "; rows of its input are read for all columns of the result, which needs a place of its own",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory() {
        for (text, bytes, shown) in [
            ("65536", 65536, "64K"),
            ("64K", 65536, "64K"),
            (" 64 k", 65536, "64K"),
            ("1.5M", 3 << 19, "1536K"),
            ("2M", 2 << 20, "2M"),
            ("0", 0, "0"),
            ("100", 100, "100"),
        ] {
            let size: RamSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown), "{text}");
        }
        for text in [
            "",
            "K",
            "64KB",
            "-1",
            "1.5",
            "1..5K",
            "1e3",
            "99999999999999999999",
            "18446744073709551615M",
        ] {
            let error = text.parse::<RamSize>().unwrap_err();
            assert!(
                error.starts_with(&format!("`{text}` is no amount of memory")),
                "{error}"
            );
        }
    }
}
