//! Decision trees as arrays of nodes, whatever attributes describe them.

use std::collections::HashMap;

use crate::import::builder::Fault;
use crate::import::call::Call;
use crate::ir::DType;

/// How a node compares a feature with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
    /// Whether the feature is in a set.
    Member,
}

/// A node as a model describes it; children are numbers in the same list.
pub(super) struct Split {
    pub(super) feature: i64,
    pub(super) mode: Mode,
    pub(super) value: f64,
    /// Whether a feature that is not a number goes where the comparison holds.
    pub(super) missing_holds: bool,
    pub(super) members: Vec<f64>,
    pub(super) yes: Child,
    pub(super) no: Child,
}

/// Where a branch leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Child {
    /// To a split, by its number.
    Split(usize),
    /// To a leaf, by its number.
    Leaf(usize),
}

/// A node in the one form that the walk knows: inside of an interval or not, or not a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Branch {
    pub(super) feature: usize,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) inside: usize,
    pub(super) outside: usize,
    pub(super) missing: usize,
}

/// Trees whose branches come before their leaves, which lead to themselves.
pub(super) struct Forest {
    /// The branches, then the leaves.
    pub(super) branches: Vec<Branch>,
    /// The number of the first leaf.
    pub(super) first_leaf: usize,
    /// Where each tree starts.
    pub(super) roots: Vec<usize>,
    /// After this many steps every walk has arrived at a leaf.
    pub(super) depth: usize,
}

/// The largest number of branches.
const MAX_BRANCHES: usize = 1 << 24;

impl Forest {
    /// Trees of splits that compare features of a type, of which there are `features`.
    pub(super) fn new(
        splits: &[Split],
        leaves: usize,
        roots: &[Child],
        features: usize,
        dtype: DType,
    ) -> Result<Forest, Fault> {
        let mut branches: Vec<Branch> = Vec::new();
        // The branch that a split begins with, and the children of branches, which are numbered when all are known.
        let mut first = Vec::with_capacity(splits.len());
        let mut children: Vec<[Next; 3]> = Vec::new();
        for split in splits {
            let feature = usize::try_from(split.feature)
                .ok()
                .filter(|feature| *feature < features);
            let feature = feature
                .ok_or_else(|| Fault::new(format!("a node compares feature {} of {features}", split.feature)))?;
            first.push(branches.len());
            let (yes, no) = (Next::Child(split.yes), Next::Child(split.no));
            let missing = if split.missing_holds || split.mode == Mode::NotEqual {
                yes
            } else {
                no
            };
            for ((low, high), next) in intervals(split, dtype, branches.len(), yes, no) {
                branches.push(Branch {
                    feature,
                    low,
                    high,
                    inside: 0,
                    outside: 0,
                    missing: 0,
                });
                children.push([next[0], next[1], missing]);
            }
            if branches.len() > MAX_BRANCHES {
                return Err(Fault::new(format!("the trees have more than {MAX_BRANCHES} branches")));
            }
        }
        let first_leaf = branches.len();
        let number = |next: Next| match next {
            Next::Branch(branch) => branch,
            Next::Child(Child::Split(split)) => first[split],
            Next::Child(Child::Leaf(leaf)) => first_leaf + leaf,
        };
        for (branch, next) in branches.iter_mut().zip(children) {
            [branch.inside, branch.outside, branch.missing] = next.map(number);
        }
        branches.extend((first_leaf..first_leaf + leaves).map(|leaf| Branch {
            feature: 0,
            low: 0.0,
            high: 0.0,
            inside: leaf,
            outside: leaf,
            missing: leaf,
        }));
        let roots: Vec<_> = roots.iter().map(|&root| number(Next::Child(root))).collect();
        let depth = depth(&branches, first_leaf, &roots)?;
        Ok(Forest {
            branches,
            first_leaf,
            roots,
            depth,
        })
    }
}

/// A child of a branch before branches are numbered.
#[derive(Clone, Copy)]
enum Next {
    Branch(usize),
    Child(Child),
}

/// The branches of a split, the first of which has the number `start`: an interval and the children inside and outside
/// of it. A set of members is found by bisection.
fn intervals(split: &Split, dtype: DType, start: usize, yes: Next, no: Next) -> Vec<((f64, f64), [Next; 2])> {
    let (value, infinity) = (split.value, f64::INFINITY);
    let never = (infinity, -infinity);
    let one = |interval, next| vec![(interval, next)];
    match split.mode {
        Mode::NotEqual if value.is_nan() => one(never, [no, yes]),
        _ if value.is_nan() && split.mode != Mode::Member => one(never, [yes, no]),
        Mode::LessOrEqual => one((-infinity, value), [yes, no]),
        Mode::Less if value == -infinity => one(never, [yes, no]),
        Mode::Less => one((-infinity, below(value, dtype)), [yes, no]),
        Mode::GreaterOrEqual => one((value, infinity), [yes, no]),
        Mode::Greater if value == infinity => one(never, [yes, no]),
        Mode::Greater => one((-below(-value, dtype), infinity), [yes, no]),
        Mode::Equal => one((value, value), [yes, no]),
        Mode::NotEqual => one((value, value), [no, yes]),
        Mode::Member => {
            let mut members = split.members.clone();
            members.sort_by(f64::total_cmp);
            members.dedup();
            let mut branches = Vec::new();
            match members.as_slice() {
                [] => branches.push((never, [yes, no])),
                members => bisect(members, start, yes, no, &mut branches),
            }
            branches
        }
    }
}

