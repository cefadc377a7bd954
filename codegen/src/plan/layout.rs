//! Where the elements of a value lie in its storage: views as affine maps.

use crate::ir::graph::Graph;
use crate::ir::{Bounds, Dim};

/// A strided arrangement of elements, in elements of the storage's type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// The storage index of the first element.
    pub offset: Dim,
    /// The size of each axis.
    pub shape: Vec<Dim>,
    /// The distance between neighbors along each axis; 0 where a value is broadcast.
    pub strides: Vec<Dim>,
}

/// The strides of a dense row-major tensor.
pub fn dense_strides(shape: &[Dim]) -> Vec<Dim> {
    let mut strides = vec![Dim::from(1i64); shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].clone() * shape[axis].clone();
    }
    strides
}

impl Layout {
    /// A dense row-major layout from the start of the storage.
    pub fn dense(shape: &[Dim]) -> Layout {
        Layout {
            offset: Dim::from(0i64),
            shape: shape.to_vec(),
            strides: dense_strides(shape),
        }
    }

    /// The number of elements.
    pub fn elements(&self) -> Dim {
        self.shape.iter().cloned().product()
    }

    /// Whether the elements lie without gaps in row-major order, wherever they start.
    pub fn is_dense(&self) -> bool {
        let mut expected = Dim::from(1i64);
        for (size, stride) in self.shape.iter().zip(&self.strides).rev() {
            if size.is(1) {
                continue;
            }
            if *stride != expected {
                return false;
            }
            expected = expected * size.clone();
        }
        true
    }

    /// Axes in another order.
    pub fn transpose(&self, permutation: &[usize]) -> Layout {
        Layout {
            offset: self.offset.clone(),
            shape: permutation.iter().map(|&axis| self.shape[axis].clone()).collect(),
            strides: permutation.iter().map(|&axis| self.strides[axis].clone()).collect(),
        }
    }

    /// Every `step`-th element from `start` on each axis. Steps are positive.
    pub fn slice(&self, starts: &[Dim], steps: &[i64], shape: &[Dim], bounds: &Bounds) -> Layout {
        let first = starts.iter().zip(&self.strides);
        let mut first: Dim = first.map(|(start, stride)| start.clone() * stride.clone()).sum();
        // What has no elements has no first one either: its offset stays within the storage.
        if !first.is(0) {
            let empty = shape.iter().filter(|size| size.range(bounds).low <= 0);
            first = empty.fold(first, |first, size| first * size.minimum(&Dim::from(1i64), bounds));
        }
        let offset = self.offset.clone() + first;
        let strides = self
            .strides
            .iter()
            .zip(steps)
            .map(|(stride, &step)| stride.clone() * Dim::from(step))
            .collect();
        Layout {
            offset,
            shape: shape.to_vec(),
            strides,
        }
    }

    /// The layout seen from a larger shape it broadcasts to.
    pub fn broadcast(&self, shape: &[Dim]) -> Layout {
        let missing = shape.len() - self.shape.len();
        let strides = (0..shape.len())
            .map(|axis| match axis.checked_sub(missing) {
                Some(own) if !(self.shape[own].is(1)) => self.strides[own].clone(),
                _ => Dim::from(0i64),
            })
            .collect();
        Layout {
            offset: self.offset.clone(),
            shape: shape.to_vec(),
            strides,
        }
    }

