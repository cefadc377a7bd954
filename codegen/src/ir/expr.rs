//! Scalar expressions: what an elementwise operation computes for one element of its result.

use super::dim::Dim;
use super::dtype::DType;

/// The number of a node in an [`Expr`].
pub type ScalarId = usize;

/// A scalar expression as a DAG in topological order; the last node is the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// The nodes; operands come before their users.
    pub nodes: Vec<ScalarNode>,
}

/// A node of an [`Expr`].
#[derive(Clone, Debug, PartialEq)]
pub struct ScalarNode {
    /// What is computed.
    pub op: Scalar,
    /// The type of the value.
    pub dtype: DType,
}

/// A scalar operation. Operands of arithmetic have the type of the result; operands of comparisons have one type and
/// the result is `bool`.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// The element of an operand tensor at the (broadcast) position of the result.
    Input(usize),
    /// A constant.
    Const(Literal),
    /// The value of a dimension, as `i64`.
    Dim(Dim),
    /// The coordinate of the result element along an axis, as `i64`.
    Index(usize),
    /// The element of an operand tensor at a computed place: its number in row-major order, as `i64`. Zero (`false`)
    /// where there is no such element. The operand need not broadcast to the result.
    At(usize, ScalarId),
    /// A function of one value.
    Unary(UnaryOp, ScalarId),
    /// A function of two values.
    Binary(BinaryOp, ScalarId, ScalarId),
    /// The second value where the first (`bool`) holds, the third elsewhere.
    Select(ScalarId, ScalarId, ScalarId),
    /// Conversion to the type of the node, with ONNX's rules: float to integer truncates toward zero and saturates (to
    /// an integer of less than eight bits it wraps, beyond `i32`), to `bool` tests for non-zero, integer narrowing wraps.
    /// To a float it rounds to nearest, ties to even, once; what is out of range becomes what the type has for that: an
    /// infinity, else NaN, else its largest value.
    Cast(ScalarId),
    /// The value of the type of the node, which has as many bits as the type of the operand, that has the same bits.
    Bits(ScalarId),
}

/// A constant scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Literal {
    /// A value of a floating-point type, exactly.
    Float(f64),
    /// A value of an integer type.
    Int(i128),
    /// A truth value.
    Bool(bool),
}

macro_rules! scalar_ops {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every operation.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The name in the text form of the IR.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The operation of a [`name`](Self::name).
            pub fn from_name(name: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|op| op.name() == name)
            }
        }
    };
}

scalar_ops! {
    /// A scalar function of one value.
    UnaryOp {
        /// `-x`, wrapping for integers.
        Neg = "neg",
        /// `|x|`, wrapping for integers.
        Abs = "abs",
        /// -1, 0 or 1.
        Sign = "sign",
        /// Logical negation of a `bool`.
        Not = "not",
        /// Bitwise complement of an integer.
        BitNot = "bitnot",
        /// Square root.
        Sqrt = "sqrt",
        /// `1 / sqrt(x)`.
        Rsqrt = "rsqrt",
        /// `1 / x`.
        Recip = "recip",
        /// `e^x`.
        Exp = "exp",
        /// Natural logarithm.
        Ln = "ln",
        /// Sine.
        Sin = "sin",
        /// Cosine.
        Cos = "cos",
        /// Tangent.
        Tan = "tan",
        /// Inverse sine.
        Asin = "asin",
        /// Inverse cosine.
        Acos = "acos",
        /// Inverse tangent.
        Atan = "atan",
        /// Hyperbolic sine.
        Sinh = "sinh",
        /// Hyperbolic cosine.
        Cosh = "cosh",
        /// Hyperbolic tangent.
        Tanh = "tanh",
        /// Inverse hyperbolic sine.
        Asinh = "asinh",
        /// Inverse hyperbolic cosine.
        Acosh = "acosh",
        /// Inverse hyperbolic tangent.
        Atanh = "atanh",
        /// Error function.
        Erf = "erf",
        /// Largest integer not above.
        Floor = "floor",
        /// Smallest integer not below.
        Ceil = "ceil",
        /// Nearest integer, ties to even.
        Round = "round",
        /// `1 / (1 + e^-x)`.
        Sigmoid = "sigmoid",
        /// `x * sigmoid(x)`.
        Silu = "silu",
        /// `x * (1 + erf(x / sqrt 2)) / 2`.
        Gelu = "gelu",
        /// `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2`.
        GeluTanh = "gelu_tanh",
        /// `x * min(max(x / 6 + 1 / 2, 0), 1)`.
        HardSwish = "hard_swish",
        /// `ln(1 + e^x)`.
        Softplus = "softplus",
        /// `x * tanh(softplus(x))`.
        Mish = "mish",
        /// Whether the value is not a number.
        IsNan = "isnan",
        /// Whether the value is infinite.
        IsInf = "isinf",
    }
}