fn bisect(members: &[f64], start: usize, yes: Next, no: Next, branches: &mut Vec<((f64, f64), [Next; 2])>) {
    if let [member] = members {
        return branches.push(((*member, *member), [yes, no]));
    }
    let (lower, upper) = members.split_at(members.len() / 2);
    let place = branches.len();
    let left = Next::Branch(start + place + 1);
    branches.push(((f64::NEG_INFINITY, lower[lower.len() - 1]), [left, no]));
    bisect(lower, start, yes, no, branches);
    branches[place].1[1] = Next::Branch(start + branches.len());
    bisect(upper, start, yes, no, branches);
}

/// The next smaller number of a type.
fn below(value: f64, dtype: DType) -> f64 {
    match dtype {
        DType::F64 => value.next_down(),
        _ => f64::from((value as f32).next_down()),
    }
}

/// The largest number of branches from a root to a leaf.
fn depth(branches: &[Branch], first_leaf: usize, roots: &[usize]) -> Result<usize, Fault> {
    const OPEN: usize = usize::MAX;
    let mut depths: Vec<Option<usize>> = vec![None; branches.len()];
    depths[first_leaf..].fill(Some(0));
    for &root in roots {
        let mut path = vec![root];
        while let Some(&branch) = path.last() {
            if depths[branch].is_some_and(|depth| depth != OPEN) {
                path.pop();
                continue;
            }
            let here = branches[branch];
            let children = [here.inside, here.outside, here.missing];
            if depths[branch].is_none() {
                depths[branch] = Some(OPEN);
                for child in children {
                    match depths[child] {
                        Some(OPEN) => return Err(Fault::new("a tree leads back to a node above")),
                        Some(_) => {}
                        None => path.push(child),
                    }
                }
            } else {
                let below = children
                    .iter()
                    .filter_map(|&child| depths[child].filter(|depth| *depth != OPEN));
                depths[branch] = Some(1 + below.max().unwrap_or(0));
                path.pop();
            }
        }
    }
    Ok(roots.iter().filter_map(|&root| depths[root]).max().unwrap_or(0))
}

/// Trees as the operators before version 5 describe them: a list of nodes of which some are leaves.
pub(super) struct Nodes {
    pub(super) splits: Vec<Split>,
    pub(super) roots: Vec<Child>,
    /// The leaf that a node is, by tree and node.
    pub(super) leaves: HashMap<(i64, i64), usize>,
}

impl Nodes {
    /// Reads the attributes `nodes_*`.
    pub(super) fn of(cx: &Call) -> Result<Nodes, Fault> {
        // It says how often a node was reached in training.
        cx.ignore(&["nodes_hitrates", "nodes_hitrates_as_tensor"]);
        let modes = cx.strings("nodes_modes")?.unwrap_or_default();
        let count = modes.len();
        let ints = |name: &'static str| {
            let values = cx.ints(name)?.unwrap_or_default();
            same_length(name, values.len(), count).map(|()| values)
        };
        let (trees, ids, features) = (
            ints("nodes_treeids")?,
            ints("nodes_nodeids")?,
            ints("nodes_featureids")?,
        );
        let (yes, no) = (ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?);
        let values = floats_or_tensor(cx, "nodes_values", "nodes_values_as_tensor")?;
        same_length("nodes_values", values.len(), count)?;
        let missing = cx.ints("nodes_missing_value_tracks_true")?.unwrap_or_default();
        if !missing.is_empty() {
            same_length("nodes_missing_value_tracks_true", missing.len(), count)?;
        }
        let mut children = HashMap::new();
        let (mut roots, mut seen) = (Vec::new(), std::collections::HashSet::new());
        let (mut leaves, mut splits) = (HashMap::new(), 0);
        for (i, mode) in modes.iter().enumerate() {
            let child = if mode == "LEAF" {
                let leaf = leaves.len();
                leaves.insert((trees[i], ids[i]), leaf);
                Child::Leaf(leaf)
            } else {
                splits += 1;
                Child::Split(splits - 1)
            };
            if children.insert((trees[i], ids[i]), child).is_some() {
                return Err(Fault::new(format!("tree {} has two nodes {}", trees[i], ids[i])));
            }
            if seen.insert(trees[i]) {
                roots.push(child);
            }
        }
        let child = |tree: i64, node: i64| {
            let found = children.get(&(tree, node)).copied();
            found.ok_or_else(|| Fault::new(format!("tree {tree} has no node {node}")))
        };
        let mut list = Vec::with_capacity(splits);
        for (i, mode) in modes.iter().enumerate().filter(|(_, mode)| *mode != "LEAF") {
            list.push(Split {
                feature: features[i],
                mode: mode_named(mode)?,
                value: values[i],
                missing_holds: missing.get(i).is_some_and(|&flag| flag != 0),
                members: Vec::new(),
                yes: child(trees[i], yes[i])?,
                no: child(trees[i], no[i])?,
            });
        }
        Ok(Nodes {
            splits: list,
            roots,
            leaves,
        })
    }
}

