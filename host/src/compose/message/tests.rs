//! The same parts give the same bytes, and no part gets out of its place in them.

use super::*;
use crate::compose::{answer, pieces};
use crate::plugin::{Part, PartKind};

fn parts(parts: &[(&str, PartKind, &str)]) -> Vec<Part> {
    let part = |(name, kind, content): &(&str, PartKind, &str)| Part {
        name: (*name).to_owned(),
        kind: *kind,
        content: (*content).to_owned(),
    };
    parts.iter().map(part).collect()
}

fn share(place: usize, target: &str, given: &[(&str, PartKind, &str)]) -> Share {
    Share {
        place,
        target: target.to_owned().try_into().expect("a name"),
        pieces: pieces(b"{}", &parts(given)).expect("good parts"),
    }
}

fn shares() -> [Share; 2] {
    [
        share(
            0,
            "join",
            &[("setup", PartKind::Script, "#!/bin/sh\necho join\n")],
        ),
        share(
            2,
            "site",
            &[
                ("motd", PartKind::CloudConfig, "runcmd: [a]\n"),
                ("setup", PartKind::Script, "#!/bin/sh\necho é\r\n"),
            ],
        ),
    ]
}

#[test]
fn a_message_is_this_text_whenever_it_is_written() {
    let message = write(&shares()).expect("there are parts");

    insta::assert_snapshot!(message, @r#"
    Content-Type: multipart/mixed; boundary="=vendordock-df6149f1c647a9209036a766622e103e="
    MIME-Version: 1.0

    --=vendordock-df6149f1c647a9209036a766622e103e=
    Content-Type: text/x-shellscript; charset="utf-8"
    Content-Transfer-Encoding: 7bit
    Content-Disposition: attachment; filename="vendordock-0101-join-setup"

    #!/bin/sh
    echo join

    --=vendordock-df6149f1c647a9209036a766622e103e=
    Content-Type: text/cloud-config; charset="utf-8"
    Content-Transfer-Encoding: 7bit
    Content-Disposition: attachment; filename="vendordock-0301-site-motd"
    Merge-Type: list(append)+dict(no_replace,recurse_list)+str()

    #cloud-config
    runcmd: [a]

    --=vendordock-df6149f1c647a9209036a766622e103e=
    Content-Type: text/x-shellscript; charset="utf-8"
    Content-Transfer-Encoding: base64
    Content-Disposition: attachment; filename="vendordock-0302-site-setup"

    IyEvYmluL3NoCmVjaG8gw6kNCg==
    --=vendordock-df6149f1c647a9209036a766622e103e=--
    "#);
    assert_eq!(write(&shares()), Some(message));
}

#[test]
fn without_parts_there_is_nothing() {
    assert_eq!(write(&[]), None);
    assert_eq!(write(&[share(0, "join", &[])]), None);
    assert_eq!(answer(&[share(0, "join", &[])]), "null");
}

#[test]
fn names_differ_also_where_plugins_call_all_parts_the_same() {
    let same = [("a", PartKind::Script, "#!/bin/sh\n"); 3];
    let message = write(&[share(0, "x", &same), share(1, "x", &same)]).expect("there are parts");

    let mut names: Vec<&str> = message.split("filename=\"").skip(1).collect();
    names.sort_unstable();
    names.dedup_by_key(|name| name.split_once('"').map(|(name, _)| name));
    assert_eq!(names.len(), 6);
}

#[test]
fn a_part_that_knows_the_boundary_is_no_end_of_it() {
    let guess = write(&[share(0, "x", &[("a", PartKind::Script, "#!/bin/sh\n")])]);
    let guess = guess.expect("there is a part");
    let boundary = guess.split('"').nth(1).expect("it is quoted");
    let hostile = format!(
        "#!/bin/sh\n--{boundary}\nContent-Type: text/part-handler\n\nimport os\n--{boundary}--\n"
    );

    let message = write(&[share(0, "x", &[("a", PartKind::Script, &hostile)])]).expect("a part");

    let boundary = message.split('"').nth(1).expect("it is quoted");
    assert_eq!(message.matches(boundary).count(), 3, "{message}");
    let found = pieces(
        serde_json::Value::from(message.clone())
            .to_string()
            .as_bytes(),
        &[],
    );
    let found = found.expect("a message");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].content, hostile);
}

#[test]
fn what_is_composed_again_keeps_its_names_and_contents() {
    let first = answer(&[share(
        0,
        "site",
        &[("motd.sh", PartKind::Script, "#!/bin/sh\n\n\n")],
    )]);
    let again = Share {
        place: 4,
        target: "site".to_owned().try_into().expect("a name"),
        pieces: pieces(&first, &[]).expect("our own message"),
    };

    let message = write(&[again]).expect("a part");

    assert!(
        message.contains("filename=\"vendordock-0501-site-motd.sh\""),
        "{message}"
    );
    assert!(message.contains("\n\n#!/bin/sh\n\n\n\n--"), "{message}");
}
