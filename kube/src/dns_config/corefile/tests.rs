use proptest::prelude::*;

use super::*;

/// What kubeadm installs.
const KUBEADM: &str = ".:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

/// What the ancestor documents for its one zone.
const BLOCK: &str = "### BEGIN CROSS CLUSTER CONNECTIVITY
xcc.test {
    forward . 10.96.0.7
    reload
}
### END CROSS CLUSTER CONNECTIVITY";

fn zones(names: &[&str]) -> Vec<ZoneName> {
    names.iter().map(|name| ZoneName::parse(name).unwrap()).collect()
}

fn servers(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

fn patched(corefile: &str) -> Result<Edit, CorefileError> {
    apply(corefile, &zones(&["xcc.test"]), &servers(&["10.96.0.7"]))
}

#[test]
fn i3_the_block_is_appended_as_the_ancestor_wrote_it() {
    assert_eq!(patched(KUBEADM), Ok(Edit::Added(format!("{KUBEADM}{BLOCK}\n"))));
}

#[test]
fn i4_what_is_right_stays() {
    assert_eq!(patched(&format!("{KUBEADM}{BLOCK}\n")), Ok(Edit::None));
    // The ancestor's own file: trimmed, and with the block at its end.
    assert_eq!(patched(&format!("{}\n{BLOCK}", KUBEADM.trim())), Ok(Edit::None));
}

#[test]
fn i4_another_address_or_domain_is_replaced_in_place() {
    let tail = "other.test {\n    log\n}\n";
    let right = format!("{KUBEADM}{BLOCK}\n{tail}");
    for wrong in [
        right.replace("10.96.0.7", "10.96.0.8"),
        right.replace("xcc.test {", "old.test {"),
        right.replace("    reload\n}\n### END", "}\n### END"),
        right.replace("forward . 10.96.0.7", "forward . 10.96.0.7 10.96.0.9"),
        right.replace("### END", "  ### END"),
        right.replace("xcc.test {", "xcc.test:53 {\n bind lo"),
        right.replace(BLOCK, &format!("{BEGIN}\n{END}")),
    ] {
        assert_eq!(patched(&wrong), Ok(Edit::Replaced(right.clone())), "{wrong}");
    }
}

#[test]
fn several_zones_have_one_server_block_each_whatever_their_order() {
    let edit =
        apply("", &zones(&["b.test", "a.test", "b.test"]), &servers(&["10.0.0.1", "fd00::1"])).unwrap();
    let block = |zone| format!("{zone} {{\n    forward . 10.0.0.1 fd00::1\n    reload\n}}\n");
    assert_eq!(edit, Edit::Added(format!("{BEGIN}\n{}{}{END}\n", block("a.test"), block("b.test"))));
}

#[test]
fn a_doubled_block_is_made_one() {
    let doubled = format!("{KUBEADM}{BLOCK}\n# mine\n{BLOCK}\n");
    assert_eq!(patched(&doubled), Ok(Edit::Replaced(format!("{KUBEADM}{BLOCK}\n# mine\n"))));
    assert_eq!(remove(&doubled), Ok(Edit::Removed(format!("{KUBEADM}# mine\n"))));
}

#[test]
fn half_a_block_is_refused_with_its_line() {
    for (text, line) in [
        (format!("# x\n{BEGIN}\nxcc.test {{\n}}\n"), 2),
        (format!("# x\n{END}\n"), 2),
        (format!("{BEGIN}\n{BEGIN}\n{END}\n"), 1),
        (format!("{BEGIN}\n{END}\n{END}\n"), 3),
    ] {
        for edit in [patched(&text), remove(&text)] {
            assert!(
                matches!(edit, Err(CorefileError::HalfBlock { line: found, .. }) if found == line),
                "{text}"
            );
        }
    }
}

#[test]
fn what_others_wrote_between_the_markers_is_never_lost() {
    let right = format!("{KUBEADM}{BLOCK}\n");
    let first = KUBEADM.lines().count() + 1;
    for (wrong, line) in [
        (right.replace("    reload\n}\n### END", "    reload\n    log\n}\n### END"), first + 4),
        (right.replace("    reload\n}\n### END", "    reload # fast\n}\n### END"), first + 3),
        (right.replace("### END", "mine.test {\n    whoami\n}\n### END"), first + 6),
        (right.replace("### END", "import mine\n### END"), first + 5),
        (right.replace("10.96.0.7", "10.96.0.7 {\n max_fails 0\n}"), first + 2),
    ] {
        assert_eq!(patched(&wrong), Err(CorefileError::Foreign { line }), "{wrong}");
        assert_eq!(remove(&wrong), Err(CorefileError::Foreign { line }), "{wrong}");
    }
}

#[test]
fn a_block_inside_a_server_is_refused() {
    let text = format!(".:53 {{\n{BLOCK}\n}}\n");
    assert_eq!(patched(&text), Err(CorefileError::InsideServer { line: 2 }));
}

#[test]
fn a_zone_that_the_user_serves_is_refused_with_its_line() {
    for key in ["xcc.test", "xcc.test.:53", "dns://XCC.test", "a.test, xcc.test:53"] {
        let text = format!("{KUBEADM}\n{key} {{\n    whoami\n}}\n");
        let line = KUBEADM.lines().count() + 2;
        assert_eq!(patched(&text), Err(CorefileError::ZoneTaken { line, zone: "xcc.test".into() }), "{key}");
    }
    for key in ["team.xcc.test", "test", "tls://xcc.test", "xcc.test:5353", "(xcc.test)"] {
        let text = format!("{KUBEADM}\n{key} {{\n    whoami\n}}\n");
        assert!(matches!(patched(&text), Ok(Edit::Added(_))), "{key}");
    }
}

#[test]
fn a_file_without_braces_is_refused() {
    assert_eq!(patched("# x\n.:53\nforward . /etc/resolv.conf\n"), Err(CorefileError::NoBraces { line: 2 }));
}

#[test]
fn the_block_listens_where_the_root_server_does() {
    let text = "cluster.local:53 {\n    bind 169.254.20.10\n    errors\n}\n.:1053 . {\n    bind 169.254.20.10 10.96.0.10\n    errors\n}\n";
    let edit = patched(text).unwrap();
    let expected = "xcc.test:1053 xcc.test:53 {\n    bind 169.254.20.10 10.96.0.10\n    forward . 10.96.0.7\n    reload\n}\n";
    assert_eq!(edit, Edit::Added(format!("{text}{BEGIN}\n{expected}{END}\n")));
}

#[test]
fn removal_of_nothing_changes_nothing() {
    assert_eq!(remove(KUBEADM), Ok(Edit::None));
    // A file that CoreDNS would not load is no reason to keep what we put into it.
    let broken = format!("}}\n{BLOCK}\n{{");
    assert_eq!(remove(&broken), Ok(Edit::Removed("}\n{".to_owned())));
}

/// Corefiles with every kind of ending and middle.
fn corefile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(KUBEADM.to_owned()),
        Just("# a comment".to_owned()),
        Just("a.test b.test,\n c.test {\n whoami\n}".to_owned()),
        Just("(snip) {\r\n log\r\n}\r".to_owned()),
        Just("import custom/*.server".to_owned()),
        Just("z.test {\n template ANY ANY {\n  answer \"{{ .Name }}\"\n }\n}".to_owned()),
        Just(String::new()),
        Just("   ".to_owned()),
    ];
    (prop::collection::vec(piece, 0..6), "[ \t\r\n]{0,4}").prop_map(|(pieces, end)| pieces.join("\n") + &end)
}

