//! Ensembles of decision trees.
//!
//! All rows walk all trees at once, a step of every walk at a time, without a branch: the nodes are arrays, and after as
//! many steps as the deepest tree has, every walk has arrived at a leaf, which leads to itself.

use super::classify::{self, Binary, Labels, Transform};
use super::forest::{Child, Forest, Mode, Nodes, Split, floats_or_tensor, same_length};
use super::{ML, Results, features, rows, table};
use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::import::formula::Formula;
use crate::import::rules::Rules;
use crate::ir::op::ReduceKind;
use crate::ir::{BinaryOp, DType, Dim, Op, Tensor, UnaryOp, ValueId};

pub(in crate::import::rules) const RULES: Rules = &[
    (ML, "TreeEnsembleClassifier", classifier),
    (ML, "TreeEnsembleRegressor", regressor),
    (ML, "TreeEnsemble", ensemble),
];

/// How the leaves of all trees make one score.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// What a leaf adds to a target.
struct Vote {
    leaf: usize,
    target: usize,
    weight: f64,
}

/// The leaves `[rows, trees]` that rows arrive at, counted from the first one.
fn walk(cx: &mut Call, x: ValueId, forest: &Forest) -> Result<ValueId, Fault> {
    let (dtype, rows, width) = (cx.dtype(x), cx.shape(x)[0].clone(), cx.shape(x)[1].clone());
    let ints = |cx: &mut Call, of: &dyn Fn(&super::forest::Branch) -> usize| {
        let values: Vec<_> = forest.branches.iter().map(|branch| of(branch) as i32).collect();
        cx.constant(Tensor::new(vec![values.len()], &values))
    };
    let limits = |cx: &mut Call, of: &dyn Fn(&super::forest::Branch) -> f64| {
        let values: Vec<_> = forest.branches.iter().map(of).collect();
        table(cx, vec![values.len()], &values, dtype)
    };
    let inner = &forest.branches[..forest.first_leaf];
    // Most trees compare in one direction only, and most send what is not a number where a comparison does not hold.
    let two_sided = inner.iter().any(|branch| branch.low != f64::NEG_INFINITY);
    let has_missing = inner.iter().any(|branch| branch.missing != branch.outside);
    let mut operands = vec![
        x,
        ints(cx, &|branch| branch.feature),
        limits(cx, &|branch| branch.high)?,
        ints(cx, &|branch| branch.inside),
        ints(cx, &|branch| branch.outside),
    ];

    let f = Formula::new();
    let node = f.input(0, DType::I64);
    let child = |operand| f.at(operand, node, DType::I32);
    let value = f.at(1, f.index(0) * f.dim(&width) + child(2).cast(DType::I64), dtype);
    let mut holds = value.le(f.at(3, node, dtype));
    if two_sided {
        operands.push(limits(cx, &|branch| branch.low)?);
        holds = holds.and(value.ge(f.at(operands.len(), node, dtype)));
    }
    let mut next = holds.select(child(4), child(5));
    if has_missing {
        operands.push(ints(cx, &|branch| branch.missing));
        next = value.unary(UnaryOp::IsNan).select(child(operands.len()), next);
    }
    let expr = f.result(next.cast(DType::I64));

    let trees = forest.roots.len();
    let shape = vec![rows, Dim::from(trees)];
    let roots: Vec<_> = forest.roots.iter().map(|&root| root as i64).collect();
    let roots = cx.constant(Tensor::new(vec![trees], &roots));
    let start = cx.emit(Op::Broadcast { shape: shape.clone() }, &[roots])?;
    let nodes = cx.repeat(forest.depth, start, |cx, _, node| {
        let inputs: Vec<_> = [node].into_iter().chain(operands.iter().copied()).collect();
        Ok((cx.emit(Op::Elementwise { expr, shape }, &inputs)?, None))
    })?;
    let first = cx.number(forest.first_leaf as f64, DType::I64)?;
    cx.binary(BinaryOp::Sub, nodes, first)
}

