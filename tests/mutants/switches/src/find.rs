//! Finds what a mutant changes. cargo-mutants' list says where an operator stands, not what its operands are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use anyhow::Result;
use proc_macro2::{LineColumn, Span};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::edit::{Change, Edit, begin, end, is_on};
use crate::mutant::{Genre, Mutant, Place};

/// What was found in a file.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) edits: Vec<Edit>,
    /// The mutants that the edits make.
    pub(crate) switched: BTreeSet<usize>,
    /// Those that no compiler takes.
    pub(crate) unviable: Vec<usize>,
}

/// Finds a file's mutants. Functions lose their `const`, but for those of these names.
pub(crate) fn find(
    source: &str,
    mutants: &[(usize, &Mutant)],
    constant: &BTreeSet<String>,
) -> Result<Found> {
    let file = syn::parse_file(source)?;
    let mut finder = Finder {
        source,
        operators: BTreeMap::new(),
        values: mutants
            .iter()
            .filter(|(_, mutant)| mutant.genre == Genre::FnValue)
            .copied()
            .collect(),
        edits: Vec::new(),
        switched: BTreeSet::new(),
        unviable: Vec::new(),
        constant,
        is_const: false,
    };
    for (index, mutant) in mutants {
        if !matches!(mutant.genre, Genre::FnValue | Genre::Other) {
            let key = (mutant.span.start, mutant.genre as usize);
            finder
                .operators
                .entry(key)
                .or_default()
                .push((*index, mutant));
        }
    }
    finder.visit_file(&file);
    Ok(Found {
        edits: finder.edits,
        switched: finder.switched,
        unviable: finder.unviable,
    })
}

