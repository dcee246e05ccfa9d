//! What cloud-init takes a text for.
//!
//! It goes by the MIME type, and where that says nothing by how the text begins, white space and case aside
//! (`cloudinit/handlers/__init__.py`).

pub(super) const CLOUD_CONFIG: &str = "text/cloud-config";
pub(super) const CLOUD_CONFIG_ARCHIVE: &str = "text/cloud-config-archive";
pub(super) const CLOUD_CONFIG_JSONP: &str = "text/cloud-config-jsonp";
pub(super) const JINJA: &str = "text/jinja2";
pub(super) const SCRIPT: &str = "text/x-shellscript";
pub(super) const BOOTHOOK: &str = "text/cloud-boothook";
pub(super) const INCLUDE: &str = "text/x-include-url";
pub(super) const INCLUDE_ONCE: &str = "text/x-include-once-url";
pub(super) const PART_HANDLER: &str = "text/part-handler";
/// Scripts that say by their type alone when they run; cloud-init knows them since 22.2.
pub(super) const SCRIPTS_BY_TYPE: [&str; 3] = [
    "text/x-shellscript-per-boot",
    "text/x-shellscript-per-instance",
    "text/x-shellscript-per-once",
];

/// The longest first: each is looked for in turn.
const BEGINNINGS: [(&str, &str); 10] = [
    ("#cloud-config-archive", CLOUD_CONFIG_ARCHIVE),
    ("#cloud-config-jsonp", CLOUD_CONFIG_JSONP),
    ("## template: jinja", JINJA),
    ("#cloud-boothook", BOOTHOOK),
    ("#include-once", INCLUDE_ONCE),
    ("#cloud-config", CLOUD_CONFIG),
    ("#part-handler", PART_HANDLER),
    ("#upstart-job", "text/upstart-job"),
    ("#include", INCLUDE),
    ("#!", SCRIPT),
];

/// Types that say nothing: the text's beginning decides.
const VAGUE: [&str; 3] = ["text/plain", "text/x-not-multipart", SCRIPT];

/// The type that a text's beginning stands for.
pub(super) fn by_beginning(text: &str) -> Option<&'static str> {
    let text = text.trim_start();
    BEGINNINGS
        .iter()
        .find(|(beginning, _)| starts_with(text, beginning))
        .map(|(_, content_type)| *content_type)
}

/// The type of a part of a message.
pub(super) fn by_type_and_beginning(content_type: &str, text: &str) -> String {
    let vague = VAGUE.contains(&content_type);
    match by_beginning(text) {
        Some(content_type) if vague => content_type.to_owned(),
        _ => content_type.to_owned(),
    }
}

/// What follows the beginning, which is there.
pub(super) fn after<'a>(text: &'a str, beginning: &str) -> &'a str {
    text.trim_start().get(beginning.len()..).unwrap_or_default()
}

/// How a text of this type begins.
pub(super) fn beginning(content_type: &str) -> Option<&'static str> {
    BEGINNINGS
        .iter()
        .find(|(_, of)| *of == content_type)
        .map(|(beginning, _)| *beginning)
}

fn starts_with(text: &str, beginning: &str) -> bool {
    let start = text.as_bytes().get(..beginning.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(beginning.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_for_what_its_first_line_says() {
        for (text, content_type) in [
            ("#cloud-config\na: b\n", Some(CLOUD_CONFIG)),
            ("\n\t #Cloud-Config\n", Some(CLOUD_CONFIG)),
            ("#cloud-config-archive\n", Some(CLOUD_CONFIG_ARCHIVE)),
            ("#cloud-config-jsonp\n", Some(CLOUD_CONFIG_JSONP)),
            ("## template: jinja\n#cloud-config\n", Some(JINJA)),
            ("#!/bin/sh\n", Some(SCRIPT)),
            ("#include-once\nhttps://x\n", Some(INCLUDE_ONCE)),
            ("#include https://x\n", Some(INCLUDE)),
            ("#cloud-boothook\n#!/bin/sh\n", Some(BOOTHOOK)),
            ("#part-handler\n", Some(PART_HANDLER)),
            ("cloud-config\n", None),
            ("", None),
            ("#clöud-config", None),
        ] {
            assert_eq!(by_beginning(text), content_type, "{text:?}");
        }
    }

    #[test]
    fn a_type_that_says_something_counts() {
        let typed = |content_type, text| by_type_and_beginning(content_type, text);

        assert_eq!(typed("text/plain", "#!/bin/sh"), SCRIPT);
        assert_eq!(typed(SCRIPT, "#cloud-config\n"), CLOUD_CONFIG);
        assert_eq!(typed(BOOTHOOK, "#!/bin/sh"), BOOTHOOK);
        assert_eq!(typed("text/plain", "hello"), "text/plain");
    }
}
