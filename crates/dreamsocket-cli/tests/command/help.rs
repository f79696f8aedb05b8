//! What it says of itself, and that the page says the same.

use crate::process::run;

#[tokio::test]
async fn the_page_shows_the_help_that_there_is() {
    let page = include_str!("../../../../docs/cli.md");
    for arguments in [&["--help"][..], &["connect", "--help"], &["load", "--help"]] {
        let done = run(arguments, b"").await;
        assert_eq!(done.code, Some(0), "{}", done.err);
        let lines = done.out.lines().map(str::trim_end);
        let help = lines.collect::<Vec<_>>().join("\n");
        let block = format!(
            "```text\n$ dreamsocket {}\n{help}\n```\n",
            arguments.join(" ")
        );
        assert!(page.contains(&block), "docs/cli.md lacks\n{block}");
    }
}

#[tokio::test]
async fn every_shell_has_a_script() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let done = run(&["completions", shell], b"").await;
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert!(
            done.out.contains("danger-accept-any-certificate"),
            "{shell}"
        );
    }
    let done = run(&["completions", "none"], b"").await;
    assert_eq!(done.code, Some(2));
}
