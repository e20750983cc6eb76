//! Makes the descriptor set that the example `serve-dir` reads JSON with, from the proto files that the envoy-types package
//! ships: every message that can stand in a Cluster, ClusterLoadAssignment, Listener, RouteConfiguration or Secret, at any
//! depth and inside of any `Any`.
//!
//! Shared by the example `xds-descriptors`, which writes the set, and by a test, which finds it stale. Nothing of this is part
//! of the library.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use prost::Message;
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet,
};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

/// The folders whose files are compiled, with all that they import. What is not here (admin, data) is in no resource.
const FOLDERS: &[&str] =
    &["envoy/config", "envoy/extensions", "envoy/service/runtime", "xds/type/matcher/v3"];

/// Where the checked-in set lies.
pub(crate) fn checked_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptors/resources.binpb")
}

/// Compiles the set: no comments, no options, no services, only what JSON needs.
pub(crate) fn generate() -> Result<Vec<u8>> {
    let roots = proto_roots()?;
    let mut files = Vec::new();
    for root in &roots {
        for folder in FOLDERS {
            collect(root, &root.join(folder), &mut files)?;
        }
    }
    files.sort();
    let mut resolver = ChainFileResolver::new();
    resolver.add(Absolute::new(&roots, &files)?);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.open_files(&files).context("proto files do not compile")?;
    let set = compiler.include_imports(true).file_descriptor_set();
    let mut file: Vec<FileDescriptorProto> = set.file.into_iter().map(strip_file).collect();
    file.iter_mut().for_each(|file| file.dependency.retain(|import| !is_annotation(import)));
    file.retain(|file| !is_annotation(file.name()));
    Ok(FileDescriptorSet { file }.encode_to_vec())
}

/// Finds files below the roots, with relative names made absolute.
///
/// protoc looks `common.aws.v3.X` up in every enclosing package until it finds all of it; the compiler used here stops at
/// the first package that has a `common`.
struct Absolute {
    roots: Vec<PathBuf>,
    packages: BTreeSet<String>,
}

impl Absolute {
    fn new(roots: &[PathBuf], files: &[PathBuf]) -> Result<Self> {
        let mut this = Self { roots: roots.to_vec(), packages: BTreeSet::new() };
        for file in files {
            let source = this.read(file).with_context(|| format!("{} cannot be read", file.display()))?;
            let package = source.lines().find_map(|line| line.strip_prefix("package ")?.strip_suffix(';'));
            this.packages.extend(package.map(str::to_owned));
        }
        Ok(this)
    }

    fn read(&self, file: &Path) -> Option<String> {
        self.roots.iter().find_map(|root| std::fs::read_to_string(root.join(file)).ok())
    }

    fn correct(&self, source: &str) -> String {
        let package = source.lines().find_map(|line| line.strip_prefix("package ")?.strip_suffix(';'));
        let correct = |line: &str| match relative_type(line).zip(package) {
            Some((name, package)) => match self.scope(name, package) {
                Some(scope) => line.replacen(name, &format!(".{scope}.{name}"), 1),
                None => line.to_owned(),
            },
            None => line.to_owned(),
        };
        source.lines().map(|line| correct(line) + "\n").collect()
    }

    /// The innermost package around this one that holds the package of the name.
    fn scope<'a>(&self, name: &str, package: &'a str) -> Option<&'a str> {
        let inner: Vec<&str> = name.split('.').take_while(|part| !starts_upper(part)).collect();
        let inner = inner.join(".");
        let mut scope = package;
        loop {
            if self.packages.contains(&format!("{scope}.{inner}")) {
                return Some(scope);
            }
            scope = scope.rsplit_once('.')?.0;
        }
    }
}

/// The type in the definition of a field, if it names a package.
fn relative_type(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let first = words.next()?;
    let has_prefix = matches!(first, "repeated" | "optional") || first.starts_with("map<");
    let name = if has_prefix { words.next()?.trim_end_matches('>') } else { first };
    let mut parts = name.split('.');
    let starts_lower = parts.next()?.starts_with(|c: char| c.is_ascii_lowercase());
    (starts_lower && parts.next_back().is_some_and(starts_upper)).then_some(name)
}

fn starts_upper(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_uppercase())
}

impl FileResolver for Absolute {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let source = self.read(Path::new(name)).ok_or_else(|| protox::Error::file_not_found(name))?;
        File::from_source(name, &self.correct(&source))
    }
}

/// The files that define options only.
fn is_annotation(file: &str) -> bool {
    ["envoy/annotations/", "udpa/annotations/", "validate/", "xds/annotations/"]
        .iter()
        .any(|folder| file.starts_with(folder))
        || file == "google/protobuf/descriptor.proto"
}

/// The `.proto` files below a folder, relative to their root. A root that lacks the folder has none.
fn collect(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path.strip_prefix(root)?.to_owned());
        }
    }
    Ok(())
}

/// The folders below `proto/` of envoy-types on this machine, and what xcc-envoy has because envoy-types lacks it.
fn proto_roots() -> Result<Vec<PathBuf>> {
    let version = cargo(&["-vV"])?;
    let host =
        version.lines().find_map(|line| line.strip_prefix("host: ")).context("cargo -vV names no host")?;
    // Without the filter Cargo fetches the packages of all other platforms too.
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let arguments = ["metadata", "--format-version=1", "--locked", "--manifest-path", manifest];
    let output = cargo(&[&arguments[..], &["--filter-platform", host]].concat())?;
    let metadata: serde_json::Value = serde_json::from_str(&output)?;
    let package = metadata["packages"]
        .as_array()
        .and_then(|packages| packages.iter().find(|package| package["name"] == "envoy-types"))
        .context("envoy-types is no dependency")?;
    let manifest = package["manifest_path"].as_str().context("envoy-types has no manifest path")?;
    let protos = Path::new(manifest).with_file_name("proto");
    let mut roots = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/descriptors/proto")];
    for entry in std::fs::read_dir(&protos).with_context(|| format!("{} cannot be read", protos.display()))? {
        let root = entry?.path();
        // One of the parts has its files a folder deeper.
        let deeper = root.join("proto");
        roots.push(if deeper.is_dir() { deeper } else { root });
    }
    roots.sort();
    Ok(roots)
}

fn cargo(arguments: &[&str]) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).output().context("cargo cannot be run")?;
    ensure!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn strip_file(mut file: FileDescriptorProto) -> FileDescriptorProto {
    file.message_type.iter_mut().for_each(strip_message);
    file.enum_type.iter_mut().for_each(strip_enum);
    file.service.clear();
    file.extension.clear();
    file.options = None;
    file.source_code_info = None;
    // Indexes into the imports, which change; nothing here re-exports.
    file.public_dependency.clear();
    file.weak_dependency.clear();
    file
}

fn strip_message(message: &mut DescriptorProto) {
    message.nested_type.iter_mut().for_each(strip_message);
    message.enum_type.iter_mut().for_each(strip_enum);
    message.extension.clear();
    message.reserved_range.clear();
    message.reserved_name.clear();
    message.field.iter_mut().for_each(|field| field.options = None);
    message.oneof_decl.iter_mut().for_each(|oneof| oneof.options = None);
    // What makes a nested message the entry of a map.
    message.options = message.options.take().filter(|options| options.map_entry());
}

fn strip_enum(each: &mut EnumDescriptorProto) {
    // Aliases are legal only with their option.
    each.options = each.options.take().filter(|options| options.allow_alias());
    each.value.iter_mut().for_each(|value| value.options = None);
}
