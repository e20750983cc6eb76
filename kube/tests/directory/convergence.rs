//! Whatever is done to the files of a directory, what was told in the end is what is there.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::support::{Followed, node, proxy, read};
use proptest::prelude::*;

const DIRECTORIES: [&str; 3] = ["", "x", "y"];
const FILES: [&str; 3] = ["a.yaml", "b.yml", "c.json"];

#[derive(Debug, Clone)]
enum Op {
    /// Truncates the file and writes it in one piece.
    Write(usize, usize, Vec<(u8, u8)>),
    /// Writes it with a pause in between, during which everything is told.
    WriteSlowly(usize, usize, Vec<(u8, u8)>),
    Append(usize, usize, (u8, u8)),
    Replace(usize, usize, Vec<(u8, u8)>),
    Delete(usize, usize),
    Rename((usize, usize), (usize, usize)),
    RenameDirectory,
    RemoveDirectory(usize),
    Touch(usize, usize),
    /// Lets the source come to rest.
    Rest,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let file = || (0..DIRECTORIES.len(), 0..FILES.len());
    let objects = || prop::collection::vec((0..6_u8, 0..4_u8), 0..4);
    let op = prop_oneof![
        4 => (file(), objects()).prop_map(|((d, f), it)| Op::Write(d, f, it)),
        2 => (file(), objects()).prop_map(|((d, f), it)| Op::WriteSlowly(d, f, it)),
        1 => (file(), (0..6_u8, 0..4_u8)).prop_map(|((d, f), it)| Op::Append(d, f, it)),
        3 => (file(), objects()).prop_map(|((d, f), it)| Op::Replace(d, f, it)),
        2 => file().prop_map(|(d, f)| Op::Delete(d, f)),
        2 => (file(), file()).prop_map(|(from, to)| Op::Rename(from, to)),
        1 => Just(Op::RenameDirectory),
        1 => (1..DIRECTORIES.len()).prop_map(Op::RemoveDirectory),
        1 => file().prop_map(|(d, f)| Op::Touch(d, f)),
        2 => Just(Op::Rest),
    ];
    prop::collection::vec(op, 1..20)
}

fn text(objects: &[(u8, u8)]) -> String {
    let documents = objects.iter().map(|(name, variant)| match name {
        0..4 => proxy(&format!("p{name}"), &format!("v{variant}.xcc.test")),
        _ => node(&format!("n{name}"), &format!("10.0.0.{variant}")),
    });
    // The file is never empty: that would keep what it held.
    std::iter::once("# manifests\n".to_owned()).chain(documents).collect()
}

/// Does it; what cannot be done, since a file is not there, is left.
async fn perform(followed: &mut Followed, op: Op) {
    let root = followed.root.clone();
    let path = |directory: usize, file: usize| root.join(DIRECTORIES[directory]).join(FILES[file]);
    let made = |directory: usize, file: usize| {
        fs::create_dir_all(root.join(DIRECTORIES[directory])).unwrap();
        path(directory, file)
    };
    match op {
        Op::Write(d, f, objects) => fs::write(made(d, f), text(&objects)).unwrap(),
        Op::WriteSlowly(d, f, objects) => {
            let text = text(&objects);
            let (head, tail) = text.split_at(text.len() / 2);
            let mut file = File::create(made(d, f)).unwrap();
            file.write_all(head.as_bytes()).unwrap();
            followed.pass().await;
            file.write_all(tail.as_bytes()).unwrap();
        }
        Op::Append(d, f, object) => {
            let mut file = OpenOptions::new().create(true).append(true).open(made(d, f)).unwrap();
            file.write_all(text(&[object]).as_bytes()).unwrap();
        }
        Op::Replace(d, f, objects) => {
            let unfinished = root.join("unfinished.tmp");
            fs::write(&unfinished, text(&objects)).unwrap();
            fs::rename(unfinished, made(d, f)).unwrap();
        }
        Op::Delete(d, f) => drop(fs::remove_file(path(d, f))),
        Op::Rename(from, to) => drop(fs::rename(path(from.0, from.1), made(to.0, to.1))),
        Op::RenameDirectory => {
            let _ = fs::remove_dir_all(root.join("y"));
            let _ = fs::rename(root.join("x"), root.join("y"));
        }
        Op::RemoveDirectory(directory) => drop(fs::remove_dir_all(root.join(DIRECTORIES[directory]))),
        Op::Touch(d, f) => touch(&path(d, f)),
        Op::Rest => rest(followed).await,
    }
}

fn touch(path: &Path) {
    if let Ok(file) = File::open(path) {
        file.set_modified(std::time::SystemTime::now()).unwrap();
    }
}

async fn rest(followed: &mut Followed) {
    let want = read(&followed.root);
    followed.until(&format!("rest at {want:#?}"), |told| *told == want).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 20, ..ProptestConfig::default() })]
    #[test]
    fn what_was_told_in_the_end_is_what_is_there(ops in ops()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut followed = Followed::new(&[]).await;
            for op in ops {
                perform(&mut followed, op).await;
            }
            rest(&mut followed).await;
            followed.stop().await;
        });
    }
}
