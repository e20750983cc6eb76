//! What the names of images stand for: binaries of this machine, with the entry point and the user of the image.
//!
//! An image is found by the last part of its repository's name, whatever its registry and tag are: manifests run
//! as they are published.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::layout;

/// What a container is made of beside the base (Debian's programs and libraries, read-only).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Files and folders of the image: where they are here, and where in the container.
    pub files: Vec<(PathBuf, &'static str)>,
    /// The image's ENTRYPOINT.
    pub entrypoint: &'static [&'static str],
    /// The image's CMD.
    pub command: &'static [&'static str],
    /// The image's USER.
    pub user: u32,
    /// Folders that the image has and its program writes to.
    pub folders: &'static [&'static str],
}

/// The table.
#[derive(Debug, Clone)]
pub struct Images {
    xcc: Option<PathBuf>,
}

/// The user of images that are built without a privileged one.
const NONROOT: u32 = 65532;

impl Images {
    /// The table, with a certain binary of xcc or (with none) the newest one built.
    pub fn new(xcc: Option<PathBuf>) -> Self {
        Self { xcc }
    }

    /// Finds an image.
    ///
    /// # Errors
    /// When it is not in the table, or its binary has not been built.
    pub fn find(&self, reference: &str) -> Result<Image> {
        self.look_up(reference)
            .with_context(|| format!("image \"{reference}\" (the table is kubelet/images.rs)"))
    }

    fn look_up(&self, reference: &str) -> Result<Image> {
        let plain = Image { files: Vec::new(), entrypoint: &[], command: &[], user: 0, folders: &[] };
        let built = |name: &str, path: &'static str| layout::binary(name).map(|binary| vec![(binary, path)]);
        Ok(match last_part(reference) {
            "coredns" => Image {
                files: built("coredns", "/coredns")?,
                entrypoint: &["/coredns"],
                user: NONROOT,
                ..plain
            },
            "contour" => Image { files: built("contour", "/bin/contour")?, user: NONROOT, ..plain },
            "cert-manager-controller" => Image {
                files: built("cert-manager-controller", "/app/cmd/controller/controller")?,
                entrypoint: &["/app/cmd/controller/controller"],
                user: 1000,
                ..plain
            },
            "envoy" => Image {
                files: vec![(layout::envoy()?, "/usr/local/bin/envoy")],
                entrypoint: &["/usr/local/bin/envoy"],
                command: &["-c", "/etc/envoy/envoy.yaml"],
                user: 101,
                ..plain
            },
            "nginx" => Image {
                files: vec![
                    (layout::own("images/nginx/nginx.conf"), "/etc/nginx/nginx.conf"),
                    (layout::own("images/nginx/default.conf"), "/etc/nginx/conf.d/default.conf"),
                ],
                entrypoint: &["nginx"],
                command: &["-g", "daemon off;"],
                folders: &["/var/log/nginx", "/var/lib/nginx", "/var/cache/nginx"],
                ..plain
            },
            "xcc" => {
                let binary = self.xcc.clone().map_or_else(layout::xcc, Ok)?;
                Image {
                    files: vec![(binary.clone(), "/xcc"), (binary, "/usr/local/bin/xcc")],
                    entrypoint: &["/xcc"],
                    user: NONROOT,
                    ..plain
                }
            }
            "curl" => Image { entrypoint: &["curl"], user: 100, ..plain },
            "busybox" | "debian" => Image { command: &["sh"], ..plain },
            "kubectl" => Image {
                files: built("kubectl", "/usr/local/bin/kubectl")?,
                entrypoint: &["kubectl"],
                user: NONROOT,
                ..plain
            },
            _other => bail!("no such image"),
        })
    }
}

/// The last part of the repository's name: without registry, folders, tag and digest.
fn last_part(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split(':').next().unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_tag_and_digest_do_not_matter() {
        for reference in
            ["envoy", "docker.io/envoyproxy/envoy:distroless-v1.38.9", "localhost:5000/a/envoy@sha256:00"]
        {
            assert_eq!(last_part(reference), "envoy");
        }
    }

    #[test]
    fn an_unknown_image_is_named() {
        let error = Images::new(None).find("docker.io/library/mysql:9").unwrap_err();
        assert!(format!("{error:#}").contains("mysql:9"), "{error:#}");
    }
}