/// The scores `[rows, targets]` from the leaves that rows arrive at.
fn scores(
    cx: &mut Call,
    x: ValueId,
    forest: &Forest,
    votes: &[Vote],
    targets: usize,
    aggregate: Aggregate,
) -> Result<ValueId, Fault> {
    let (dtype, trees) = (cx.dtype(x), forest.roots.len());
    if targets == 0 || trees == 0 {
        return Err(Fault::new("there are no trees or no targets"));
    }
    let limit = if dtype == DType::F64 {
        f64::MAX
    } else {
        f64::from(f32::MAX)
    };
    let (neutral, kind) = match aggregate {
        Aggregate::Sum | Aggregate::Average => (0.0, ReduceKind::Sum),
        Aggregate::Min => (limit, ReduceKind::Min),
        Aggregate::Max => (-limit, ReduceKind::Max),
    };
    let leaves = forest.branches.len() - forest.first_leaf;
    let size = leaves.checked_mul(targets).filter(|size| *size <= 1 << 28);
    let size = size.ok_or_else(|| Fault::new(format!("{leaves} leaves with {targets} targets are too many")))?;
    let mut weights = vec![neutral; size];
    for vote in votes {
        let weight = &mut weights[vote.leaf * targets + vote.target];
        *weight = match aggregate {
            Aggregate::Sum | Aggregate::Average => *weight + vote.weight,
            Aggregate::Min => weight.min(vote.weight),
            Aggregate::Max => weight.max(vote.weight),
        };
    }
    let weights = table(cx, vec![leaves, targets], &weights, dtype)?;
    let leaves = walk(cx, x, forest)?;
    let parts = cx.emit(Op::Gather { axis: 0 }, &[weights, leaves])?;
    let sum = cx.emit(
        Op::Reduce {
            kind,
            axes: vec![1],
            keep_dims: false,
        },
        &[parts],
    )?;
    if aggregate != Aggregate::Average {
        return Ok(sum);
    }
    let trees = cx.number(trees as f64, dtype)?;
    cx.binary(BinaryOp::Div, sum, trees)
}

/// The votes that three parallel attributes give to leaves.
fn votes(cx: &Call, nodes: &Nodes, names: [&'static str; 5], targets: usize) -> Result<Vec<Vote>, Fault> {
    let [trees, ids, targets_of, weights, weights_tensor] = names;
    let weights = floats_or_tensor(cx, weights, weights_tensor)?;
    let ints = |name: &'static str| {
        let values = cx.ints(name)?.unwrap_or_default();
        same_length(name, values.len(), weights.len()).map(|()| values)
    };
    let (trees, ids, targets_of) = (ints(trees)?, ints(ids)?, ints(targets_of)?);
    let mut votes = Vec::with_capacity(weights.len());
    for (i, &weight) in weights.iter().enumerate() {
        // A weight at a node that is no leaf is never given.
        let Some(&leaf) = nodes.leaves.get(&(trees[i], ids[i])) else {
            continue;
        };
        let target = usize::try_from(targets_of[i]).ok().filter(|target| *target < targets);
        let target = target.ok_or_else(|| Fault::new(format!("a leaf votes for {} of {targets}", targets_of[i])))?;
        votes.push(Vote { leaf, target, weight });
    }
    Ok(votes)
}

