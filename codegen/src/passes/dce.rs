//! Removal of dead code.

use crate::ir::{Block, Graph, Node, Op, ValueId};

/// Removes what no result depends on.
///
/// Postcondition: every node has a result that is used, or ends the run if something does not hold; an `If` gives only results that are used; a `Loop` or `Scan`
/// carries only values, and stacks only outputs, that are used outside or that the used ones depend on. The inputs of
/// the model stay.
pub(super) fn run(graph: &mut Graph) -> bool {
    let mut live = vec![false; graph.value_count()];
    let mut body = std::mem::take(&mut graph.body);
    let changed = clean(&mut body, &mut live);
    graph.body = body;
    changed
}

fn mark(values: &[ValueId], live: &mut [bool]) {
    for value in values {
        live[value.0 as usize] = true;
    }
}

/// Removes dead nodes of a block whose results are all wanted. Afterward `live` has what it captures, too.
fn clean(block: &mut Block, live: &mut [bool]) -> bool {
    mark(&block.results, live);
    let mut changed = false;
    let mut kept = Vec::with_capacity(block.nodes.len());
    while let Some(mut node) = block.nodes.pop() {
        if !node.op.is_effect() && !node.outputs.iter().any(|output| live[output.0 as usize]) {
            changed = true;
            continue;
        }
        changed |= match node.op {
            Op::If => trim_if(&mut node, live),
            Op::Loop { .. } | Op::Scan { .. } => trim_loop(&mut node, live),
            _ => false,
        };
        mark(&node.inputs, live);
        kept.push(node);
    }
    kept.reverse();
    block.nodes = kept;
    changed
}

/// Keeps the elements whose flag is set.
fn retain<T>(list: &mut Vec<T>, keep: &[bool]) {
    let mut flags = keep.iter();
    list.retain(|_| *flags.next().expect("a flag for every element"));
}

fn trim_if(node: &mut Node, live: &mut [bool]) -> bool {
    let keep: Vec<bool> = node.outputs.iter().map(|output| live[output.0 as usize]).collect();
    let mut changed = keep.contains(&false);
    retain(&mut node.outputs, &keep);
    for region in &mut node.regions {
        retain(&mut region.results, &keep);
        changed |= clean(region, live);
    }
    changed
}

fn trim_loop(node: &mut Node, live: &mut [bool]) -> bool {
    // What stands before the carried values: operands of the node, parameters and results of the region.
    let (operands, params, results, carried) = match &node.op {
        Op::Loop { carried, .. } => (2, 2, 1, *carried),
        Op::Scan { carried } => (0, 0, 0, *carried),
        _ => return false,
    };
    let region = &mut node.regions[0];
    let mut keep: Vec<bool> = node.outputs.iter().map(|output| live[output.0 as usize]).collect();
    // A carried value lives if it is wanted after the loop or if something that lives needs it in the next round.
    loop {
        let mut wanted = region.results[..results].to_vec();
        wanted.extend(
            region.results[results..]
                .iter()
                .zip(&keep)
                .filter(|&(_, &keep)| keep)
                .map(|(&result, _)| result),
        );
        let needed = dependencies(region, &wanted, live.len());
        let mut grown = false;
        for index in 0..carried {
            if !keep[index] && needed[region.params[params + index].0 as usize] {
                keep[index] = true;
                grown = true;
            }
        }
        if !grown {
            break;
        }
    }
    let mut changed = false;
    // A node needs a result, and a scan something to scan; those are kept even if all of it is dead.
    if keep.contains(&false) && keep.contains(&true) {
        changed = true;
        for index in (0..keep.len()).rev().filter(|&index| !keep[index]) {
            node.outputs.remove(index);
            region.results.remove(results + index);
            if index < carried {
                node.inputs.remove(operands + index);
                region.params.remove(params + index);
            }
        }
        let left = keep[..carried].iter().filter(|&&keep| keep).count();
        match &mut node.op {
            Op::Loop { carried, .. } | Op::Scan { carried } => *carried = left,
            _ => {}
        }
    }
    changed | clean(region, live)
}

/// The values that some values depend on, by nodes of a block.
fn dependencies(block: &Block, wanted: &[ValueId], count: usize) -> Vec<bool> {
    fn visit(block: &Block, needed: &mut [bool]) {
        mark(&block.results, needed);
        for node in block.nodes.iter().rev() {
            mark_node(node, needed);
        }
    }
    fn mark_node(node: &Node, needed: &mut [bool]) {
        if node.op.is_effect() || node.outputs.iter().any(|output| needed[output.0 as usize]) {
            mark(&node.inputs, needed);
            for region in &node.regions {
                visit(region, needed);
            }
        }
    }
    let mut needed = vec![false; count];
    mark(wanted, &mut needed);
    for node in block.nodes.iter().rev() {
        mark_node(node, &mut needed);
    }
    needed
}
