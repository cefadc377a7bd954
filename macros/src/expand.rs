//! Modules from models.

use std::env;
use std::path::{Path, PathBuf};

use onnxide_codegen::compiler::Front;
use onnxide_codegen::{Compiler, Quantize};
use proc_macro2::TokenStream;
use quote::quote;

use crate::parse::{Input, ModuleItem};
use crate::place;

/// The modules, or an error in the place of each that does not compile.
pub(crate) fn modules(input: &Input) -> TokenStream {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    let expand = |item| module(input, item, &manifest).unwrap_or_else(syn::Error::into_compile_error);
    input.modules.iter().map(expand).collect()
}

fn module(input: &Input, item: &ModuleItem, manifest: &Path) -> syn::Result<TokenStream> {
    let path = item.path.value();
    // The path as written, unless it would be looked for in the folder that the Rust compiler happens to run in.
    let mut compiler = Compiler::new(manifest.join(&path))
        .name(item.name.to_string())
        .threads(item.threads)
        .winograd(item.winograd)
        .precision(item.precision)
        .front(Front::Macro);
    if let Some(option) = &item.quantize {
        let mut quantize = Quantize::new(option.scheme);
        if let Some(path) = &option.calibration {
            quantize = quantize.calibration(manifest.join(path.value()));
        }
        if let Some(observer) = option.observer {
            quantize = quantize.observer(observer);
        }
        if let Some(rows) = option.block {
            quantize = quantize.block(rows);
        }
        if let Some(share) = option.smooth {
            quantize = quantize.smooth(share);
        }
        quantize = quantize.equalize(option.equalize);
        if let Some(drift) = option.max_drift {
            quantize = quantize.max_drift(drift);
        }
        compiler = compiler.quantize(quantize);
    }
    if let Some(ram) = item.ram {
        compiler = compiler.ram(ram);
    }
    if let Some(tuning) = &item.tuning {
        compiler = compiler.tuning(manifest.join(tuning.value()));
    }
    for dim in &item.dims {
        compiler = compiler.dim(&dim.name, dim.range);
    }
    for operator in &item.operators {
        compiler = compiler.operator(operator.clone());
    }
    let cached = compiler
        .compile_cached(&place::folder(manifest))
        .map_err(|error| syn::Error::new(item.path.span(), error))?;
    let text = |path: &Path| {
        let unicode = path.to_str().map(str::to_owned);
        unicode.ok_or_else(|| syn::Error::new(item.path.span(), format!("{} is not Unicode", path.display())))
    };
    let source = text(&cached.source)?;
    let files = cached
        .files
        .iter()
        .map(|file| text(file))
        .collect::<syn::Result<Vec<_>>>()?;
    let ModuleItem {
        attributes,
        visibility,
        name,
        ..
    } = item;
    let facade = &input.facade;
    Ok(quote! {
        #(#attributes)*
        #[forbid(unsafe_code)]
        #visibility mod #name {
            #[allow(unused_imports)]
            use #facade::runtime as onnxide_runtime;

            ::core::include!(#source);

            // Makes Cargo notice that a file has changed. A function that nobody calls is the one place in which the
            // Rust compiler reads the bytes and does nothing else with them.
            const _: () = {
                #[allow(dead_code)]
                fn files() {
                    #(let _ = ::core::include_bytes!(#files);)*
                }
            };
        }
    })
}
