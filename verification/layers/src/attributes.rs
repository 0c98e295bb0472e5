//! The attributes that decide which files are modules, and what is compiled for tests only.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Lit, Meta, MetaList, Token};

/// Whether a `cfg` attribute of this node requires a test.
pub(crate) fn is_for_tests(node: &impl ToTokens) -> bool {
    let outer_attributes = |input: ParseStream<'_>| {
        let attributes = input.call(Attribute::parse_outer)?;
        input.parse::<TokenStream>()?;
        Ok(attributes)
    };
    let attributes = outer_attributes.parse2(node.to_token_stream()).unwrap_or_default();
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args().is_ok_and(|cfg: Meta| requires_test(&cfg))
    })
}

fn requires_test(cfg: &Meta) -> bool {
    match cfg {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => parts(list).iter().any(requires_test),
        Meta::List(list) if list.path.is_ident("any") => parts(list).iter().all(requires_test),
        _ => false,
    }
}

/// The values of `#[path = "..."]` and `#[cfg_attr(condition, path = "...")]`.
pub(crate) fn path_attributes(attributes: &[Attribute]) -> Vec<String> {
    attributes.iter().flat_map(|attribute| paths(&attribute.meta)).collect()
}

fn paths(meta: &Meta) -> Vec<String> {
    match meta {
        Meta::List(list) if list.path.is_ident("cfg_attr") => {
            parts(list).iter().skip(1).flat_map(paths).collect()
        }
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => vec![text.value()],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The list in the parentheses of `all(a, b)`.
fn parts(list: &MetaList) -> Vec<Meta> {
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    parts.map(|parts| parts.into_iter().collect()).unwrap_or_default()
}
