//! The macro behind `onnxide::include_model!`.

mod expand;
mod parse;
mod place;

use proc_macro::TokenStream;

/// `include_model!` with the path of the crate `onnxide` and a semicolon before its input.
#[doc(hidden)]
#[proc_macro]
pub fn include_model(input: TokenStream) -> TokenStream {
    match syn::parse::<parse::Input>(input) {
        Ok(input) => expand::modules(&input).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
