//! What is told while files change as editors, tools and Kubernetes change them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;

use crate::support::{Followed, exports, node, proxy, read, remote};
use tokio_util::sync::CancellationToken;
use xcc_kube::{DirectoryError, DirectorySource, read_once};
use xcc_model::{Change, Reason};

#[tokio::test]
async fn what_is_there_is_told_in_one_update() {
    let files = [
        ("a.yaml", proxy("a", "a.xcc.test")),
        ("sub/b.json", "{}".into()),
        ("nodes.yml", node("n1", "10.0.0.1")),
    ];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let followed = Followed::new(&files).await;
    assert_eq!(followed.history.len(), 1);
    assert_eq!(followed.remote(), &read(&followed.root));
    assert_eq!(followed.remote().exports.len(), 1);
    assert_eq!(followed.remote().nodes.len(), 1);
    assert!(followed.remote().problems["sub/b.json: document 0"].message.starts_with("sub/b.json:1: "));
    followed.stop().await;
}

#[tokio::test]
async fn a_change_is_told_as_its_difference_only() {
    let mut followed =
        Followed::new(&[("a.yaml", &(proxy("a", "a.xcc.test") + &proxy("b", "b.xcc.test")))]).await;
    followed.write("a.yaml", &(proxy("a", "a.xcc.test") + &proxy("b", "new.xcc.test")));
    let changes = followed.next().await;
    assert!(matches!(&changes[..], [Change::Export(key, Some(Ok(_)))] if &*key.name == "b"), "{changes:?}");
    followed.write("c.yaml", &proxy("c", "c.xcc.test"));
    followed.until_export("c", "c.xcc.test").await;
    followed.remove("c.yaml");
    followed.until_gone("c").await;
    assert_eq!(followed.remote(), &read(&followed.root));
}

#[tokio::test]
async fn a_file_that_is_moved_into_place_is_told_and_its_unfinished_name_is_not() {
    let mut followed = Followed::new(&[("a.yaml", &proxy("a", "a.xcc.test"))]).await;
    for round in 0..20 {
        let fqdn = format!("a{round}.xcc.test");
        followed.replace("a.yaml", &proxy("a", &fqdn));
        followed.until_export("a", &fqdn).await;
    }
    followed.assert_never_gone("a");
    assert_eq!(followed.history.len(), 21);
}

#[tokio::test]
async fn writes_of_the_same_size_in_quick_succession_are_all_seen() {
    let mut followed = Followed::new(&[("a.yaml", &proxy("a", "a0.xcc.test"))]).await;
    for round in 0..50 {
        let fqdn = format!("a{}.xcc.test", round % 10);
        followed.write("a.yaml", &proxy("a", "ax.xcc.test"));
        followed.write("a.yaml", &proxy("a", &fqdn));
        followed.until_export("a", &fqdn).await;
    }
    followed.pass().await;
    assert_eq!(followed.remote(), &read(&followed.root));
}

#[tokio::test]
async fn a_renamed_file_changes_nothing() {
    let mut followed = Followed::new(&[("a.yaml", &proxy("a", "a.xcc.test"))]).await;
    for (from, to) in [("a.yaml", "b.yaml"), ("b.yaml", "a.yaml"), ("a.yaml", "c.json"), ("c.json", "z.yaml")]
    {
        followed.rename(from, to);
        followed.pass().await;
        assert_eq!(followed.remote().problems.len(), 0);
    }
    followed.assert_never_gone("a");
    followed.rename("z.yaml", "z.yaml.off");
    followed.until_gone("a").await;
}

#[tokio::test]
async fn vim_moves_the_file_away_and_writes_it_anew() {
    let mut followed = Followed::new(&[("a.yaml", &proxy("a", "a.xcc.test"))]).await;
    for round in 0..10 {
        let fqdn = format!("a{round}.xcc.test");
        followed.write("4913", "");
        followed.remove("4913");
        followed.write(".a.yaml.swp", "b0VIM");
        followed.rename("a.yaml", "a.yaml~");
        followed.write("a.yaml", &proxy("a", &fqdn));
        followed.remove("a.yaml~");
        followed.remove(".a.yaml.swp");
        followed.until_export("a", &fqdn).await;
    }
    followed.assert_never_gone("a");
}

#[tokio::test]
async fn sed_in_place_and_a_deletion_with_a_new_file_do_not_flap() {
    let mut followed = Followed::new(&[("a.yaml", &proxy("a", "a.xcc.test"))]).await;
    followed.write("sedAbCdEf", &proxy("a", "sed.xcc.test"));
    followed.rename("sedAbCdEf", "a.yaml");
    followed.until_export("a", "sed.xcc.test").await;
    followed.remove("a.yaml");
    followed.write("a.yaml", &proxy("a", "again.xcc.test"));
    followed.until_export("a", "again.xcc.test").await;
    followed.assert_never_gone("a");
}