proptest! {
    #[test]
    fn removal_gives_back_every_byte(text in corefile(), names in prop::collection::vec("[d-m]{1,8}\\.test", 1..4)) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (zones, servers) = (zones(&names), servers(&["10.0.0.1"]));
        let Edit::Added(with) = apply(&text, &zones, &servers).unwrap() else { panic!("nothing was there before") };
        prop_assert_eq!(apply(&with, &zones, &servers).unwrap(), Edit::None);
        prop_assert_eq!(remove(&with).unwrap(), Edit::Removed(text.clone()));
        let Edit::Replaced(other) = apply(&with, &self::zones(&["n.test"]), &servers).unwrap() else { panic!("the zones differ") };
        prop_assert_eq!(remove(&other).unwrap(), Edit::Removed(text));
    }

    #[test]
    fn no_text_makes_it_panic(text in "[#{}\", .a:\\\\\n]{0,40}", marker in prop::sample::select(vec![BEGIN, END, BLOCK]), at in 0usize..40) {
        let at = at.min(text.len());
        let text = format!("{}\n{marker}\n{}", &text[..at], &text[at..]);
        let _ = patched(&text);
        let _ = remove(&text);
        if let Ok(Edit::Added(with)) = patched(&text) {
            prop_assert_eq!(remove(&with).unwrap(), Edit::Removed(text));
        }
    }
}