fn mode_named(name: &str) -> Result<Mode, Fault> {
    Ok(match name {
        "BRANCH_LEQ" => Mode::LessOrEqual,
        "BRANCH_LT" => Mode::Less,
        "BRANCH_GTE" => Mode::GreaterOrEqual,
        "BRANCH_GT" => Mode::Greater,
        "BRANCH_EQ" => Mode::Equal,
        "BRANCH_NEQ" => Mode::NotEqual,
        other => return Err(Fault::new(format!("a node of mode `{other}`"))),
    })
}

/// Requires parallel lists.
pub(super) fn same_length(name: &str, found: usize, wanted: usize) -> Result<(), Fault> {
    if found == wanted {
        Ok(())
    } else {
        Err(Fault::new(format!(
            "`{name}` has {found} elements, where {wanted} are expected"
        )))
    }
}

/// Floats that are a list in 32 bits or a tensor.
pub(super) fn floats_or_tensor(cx: &Call, list: &'static str, tensor: &'static str) -> Result<Vec<f64>, Fault> {
    match cx.constant_attribute(tensor)? {
        Some(found) => found
            .to_floats()
            .ok_or_else(|| Fault::new(format!("attribute `{tensor}` is a tensor of {}", found.dtype))),
        None => super::floats(cx, list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(mode: Mode, value: f64) -> Split {
        Split {
            feature: 0,
            mode,
            value,
            missing_holds: false,
            members: vec![5.0, 1.0, 3.0, 3.0, -2.0],
            yes: Child::Leaf(1),
            no: Child::Leaf(0),
        }
    }

    /// The leaf that a feature arrives at, and after how many steps.
    fn walk(forest: &Forest, value: f64) -> (usize, usize) {
        let (mut node, mut steps) = (forest.roots[0], 0);
        while node < forest.first_leaf {
            let branch = forest.branches[node];
            node = match value {
                value if value.is_nan() => branch.missing,
                value if branch.low <= value && value <= branch.high => branch.inside,
                _ => branch.outside,
            };
            steps += 1;
        }
        (node - forest.first_leaf, steps)
    }

    #[test]
    fn every_comparison_is_an_interval() {
        let tiny = f64::from(f32::MIN_POSITIVE);
        let values = [
            -2.0,
            -tiny,
            0.0,
            tiny,
            1.0,
            2.0,
            3.0,
            4.0,
            5.0,
            6.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        type Holds = fn(f64, f64) -> bool;
        let holds: [(Mode, Holds); 6] = [
            (Mode::LessOrEqual, |x, t| x <= t),
            (Mode::Less, |x, t| x < t),
            (Mode::GreaterOrEqual, |x, t| x >= t),
            (Mode::Greater, |x, t| x > t),
            (Mode::Equal, |x, t| x == t),
            (Mode::NotEqual, |x, t| x != t),
        ];
        for dtype in [DType::F32, DType::F64] {
            for (mode, holds) in holds {
                for threshold in values.into_iter().chain([f64::NAN]) {
                    let forest = Forest::new(&[split(mode, threshold)], 2, &[Child::Split(0)], 1, dtype).unwrap();
                    for value in values.into_iter().chain([f64::NAN]) {
                        let expected = (usize::from(holds(value, threshold)), 1);
                        assert_eq!(walk(&forest, value), expected, "{mode:?} {value} {threshold}");
                    }
                }
            }
        }
    }

    #[test]
    fn sets_are_found_by_bisection() {
        let forest = Forest::new(&[split(Mode::Member, 0.0)], 2, &[Child::Split(0)], 1, DType::F32).unwrap();
        assert_eq!(forest.depth, 3);
        for value in [-3.0, -2.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, f64::NAN] {
            let member = [-2.0, 1.0, 3.0, 5.0].contains(&value);
            let (leaf, steps) = walk(&forest, value);
            assert_eq!(leaf, usize::from(member), "{value}");
            assert!(steps <= forest.depth);
        }
    }
}