scalar_ops! {
    /// A scalar function of two values.
    BinaryOp {
        /// Sum, wrapping for integers.
        Add = "add",
        /// Difference, wrapping for integers.
        Sub = "sub",
        /// Product, wrapping for integers.
        Mul = "mul",
        /// Quotient; of integers, truncated toward zero, and 0 for a divisor of 0.
        Div = "div",
        /// Remainder with the sign of the divisor (ONNX `Mod`, `fmod = 0`), 0 for a divisor of 0.
        Mod = "mod",
        /// Remainder with the sign of the dividend (ONNX `Mod`, `fmod = 1`), 0 for an integer divisor of 0.
        Rem = "rem",
        /// Power; both operands have the type of the result.
        Pow = "pow",
        /// The larger value; not-a-number if either is.
        Max = "max",
        /// The smaller value; not-a-number if either is.
        Min = "min",
        /// Conjunction of `bool`, bitwise of integers.
        And = "and",
        /// Disjunction of `bool`, bitwise of integers.
        Or = "or",
        /// Exclusive disjunction of `bool`, bitwise of integers.
        Xor = "xor",
        /// Shift left of integers; 0 past the width, and by a negative number.
        Shl = "shl",
        /// Shift right of integers, signed ones with their sign; past the width, and by a negative number, -1 of a
        /// negative integer and 0 of others.
        Shr = "shr",
        /// Equal.
        Eq = "eq",
        /// Not equal.
        Ne = "ne",
        /// Less.
        Lt = "lt",
        /// Less or equal.
        Le = "le",
        /// Greater.
        Gt = "gt",
        /// Greater or equal.
        Ge = "ge",
    }
}

impl UnaryOp {
    /// Whether the result is `bool` whatever the operand.
    pub const fn gives_bool(self) -> bool {
        matches!(self, UnaryOp::IsNan | UnaryOp::IsInf | UnaryOp::Not)
    }
}

impl BinaryOp {
    /// Whether the result is `bool` whatever the operands.
    pub const fn is_comparison(self) -> bool {
        matches!(
            self,
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge
        )
    }

    /// Whether exchanging the operands changes nothing.
    pub const fn is_commutative(self) -> bool {
        use BinaryOp::*;
        matches!(self, Add | Mul | Max | Min | And | Or | Xor | Eq | Ne)
    }
}

impl Expr {
    /// An expression without nodes, to be filled by [`push`](Expr::push) and its relatives.
    pub fn empty() -> Expr {
        Expr { nodes: Vec::new() }
    }

    /// The expression that is its one operand.
    pub fn identity(dtype: DType) -> Expr {
        let mut expr = Expr::empty();
        expr.input(0, dtype);
        expr
    }

    /// One unary operation on operand 0.
    pub fn unary(op: UnaryOp, dtype: DType) -> Expr {
        let mut expr = Expr::empty();
        let x = expr.input(0, dtype);
        expr.apply1(op, x);
        expr
    }

    /// One binary operation on operands 0 and 1 of one type.
    pub fn binary(op: BinaryOp, dtype: DType) -> Expr {
        let mut expr = Expr::empty();
        let a = expr.input(0, dtype);
        let b = expr.input(1, dtype);
        expr.apply2(op, a, b);
        expr
    }

    /// The conversion of operand 0.
    pub fn cast(from: DType, to: DType) -> Expr {
        let mut expr = Expr::empty();
        let x = expr.input(0, from);
        expr.push(Scalar::Cast(x), to);
        expr
    }

