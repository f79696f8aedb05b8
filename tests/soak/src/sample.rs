//! [`Sample`]: what the server says of itself, as one line, which both processes know how to read.

use std::fmt;
use std::str::FromStr;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
    /// Bytes that are allocated.
    pub(crate) heap: u64,
    /// Open files.
    pub(crate) files: u64,
    /// Tasks of the runtime.
    pub(crate) tasks: u64,
    /// WebSockets that there are.
    pub(crate) connections: u64,
    /// WebSockets that there were.
    pub(crate) opened: u64,
    /// How often an `on_init` returned a state.
    pub(crate) begun: u64,
    /// How often an `on_close` ran.
    pub(crate) ended: u64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resident,
            heap,
            files,
            tasks,
            connections,
            opened,
            begun,
            ended,
        } = self;
        write!(
            f,
            "{resident} {heap} {files} {tasks} {connections} {opened} {begun} {ended}"
        )
    }
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
        let numbers = numbers.map_err(|error| format!("no sample: {error}: {line}"))?;
        let &[
            resident,
            heap,
            files,
            tasks,
            connections,
            opened,
            begun,
            ended,
        ] = numbers.as_slice()
        else {
            return Err(format!("no sample: {line}"));
        };
        Ok(Self {
            resident,
            heap,
            files,
            tasks,
            connections,
            opened,
            begun,
            ended,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let sample = Sample {
            resident: 1,
            heap: 2,
            files: 3,
            tasks: 4,
            connections: 5,
            opened: 6,
            begun: 7,
            ended: 8,
        };
        assert_eq!(sample.to_string().parse(), Ok(sample));
        for wrong in ["", "1 2 3", "1 2 3 4 5 6 7 x", "1 2 3 4 5 6 7 8 9"] {
            assert!(wrong.parse::<Sample>().is_err(), "{wrong}");
        }
    }
}
