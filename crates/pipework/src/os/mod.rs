//! What only one system has: extension traits and conversions of handles. The rest of the crate has no `cfg` for a system.

/// Limits the extension traits to the types of this crate.
mod seal {
    #[expect(unnameable_types, reason = "a sealed trait is one that other crates can't name")]
    pub trait Sealed {}
    impl Sealed for crate::PipeStream {}
    impl Sealed for crate::Listener {}
    impl Sealed for crate::Peer {}
    impl Sealed for crate::NamedPipe {}
    impl Sealed for crate::NamedPipeBuilder {}
    impl Sealed for crate::ClientOptions {}
    #[cfg(feature = "tokio")]
    impl Sealed for crate::tokio::ClientOptions {}
    impl Sealed for crate::Access {}
}

/// The conversions between ends and the handles of a system, whose names the caller gives.
///
/// An anonymous end is a pipe of the standard library and converts from and to every form of handle. A named end has
/// its own `As…` and `Into<Owned…>`; the raw forms follow from them.
macro_rules! handle_conversions {
    (
        names {
            $owned:ident $borrowed:ident $raw:ident
            $As:ident::$as:ident $AsRaw:ident::$as_raw:ident
            $IntoRaw:ident::$into_raw:ident $FromRaw:ident::$from_raw:ident
        }
        anonymous { $($anonymous:ident: $std:ident),* }
        $(named { $($named:ident),* })?
    ) => {
        $(
            impl $As for $anonymous {
                fn $as(&self) -> $borrowed<'_> {
                    self.pipe().$as()
                }
            }

            impl $FromRaw for $anonymous {
                #[expect(
                    unsafe_code,
                    unsafe_op_in_unsafe_fn,
                    reason = "its caller has the same contract"
                )]
                unsafe fn $from_raw(handle: $raw) -> Self {
                    $anonymous::from(handle_from_raw(handle))
                }
            }

            impl From<$owned> for $anonymous {
                fn from(handle: $owned) -> $anonymous {
                    $anonymous::from($std::from(handle))
                }
            }

            impl From<$anonymous> for $owned {
                fn from(end: $anonymous) -> $owned {
                    $owned::from($std::from(end))
                }
            }
        )*
        handle_conversions! {
            @raw $owned $raw $AsRaw::$as_raw $IntoRaw::$into_raw $As::$as
            { $($anonymous)* $($($named)*)? }
        }
    };
    (
        @raw $owned:ident $raw:ident $AsRaw:ident::$as_raw:ident $IntoRaw:ident::$into_raw:ident $As:ident::$as:ident
        { $($end:ident)* }
    ) => { $(
        impl $AsRaw for $end {
            fn $as_raw(&self) -> $raw {
                $As::$as(self).$as_raw()
            }
        }

        impl $IntoRaw for $end {
            fn $into_raw(self) -> $raw {
                $owned::from(self).$into_raw()
            }
        }
    )* };
}
#[cfg(unix)]
pub mod unix;
#[cfg(windows)]
pub mod windows;
