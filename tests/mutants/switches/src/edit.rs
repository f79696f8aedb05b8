//! Rewrites a source, piece by piece, so that lines stay where they are and comments stay there.

use std::fmt::Write as _;
use std::ops::Range;

/// A change, and where in the source.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) range: Range<usize>,
    pub(crate) change: Change,
}

#[derive(Debug)]
pub(crate) enum Change {
    /// Instead of the range, which may be empty, this text.
    Insert(String),
    /// Instead of the expression, if the mutant is on, this text.
    Replace(Vec<(usize, String)>),
    /// A guard, which is false if this mutant is on.
    Disarm(usize),
}

pub(crate) fn begin(mutant: usize) -> String {
    format!("/*m{mutant}*/")
}

pub(crate) fn end(mutant: usize) -> String {
    format!("/*w{mutant}*/")
}

pub(crate) fn is_on(mutant: usize) -> String {
    format!("crate::mutant_switch::on({mutant})")
}

/// Makes all changes. Of two in the same range the first is around the second.
pub(crate) fn apply(source: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|edit| (edit.range.start, usize::MAX - edit.range.end));
    let mut text = String::with_capacity(source.len().saturating_mul(2));
    render(source, 0..source.len(), &edits, &mut text);
    text
}

/// Writes a range of the source, with the edits, all of them in it.
fn render(source: &str, range: Range<usize>, mut edits: &[Edit], text: &mut String) {
    let mut done = range.start;
    while let [edit, rest @ ..] = edits {
        text.push_str(&source[done..edit.range.start]);
        let inner = rest
            .iter()
            .take_while(|inner| inner.range.end <= edit.range.end && !edit.range.is_empty())
            .count();
        let (inner, rest) = rest.split_at(inner);
        let original = |text: &mut String| render(source, edit.range.clone(), inner, text);
        match &edit.change {
            Change::Insert(insert) => text.push_str(insert),
            Change::Replace(mutants) => {
                text.push('(');
                for (mutant, replacement) in mutants {
                    let (begin, end, on) = (begin(*mutant), end(*mutant), is_on(*mutant));
                    // Writing to a string does not fail.
                    let _ = write!(text, "{begin}if {on} {{ ({replacement}) }}{end} else ");
                }
                text.push_str("{ (");
                original(text);
                text.push_str(") })");
            }
            Change::Disarm(mutant) => {
                let _ = write!(
                    text,
                    "({}!{}{} && (",
                    begin(*mutant),
                    is_on(*mutant),
                    end(*mutant)
                );
                original(text);
                text.push_str("))");
            }
        }
        done = edit.range.end;
        edits = rest;
    }
    text.push_str(&source[done..range.end]);
}
