//! Lists the public items of a crate, one a line, from rustdoc's JSON. Run by `scripts/api`.

use std::io::Write;
use std::process::ExitCode;

use public_api::Builder;

fn main() -> ExitCode {
    let Some(json) = std::env::args_os().nth(1) else {
        return fail("usage: api FILE");
    };
    // What every type has, and what is derived, would be most of the list.
    let listed = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build();
    let api = match listed {
        Ok(api) => api,
        Err(error) => return fail(&error.to_string()),
    };
    match write!(std::io::stdout(), "{api}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(line: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "api: {line}");
    ExitCode::FAILURE
}
