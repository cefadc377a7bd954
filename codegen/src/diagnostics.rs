//! What the compiler tells its user about a model that it cannot compile.
//!
//! A phase collects every finding in a [`Diagnostics`] and gives up at its end, so that one run shows all there is to fix.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

/// How many nodes of one group of findings are listed by name.
const MAX_NODES: usize = 6;
/// How many groups of findings are listed.
const MAX_GROUPS: usize = 30;
/// How many findings are kept; further ones are counted.
const MAX_FINDINGS: usize = 4096;

/// A node as a finding names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeRef {
    /// Position of the node in the file, counted within its own graph.
    pub index: usize,
    /// Name of the node; empty when the file gives none.
    pub name: String,
}

impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            write!(f, "#{}", self.index)
        } else {
            write!(f, "`{}` (#{})", self.name.escape_debug(), self.index)
        }
    }
}

/// One finding about a model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Diagnostic {
    /// The model, as the caller named it.
    pub model: String,
    /// The operator, with its domain unless that is the standard one; `None` for a finding about the model as a whole.
    pub operator: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The node in question; `None` for a finding about the model as a whole.
    pub node: Option<NodeRef>,
}

impl Diagnostic {
    /// A finding about the model as a whole; its model is filled in by [`Diagnostics::push`].
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            model: String::new(),
            operator: None,
            message: message.into(),
            help: None,
            node: None,
        }
    }

    /// Says which node, of which operator, the finding is about.
    #[must_use]
    pub fn at(mut self, index: usize, name: impl Into<String>, operator: impl Into<String>) -> Self {
        self.node = Some(NodeRef {
            index,
            name: name.into(),
        });
        self.operator = Some(operator.into());
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Findings about one model, in the order of discovery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    model: String,
    items: Vec<Diagnostic>,
    dropped: usize,
}

impl Diagnostics {
    /// No findings yet about the model that the caller calls `model`.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            items: Vec::new(),
            dropped: 0,
        }
    }

    /// A single finding.
    pub fn one(model: impl Into<String>, diagnostic: Diagnostic) -> Self {
        let mut all = Self::new(model);
        all.push(diagnostic);
        all
    }

    /// Adds a finding and makes it one about this model.
    pub fn push(&mut self, mut diagnostic: Diagnostic) {
        if self.items.len() >= MAX_FINDINGS {
            self.dropped += 1;
            return;
        }
        diagnostic.model.clone_from(&self.model);
        self.items.push(diagnostic);
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Number of findings.
    pub fn len(&self) -> usize {
        self.items.len() + self.dropped
    }

    /// The findings in the order of discovery, the first few thousand of them.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.items.iter()
    }

    /// The model, as the caller named it.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// `value` if nothing was found, otherwise the findings.
    ///
    /// # Errors
    /// Returns the findings when there is at least one.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Findings that differ in the node alone: those about the whole model first, then operator by operator, both in the
    /// order of discovery.
    fn groups(&self) -> Vec<Group<'_>> {
        let mut operators: Vec<Option<&str>> = vec![None];
        for item in &self.items {
            if !operators.contains(&item.operator.as_deref()) {
                operators.push(item.operator.as_deref());
            }
        }
        let mut groups: Vec<Group<'_>> = Vec::new();
        for operator in operators {
            let first = groups.len();
            for item in self.items.iter().filter(|item| item.operator.as_deref() == operator) {
                let known = groups[first..]
                    .iter_mut()
                    .find(|g| g.head.message == item.message && g.head.help == item.help);
                match known {
                    Some(group) => group.nodes.extend(&item.node),
                    None => groups.push(Group {
                        head: item,
                        nodes: item.node.iter().collect(),
                    }),
                }
            }
        }
        groups
    }
}

struct Group<'a> {
    head: &'a Diagnostic,
    nodes: Vec<&'a NodeRef>,
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.groups();
        write!(f, "cannot compile {}", self.model)?;
        if groups.len() > 1 {
            write!(f, " ({} problems)", groups.len())?;
        }
        // Advice that several groups share is given once, after the last of them.
        let mut shown = BTreeSet::new();
        for (i, group) in groups.iter().take(MAX_GROUPS).enumerate() {
            write!(f, "\n  ")?;
            if let Some(operator) = &group.head.operator {
                write!(f, "{}: ", operator.escape_debug())?;
            }
            write!(f, "{}", group.head.message.replace('\n', "\n    "))?;
            if !group.nodes.is_empty() {
                let names: Vec<_> = group.nodes.iter().take(MAX_NODES).map(ToString::to_string).collect();
                write!(f, "\n    at {}", names.join(", "))?;
                if group.nodes.len() > MAX_NODES {
                    write!(f, " ... and {} more", group.nodes.len() - MAX_NODES)?;
                }
            }
            if let Some(help) = &group.head.help {
                let repeats = groups[i + 1..]
                    .iter()
                    .take(MAX_GROUPS)
                    .any(|g| g.head.help.as_ref() == Some(help));
                if !repeats && shown.insert(help) {
                    write!(f, "\n    help: {}", help.replace('\n', "\n          "))?;
                }
            }
        }
        let unlisted = groups.len().saturating_sub(MAX_GROUPS) + self.dropped;
        if unlisted > 0 {
            write!(f, "\n  ... and {unlisted} more problems")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Why a model could not be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A file could not be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says, or that it is no regular file.
        reason: String,
    },
    /// A file could not be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// The model is invalid, or needs what the compiler does not support or was not told.
    #[error(transparent)]
    Model(#[from] Diagnostics),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_grouped_and_listings_capped() {
        let mut all = Diagnostics::new("models/cat.onnx");
        for i in 0..9 {
            all.push(Diagnostic::new("the operator is not supported").at(
                i * 3,
                format!("/layer.{i}/Foo"),
                "com.example.Foo",
            ));
            if i % 4 == 0 {
                let help = "set `mode` to `linear`";
                all.push(
                    Diagnostic::new("`mode` = `cubic` is not supported")
                        .at(i * 3 + 1, "", "Bar")
                        .help(help),
                );
            }
        }
        all.push(Diagnostic::new("the model has no outputs"));
        assert_eq!(all.len(), 13);
        insta::assert_snapshot!(all, @r"
        cannot compile models/cat.onnx (3 problems)
          the model has no outputs
          com.example.Foo: the operator is not supported
            at `/layer.0/Foo` (#0), `/layer.1/Foo` (#3), `/layer.2/Foo` (#6), `/layer.3/Foo` (#9), `/layer.4/Foo` (#12), `/layer.5/Foo` (#15) ... and 3 more
          Bar: `mode` = `cubic` is not supported
            at #1, #13, #25
            help: set `mode` to `linear`
        ");
    }

    #[test]
    fn groups_are_capped() {
        let mut all = Diagnostics::new("m");
        for i in 0..MAX_GROUPS + 2 {
            all.push(Diagnostic::new(format!("finding {i}")));
        }
        let text = all.to_string();
        assert!(text.ends_with("\n  finding 29\n  ... and 2 more problems"), "{text}");
    }
}