/// With two labels and votes for one class only, that is the second class, and its score decides.
fn classifier(cx: &mut Call) -> Results {
    let transform = Transform::of(cx)?;
    let labels = Labels::of(cx, "classlabels_int64s", "classlabels_strings")?;
    let nodes = Nodes::of(cx)?;
    let names = [
        "class_treeids",
        "class_nodeids",
        "class_ids",
        "class_weights",
        "class_weights_as_tensor",
    ];
    let mut votes = votes(cx, &nodes, names, labels.len())?;
    let mut base = floats_or_tensor(cx, "base_values", "base_values_as_tensor")?;
    let x = rows(cx, 0)?;
    let forest = Forest::new(
        &nodes.splits,
        nodes.leaves.len(),
        &nodes.roots,
        features(cx, x)?,
        cx.dtype(x),
    )?;
    let one_class = votes.iter().all(|vote| vote.target == votes[0].target);
    if labels.len() > 2 || !one_class || votes.is_empty() {
        let scores = scores(cx, x, &forest, &votes, labels.len(), Aggregate::Sum)?;
        let scores = classify::shifted(cx, scores, &base)?;
        let scores = cx.cast(scores, DType::F32)?;
        return classify::largest(cx, scores, &labels, transform);
    }
    let share = votes.iter().all(|vote| vote.weight >= 0.0);
    let rule = Binary {
        threshold: if share && labels.len() == 2 { 0.5 } else { 0.0 },
        share,
    };
    // Of two base values that of the second class counts.
    base = base.split_off(base.len().saturating_sub(1));
    votes.iter_mut().for_each(|vote| vote.target = 0);
    let score = scores(cx, x, &forest, &votes, 1, Aggregate::Sum)?;
    let score = classify::shifted(cx, score, &base)?;
    let score = cx.cast(score, DType::F32)?;
    classify::binary(cx, score, &labels, transform, rule)
}

/// Base values are added after aggregation.
fn regressor(cx: &mut Call) -> Results {
    let transform = Transform::of(cx)?;
    let aggregate = match cx.string("aggregate_function", "SUM")? {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => return cx.unsupported("aggregate_function", other),
    };
    let targets = targets(cx)?;
    let nodes = Nodes::of(cx)?;
    let names = [
        "target_treeids",
        "target_nodeids",
        "target_ids",
        "target_weights",
        "target_weights_as_tensor",
    ];
    let votes = votes(cx, &nodes, names, targets)?;
    let base = floats_or_tensor(cx, "base_values", "base_values_as_tensor")?;
    let x = rows(cx, 0)?;
    let forest = Forest::new(
        &nodes.splits,
        nodes.leaves.len(),
        &nodes.roots,
        features(cx, x)?,
        cx.dtype(x),
    )?;
    let scores = scores(cx, x, &forest, &votes, targets, aggregate)?;
    let scores = classify::shifted(cx, scores, &base)?;
    let scores = cx.cast(scores, DType::F32)?;
    Ok(vec![transform.apply(cx, scores)?])
}

fn targets(cx: &Call) -> Result<usize, Fault> {
    let count = cx.int("n_targets", 1)?;
    let valid = usize::try_from(count).ok().filter(|count| (1..1 << 20).contains(count));
    valid.map_or_else(|| cx.unsupported("n_targets", count), Ok)
}

/// Trees since version 5, whose branches and leaves are lists of their own.
fn ensemble(cx: &mut Call) -> Results {
    let transform = Transform::of_number(cx)?;
    let aggregate = match cx.int("aggregate_function", 1)? {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return cx.unsupported("aggregate_function", other),
    };
    let targets = targets(cx)?;
    let (weights, targets_of) = (
        tensor(cx, "leaf_weights")?,
        cx.ints("leaf_targetids")?.unwrap_or_default(),
    );
    same_length("leaf_targetids", targets_of.len(), weights.len())?;
    let mut votes = Vec::with_capacity(weights.len());
    for (leaf, (&weight, &target)) in weights.iter().zip(&targets_of).enumerate() {
        let found = usize::try_from(target).ok().filter(|target| *target < targets);
        let target = found.ok_or_else(|| Fault::new(format!("a leaf votes for {target} of {targets}")))?;
        votes.push(Vote { leaf, target, weight });
    }
    let (splits, roots) = splits(cx, weights.len())?;
    let own = cx.dtype(cx.input(0)?);
    let x = rows(cx, 0)?;
    let forest = Forest::new(&splits, weights.len(), &roots, features(cx, x)?, cx.dtype(x))?;
    let scores = scores(cx, x, &forest, &votes, targets, aggregate)?;
    let scores = transform.apply(cx, scores)?;
    Ok(vec![cx.cast(scores, own)?])
}