#[tokio::test]
async fn a_file_that_is_being_written_withdraws_nothing_until_it_is_closed() {
    let text = proxy("a", "a.xcc.test") + &proxy("b", "b.xcc.test");
    let mut followed = Followed::new(&[("a.yaml", &text)]).await;
    // As with `nano` and with a redirection of the shell: truncated first, and then written in pieces.
    let mut file = File::create(followed.root.join("a.yaml")).unwrap();
    followed.pass().await;
    for document in [proxy("a", "slow.xcc.test"), "---\n# and now\n".into(), proxy("b", "slower.xcc.test")] {
        for line in document.split_inclusive("\n  ") {
            file.write_all(line.as_bytes()).unwrap();
            followed.pass().await;
            let now = exports(followed.remote());
            assert_eq!((&*now["a"], &*now["b"]), ("a.xcc.test", "b.xcc.test"));
            assert!(followed.remote().problems.is_empty());
        }
    }
    drop(file);
    followed.until_export("b", "slower.xcc.test").await;
    assert_eq!(exports(followed.remote())["a"], "slow.xcc.test");
    assert_eq!(followed.remote(), &read(&followed.root));
}

#[tokio::test]
async fn a_file_that_nobody_closes_is_read_once_it_is_quiet() {
    let mut followed = Followed::new(&[]).await;
    let mut file = File::create(followed.root.join("a.yaml")).unwrap();
    file.write_all(proxy("a", "open.xcc.test").as_bytes()).unwrap();
    followed.until_export("a", "open.xcc.test").await;
    drop(file);
}

