//! What each ServiceAccount may do: what `kubectl auth can-i --list` says is what the manifests' README says.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::installation::NAMESPACE;
use crate::layout;
use crate::progress::Progress;
use crate::world::World;

/// What the permissions of `managed-dns` are in, beside `base`.
const MANAGED_DNS: &str = "manifests/components/manage-cluster-dns/rbac.yaml";

/// A namespace that nothing is granted in but what holds in all.
const ELSEWHERE: &str = "client";

/// One thing that may be done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Permission {
    /// As kubectl writes it: `RESOURCE` of the core group, else `RESOURCE.GROUP`.
    resource: String,
    /// The only object, if it is restricted to one.
    name: Option<String>,
    verb: String,
}

/// The rows of a ServiceAccount in the README, by namespace.
type Granted = Vec<(String, BTreeSet<Permission>)>;

/// Compares all four ServiceAccounts in every namespace that is named, and in one that is not.
///
/// # Errors
/// What is granted and not told, or told and not granted.
pub async fn walk(world: &mut World, progress: Progress) -> Result<()> {
    let readme = std::fs::read_to_string(layout::root().join("manifests/README.md"))?;
    let (importing, exporting) = (&world.workloads, &world.shared_services);
    for account in ["xcc", "xcc-gateway", "xcc-dns-config"] {
        compare(importing, NAMESPACE, account, &table(&readme, account, false)?).await?;
    }
    compare(exporting, "xcc-remote", "xcc-remote", &table(&readme, "xcc-remote", false)?).await?;

    let rbac = layout::root().join(MANAGED_DNS).display().to_string();
    importing.kubectl(&["apply", "--filename", &rbac]).await?;
    compare(importing, NAMESPACE, "xcc", &table(&readme, "xcc", true)?).await?;
    importing.kubectl(&["delete", "--filename", &rbac]).await?;
    progress.say("ServiceAccounts xcc, xcc-gateway, xcc-dns-config, xcc-remote may do what the README says, and no more");
    Ok(())
}

async fn compare(cluster: &Cluster, home: &str, account: &str, granted: &Granted) -> Result<()> {
    let user = format!("system:serviceaccount:{home}:{account}");
    for namespace in [NAMESPACE, "xcc-remote", "kube-system", ELSEWHERE] {
        let rows = granted.iter().filter(|(of, _)| of == namespace || of == "(all)");
        let told: BTreeSet<Permission> = rows.flat_map(|(_, permissions)| permissions.clone()).collect();
        let everybodys = can_i(cluster, namespace, "system:serviceaccount:client:nobody").await?;
        let all = can_i(cluster, namespace, &user).await?;
        let found: BTreeSet<Permission> = all.difference(&everybodys).cloned().collect();
        ensure!(
            found == told,
            "{account} in {namespace}: granted but not in the README {:?}; in the README but not granted {:?}",
            found.difference(&told).collect::<Vec<_>>(),
            told.difference(&found).collect::<Vec<_>>()
        );
    }
    Ok(())
}

async fn can_i(cluster: &Cluster, namespace: &str, user: &str) -> Result<BTreeSet<Permission>> {
    let as_user = format!("--as={user}");
    let groups = ["--as-group=system:serviceaccounts", "--as-group=system:authenticated"];
    let list = ["auth", "can-i", "--list", &as_user, groups[0], groups[1], "--namespace", namespace];
    can_i_table(&cluster.kubectl(&list).await?)
}

/// What kubectl prints: four columns, of which the first may be empty and the others are in brackets.
fn can_i_table(printed: &str) -> Result<BTreeSet<Permission>> {
    let mut permissions = BTreeSet::new();
    for line in printed.lines().filter(|line| !line.trim_start().starts_with('[')).skip(1) {
        let row = || format!("cannot read the row {line:?}");
        let (resource, rest) = line.split_once('[').with_context(row)?;
        let columns: Vec<&str> = rest.split(['[', ']']).step_by(2).collect();
        let &[_urls, names, verbs, ..] = columns.as_slice() else { anyhow::bail!(row()) };
        insert(&mut permissions, resource.trim(), names, verbs);
    }
    Ok(permissions)
}

/// The tables below the heading of a ServiceAccount: the first, or all with what `managed-dns` grants too.
fn table(readme: &str, account: &str, managed: bool) -> Result<Granted> {
    let heading = format!("### ServiceAccount `{account}`");
    let start = readme.find(&heading).with_context(|| format!("the README has no heading {heading:?}"))?;
    let section = readme[start..].lines().skip(1).take_while(|line| !line.starts_with('#'));
    let mut granted = Granted::new();
    for line in section.take_while(|line| managed || !line.starts_with("With `managed-dns`")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let &["", namespace, group, resources, names, verbs, ""] = cells.as_slice() else { continue };
        if namespace == "namespace" || namespace.starts_with("---") {
            continue;
        }
        let mut permissions = BTreeSet::new();
        for resource in resources.split(' ') {
            // A subresource comes behind the group, as kubectl writes it.
            let (resource, sub) =
                resource.split_once('/').map_or((resource, None), |(it, sub)| (it, Some(sub)));
            let mut whole =
                if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
            whole.extend(sub.iter().flat_map(|sub| ["/", sub]));
            insert(&mut permissions, &whole, names, verbs);
        }
        granted.push((namespace.to_owned(), permissions));
    }
    Ok(granted)
}

fn insert(permissions: &mut BTreeSet<Permission>, resource: &str, names: &str, verbs: &str) {
    let names: Vec<Option<String>> = match names.split_whitespace().collect::<Vec<_>>() {
        none if none.is_empty() => vec![None],
        some => some.into_iter().map(|name| Some(name.to_owned())).collect(),
    };
    for name in names {
        permissions.extend(verbs.split_whitespace().map(|verb| Permission {
            resource: resource.to_owned(),
            name: name.clone(),
            verb: verb.to_owned(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
Resources                       Non-Resource URLs   Resource Names   Verbs
leases.coordination.k8s.io      []                  []               [create]
things.example.com/status       []                  []               [get patch]
                                [/api/*]            []               [get]
secrets                         []                  [a b]            [update]
";
    const README: &str = "\
### ServiceAccount `xcc` (importing cluster)

| namespace | API group | resources | names | verbs |
|---|---|---|---|---|
| home | coordination.k8s.io | leases | | create |
| home | example.com | things/status | | get patch |
| home | | secrets | a b | update |

With `managed-dns` also:

| namespace | API group | resources | names | verbs |
|---|---|---|---|---|
| kube-system | | configmaps | coredns | get |

### ServiceAccount `xcc-gateway` (importing cluster)

None; its pods have no token.
";

    #[test]
    fn what_kubectl_prints_and_what_the_readme_says_are_comparable() {
        let told = table(README, "xcc", false).unwrap();
        assert!(told.iter().all(|(namespace, _)| namespace == "home"));
        let told: BTreeSet<_> = told.into_iter().flat_map(|(_, permissions)| permissions).collect();
        assert_eq!(can_i_table(PRINTED).unwrap(), told);
        assert_eq!(told.len(), 5);
    }

    #[test]
    fn a_section_ends_where_the_next_one_begins() {
        assert_eq!(table(README, "xcc", true).unwrap().len(), 4);
        assert_eq!(table(README, "xcc-gateway", false).unwrap(), []);
        assert!(table(README, "xcc-remote", false).is_err());
    }
}
