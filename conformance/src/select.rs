//! Which cases to look at.

use clap::Args;

use crate::suite::{Case, Entry, Suite};

/// A selection of cases: those that satisfy all options that are given.
#[derive(Clone, Debug, Default, Args)]
pub struct Selection {
    /// The suite.
    #[arg(long, value_enum, default_value_t)]
    pub suite: Suite,
    /// Cases whose name contains one of these texts.
    #[arg(value_name = "FILTER")]
    names: Vec<String>,
    /// Cases about this operator.
    #[arg(long = "op", value_name = "NAME")]
    operators: Vec<String>,
    /// Cases of this tier.
    #[arg(long = "tier", value_name = "T1..T5")]
    tiers: Vec<String>,
    /// Cases of this kind: `node`, `simple`, `pytorch-converted`, `pytorch-operator` or `real`; in the quantized suite
    /// `operator`, `qdq`, `dynamic` or `chain`.
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Cases with elements of this class of types: `main`, `half`, `exotic` or `string`.
    #[arg(long = "types", value_name = "CLASS")]
    types: Vec<String>,
}

impl Selection {
    /// Whether a case is selected.
    pub fn has(&self, entry: &Entry) -> bool {
        let any = |list: &[String], value: &str| list.is_empty() || list.iter().any(|item| item == value);
        (self.names.is_empty() || self.names.iter().any(|name| entry.name.contains(name)))
            && any(&self.operators, &entry.operator)
            && any(&self.tiers, &entry.tier)
            && any(&self.kinds, &entry.kind)
            && any(&self.types, &entry.types)
    }

    /// Whether every case of the suite is selected.
    pub fn is_all(&self) -> bool {
        let Selection {
            names,
            operators,
            tiers,
            kinds,
            types,
            suite: _,
        } = self;
        [names, operators, tiers, kinds, types]
            .iter()
            .all(|list| list.is_empty())
    }

    /// Whether cases of a kind are asked for by its name.
    pub fn names_kind(&self, kind: &str) -> bool {
        self.kinds.iter().any(|name| name == kind)
    }

    /// The selected ones of these cases.
    pub fn of(&self, cases: Vec<Case>) -> Vec<Case> {
        cases.into_iter().filter(|case| self.has(&case.entry)).collect()
    }
}
