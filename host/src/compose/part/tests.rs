//! What is taken for a part of each kind, and what cloud-init would drop or stop at.

use super::*;
use crate::compose::content::{BOOTHOOK, CLOUD_CONFIG, INCLUDE, JINJA, SCRIPT};

fn of(kind: PartKind, content: &str) -> Result<Piece, Fault> {
    Piece::of(&Part {
        name: "n".to_owned(),
        kind,
        content: content.to_owned(),
    })
}

fn reason(kind: PartKind, content: &str) -> Reason {
    match of(kind, content) {
        Err(Fault::Part { reason, .. }) => reason,
        other => panic!("{content:?}: {other:?}"),
    }
}

#[test]
fn a_line_that_says_the_kind_is_added_where_it_is_missing() {
    for (kind, content, content_type, expected) in [
        (
            PartKind::CloudConfig,
            "a: 1\n",
            CLOUD_CONFIG,
            "#cloud-config\na: 1\n",
        ),
        (
            PartKind::CloudConfig,
            "\n#Cloud-Config\na: 1",
            CLOUD_CONFIG,
            "#Cloud-Config\na: 1",
        ),
        (PartKind::Script, " #!/bin/sh\n", SCRIPT, "#!/bin/sh\n"),
        (
            PartKind::Boothook,
            "#!/bin/sh\n",
            BOOTHOOK,
            "#cloud-boothook\n#!/bin/sh\n",
        ),
        (
            PartKind::Boothook,
            "#Cloud-Boothook\n#!/bin/sh\n",
            BOOTHOOK,
            "#cloud-boothook\n#!/bin/sh\n",
        ),
        (
            PartKind::IncludeUrls,
            "https://a.test/\n",
            INCLUDE,
            "#include\nhttps://a.test/\n",
        ),
        (
            PartKind::IncludeUrls,
            "#include https://a.test/",
            INCLUDE,
            "#include https://a.test/",
        ),
        (
            PartKind::CloudConfigJinja,
            "a: {{ b }}\n",
            JINJA,
            "## template: jinja\n#cloud-config\na: {{ b }}\n",
        ),
        (
            PartKind::CloudConfigJinja,
            "#cloud-config\na: {{ b }}\n",
            JINJA,
            "## template: jinja\n#cloud-config\na: {{ b }}\n",
        ),
    ] {
        let piece = of(kind, content).unwrap_or_else(|fault| panic!("{content:?}: {fault}"));
        assert_eq!(
            (&*piece.content_type, &*piece.content),
            (content_type, expected)
        );
    }
}

#[test]
fn what_cloud_init_would_drop_or_stop_at_is_a_fault() {
    let kinds = [
        PartKind::CloudConfig,
        PartKind::Script,
        PartKind::IncludeUrls,
    ];
    for kind in kinds {
        assert_eq!(
            reason(kind, "#!\0/bin/sh\n").to_string().contains("U+0000"),
            kind == PartKind::Script
        );
    }
    assert_eq!(reason(PartKind::Script, " \n"), Reason::NoInterpreter);
    assert_eq!(reason(PartKind::Script, "echo\n"), Reason::NoInterpreter);
    assert_eq!(
        reason(PartKind::Script, "#cloud-config\n"),
        Reason::OtherKind("#cloud-config")
    );
    assert_eq!(
        reason(PartKind::CloudConfig, "#!/bin/sh\n"),
        Reason::OtherKind("#!")
    );
    assert_eq!(reason(PartKind::Boothook, "echo\n"), Reason::NoInterpreter);
    assert_eq!(reason(PartKind::CloudConfig, "- a\n"), Reason::NoMapping);
    assert_eq!(reason(PartKind::CloudConfig, ""), Reason::NoMapping);
    assert!(matches!(
        reason(PartKind::CloudConfig, "a: [\n"),
        Reason::Yaml(_)
    ));
    assert_eq!(
        reason(PartKind::CloudConfig, "a: \u{1b}\n"),
        Reason::Control(0x1b)
    );
    assert_eq!(
        reason(PartKind::CloudConfig, "a: \u{85}\n"),
        Reason::Control(0x85)
    );
    assert_eq!(
        reason(PartKind::CloudConfig, "\u{feff}a: 1\n"),
        Reason::Control(0xfeff)
    );
    assert_eq!(
        reason(PartKind::CloudConfig, "a: \u{ffff}\n"),
        Reason::Control(0xffff)
    );
    assert_eq!(
        reason(PartKind::CloudConfig, "write_files:\n"),
        Reason::Stops("write_files")
    );
    assert_eq!(
        reason(PartKind::CloudConfig, "random_seed: x\n"),
        Reason::Stops("random_seed")
    );
    assert_eq!(reason(PartKind::IncludeUrls, "#include\n"), Reason::NoUrl);
    assert_eq!(
        reason(PartKind::IncludeUrls, "file:///etc/shadow\n"),
        Reason::Url(2)
    );
    assert_eq!(
        reason(PartKind::IncludeUrls, "/etc/shadow\n"),
        Reason::Url(2)
    );
    assert_eq!(
        reason(PartKind::CloudConfigJinja, "## template: jinja\nhello\n"),
        Reason::Template
    );
    assert_eq!(
        reason(
            PartKind::CloudConfigJinja,
            "## template: jinja\n#!/bin/sh\n"
        ),
        Reason::Template
    );
}

#[test]
fn no_fault_repeats_the_content() {
    for (kind, content) in [
        (PartKind::CloudConfig, "hunter2"),
        (PartKind::CloudConfig, "a: hunter2: b"),
        (PartKind::CloudConfig, "a: !hunter2 b"),
        (PartKind::Script, "hunter2"),
        (PartKind::IncludeUrls, "hunter2"),
        (PartKind::CloudConfigJinja, "## template: jinja\nhunter2"),
    ] {
        let fault = of(kind, content).expect_err(content);
        assert!(!crate::error::chain(&fault).contains("hunter2"), "{fault}");
    }
}

#[test]
fn cloud_configs_join_unless_one_says_how_itself() {
    let merge_type = |content: &str| {
        let piece = of(PartKind::CloudConfig, content).expect(content);
        piece.merge_type
    };

    assert_eq!(merge_type("runcmd: [a]\n").as_deref(), Some(MERGE_TYPE));
    assert_eq!(merge_type("merge_how: list()\nruncmd: [a]\n"), None);
    assert_eq!(
        of(PartKind::Script, "#!/bin/sh\n")
            .expect("good")
            .merge_type,
        None
    );
}

#[test]
fn a_name_is_good_in_a_file_name_and_in_a_header() {
    for (name, cleaned) in [
        ("setup.sh", "setup.sh"),
        ("../../etc/passwd", "_.._etc_passwd"),
        (".hidden", "hidden"),
        ("a\r\nX: b\"", "a__X__b_"),
        ("é", "_"),
        ("", ""),
    ] {
        assert_eq!(clean(name), cleaned);
    }
    assert_eq!(clean(&"x".repeat(1_000)).len(), LONGEST_NAME);
}
