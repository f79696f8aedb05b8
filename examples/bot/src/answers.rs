//! What the bot answers. Pure: the time is an argument.

/// What is said to this, if anything. `now` is in seconds since 1970.
pub(crate) fn answer(text: &str, now: u64) -> Option<String> {
    match text.trim() {
        "!ping" => Some("pong".to_owned()),
        "!time" => {
            let (hours, minutes, seconds) = (now / 3_600 % 24, now / 60 % 60, now % 60);
            Some(format!("It is {hours:02}:{minutes:02}:{seconds:02} UTC."))
        }
        "!help" => Some("I know !ping, !time and !help.".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_what_it_knows_and_else_is_silent() {
        for (text, expected) in [
            ("!ping", Some("pong")),
            ("  !ping\n", Some("pong")),
            ("!time", Some("It is 23:59:58 UTC.")),
            ("!help", Some("I know !ping, !time and !help.")),
            ("ping", None),
            ("!pings", None),
            ("", None),
        ] {
            assert_eq!(answer(text, 86_398).as_deref(), expected, "{text:?}");
        }
    }
}
