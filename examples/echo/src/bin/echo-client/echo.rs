//! One connection, on which every message goes back as it came.

use dreamsocket::Closed;
use dreamsocket::client::{Connect, ConnectError};

use crate::handlers::{on_close, on_init, on_message};

/// Runs one connection to its end.
pub(crate) async fn until_closed(connect: Connect) -> Result<Closed, ConnectError> {
    let connected = connect.run((), on_init, on_message, on_close).await?;
    Ok(connected.ended().await.closed)
}
