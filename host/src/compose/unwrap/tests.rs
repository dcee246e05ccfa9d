//! What other services answer under the name of cloud-init, taken apart as cloud-init does.

use super::*;

fn contents(text: &str) -> Vec<(String, Option<String>, String)> {
    let found = split(text).expect("cloud-init takes it");
    found
        .into_iter()
        .map(|found| {
            (
                found.content_type,
                found.name,
                found.content.unwrap_or_default(),
            )
        })
        .collect()
}

#[test]
fn the_text_under_cloud_init_is_taken_out_of_an_object() {
    for (body, expected) in [
        (
            r##"{"cloud-init": "#!/bin/sh", "other": 1}"##,
            vec!["#!/bin/sh"],
        ),
        (r##""#!/bin/sh""##, vec!["#!/bin/sh"]),
        (
            r##"{"cloud-init": ["#!/bin/sh", null, "#!/bin/ksh"]}"##,
            vec!["#!/bin/sh", "#!/bin/ksh"],
        ),
        (r#"{"cloud-init": null}"#, vec![]),
        (r#"{"cloud-init": " "}"#, vec![]),
        ("{}", vec![]),
        (r#"{"ipaotp": "x"}"#, vec![]),
        ("null", vec![]),
    ] {
        assert_eq!(texts(body.as_bytes()).expect(body), expected, "{body}");
    }
    for body in [
        r#"{"cloud-init": {"runcmd": []}}"#,
        r#"{"cloud-init": 1}"#,
        r#"{"cloud-init": [{}]}"#,
        r#"{"cloud-init": [["x"]]}"#,
    ] {
        assert!(
            matches!(texts(body.as_bytes()), Err(Fault::NotText(_))),
            "{body}"
        );
    }
}

#[test]
fn a_text_is_one_part_and_an_unknown_one_is_none() {
    assert_eq!(
        contents("#cloud-config\na: 1\n"),
        [(
            "text/cloud-config".to_owned(),
            None,
            "#cloud-config\na: 1\n".to_owned()
        )]
    );
    assert_eq!(split("hello"), Err(Fault::Unknown));
    assert_eq!(split("{\"a\": 1}"), Err(Fault::Unknown));
}

#[test]
fn a_message_is_taken_apart_as_cloud_init_does() {
    let message = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n\
        --b\nContent-Type: text/plain\nContent-Disposition: attachment; filename=\"a.sh\"\n\n#!/bin/sh\necho\n\n\
        --b\nContent-Type: multipart/mixed; boundary=c\n\n\
        --c\nContent-Type: Text/Cloud-Config; charset=utf-8\nContent-Transfer-Encoding: base64\nMerge-Type: list(append)\n\n\
        I2Nsb3VkLWNvbmZpZwphOiDDqQo=\n--c--\n\
        --b\nContent-Type: application/gzip\nContent-Transfer-Encoding: base64\n\n//8=\n--b--\n";

    let found = split(message).expect("a message");

    let found_part = |content_type: &str,
                      name: Option<&str>,
                      merge: Option<&str>,
                      content: Option<&str>| Found {
        content_type: content_type.to_owned(),
        name: name.map(str::to_owned),
        merge_type: merge.map(str::to_owned),
        content: content.map(str::to_owned),
    };
    assert_eq!(
        found,
        [
            found_part(
                "text/x-shellscript",
                Some("a.sh"),
                None,
                Some("#!/bin/sh\necho\n")
            ),
            found_part(
                "text/cloud-config",
                None,
                Some("list(append)"),
                Some("#cloud-config\na: é\n")
            ),
            found_part("application/gzip", None, None, None),
        ]
    );
    assert!(matches!(
        pieces(message),
        Err(Fault::Part {
            reason: Reason::Binary,
            ..
        })
    ));
}

#[test]
fn a_part_that_nothing_says_the_kind_of_is_a_fault() {
    let message =
        |content_type| format!("MIME-Version: 1.0\nContent-Type: {content_type}\n\nhello\n");

    assert!(matches!(
        pieces(&message("text/plain")),
        Err(Fault::Part {
            reason: Reason::Unhandled,
            ..
        })
    ));
    // A part handler of the guest's may know it.
    assert!(pieces(&message("text/x-site")).is_ok());
}

#[test]
fn a_line_end_of_two_characters_survives() {
    let message = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n\
        --b\nContent-Type: text/x-shellscript\nContent-Transfer-Encoding: base64\n\n\
        IyEvYmluL3NoDQplY2hvIGENCg==\n--b--\n";

    assert_eq!(contents(message)[0].2, "#!/bin/sh\r\necho a\r\n");
}

#[test]
fn an_archive_is_parts() {
    let archive = "#cloud-config-archive\n\
        - |\n  #!/bin/sh\n  echo\n\
        - content: 'a: 1'\n  filename: a.cfg\n\
        - type: text/cloud-boothook\n  content: |\n    #!/bin/sh\n";

    assert_eq!(
        contents(archive),
        [
            (
                "text/x-shellscript".to_owned(),
                None,
                "#!/bin/sh\necho\n".to_owned()
            ),
            (
                "text/cloud-config".to_owned(),
                Some("a.cfg".to_owned()),
                "a: 1".to_owned()
            ),
            (
                "text/cloud-boothook".to_owned(),
                None,
                "#!/bin/sh\n".to_owned()
            ),
        ]
    );
    assert!(split("#cloud-config-archive\na: 1\n").is_err());
    assert!(split("#cloud-config-archive\n- content: [a]\n").is_err());
}

#[test]
fn nothing_that_begins_as_a_message_makes_us_panic_or_wait() {
    let deep = format!(
        "MIME-Version: 1.0\n{}",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n".repeat(25_000)
    );
    let nested = format!(
        "MIME-Version: 1.0\n{}",
        "Content-Type: message/rfc822\n\n".repeat(40_000)
    );
    let many = format!(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n{}--b--\n",
        "--b\n\n#!/bin/sh\n".repeat(1_000)
    );
    for text in [
        &deep,
        &nested,
        &many,
        "mime-version:",
        "MIME-Version: 1.0\nContent-Type: multipart/mixed\n\n--\n",
    ] {
        let _ = pieces(text);
    }
    assert_eq!(pieces(&many), Err(Fault::TooMany(65)));
    assert_eq!(pieces(&nested), Err(Fault::Message));
}
