//! Instruction set tokens and the one dispatch of a run.
//!
//! A token of an instruction set exists only where that instruction set does: the fields are private and the only
//! constructors are [`Avx2::detect`] and [`Avx512::detect`] (and [`Scalar`], which every machine has). Code that
//! holds a token may therefore enter functions compiled for it; this is the whole safety argument of
//! `#[target_feature]` in this crate.

use crate::kernels::Kernels;
use crate::kernels::simd::Simd;

/// The token of an instruction set, through which every kernel is reached.
pub trait Isa: Simd + Kernels + Send + Sync {
    /// The level of this token.
    const LEVEL: Level;

    /// Runs `f` compiled for this instruction set.
    ///
    /// Everything `f` calls must be inlinable to profit; loops over slices are then vectorized with the full
    /// vector width of the instruction set.
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R;
}

/// An instruction set level that kernels are compiled for, ordered from least to most capable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// No assumption beyond the compilation target.
    Scalar,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL, with AVX2 and FMA.
    Avx512,
}

impl Level {
    /// All levels, from least to most capable.
    pub const ALL: [Level; 3] = [Level::Scalar, Level::Avx2, Level::Avx512];

    /// The most capable level of the machine this runs on.
    pub fn detect() -> Level {
        if Avx512::detect().is_some() {
            Level::Avx512
        } else if Avx2::detect().is_some() {
            Level::Avx2
        } else {
            Level::Scalar
        }
    }

    /// Whether the machine this runs on has this level.
    pub fn is_available(self) -> bool {
        self <= Level::detect()
    }

    /// The name that the command line and the environment use.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    /// The level of a [`name`](Level::name).
    pub fn from_name(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// The highest level that a model may use; by default there is no limit. All-zero bytes are the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit(Option<core::num::NonZero<u8>>);

impl Limit {
    /// No limit: the best level of the machine is used.
    pub const NONE: Limit = Limit(None);

    /// A limit to `level`.
    pub const fn to(level: Level) -> Limit {
        Limit(core::num::NonZero::new(level as u8 + 1))
    }

    /// The highest level within the limit.
    #[inline(always)]
    pub const fn level(self) -> Level {
        match self.0 {
            Some(number) => Level::ALL[number.get() as usize - 1],
            None => Level::ALL[Level::ALL.len() - 1],
        }
    }
}

// SAFETY: all-zero bytes are `None` of an option of `NonZero<u8>`, which is guaranteed.
unsafe impl crate::arena::Zeroed for Limit {}

/// The token of the compilation target itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scalar;

/// The token of AVX2 with FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

/// The token of AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Isa for Scalar {
    const LEVEL: Level = Level::Scalar;

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }
}

#[cfg(target_arch = "x86_64")]
impl Isa for Avx2 {
    const LEVEL: Level = Level::Avx2;

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        #[target_feature(enable = "avx2,fma")]
        fn entry<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        // SAFETY: an `Avx2` token exists only where AVX2 and FMA were detected.
        unsafe { entry(f) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Isa for Avx512 {
    const LEVEL: Level = Level::Avx512;

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        fn entry<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        // SAFETY: an `Avx512` token exists only where these features were detected.
        unsafe { entry(f) }
    }
}

#[cfg(target_arch = "x86_64")]
mod detect {
    use super::{Avx2, Avx512};
    use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    use core::sync::atomic::{AtomicU8, Ordering};

    const UNKNOWN: u8 = u8::MAX;
    static DETECTED: AtomicU8 = AtomicU8::new(UNKNOWN);
    const HAS_AVX2: u8 = 1;
    const HAS_AVX512: u8 = 2;
    const HAS_AVX512_BF16: u8 = 4;
    const HAS_AVX512_VNNI: u8 = 8;

    /// Feature bits as in the Intel SDM, volume 2A, CPUID leaves 1 and 7; the operating system must also save the
    /// vector state (XCR0 bits 1 and 2 for AVX, 5 to 7 for AVX-512).
    fn probe() -> u8 {
        let leaf1 = __cpuid(1);
        let bit = |word: u32, index: u32| word >> index & 1 == 1;
        if !(bit(leaf1.ecx, 27) && bit(leaf1.ecx, 28) && bit(leaf1.ecx, 12)) || __cpuid(0).eax < 7 {
            return 0;
        }
        #[target_feature(enable = "xsave")]
        fn enabled_state() -> u64 {
            // SAFETY: XCR0 is readable wherever OSXSAVE is set, which the caller has checked.
            unsafe { _xgetbv(0) }
        }
        // SAFETY: OSXSAVE (leaf 1, ECX bit 27) says that XGETBV exists.
        let state = unsafe { enabled_state() };
        let leaf7 = __cpuid_count(7, 0);
        let mut found = 0;
        if state & 0x6 == 0x6 && bit(leaf7.ebx, 5) {
            found |= HAS_AVX2;
            let avx512 = [16, 17, 30, 31].into_iter().all(|index| bit(leaf7.ebx, index));
            if state & 0xe6 == 0xe6 && avx512 {
                found |= HAS_AVX512;
                // EAX of the leaf says up to which number it has parts.
                if leaf7.eax >= 1 && bit(__cpuid_count(7, 1).eax, 5) {
                    found |= HAS_AVX512_BF16;
                }
                if bit(leaf7.ecx, 11) {
                    found |= HAS_AVX512_VNNI;
                }
            }
        }
        found
    }

    fn features() -> u8 {
        match DETECTED.load(Ordering::Relaxed) {
            UNKNOWN => {
                let found = probe();
                DETECTED.store(found, Ordering::Relaxed);
                found
            }
            found => found,
        }
    }