fn tensor(cx: &Call, name: &'static str) -> Result<Vec<f64>, Fault> {
    let found = cx.constant_attribute(name)?;
    let found = found.ok_or_else(|| Fault::new(format!("attribute `{name}` is missing")))?;
    found
        .to_floats()
        .or_else(|| Some(found.to_ints()?.into_iter().map(|value| value as f64).collect()))
        .ok_or_else(|| Fault::new(format!("attribute `{name}` is a tensor of {}", found.dtype)))
}

/// The branches and the roots of the trees.
fn splits(cx: &Call, leaves: usize) -> Result<(Vec<Split>, Vec<Child>), Fault> {
    cx.ignore(&["nodes_hitrates"]);
    let modes = tensor(cx, "nodes_modes")?;
    let count = modes.len();
    let ints = |name: &'static str| {
        let values = cx.ints(name)?.unwrap_or_default();
        same_length(name, values.len(), count).map(|()| values)
    };
    let features = ints("nodes_featureids")?;
    let (yes, yes_leaf) = (ints("nodes_truenodeids")?, ints("nodes_trueleafs")?);
    let (no, no_leaf) = (ints("nodes_falsenodeids")?, ints("nodes_falseleafs")?);
    let values = tensor(cx, "nodes_splits")?;
    same_length("nodes_splits", values.len(), count)?;
    let missing = match cx.has("nodes_missing_value_tracks_true") {
        true => ints("nodes_missing_value_tracks_true")?,
        false => vec![0; count],
    };
    // Sets are in the order of the nodes, each ended by not-a-number.
    let members = match cx.has("membership_values") {
        true => tensor(cx, "membership_values")?,
        false => Vec::new(),
    };
    let mut sets = members.split(|member| member.is_nan());
    let child = |node: i64, leaf: i64| {
        let limit = if leaf != 0 { leaves } else { count };
        let place = usize::try_from(node).ok().filter(|place| *place < limit);
        let place = place.ok_or_else(|| Fault::new(format!("a tree leads to node {node} of {limit}")))?;
        Ok::<_, Fault>(if leaf != 0 {
            Child::Leaf(place)
        } else {
            Child::Split(place)
        })
    };
    let mut splits = Vec::with_capacity(count);
    for i in 0..count {
        const MODES: [Mode; 7] = [
            Mode::LessOrEqual,
            Mode::Less,
            Mode::GreaterOrEqual,
            Mode::Greater,
            Mode::Equal,
            Mode::NotEqual,
            Mode::Member,
        ];
        let mode = MODES.get(modes[i] as usize).copied();
        let mode = mode.ok_or_else(|| Fault::new(format!("a node of mode {}", modes[i])))?;
        let set = if mode == Mode::Member {
            sets.next()
        } else {
            Some(&[][..])
        };
        let set = set.ok_or_else(|| Fault::new("a node tests membership of a set that is not given"))?;
        splits.push(Split {
            feature: features[i],
            mode,
            value: values[i],
            missing_holds: missing[i] != 0,
            members: set.to_vec(),
            yes: child(yes[i], yes_leaf[i])?,
            no: child(no[i], no_leaf[i])?,
        });
    }
    let mut roots = Vec::new();
    for root in cx.ints("tree_roots")?.unwrap_or_default() {
        let place = usize::try_from(root).ok().filter(|place| *place < count);
        let place = place.ok_or_else(|| Fault::new(format!("a tree starts at node {root} of {count}")))?;
        // A tree that is a leaf is a node both of whose branches lead there.
        let split = &splits[place];
        let leaf = matches!(split.yes, Child::Leaf(_)) && split.yes == split.no;
        roots.push(if leaf { split.yes } else { Child::Split(place) });
    }
    Ok((splits, roots))
}