#[tokio::test]
async fn a_broken_file_keeps_what_it_held_until_it_parses_or_is_deleted() {
    let mut followed = Followed::new(&[("a.yaml", &proxy("a", "a.xcc.test"))]).await;
    followed.write("a.yaml", "kind: HTTPProxy\nmetadata: [\n");
    let message = followed.until_problem("a.yaml").await;
    assert!(message.starts_with("a.yaml:2:"), "{message}");
    followed.write("a.yaml", "");
    followed.until("empty", |it| it.problems["a.yaml"].message.contains("empty")).await;
    followed.write("a.yaml", &proxy("a", "fixed.xcc.test"));
    followed.until_export("a", "fixed.xcc.test").await;
    assert!(followed.remote().problems.is_empty());
    followed.write("a.yaml", "[");
    followed.until_problem("a.yaml").await;
    followed.assert_never_gone("a");
    followed.remove("a.yaml");
    followed.until_gone("a").await;
    followed.until_no_problem().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_keeps_what_it_held() {
    let mut followed = Followed::new(&[("a.yaml", &proxy("a", "a.xcc.test"))]).await;
    // The one way that stops even root: links in a circle, and a link to nothing.
    symlink("a.yaml", followed.root.join("circle.tmp")).unwrap();
    followed.rename("circle.tmp", "a.yaml");
    let message = followed.until_problem("a.yaml").await;
    assert!(message.starts_with("a.yaml: the file cannot be read: "), "{message}");
    symlink("nothing", followed.root.join("nothing.tmp")).unwrap();
    followed.rename("nothing.tmp", "a.yaml");
    followed
        .until("a link to nothing", |it| it.problems["a.yaml"].message.contains("leads to nothing"))
        .await;
    assert_eq!(followed.remote().problems["a.yaml"].reason, Reason::Unreadable);
    followed.replace("a.yaml", &proxy("a", "back.xcc.test"));
    followed.until_export("a", "back.xcc.test").await;
    followed.until_no_problem().await;
    followed.assert_never_gone("a");
}

#[tokio::test]
async fn a_file_that_is_too_large_keeps_what_it_held() {
    let mut followed = Followed::new(&[("a.yaml", &proxy("a", "a.xcc.test"))]).await;
    let file = File::create(followed.root.join("a.yaml")).unwrap();
    file.set_len(xcc_kube::manifests::FILE_SIZE_MAX as u64 + 1).unwrap();
    drop(file);
    followed.until_problem("a.yaml").await;
    assert_eq!(followed.remote().problems["a.yaml"].reason, Reason::LimitExceeded);
    followed.assert_never_gone("a");
}

#[tokio::test]
async fn a_config_map_is_swapped_by_its_inner_link() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("remote");
    let publish = |version: &str, fqdn: &str| {
        fs::create_dir_all(root.join(version)).unwrap();
        fs::write(root.join(version).join("a.yaml"), proxy("a", fqdn)).unwrap();
        symlink(version, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    publish("..2024_1", "one.xcc.test");
    symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
    let mut followed = Followed::follow(parent, root.clone()).await;
    assert_eq!(exports(followed.remote())["a"], "one.xcc.test");
    for (old, new, fqdn) in
        [("..2024_1", "..2024_2", "two.xcc.test"), ("..2024_2", "..2024_3", "three.xcc.test")]
    {
        publish(new, fqdn);
        fs::remove_dir_all(root.join(old)).unwrap();
        followed.until_export("a", fqdn).await;
    }
    // A key is taken away: its link leads to nothing and is removed then.
    fs::create_dir(root.join("..2024_4")).unwrap();
    symlink("..2024_4", root.join("..data_tmp")).unwrap();
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    followed.assert_never_gone("a");
    followed.remove("a.yaml");
    followed.until_gone("a").await;
}

#[tokio::test]
async fn sub_directories_are_followed_as_they_come_and_go() {
    let mut followed = Followed::new(&[("one/a.yaml", &proxy("a", "a.xcc.test"))]).await;
    let root = followed.root.clone();
    // Made in place and filled at once.
    fs::create_dir_all(root.join("two/deep")).unwrap();
    followed.write("two/deep/b.yaml", &proxy("b", "b.xcc.test"));
    followed.until_export("b", "b.xcc.test").await;
    // Moved in with what it has, and followed from then on.
    let outside = followed.parent.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("c.yaml"), proxy("c", "c.xcc.test")).unwrap();
    fs::rename(outside, root.join("three")).unwrap();
    followed.until_export("c", "c.xcc.test").await;
    followed.write("three/c.yaml", &proxy("c", "c2.xcc.test"));
    followed.until_export("c", "c2.xcc.test").await;
    // Renamed: nothing is withdrawn, and it is followed under its new name.
    let before = followed.history.len();
    followed.rename("one", "zero");
    followed.pass().await;
    followed.write("zero/a.yaml", &proxy("a", "moved.xcc.test"));
    followed.until_export("a", "moved.xcc.test").await;
    assert!(
        followed.history[before..].iter().all(|state| state.contains_key("a")),
        "{:#?}",
        followed.history
    );
    // Deleted and made anew under the same name.
    for round in 0..5 {
        fs::remove_dir_all(root.join("two")).unwrap();
        followed.until_gone("b").await;
        fs::create_dir_all(root.join("two/deep")).unwrap();
        followed.write("two/deep/b.yaml", &proxy("b", &format!("b{round}.xcc.test")));
        followed.until_export("b", &format!("b{round}.xcc.test")).await;
    }
    assert_eq!(followed.remote(), &read(&followed.root));
}

#[tokio::test]
async fn while_the_directory_is_away_its_last_state_stays() {
    let mut followed =
        Followed::new(&[("a.yaml", &proxy("a", "a.xcc.test")), ("sub/b.yaml", &proxy("b", "b.xcc.test"))])
            .await;
    let (root, away) = (followed.root.clone(), followed.parent.path().join("away"));
    fs::rename(&root, &away).unwrap();
    let message = followed.until_problem(".").await;
    assert!(message.contains("cannot be read"), "{message}");
    fs::write(away.join("a.yaml"), proxy("a", "meanwhile.xcc.test")).unwrap();
    fs::rename(&away, &root).unwrap();
    followed.until_export("a", "meanwhile.xcc.test").await;
    followed.until_no_problem().await;
    // It is watched again.
    followed.write("a.yaml", &proxy("a", "again.xcc.test"));
    followed.until_export("a", "again.xcc.test").await;
    // Another one takes its place.
    let other = followed.parent.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("a.yaml"), proxy("a", "other.xcc.test")).unwrap();
    fs::write(other.join("b.yaml"), proxy("b", "b.xcc.test")).unwrap();
    fs::rename(&root, &away).unwrap();
    fs::rename(&other, &root).unwrap();
    followed.until_export("a", "other.xcc.test").await;
    followed.write("a.yaml", &proxy("a", "followed.xcc.test"));
    followed.until_export("a", "followed.xcc.test").await;
    followed.assert_never_gone("a");
    followed.assert_never_gone("b");
}