    impl Avx2 {
        /// The token, if this machine has AVX2 and FMA and its operating system saves their state.
        pub fn detect() -> Option<Avx2> {
            (features() & HAS_AVX2 != 0).then_some(Avx2(()))
        }
    }

    impl Avx512 {
        /// The token, if this machine has AVX-512 F, BW, DQ and VL and its operating system saves their state.
        pub fn detect() -> Option<Avx512> {
            (features() & HAS_AVX512 != 0).then_some(Avx512(()))
        }

        /// Whether this machine has AVX-512 BF16, too.
        pub fn has_bf16(self) -> bool {
            features() & HAS_AVX512_BF16 != 0
        }

        /// Whether this machine has AVX-512 VNNI, too.
        pub fn has_vnni(self) -> bool {
            features() & HAS_AVX512_VNNI != 0
        }

        /// The token of AVX2 with FMA, which every machine with AVX-512 has.
        #[inline(always)]
        pub const fn avx2(self) -> Avx2 {
            Avx2(())
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Avx2 {
    /// There is no AVX2 on this architecture.
    pub fn detect() -> Option<Avx2> {
        None
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Avx512 {
    /// There is no AVX-512 on this architecture.
    pub fn detect() -> Option<Avx512> {
        None
    }
}

/// Declares a family of kernels: a trait whose methods enter one generic implementation per instruction set.
///
/// Each row `fn name(arguments) = implementation;` becomes a method of the trait, implemented for every token by a
/// `#[target_feature]` entry point that calls `implementation(token, arguments)`. The entry points are not generic,
/// so they are compiled once, in this crate, and not again in every crate that holds generated code. An
/// implementation is `#[inline(always)]` and generic over [`Simd`].
///
/// The trait is implemented for every [`Team`](crate::team::Team), too, unless the table is `single trait`. A row that
/// ends in `implementation, divided by division;` then calls `division(team, arguments)`, and any other does all of its
/// work on the caller's thread.
macro_rules! kernel_table {
    ($(#[$table_doc:meta])* $visibility:vis single trait $table:ident $rows:tt) => {
        $crate::isa::kernel_table!(@trait [$(#[$table_doc])*] [$visibility] $table $rows);
        $crate::isa::kernel_table!(@scalar $table $rows);
        #[cfg(target_arch = "x86_64")]
        $crate::isa::kernel_table!(@vector $table $crate::isa::Avx2, "avx2,fma", $rows);
        #[cfg(target_arch = "x86_64")]
        $crate::isa::kernel_table!(@vector $table $crate::isa::Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", $rows);
    };
    ($(#[$table_doc:meta])* $visibility:vis trait $table:ident $rows:tt) => {
        $crate::isa::kernel_table!($(#[$table_doc])* $visibility single trait $table $rows);
        $crate::isa::kernel_table!(@team $table $rows);
    };
    (@trait [$($table_doc:tt)*] [$visibility:vis] $table:ident {
        $($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?
            = $implementation:path $(, divided by $division:path)?;)*
    }) => {
        $($table_doc)*
        $visibility trait $table: Copy {
            $($(#[$doc])* #[allow(clippy::too_many_arguments)] fn $name(self, $($argument: $type),*) $(-> $result)?;)*
        }
    };
    (@scalar $table:ident {
        $($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?
            = $implementation:path $(, divided by $division:path)?;)*
    }) => {
        impl $table for $crate::isa::Scalar {
            $(fn $name(self, $($argument: $type),*) $(-> $result)? {
                $implementation(self, $($argument),*)
            })*
        }
    };
    (@vector $table:ident $token:ty, $features:literal, {
        $($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?
            = $implementation:path $(, divided by $division:path)?;)*
    }) => {
        impl $table for $token {
            $(fn $name(self, $($argument: $type),*) $(-> $result)? {
                #[target_feature(enable = $features)]
                #[allow(clippy::too_many_arguments)]
                fn entry(isa: $token, $($argument: $type),*) $(-> $result)? {
                    $implementation(isa, $($argument),*)
                }
                // SAFETY: a token exists only where its instruction set was detected.
                unsafe { entry(self, $($argument),*) }
            })*
        }
    };
    (@team $table:ident {
        $($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?
            = $implementation:path $(, divided by $division:path)?;)*
    }) => {
        impl<S: $crate::isa::Isa> $table for $crate::team::Team<'_, S> {
            $(fn $name(self, $($argument: $type),*) $(-> $result)? {
                $crate::isa::kernel_table!(@call self, $name, [$($division)?], ($($argument),*))
            })*
        }
    };
    (@call $team:ident, $name:ident, [], ($($argument:ident),*)) => {
        $crate::team::Compute::isa($team).$name($($argument),*)
    };
    (@call $team:ident, $name:ident, [$division:path], ($($argument:ident),*)) => {
        $division($team, $($argument),*)
    };
}
pub(crate) use kernel_table;

/// Calls a function that is generic over its first parameter, an [`Isa`] token, with the token of a [`Level`].
///
/// `dispatch!(level, forward(a, b))` is `forward(token, a, b)`. This is the only dispatch of a run. A level that the
/// machine does not have falls back to the best one below it.
#[macro_export]
macro_rules! dispatch {
    ($level:expr, $function:ident($($argument:expr),* $(,)?) $(,)?) => {{
        let level = $level;
        #[cfg(target_arch = "x86_64")]
        {
            if let (true, Some(isa)) = (level >= $crate::isa::Level::Avx512, $crate::isa::Avx512::detect()) {
                $function(isa, $($argument),*)
            } else if let (true, Some(isa)) = (level >= $crate::isa::Level::Avx2, $crate::isa::Avx2::detect()) {
                $function(isa, $($argument),*)
            } else {
                $function($crate::isa::Scalar, $($argument),*)
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = level;
            $function($crate::isa::Scalar, $($argument),*)
        }
    }};
}
