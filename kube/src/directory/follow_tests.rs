//! The follower with a real watcher and a clock of the test: nothing that needs time happens before the test says so,
//! the periodic scan included.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;

use notify::event::Flag;
use notify::{Event, EventKind};
use tempfile::TempDir;
use tokio::time::timeout;
use xcc_model::{Inventory, Remote, Update};

use super::*;

/// How long a test waits for the operating system's word.
const PATIENCE: Duration = Duration::from_secs(30);

struct Driver {
    parent: TempDir,
    root: PathBuf,
    follower: Follower,
    inbox: Arc<Inbox>,
    inventory: Inventory,
    now: Instant,
    markers: u32,
}

fn remote() -> RemoteName {
    RemoteName::parse("east").unwrap()
}

fn proxy(name: &str, fqdn: &str) -> String {
    format!(
        "---\n{{apiVersion: projectcontour.io/v1, kind: HTTPProxy, metadata: {{name: {name}, labels: \
         {{connectivity.tanzu.vmware.com/export: ''}}}}, spec: {{virtualhost: {{fqdn: {fqdn}.xcc.test, tls: \
         {{passthrough: true}}}}}}}}\n"
    )
}

impl Driver {
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("remote");
        fs::create_dir(&root).unwrap();
        prepare(&root);
        let (inbox, now) = (Arc::new(Inbox::default()), Instant::now());
        let follower = Follower::new(remote(), root.clone(), inbox.clone(), now).unwrap();
        let mut driver =
            Self { parent, root, follower, inbox, inventory: Inventory::default(), now, markers: 0 };
        driver.round();
        assert!(driver.remote().synced);
        driver
    }

    fn with(files: &[(&str, &str)]) -> Self {
        Self::new(|root| {
            files.iter().for_each(|(name, fqdn)| fs::write(root.join(name), proxy("a", fqdn)).unwrap())
        })
    }

    fn round(&mut self) {
        let changes = self.follower.round(self.now);
        self.inventory.apply(Update { remote: remote(), changes });
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.round();
    }

    /// Waits for events until the state is as wanted; the clock stands still.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        while !wanted(self) {
            timeout(PATIENCE, self.inbox.filled())
                .await
                .unwrap_or_else(|_| panic!("{what}: {:#?}", self.remote()));
            self.round();
        }
    }

    async fn until_export(&mut self, name: &str, fqdn: &str) {
        self.until(&format!("{name} is {fqdn}"), |it| it.export(name).as_deref() == Some(fqdn)).await;
    }

    /// All events so far are looked at.
    async fn pass(&mut self) {
        self.markers += 1;
        let fqdn = format!("marker{}", self.markers);
        let unfinished = self.parent.path().join("marker");
        fs::write(&unfinished, proxy("marker", &fqdn)).unwrap();
        fs::rename(unfinished, self.root.join("marker.yaml")).unwrap();
        self.until_export("marker", &fqdn).await;
    }

    fn remote(&self) -> &Remote {
        &self.inventory.remotes()[&remote()]
    }

    /// The first label of what is exported.
    fn export(&self, name: &str) -> Option<String> {
        let export = self.remote().exports.get(&xcc_model::ExportKey::new("default", name))?;
        export.as_ref().ok().map(|it| it.hostname.as_str().trim_end_matches(".xcc.test").to_owned())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn write(&self, name: &str, fqdn: &str) {
        fs::write(self.path(name), proxy("a", fqdn)).unwrap();
    }

    /// Moves a finished file into place.
    fn place(&self, name: &str, fqdn: &str) {
        let unfinished = self.parent.path().join("unfinished");
        fs::write(&unfinished, proxy("a", fqdn)).unwrap();
        fs::rename(unfinished, self.path(name)).unwrap();
    }
}

#[tokio::test]
async fn a_deleted_file_has_a_grace_in_which_it_may_come_back() {
    let mut driver = Driver::with(&[("a.yaml", "one")]);
    fs::remove_file(driver.path("a.yaml")).unwrap();
    driver.pass().await;
    driver.advance(GRACE / 2);
    assert_eq!(driver.export("a").as_deref(), Some("one"));
    driver.write("a.yaml", "two");
    driver.until_export("a", "two").await;
    driver.advance(GRACE);
    fs::remove_file(driver.path("a.yaml")).unwrap();
    driver.pass().await;
    assert!(driver.follower.deadline() <= driver.now + GRACE);
    driver.advance(GRACE);
    assert_eq!(driver.export("a"), None);
}

