//! What the program refuses to start with.

use crate::program::Chat;

#[tokio::test]
async fn the_inspector_is_refused_where_others_could_reach_it() {
    let line = Chat::refuse(&["--inspect", "--listen", "0.0.0.0:0"]).await;
    assert!(line.contains("only with a loopback address"), "{line}");
    // Behind a proxy.
    let line = Chat::refuse(&["--inspect", "--host", "chat.example"]).await;
    assert!(line.contains("not together with --host"), "{line}");
}
