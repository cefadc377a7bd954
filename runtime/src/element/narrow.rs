//! Integers of less than eight bits.

macro_rules! narrow {
    ($($(#[$doc:meta])* $name:ident: $wide:ident, $bits:literal bits, $from:ident, $to:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// The other bits of the byte have no meaning; what is computed has them as the wider type would.
        #[derive(Clone, Copy, Debug, Default)]
        #[repr(transparent)]
        pub struct $name(pub $wide);

        impl $name {
            /// The value.
            #[inline(always)]
            pub const fn $to(self) -> $wide {
                const UNUSED: u32 = 8 - $bits;
                self.0 << UNUSED >> UNUSED
            }

            /// The value, less the bits that there is no room for.
            #[inline(always)]
            pub const fn $from(value: $wide) -> $name {
                $name($name(value).$to())
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.$to() == other.$to()
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                self.$to().partial_cmp(&other.$to())
            }
        }
    )*};
}

narrow! {
    /// A signed integer of four bits, from -8 to 7, in a byte of its own.
    I4: i8, 4 bits, from_i8, to_i8;
    /// An unsigned integer of four bits, from 0 to 15, in a byte of its own.
    U4: u8, 4 bits, from_u8, to_u8;
    /// A signed integer of two bits, from -2 to 1, in a byte of its own.
    I2: i8, 2 bits, from_i8, to_i8;
    /// An unsigned integer of two bits, from 0 to 3, in a byte of its own.
    U2: u8, 2 bits, from_u8, to_u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_wrap() {
        for byte in 0..=u8::MAX {
            let signed = byte as i8;
            assert_eq!(
                i32::from(I4::from_i8(signed).to_i8()),
                (i32::from(signed) + 8).rem_euclid(16) - 8
            );
            assert_eq!(
                i32::from(I2::from_i8(signed).to_i8()),
                (i32::from(signed) + 2).rem_euclid(4) - 2
            );
            assert_eq!(U4::from_u8(byte).to_u8(), byte % 16);
            assert_eq!(U2::from_u8(byte).to_u8(), byte % 4);
            assert_eq!(I4(signed), I4::from_i8(signed));
        }
        assert!(I4::from_i8(-1) < I4::from_i8(0));
        assert!(U4::from_u8(15) > U4::from_u8(0));
    }
}
