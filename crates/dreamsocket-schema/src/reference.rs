//! References within a document: what they point to, and how to point them elsewhere.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use schemars::Schema;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::Value;

/// The pointer of a reference: nothing is left of it for the document itself, and there is none into other documents.
pub(crate) fn pointer(reference: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(reference.strip_prefix('#')?)
        .decode_utf8()
        .ok()
}

/// The pointer to a definition.
pub(crate) fn pointer_to(definition: &str) -> String {
    let escaped = definition.replace('~', "~0").replace('/', "~1");
    format!("/$defs/{escaped}")
}

/// Replaces each reference in the schema.
pub(crate) fn redirect(schema: &mut Schema, to: impl Fn(&str) -> String) {
    let redirect = |schema: &mut Schema| {
        if let Some(Value::String(reference)) = schema.get_mut("$ref") {
            *reference = to(reference);
        }
    };
    RecursiveTransform(redirect).transform(schema);
}