    /// The same elements in the same order under another shape, if strides can express it.
    ///
    /// Runs of axes of both shapes with equal products are matched; within a run the old axes must follow each other
    /// without gaps.
    pub fn reshape(&self, graph: &Graph, shape: &[Dim]) -> Option<Layout> {
        let old: Vec<(Dim, Dim)> = self
            .shape
            .iter()
            .cloned()
            .zip(self.strides.iter().cloned())
            .filter(|(size, _)| !size.is(1))
            .collect();
        let new: Vec<usize> = (0..shape.len()).filter(|&axis| !shape[axis].is(1)).collect();
        let mut strides = vec![Dim::from(0i64); shape.len()];
        let (mut i, mut j) = (0, 0);
        while i < old.len() || j < new.len() {
            let (start_i, start_j) = (i, j);
            let mut from = old.get(i)?.0.clone();
            let mut to = shape[*new.get(j)?].clone();
            i += 1;
            j += 1;
            while from != to && !graph.dims_equal(&from, &to) {
                if j < new.len() && (from.exact_div(&to).is_some() || i >= old.len()) {
                    to = to * shape[new[j]].clone();
                    j += 1;
                } else if i < old.len() {
                    from = from * old[i].0.clone();
                    i += 1;
                } else {
                    return None;
                }
            }
            let gapless = (start_i + 1..i).all(|axis| old[axis - 1].1 == old[axis].1.clone() * old[axis].0.clone());
            if !gapless {
                return None;
            }
            let mut stride = old[i - 1].1.clone();
            for &axis in new[start_j..j].iter().rev() {
                strides[axis] = stride.clone();
                stride = stride * shape[axis].clone();
            }
        }
        // Axes of size 1 take the stride that keeps a dense layout recognizably dense.
        for axis in (0..shape.len()).rev() {
            if shape[axis].is(1) {
                strides[axis] = match axis + 1 < shape.len() {
                    true => strides[axis + 1].clone() * shape[axis + 1].clone(),
                    false => Dim::from(1i64),
                };
            }
        }
        Some(Layout {
            offset: self.offset.clone(),
            shape: shape.to_vec(),
            strides,
        })
    }

    /// One more than the largest storage index that occurs, for non-negative strides.
    pub fn end(&self) -> Dim {
        let mut end = self.offset.clone() + Dim::from(1i64);
        for (size, stride) in self.shape.iter().zip(&self.strides) {
            end = end + (size.clone() - Dim::from(1i64)) * stride.clone();
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(sizes: &[i64]) -> Vec<Dim> {
        sizes.iter().map(|&size| Dim::from(size)).collect()
    }

    #[test]
    fn heads_split_and_merge_without_a_copy() {
        let graph = Graph::new("test");
        let (b, s) = (Dim::symbol("b"), Dim::symbol("s"));
        let x = Layout::dense(&[b.clone(), s.clone(), Dim::from(768i64)]);
        let split = x
            .reshape(&graph, &[b.clone(), s.clone(), Dim::from(12i64), Dim::from(64i64)])
            .unwrap();
        let heads = split.transpose(&[0, 2, 1, 3]);
        assert!(!heads.is_dense());
        assert_eq!(heads.strides[1], Dim::from(64i64));
        let back = heads.transpose(&[0, 2, 1, 3]);
        assert!(back.is_dense());
        assert!(
            back.reshape(&graph, &[b.clone() * s.clone(), Dim::from(768i64)])
                .unwrap()
                .is_dense()
        );
        assert_eq!(heads.reshape(&graph, &[b, s * Dim::from(768i64)]), None);
    }

    #[test]
    fn size_one_axes_do_not_matter() {
        let graph = Graph::new("test");
        let x = Layout::dense(&dims(&[1, 3, 1, 5]));
        let y = x.reshape(&graph, &dims(&[3, 5, 1, 1])).unwrap();
        assert!(y.is_dense());
        assert_eq!(y.strides, dims(&[5, 1, 1, 1]));
        assert!(x.transpose(&[2, 1, 0, 3]).is_dense());
    }

    #[test]
    fn slices_and_broadcasts_are_affine() {
        let x = Layout::dense(&dims(&[4, 6]));
        let y = x.slice(&dims(&[1, 2]), &[2, 1], &dims(&[2, 3]), &Bounds::new());
        assert_eq!((y.offset.clone(), y.strides.clone()), (Dim::from(8i64), dims(&[12, 1])));
        assert_eq!(y.end(), Dim::from(8 + 12 + 2 + 1i64));
        let empty = Layout::dense(&dims(&[0, 6])).slice(&dims(&[0, 2]), &[1, 1], &dims(&[0, 3]), &Bounds::new());
        assert_eq!(empty.offset, Dim::from(0i64));
        let z = Layout::dense(&dims(&[3, 1])).broadcast(&dims(&[2, 3, 5]));
        assert_eq!(z.strides, dims(&[0, 1, 0]));
    }
}