#[tokio::test]
async fn a_directory_that_is_deleted_and_made_anew_recovers_without_a_flap() {
    let mut followed =
        Followed::new(&[("a.yaml", &proxy("a", "a.xcc.test")), ("b.yaml", &proxy("b", "b.xcc.test"))]).await;
    let root = followed.root.clone();
    fs::remove_dir_all(&root).unwrap();
    followed.until_problem(".").await;
    assert_eq!(followed.remote().exports.len(), 2);
    fs::create_dir(&root).unwrap();
    followed.write("a.yaml", &proxy("a", "new.xcc.test"));
    followed.until_export("a", "new.xcc.test").await;
    // What is not there any more is withdrawn once it is clear that it does not come back.
    followed.until_gone("b").await;
    followed.assert_never_gone("a");
    assert_eq!(followed.remote(), &read(&followed.root));
}

#[tokio::test]
async fn a_remote_cluster_in_the_directory_gives_the_settings() {
    let settings = |priority: &str| {
        format!(
            "apiVersion: connectivity.tanzu.vmware.com/v1alpha1\nkind: RemoteCluster\nmetadata: {{name: east}}\n\
             spec: {{priority: {priority}, kubeconfigSecretRef: {{name: x}}}}\n"
        )
    };
    let mut followed = Followed::new(&[("east.yaml", &settings("2"))]).await;
    assert_eq!(followed.remote().settings.as_ref().unwrap().priority, 2);
    followed.write("east.yaml", &settings("none"));
    followed.until("invalid", |it| it.settings_problem.is_some()).await;
    assert_eq!(followed.remote().settings.as_ref().unwrap().priority, 2);
    followed.remove("east.yaml");
    followed.until("the defaults", |it| it.settings.as_ref().is_some_and(|it| it.priority == 0)).await;
    assert_eq!(followed.remote().settings_problem, None);
}

#[tokio::test]
async fn the_source_ends_when_nobody_listens_and_when_it_is_told_to() {
    let root = tempfile::tempdir().unwrap();
    let source = DirectorySource::open(remote(), root.path().to_owned()).unwrap();
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    drop(receiver);
    tokio::time::timeout(std::time::Duration::from_secs(30), source.run(sender, CancellationToken::new()))
        .await
        .unwrap();
    // Although the channel is full.
    let followed = Followed::new(&[]).await;
    followed.write("a.yaml", &proxy("a", "a.xcc.test"));
    followed.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_remote_is_refused_with_its_path() {
    let root = tempfile::tempdir().unwrap();
    let (missing, file) = (root.path().join("missing"), root.path().join("file.yaml"));
    fs::write(&file, proxy("a", "a.xcc.test")).unwrap();
    let open =
        |path: &std::path::Path| DirectorySource::open(remote(), path.to_owned()).map(drop).unwrap_err();
    let error = open(&missing);
    assert!(matches!(error, DirectoryError::Missing { .. }), "{error}");
    assert!(error.to_string().starts_with(&missing.display().to_string()), "{error}");
    assert!(matches!(open(&file), DirectoryError::NotADirectory { .. }));
    assert!(matches!(read_once(&remote(), &[&missing]), Err(DirectoryError::Missing { .. })));
    symlink("circle", root.path().join("circle")).unwrap();
    assert!(matches!(open(&root.path().join("circle")), DirectoryError::Unreadable { .. }));
    // A single file is no directory to follow, but can be read.
    let changes = read_once(&remote(), &[&file]).unwrap();
    assert!(matches!(
        &changes[..],
        [Change::Forget, Change::Settings(Ok(_)), Change::Export(_, Some(Ok(_))), Change::Synced]
    ));
}

#[test]
fn several_paths_are_read_as_if_one_directory_held_them() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("sub")).unwrap();
    let (one, two) = (root.path().join("one.yaml"), root.path().join("sub"));
    fs::write(&one, proxy("a", "one.xcc.test")).unwrap();
    fs::write(two.join("two.yaml"), proxy("a", "two.xcc.test") + &proxy("b", "b.xcc.test")).unwrap();
    let changes = read_once(&remote(), &[one.as_path(), two.as_path()]).unwrap();
    let exports = changes.iter().filter(|it| matches!(it, Change::Export(_, Some(Ok(_))))).count();
    assert_eq!(exports, 2);
    let message = changes.iter().find_map(|change| match change {
        Change::Problem(_, Some(problem)) => Some(problem.message.clone()),
        _ => None,
    });
    let start = format!(
        "{}:2: HTTPProxy default/a is defined in {}:2",
        two.join("two.yaml").display(),
        one.display()
    );
    assert!(message.as_ref().unwrap().starts_with(&start), "{message:?}");
}
