//! Collects what one module contains: the paths, the imported names and the methods.

use std::mem;

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{
    Expr, ExprMethodCall, ImplItem, Item, ItemImpl, ItemMod, ItemUse, Macro, MetaList, Stmt, Type, UseTree,
    VisRestricted,
};

use crate::attributes::is_for_tests;
use crate::model::{Meaning, Method, Module, Path, Reference};

/// Collects what an item of a module contains.
pub(crate) fn collect(item: &Item, module: &mut Module) {
    Collector { module, self_type: None }.visit_item(item);
}

struct Collector<'a> {
    module: &'a mut Module,
    /// The type of the `impl` block.
    self_type: Option<Path>,
}

impl Collector<'_> {
    fn path(&mut self, mut path: Path, line: usize) {
        let text = path.join("::");
        if path[0] == "Self"
            && let Some(of) = &self.self_type
        {
            path.splice(..1, of.iter().cloned());
        }
        self.module.references.push(Reference { line, path, text, is_import: false });
    }

    fn import(&mut self, tree: &UseTree, prefix: &Path) {
        let below = |ident: &Ident| {
            let mut path = prefix.clone();
            // `{self}` is the prefix itself
            if prefix.is_empty() || ident != "self" {
                path.push(ident.unraw().to_string());
            }
            path
        };
        let (ident, path, name) = match tree {
            UseTree::Path(path) => return self.import(&path.tree, &below(&path.ident)),
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.import(tree, prefix)),
            UseTree::Name(name) => (&name.ident, below(&name.ident), below(&name.ident).pop()),
            UseTree::Rename(name) => (&name.ident, below(&name.ident), Some(name.rename.unraw().to_string())),
            UseTree::Glob(glob) => {
                let (line, text) = (glob.star_token.spans[0].start().line, prefix.join("::") + "::*");
                self.module.globs.push(prefix.clone());
                return self.module.references.push(Reference {
                    line,
                    path: prefix.clone(),
                    text,
                    is_import: true,
                });
            }
        };
        if let Some(name) = name {
            self.module.names.entry(name).or_default().push(Meaning::Import(path.clone()));
        }
        let (line, text) = (ident.span().start().line, path.join("::"));
        self.module.references.push(Reference { line, path, text, is_import: true });
    }

    /// Collects what has the form of a path or of a `use` declaration in the input of a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is_colon =
            |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
        let is_separator = |at| is_colon(at) && is_colon(at + 1);
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(ident) if ident == "use" => {
                    let end = tokens[at..].iter().position(|token| token.to_string() == ";");
                    let end = end.map_or(tokens.len(), |end| at + end + 1);
                    let is_part = |token: &&TokenTree| token.to_string() != "$";
                    let declaration = tokens[at - 1..end].iter().filter(is_part).cloned().collect();
                    if let Ok(declaration) = syn::parse2::<ItemUse>(declaration) {
                        self.visit_item_use(&declaration);
                        at = end;
                    }
                }
                TokenTree::Ident(ident) => {
                    let follows_path = at >= 3 && is_separator(at - 3);
                    let mut path = vec![ident.unraw().to_string()];
                    while is_separator(at)
                        && let Some(TokenTree::Ident(next)) = tokens.get(at + 2)
                    {
                        path.push(next.unraw().to_string());
                        at += 3;
                    }
                    if !follows_path {
                        self.path(path, ident.span().start().line);
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !is_for_tests(item) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        if !is_for_tests(statement) {
            visit::visit_stmt(self, statement);
        }
    }

    /// A module of its own.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    /// `pub(in path)` imports nothing.
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}

    fn visit_item_use(&mut self, declaration: &'ast ItemUse) {
        if declaration.leading_colon.is_none() {
            self.import(&declaration.tree, &Path::new());
        }
    }

    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        let self_type = match &*block.self_ty {
            Type::Path(of) if of.qself.is_none() => Some(segments(&of.path)),
            _ => None,
        };
        if let (None, Some(of)) = (&block.trait_, &self_type) {
            for item in &block.items {
                if let ImplItem::Fn(method) = item
                    && !is_for_tests(item)
                {
                    let name = method.sig.ident.unraw().to_string();
                    self.module.methods.push(Method { of: of.clone(), name });
                }
            }
        }
        let outer = mem::replace(&mut self.self_type, self_type);
        visit::visit_item_impl(self, block);
        self.self_type = outer;
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if let (Expr::Path(receiver), Some(of)) = (&*call.receiver, &self.self_type)
            && receiver.path.is_ident("self")
        {
            let name = call.method.unraw().to_string();
            let (line, text) = (call.method.span().start().line, format!("self.{name}"));
            let path = of.iter().cloned().chain([name]).collect();
            self.module.references.push(Reference { line, path, text, is_import: false });
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none()
            && let Some(first) = path.segments.first()
        {
            self.path(segments(path), first.ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        visit::visit_macro(self, call);
        self.tokens(call.tokens.clone());
    }

    fn visit_meta_list(&mut self, list: &'ast MetaList) {
        visit::visit_meta_list(self, list);
        self.tokens(list.tokens.clone());
    }
}

fn segments(path: &syn::Path) -> Path {
    path.segments.iter().map(|segment| segment.ident.unraw().to_string()).collect()
}