#[tokio::test]
async fn a_file_with_a_writer_is_read_when_it_is_closed_or_quiet_for_a_second() {
    let mut driver = Driver::with(&[("a.yaml", "one")]);
    let mut file = File::create(driver.path("a.yaml")).unwrap();
    for _ in 0..3 {
        file.write_all(b"# still writing\n").unwrap();
        driver.pass().await;
        driver.advance(QUIET * 9 / 10);
        assert_eq!(driver.export("a").as_deref(), Some("one"));
    }
    file.write_all(proxy("a", "two").as_bytes()).unwrap();
    drop(file);
    driver.until_export("a", "two").await;

    let mut file = File::create(driver.path("a.yaml")).unwrap();
    file.write_all(proxy("a", "three").as_bytes()).unwrap();
    driver.pass().await;
    assert_eq!(driver.export("a").as_deref(), Some("two"));
    assert!(driver.follower.deadline() <= driver.now + QUIET);
    driver.advance(QUIET);
    assert_eq!(driver.export("a").as_deref(), Some("three"));
}

#[tokio::test]
async fn a_scan_reads_no_file_that_is_being_written() {
    let mut driver = Driver::with(&[("a.yaml", "one")]);
    let mut file = File::create(driver.path("a.yaml")).unwrap();
    file.write_all(b"# nothing yet\n").unwrap();
    driver.pass().await;
    driver.follower.next_scan = driver.now;
    driver.round();
    assert_eq!((driver.export("a").as_deref(), driver.remote().problems.len()), (Some("one"), 0));
}

#[tokio::test]
async fn hard_links_and_symbolic_links_are_complete_once_they_are_there() {
    let mut driver = Driver::with(&[("a.off", "one")]);
    fs::hard_link(driver.path("a.off"), driver.path("a.yaml")).unwrap();
    driver.until_export("a", "one").await;
    let outside = driver.parent.path().join("outside");
    fs::write(&outside, proxy("b", "two")).unwrap();
    symlink(outside, driver.path("b.yaml")).unwrap();
    driver.until_export("b", "two").await;
}

