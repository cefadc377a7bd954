//! What generated modules check before and in a run: sizes, and what operators demand.

use crate::error::RunError;

/// An axis of an input, by the name of the input.
pub type Axis = (&'static str, usize);

/// Checks a size that is constant in the model.
///
/// # Errors
///
/// [`RunError::Dimension`] if `actual` is another size.
#[inline]
pub fn fixed((input, axis): Axis, expected: usize, actual: usize) -> Result<(), RunError> {
    if actual == expected {
        return Ok(());
    }
    Err(RunError::Dimension {
        input,
        axis,
        expected,
        actual,
    })
}

/// The size that an axis gives a symbol.
///
/// # Errors
///
/// [`RunError::Bound`] if it is less than `min` or greater than `max`.
#[inline]
pub fn symbol(
    symbol: &'static str,
    (input, axis): Axis,
    actual: usize,
    min: usize,
    max: usize,
) -> Result<usize, RunError> {
    if (min..=max).contains(&actual) {
        return Ok(actual);
    }
    Err(RunError::Bound {
        input,
        axis,
        symbol,
        actual,
        min,
        max,
    })
}

/// Checks that an axis has the size that another one gave to the symbol of both.
///
/// # Errors
///
/// [`RunError::Disagreement`] if it has not.
#[inline]
pub fn agree(
    symbol: &'static str,
    (first_input, first_axis): Axis,
    first: usize,
    (second_input, second_axis): Axis,
    second: usize,
) -> Result<(), RunError> {
    if first == second {
        return Ok(());
    }
    Err(RunError::Disagreement {
        symbol,
        first_input,
        first_axis,
        first,
        second_input,
        second_axis,
        second,
    })
}

/// Checks a relation between sizes.
///
/// # Errors
///
/// [`RunError::Assumption`] if it does not hold.
#[inline]
pub fn assume(holds: bool, expression: &'static str) -> Result<(), RunError> {
    if holds {
        Ok(())
    } else {
        Err(RunError::Assumption { expression })
    }
}

/// The value of a symbol that a run computed.
///
/// # Errors
///
/// [`RunError::Size`] if it is less than `min` or greater than `max`.
#[inline]
pub fn bind(symbol: &'static str, actual: i64, min: usize, max: usize) -> Result<usize, RunError> {
    match usize::try_from(actual) {
        Ok(size) if (min..=max).contains(&size) => Ok(size),
        _ => Err(RunError::Size {
            symbol,
            actual,
            min,
            max,
        }),
    }
}

/// Checks what a node demands.
///
/// # Errors
///
/// [`RunError::Demand`] if it does not hold.
#[inline]
pub fn demand(holds: bool, node: &'static str, demand: &'static str) -> Result<(), RunError> {
    if holds {
        Ok(())
    } else {
        Err(RunError::Demand { node, demand })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_taken_or_refused() {
        assert_eq!(fixed(("x", 1), 3, 3), Ok(()));
        assert!(fixed(("x", 1), 3, 2).is_err());
        for (size, fits) in [(0, false), (1, true), (8, true), (9, false)] {
            assert_eq!(symbol("n", ("x", 0), size, 1, 8).is_ok(), fits, "{size}");
        }
        assert_eq!(agree("n", ("x", 0), 4, ("y", 2), 4), Ok(()));
        let error = RunError::Disagreement {
            symbol: "n",
            first_input: "x",
            first_axis: 0,
            first: 4,
            second_input: "y",
            second_axis: 2,
            second: 5,
        };
        assert_eq!(agree("n", ("x", 0), 4, ("y", 2), 5), Err(error));
        for (value, fits) in [
            (-1, false),
            (0, false),
            (1, true),
            (8, true),
            (9, false),
            (i64::MAX, false),
        ] {
            assert_eq!(bind("n", value, 1, 8).is_ok(), fits, "{value}");
        }
        assert_eq!(demand(true, "node", "a"), Ok(()));
        let error = RunError::Demand {
            node: "node",
            demand: "a",
        };
        assert_eq!(demand(false, "node", "a"), Err(error));
        assert_eq!(assume(true, "a = b"), Ok(()));
        assert_eq!(
            assume(false, "a = b"),
            Err(RunError::Assumption { expression: "a = b" })
        );
    }
}
