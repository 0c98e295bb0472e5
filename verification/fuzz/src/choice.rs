//! Enums of which one byte chooses a variant. (What `derive(Arbitrary)` makes takes four bytes, and nearly all that a
//! fuzzer writes into them chooses the first variant or the last.)

/// Declares such an enum.
#[macro_export]
macro_rules! choice {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident {$(
            $(#[$variant_attribute:meta])*
            $variant:ident
            $(($($part:ty),*))?
            $({ $($field:ident: $type:ty),* $(,)? })?
            $(= $number:expr)?
        ),* $(,)?}
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug)]
        $visibility enum $name {$(
            $(#[$variant_attribute])*
            $variant $(($($part),*))? $({ $($field: $type),* })? $(= $number)?
        ),*}

        impl<'a> libfuzzer_sys::arbitrary::Arbitrary<'a> for $name {
            fn arbitrary(
                bytes: &mut libfuzzer_sys::arbitrary::Unstructured<'a>,
            ) -> libfuzzer_sys::arbitrary::Result<Self> {
                type Make<'a> = fn(
                    &mut libfuzzer_sys::arbitrary::Unstructured<'a>,
                ) -> libfuzzer_sys::arbitrary::Result<$name>;
                let variants: &[Make<'a>] = &[$(
                    |_bytes| Ok(Self::$variant
                        $(($(_bytes.arbitrary::<$part>()?),*))?
                        $({ $($field: _bytes.arbitrary::<$type>()?),* })?)
                ),*];
                bytes.choose(variants)?(bytes)
            }
        }
    };
}