struct Finder<'a> {
    source: &'a str,
    /// All but the values of functions, by place and genre.
    operators: BTreeMap<(Place, usize), Vec<(usize, &'a Mutant)>>,
    values: Vec<(usize, &'a Mutant)>,
    edits: Vec<Edit>,
    switched: BTreeSet<usize>,
    unviable: Vec<usize>,
    constant: &'a BTreeSet<String>,
    /// Inside what is evaluated at compile time, where no switch can be asked.
    is_const: bool,
}

impl<'a> Finder<'a> {
    fn at(&self, span: Span, genre: Genre) -> Vec<(usize, &'a Mutant)> {
        if self.is_const {
            return Vec::new();
        }
        self.operators
            .get(&(place(span.start()), genre as usize))
            .cloned()
            .unwrap_or_default()
    }

    fn text(&self, span: Span) -> &'a str {
        &self.source[span.byte_range()]
    }

    fn edit(&mut self, range: Range<usize>, change: Change) {
        match &change {
            Change::Insert(_) => {}
            Change::Replace(mutants) => self
                .switched
                .extend(mutants.iter().map(|(index, _)| *index)),
            Change::Disarm(index) => {
                self.switched.insert(*index);
            }
        }
        self.edits.push(Edit { range, change });
    }

    fn visit_const(&mut self, is_const: bool, visit: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.is_const, is_const);
        visit(self);
        self.is_const = before;
    }

    /// A function: inner ones are visited first, so that each takes its own values.
    fn visit_function(
        &mut self,
        signature: &syn::Signature,
        block: &syn::Block,
        visit: impl FnOnce(&mut Self),
    ) {
        let is_kept = self.constant.contains(&signature.ident.to_string());
        let is_const = signature.constness.is_some() && is_kept;
        if let (Some(constness), false) = (signature.constness, is_const) {
            let range = constness.span().byte_range();
            self.edit(range, Change::Insert(String::new()));
        }
        self.visit_const(is_const, visit);
        let inside = place(block.brace_token.span.open().start())
            ..place(block.brace_token.span.close().start());
        let (own, others) = self
            .values
            .drain(..)
            .partition(|(_, mutant)| inside.contains(&mutant.span.start));
        self.values = others;
        let own: Vec<(usize, &Mutant)> = own;
        if is_const || returns_impl(signature) {
            return;
        }
        let start = block.brace_token.span.open().byte_range().end;
        for (index, mutant) in own {
            let (begin, end, on) = (begin(index), end(index), is_on(index));
            let insert = format!("{begin} if {on} {{ return {}; }} {end}", mutant.replacement);
            self.edit(start..start, Change::Insert(insert));
            self.switched.insert(index);
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.visit_function(&function.sig, &function.block, |this| {
            visit::visit_item_fn(this, function)
        });
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.visit_function(&function.sig, &function.block, |this| {
            visit::visit_impl_item_fn(this, function)
        });
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.visit_function(&function.sig, block, |this| {
                visit::visit_trait_item_fn(this, function)
            });
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.visit_const(true, |this| visit::visit_item_const(this, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.visit_const(true, |this| visit::visit_item_static(this, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.visit_const(true, |this| visit::visit_impl_item_const(this, item));
    }

    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        self.visit_const(true, |this| visit::visit_trait_item_const(this, item));
    }

    fn visit_expr_const(&mut self, block: &'ast syn::ExprConst) {
        self.visit_const(true, |this| visit::visit_expr_const(this, block));
    }

    fn visit_type_array(&mut self, array: &'ast syn::TypeArray) {
        self.visit_const(true, |this| visit::visit_type_array(this, array));
    }

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
        self.visit_const(true, |this| this.visit_expr(&repeat.len));
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let mutants = self.at(binary.op.span(), Genre::BinaryOperator);
        if has_let(&binary.left) || has_let(&binary.right) {
            // Beside a `let` stands nothing but `&&`.
            self.unviable
                .extend(mutants.into_iter().map(|(index, _)| index));
        } else if !mutants.is_empty() {
            let range = binary.span().byte_range();
            let operator = binary.op.span().byte_range();
            let (left, right) = (
                &self.source[range.start..operator.start],
                &self.source[operator.end..range.end],
            );
            let changed = |(index, mutant): (usize, &Mutant)| {
                (index, format!("{left}{}{right}", mutant.replacement))
            };
            self.edit(
                range,
                Change::Replace(mutants.into_iter().map(changed).collect()),
            );
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        let mutants = self.at(unary.op.span(), Genre::UnaryOperator);
        if !mutants.is_empty() {
            let operand = self.text(unary.expr.span());
            let changed = |(index, mutant): (usize, &Mutant)| {
                (index, format!("{}{operand}", mutant.replacement))
            };
            self.edit(
                unary.span().byte_range(),
                Change::Replace(mutants.into_iter().map(changed).collect()),
            );
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let deleted = self.at(arm.span(), Genre::MatchArm);
        if let Some((_, guard)) = &arm.guard {
            let range = guard.span().byte_range();
            for (index, _) in deleted {
                self.edit(range.clone(), Change::Disarm(index));
            }
            let mutants = self.at(guard.span(), Genre::MatchArmGuard);
            if !mutants.is_empty() {
                let changed =
                    |(index, mutant): (usize, &Mutant)| (index, mutant.replacement.clone());
                self.edit(
                    range,
                    Change::Replace(mutants.into_iter().map(changed).collect()),
                );
            }
        } else {
            for (index, _) in deleted {
                let end_of_pattern = arm.pat.span().byte_range().end;
                let insert = format!(" {}if !{}{}", begin(index), is_on(index), end(index));
                self.edit(end_of_pattern..end_of_pattern, Change::Insert(insert));
                self.switched.insert(index);
            }
        }
        visit::visit_arm(self, arm);
    }
}

/// In the list, columns count from 1.
fn place(at: LineColumn) -> Place {
    Place {
        line: at.line,
        column: at.column.saturating_add(1),
    }
}

/// Whether it is a part of a chain of `let`s, around which nothing can be put.
fn has_let(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

/// Whether the function returns a type without a name: two returns would be two types.
fn returns_impl(signature: &syn::Signature) -> bool {
    struct Impl(bool);
    impl<'ast> Visit<'ast> for Impl {
        fn visit_type_impl_trait(&mut self, _: &'ast syn::TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut found = Impl(false);
    found.visit_return_type(&signature.output);
    found.0
}