    /// Appends a node, or finds an equal one.
    pub fn push(&mut self, op: Scalar, dtype: DType) -> ScalarId {
        let node = ScalarNode { op, dtype };
        if let Some(found) = self.nodes.iter().position(|existing| *existing == node) {
            return found;
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// An operand of the elementwise operation.
    pub fn input(&mut self, index: usize, dtype: DType) -> ScalarId {
        self.push(Scalar::Input(index), dtype)
    }

    /// A floating-point constant, rounded to a type.
    pub fn float(&mut self, value: f64, dtype: DType) -> ScalarId {
        self.push(
            Scalar::Const(Literal::Float(super::eval::round_to(value, dtype))),
            dtype,
        )
    }

    /// The coordinate along an axis.
    pub fn index(&mut self, axis: usize) -> ScalarId {
        self.push(Scalar::Index(axis), DType::I64)
    }

    /// The value of a dimension.
    pub fn dim(&mut self, dim: &Dim) -> ScalarId {
        match dim.as_const() {
            Some(value) => self.int(value.into(), DType::I64),
            None => self.push(Scalar::Dim(dim.clone()), DType::I64),
        }
    }

    /// The element of an operand at a computed place.
    pub fn at(&mut self, operand: usize, place: ScalarId, dtype: DType) -> ScalarId {
        self.push(Scalar::At(operand, place), dtype)
    }

    /// The second value where the first holds, the third elsewhere.
    pub fn select(&mut self, condition: ScalarId, a: ScalarId, b: ScalarId) -> ScalarId {
        let dtype = self.nodes[a].dtype;
        self.push(Scalar::Select(condition, a, b), dtype)
    }

    /// The place in row-major order of the element with some coordinates in a tensor of a shape.
    ///
    /// # Panics
    ///
    /// If there is not one coordinate for each axis.
    pub fn row_major(&mut self, coordinates: &[ScalarId], shape: &[Dim]) -> ScalarId {
        assert_eq!(coordinates.len(), shape.len(), "a coordinate for each axis");
        let mut place = None;
        for (&coordinate, size) in coordinates.iter().zip(shape) {
            place = Some(match place {
                None => coordinate,
                Some(before) => {
                    let size = self.dim(size);
                    let rows = self.apply2(BinaryOp::Mul, before, size);
                    self.apply2(BinaryOp::Add, rows, coordinate)
                }
            });
        }
        place.unwrap_or_else(|| self.int(0, DType::I64))
    }

    /// An integer constant of a type.
    pub fn int(&mut self, value: i128, dtype: DType) -> ScalarId {
        self.push(Scalar::Const(Literal::Int(value)), dtype)
    }

    /// A unary operation.
    pub fn apply1(&mut self, op: UnaryOp, x: ScalarId) -> ScalarId {
        let dtype = if op.gives_bool() {
            DType::Bool
        } else {
            self.nodes[x].dtype
        };
        self.push(Scalar::Unary(op, x), dtype)
    }

    /// A binary operation.
    pub fn apply2(&mut self, op: BinaryOp, a: ScalarId, b: ScalarId) -> ScalarId {
        let dtype = if op.is_comparison() {
            DType::Bool
        } else {
            self.nodes[a].dtype
        };
        self.push(Scalar::Binary(op, a, b), dtype)
    }

    /// A conversion; the operand itself if it has the type already.
    pub fn convert(&mut self, x: ScalarId, dtype: DType) -> ScalarId {
        if self.nodes[x].dtype == dtype {
            x
        } else {
            self.push(Scalar::Cast(x), dtype)
        }
    }

    /// The bits as those of another type; the operand itself if it has the type already.
    pub fn bits(&mut self, x: ScalarId, dtype: DType) -> ScalarId {
        if self.nodes[x].dtype == dtype {
            x
        } else {
            self.push(Scalar::Bits(x), dtype)
        }
    }

    /// The number of the node that is the result.
    ///
    /// # Panics
    ///
    /// If the expression has no nodes.
    pub fn result(&self) -> ScalarId {
        self.nodes.len().checked_sub(1).expect("an expression has a result")
    }

    /// Makes `id` the result, dropping what it does not need and keeping the numbers of the operands.
    pub fn with_result(&self, id: ScalarId) -> Expr {
        let mut expr = Expr::empty();
        expr.append(self, id, &mut |expr, index, dtype| expr.input(index, dtype));
        expr
    }

    /// The type of the result.
    pub fn dtype(&self) -> DType {
        self.nodes[self.result()].dtype
    }

    /// The number of operands that the expression refers to: one more than the largest operand number.
    pub fn arity(&self) -> usize {
        let inputs = self.nodes.iter().filter_map(|node| match node.op {
            Scalar::Input(index) | Scalar::At(index, _) => Some(index + 1),
            _ => None,
        });
        inputs.max().unwrap_or(0)
    }

    /// Appends the part of `other` that its node `id` needs, with operands given by `input`, and returns the node that
    /// `id` became. If that node existed already it need not be the last.
    pub fn append(
        &mut self,
        other: &Expr,
        id: ScalarId,
        input: &mut dyn FnMut(&mut Expr, usize, DType) -> ScalarId,
    ) -> ScalarId {
        let mut needed = vec![false; id + 1];
        needed[id] = true;
        for index in (0..=id).rev() {
            if needed[index] {
                other.nodes[index].op.for_each_operand(|operand| needed[operand] = true);
            }
        }
        let mut map = vec![usize::MAX; id + 1];
        for index in 0..=id {
            if needed[index] {
                let node = &other.nodes[index];
                map[index] = match &node.op {
                    Scalar::Input(number) => input(self, *number, node.dtype),
                    Scalar::At(number, place) => {
                        let number = self.renumbered(*number, node.dtype, input);
                        self.push(Scalar::At(number, map[*place]), node.dtype)
                    }
                    op => self.push(op.map_operands(|operand| map[operand]), node.dtype),
                };
            }
        }
        map[id]
    }

    /// The number that `input` gives an operand. An operand that is read at computed places stays an operand.
    fn renumbered(
        &mut self,
        number: usize,
        dtype: DType,
        input: &mut dyn FnMut(&mut Expr, usize, DType) -> ScalarId,
    ) -> usize {
        let before = self.nodes.len();
        let id = input(self, number, dtype);
        let Scalar::Input(number) = self.nodes[id].op else {
            panic!("an operand that is read at computed places is no expression");
        };
        self.nodes.truncate(before);
        number
    }

    /// Whether the value depends on more than the elements of the operands at the position of the result.
    pub fn is_positional(&self) -> bool {
        self.nodes
            .iter()
            .any(|node| matches!(node.op, Scalar::Index(_) | Scalar::At(..)))
    }

    /// Whether operand `number` is read at computed places.
    pub fn reads_at(&self, number: usize) -> bool {
        let reads = |node: &ScalarNode| matches!(node.op, Scalar::At(operand, _) if operand == number);
        self.nodes.iter().any(reads)
    }

    /// Whether operand `number` is read at the position of the result, to whose shape it must broadcast.
    pub fn reads_element(&self, number: usize) -> bool {
        self.nodes.iter().any(|node| node.op == Scalar::Input(number))
    }

    /// Moves the node `id` to the end, so that it is the result.
    pub fn finish(self, id: ScalarId) -> Expr {
        if id + 1 == self.nodes.len() {
            self
        } else {
            self.with_result(id)
        }
    }
}

impl Scalar {
    /// Calls `visit` with every operand.
    pub fn for_each_operand(&self, mut visit: impl FnMut(ScalarId)) {
        match *self {
            Scalar::Input(_) | Scalar::Const(_) | Scalar::Dim(_) | Scalar::Index(_) => {}
            Scalar::Unary(_, x) | Scalar::Cast(x) | Scalar::Bits(x) | Scalar::At(_, x) => visit(x),
            Scalar::Binary(_, a, b) => {
                visit(a);
                visit(b);
            }
            Scalar::Select(c, a, b) => {
                visit(c);
                visit(a);
                visit(b);
            }
        }
    }

    /// The same operation on other operands.
    pub fn map_operands(&self, map: impl Fn(ScalarId) -> ScalarId) -> Scalar {
        match self {
            Scalar::Unary(op, x) => Scalar::Unary(*op, map(*x)),
            Scalar::Binary(op, a, b) => Scalar::Binary(*op, map(*a), map(*b)),
            Scalar::Select(c, a, b) => Scalar::Select(map(*c), map(*a), map(*b)),
            Scalar::Cast(x) => Scalar::Cast(map(*x)),
            Scalar::At(operand, place) => Scalar::At(*operand, map(*place)),
            Scalar::Bits(x) => Scalar::Bits(map(*x)),
            leaf => leaf.clone(),
        }
    }
}
