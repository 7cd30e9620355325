//! `healthcheck` finds the process that runs in the same folder, whatever flags that was started with.

use crate::support::process::{Launch, Output, Process};

async fn check(folder: &std::path::Path, args: &[&str]) -> Output {
    Process::run(&[&["healthcheck"], args].concat(), &[], folder).await
}

const FLAGS: [&str; 4] = ["--public-listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"];

#[tokio::test]
async fn it_needs_no_flags_of_serve() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("other.toml"), "internal.listen = \"0.0.0.0:0\"\npublic.listen = \"127.0.0.1:0\"\ninternal.admin_key = \"rgk_a-key-that-is-long-enough-0123\"\n").unwrap();
    let serve = Launch::new(&["serve", "--config", "other.toml"]).in_folder(folder.path()).start().await;
    let checked = check(folder.path(), &[]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    serve.kill();
    serve.wait().await;
    let checked = check(folder.path(), &["--internal-listen", "127.0.0.1:1"]).await;
    assert!(checked.code == Some(1) && checked.stderr.contains("127.0.0.1:1"), "{checked:?}");
    let checked = check(folder.path(), &[]).await;
    assert_eq!(checked.code, Some(1), "a file that a killed process left says nothing: {checked:?}");
}

#[tokio::test]
async fn processes_in_other_folders_are_not_taken_for_this_one() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Launch::new(&FLAGS).in_folder(one.path()).start().await;
    let _second = Launch::new(&FLAGS).in_folder(two.path()).start().await;
    for folder in [one.path(), two.path()] {
        assert_eq!(check(folder, &[]).await.code, Some(0));
    }
    first.signal(rustix::process::Signal::TERM);
    first.wait().await;
    let checked = check(one.path(), &["--internal-listen", "127.0.0.1:1"]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    std::fs::write(one.path().join("remgate.toml"), "internal.listen = \"127.0.0.1:1\"").unwrap();
    let checked = check(one.path(), &[]).await;
    assert!(checked.code == Some(1) && checked.stderr.contains("127.0.0.1:1"), "{checked:?}");
}

#[tokio::test]
async fn of_several_in_one_folder_one_has_to_be_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let with = |name: &'static str| [&FLAGS[..], &["--database-url", name]].concat();
    let one = Launch::new(&with("sqlite://one.db")).in_folder(folder.path()).start().await;
    let _two = Launch::new(&with("sqlite://two.db")).in_folder(folder.path()).start().await;
    let checked = check(folder.path(), &[]).await;
    assert!(checked.code == Some(1) && checked.stderr.contains(&one.internal_url()), "{checked:?}");
    assert_eq!(check(folder.path(), &["--server", &one.internal_url()]).await.code, Some(0));
}