#[tokio::test]
async fn the_swap_of_a_config_map_is_told_at_once() {
    let publish = |root: &Path, version: &str| {
        fs::create_dir(root.join(version)).unwrap();
        fs::write(root.join(version).join("a.yaml"), proxy("a", version.trim_start_matches('.'))).unwrap();
        symlink(version, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    let mut driver = Driver::new(|root| {
        publish(root, "..v1");
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
    });
    assert_eq!(driver.export("a").as_deref(), Some("v1"));
    publish(&driver.root.clone(), "..v2");
    driver.until_export("a", "v2").await;
}

#[tokio::test]
async fn a_directory_that_is_made_anew_under_its_name_is_watched_again() {
    let mut driver = Driver::new(|root| fs::create_dir(root.join("sub")).unwrap());
    for round in 0..30 {
        fs::remove_dir_all(driver.path("sub")).unwrap();
        fs::create_dir(driver.path("sub")).unwrap();
        driver.pass().await;
        driver.place("sub/a.yaml", &format!("round{round}"));
        driver.until_export("a", &format!("round{round}")).await;
    }
}

#[tokio::test]
async fn a_directory_that_is_renamed_is_watched_under_its_new_name() {
    let mut driver = Driver::new(|root| fs::create_dir(root.join("sub0")).unwrap());
    for round in 1..30 {
        let (from, to) = (format!("sub{}", round - 1), format!("sub{round}"));
        fs::rename(driver.path(&from), driver.path(&to)).unwrap();
        driver.pass().await;
        driver.place(&format!("{to}/a.yaml"), &format!("round{round}"));
        driver.until_export("a", &format!("round{round}")).await;
    }
}

#[tokio::test]
async fn a_replaced_root_is_noticed_and_watched_and_may_be_filled_later() {
    let mut driver = Driver::with(&[("a.yaml", "one")]);
    fs::remove_dir_all(&driver.root).unwrap();
    driver.until("the root is missing", |it| it.remote().problems.contains_key(".")).await;
    driver.advance(GRACE * 10);
    assert_eq!(driver.export("a").as_deref(), Some("one"));
    assert!(driver.follower.deadline() <= driver.now + ROOT_MISSING_INTERVAL);
    fs::create_dir(&driver.root).unwrap();
    driver.advance(ROOT_MISSING_INTERVAL);
    assert!(driver.remote().problems.is_empty());
    driver.advance(ROOT_GRACE / 2);
    assert_eq!(driver.export("a").as_deref(), Some("one"));
    driver.place("a.yaml", "two");
    driver.until_export("a", "two").await;
    fs::remove_file(driver.path("a.yaml")).unwrap();
    driver.pass().await;
    driver.advance(ROOT_GRACE);
    assert_eq!(driver.export("a"), None);
}

#[tokio::test]
async fn a_root_that_is_a_link_may_be_swapped() {
    let parent = tempfile::tempdir().unwrap();
    for version in ["one", "two"] {
        fs::create_dir(parent.path().join(version)).unwrap();
        fs::write(parent.path().join(version).join("a.yaml"), proxy("a", version)).unwrap();
    }
    let mut driver = Driver::new(|root| {
        fs::remove_dir(root).unwrap();
        symlink(parent.path().join("one"), root).unwrap();
    });
    assert_eq!(driver.export("a").as_deref(), Some("one"));
    let unfinished = driver.parent.path().join("unfinished");
    symlink(parent.path().join("two"), &unfinished).unwrap();
    fs::rename(unfinished, &driver.root).unwrap();
    driver.advance(ROOT_INTERVAL);
    driver.advance(QUIET);
    assert_eq!(driver.export("a").as_deref(), Some("two"));
    driver.write("a.yaml", "three");
    driver.until_export("a", "three").await;
}

#[tokio::test]
async fn what_no_event_tells_is_found_by_a_scan_once_it_is_quiet() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("target");
    fs::write(&target, proxy("a", "one")).unwrap();
    let mut driver = Driver::new(|root| symlink(&target, root.join("a.yaml")).unwrap());
    fs::write(&target, proxy("a", "three")).unwrap();
    driver.advance(SCAN_INTERVAL);
    assert_eq!(driver.export("a").as_deref(), Some("one"));
    driver.advance(QUIET);
    assert_eq!(driver.export("a").as_deref(), Some("three"));
}

#[tokio::test]
async fn lost_events_are_made_up_for() {
    let mut driver = Driver::with(&[("a.yaml", "one")]);
    fs::create_dir(driver.path("sub")).unwrap();
    driver.pass().await;
    for round in 0..10 {
        driver.write("a.yaml", &format!("lost{round}"));
        // Often with the inode that it had before.
        fs::remove_dir_all(driver.path("sub")).unwrap();
        fs::create_dir(driver.path("sub")).unwrap();
        let last = driver.path(&format!("last{round}.yaml"));
        fs::write(&last, "#").unwrap();
        while !driver.inbox.take().paths.contains_key(&last) {
            timeout(PATIENCE, driver.inbox.filled()).await.unwrap();
        }
        driver.inbox.receive(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        driver.round();
        driver.advance(QUIET);
        assert_eq!(driver.export("a"), Some(format!("lost{round}")));
        // All watches are in place.
        fs::remove_file(driver.path("a.yaml")).unwrap();
        driver.place("sub/a.yaml", &format!("seen{round}"));
        driver.until_export("a", &format!("seen{round}")).await;
        driver.place("a.yaml", &format!("again{round}"));
        driver.until_export("a", &format!("again{round}")).await;
    }
}

#[tokio::test]
async fn a_directory_with_two_paths_is_watched_under_the_first() {
    let mut driver = Driver::new(|root| fs::create_dir(root.join("m")).unwrap());
    for round in 0..10 {
        symlink("m", driver.path("a-link")).unwrap();
        driver.pass().await;
        driver.place("m/a.yaml", &format!("link{round}"));
        driver.until_export("a", &format!("link{round}")).await;
        fs::remove_file(driver.path("a-link")).unwrap();
        driver.pass().await;
        driver.place("m/a.yaml", &format!("real{round}"));
        driver.until_export("a", &format!("real{round}")).await;
        driver.advance(GRACE);
    }
    assert!(driver.remote().problems.is_empty());
}

#[tokio::test]
async fn more_files_than_the_limit_are_reported_and_read_when_there_is_room() {
    let mut driver = Driver::new(|root| {
        for index in 0..FILES_MAX {
            File::create(root.join(format!("f{index:05}.yaml"))).unwrap().write_all(b"#").unwrap();
        }
    });
    assert!(driver.remote().problems.is_empty());
    driver.write("one-more.yaml", "late");
    driver.until("too many", |it| it.remote().problems.contains_key("number of files")).await;
    assert_eq!(driver.export("a"), None);
    fs::remove_file(driver.path("f00000.yaml")).unwrap();
    driver.until("missing", |it| it.follower.pending.len() == 1).await;
    driver.advance(GRACE);
    driver.advance(QUIET);
    driver.advance(QUIET);
    assert_eq!((driver.export("a").as_deref(), driver.remote().problems.len()), (Some("late"), 0));
}
