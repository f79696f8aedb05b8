//! What people may write: how long, and with which characters. The page holds to the same limits, and tells sooner.

/// Messages of a room that are kept for whoever comes.
pub(crate) const KEPT: usize = 50;
/// Rooms that one connection is in at a time.
pub(crate) const MOST_ROOMS: usize = 8;
/// Characters of a name, of a person as of a room.
const LONGEST_NAME: usize = 32;
/// Characters of a message.
const LONGEST_MESSAGE: usize = 2_000;

/// Why a name cannot be used, if it cannot. `what` it names is told.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), String> {
    let length = name.chars().count();
    if name.is_empty() {
        Err(format!("Choose a {what}."))
    } else if length > LONGEST_NAME {
        Err(format!(
            "At most {LONGEST_NAME} characters; this {what} has {length}."
        ))
    } else if name.chars().any(char::is_control) {
        Err(format!("This {what} has a character that cannot be shown."))
    } else {
        Ok(())
    }
}

/// Why a message cannot be said, if it cannot.
pub(crate) fn check_message(text: &str) -> Result<(), String> {
    let length = text.chars().count();
    if length > LONGEST_MESSAGE {
        return Err(format!(
            "At most {LONGEST_MESSAGE} characters; this message has {length}."
        ));
    }
    Ok(())
}
