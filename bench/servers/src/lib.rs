//! The same small server on each library, one file in `src/bin` for each.
