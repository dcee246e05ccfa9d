//! What a person is told of an answer, for each way in which cloud-init treats one.

use super::*;

#[test]
fn a_text_under_another_name_is_not_seen() {
    insta::assert_snapshot!(explain("join", r#"{"ipaotp": "x"}"#), @r#"
    cloud-init ignores this answer: of vendor_data2.json it reads the target named `cloud-init` and no other.
    It is for programs in the guest that look for it:
      curl -s http://169.254.169.254/openstack/latest/vendor_data2.json | jq '.["join"]'
    or openstack/latest/vendor_data2.json on the config drive.
    "#);
    insta::assert_snapshot!(explain("site", r##"{"cloud-init": "#!/bin/sh"}"##), @r#"
    cloud-init ignores this answer: of vendor_data2.json it reads the target named `cloud-init` and no other.
    It is for programs in the guest that look for it:
      curl -s http://169.254.169.254/openstack/latest/vendor_data2.json | jq '.["site"]'
    or openstack/latest/vendor_data2.json on the config drive.
    It has a member `cloud-init`, which cloud-init does not find in here. Compose a target named `cloud-init` of this one: `kind = "cloud-init"`, `compose = ["site"]`.
    "#);
    insta::assert_snapshot!(explain("site", r##""#!/bin/sh""##), @r#"
    cloud-init ignores this answer: of vendor_data2.json it reads the target named `cloud-init` and no other.
    It is for programs in the guest that look for it:
      curl -s http://169.254.169.254/openstack/latest/vendor_data2.json | jq '.["site"]'
    or openstack/latest/vendor_data2.json on the config drive.
    It is text that cloud-init would take, were the target's name `cloud-init`.
    "#);
}

#[test]
fn what_is_no_string_is_ignored_or_worse() {
    insta::assert_snapshot!(explain("cloud-init", r##"{"cloud-init": "#!/bin/sh"}"##), @r#"
    cloud-init ignores this answer with a warning: it is an object, and under this name only a string counts.
    The member `cloud-init` in it does not help: nova has filed the answer under that name already. With `kind = "cloud-init"` for this target the gateway takes it out.
    "#);
    insta::assert_snapshot!(explain("cloud-init", r#"{"runcmd": []}"#), @"cloud-init ignores this answer with a warning: it is an object, and under this name only a string counts.");
    insta::assert_snapshot!(explain("cloud-init", r##"["#!/bin/sh"]"##), @r#"A list: cloud-init 21.1 fails to boot with one, 24.4 and later stop in their first stage, and a member that is no string ends the boot of every release before users and keys are set up. Answer with one string: `kind = "cloud-init"` for this target."#);
    insta::assert_snapshot!(explain("cloud-init", "null"), @"null: cloud-init has nothing to do, and says nothing.");
    insta::assert_snapshot!(explain("cloud-init", "7"), @"cloud-init ignores this answer with a warning: it is a number, and under this name only a string counts.");
    insta::assert_snapshot!(explain("cloud-init", "\"\""), @"An empty string: cloud-init has nothing to do.");
    insta::assert_snapshot!(explain("cloud-init", "\"hello\""), @"cloud-init logs this as unhandled and goes on without: a text for cloud-init does not begin with a line that cloud-init knows.");
    insta::assert_snapshot!(explain("cloud-init", "nothing"), @"The answer is not JSON. nova logs a warning and files {} under the target's name.");
}

#[test]
fn each_part_and_what_becomes_of_it_is_told() {
    let message = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n\
        --b\nContent-Type: text/cloud-config\nContent-Disposition: attachment; filename=\"one\"\n\n#cloud-config\nruncmd: [a, b]\nusers: {a: b}\nfqdn: x\n\
        --b\nContent-Type: text/cloud-config\n\n#cloud-config\nruncmd: [c]\n\
        --b\nContent-Type: text/cloud-config\n\n#cloud-config\n- not a mapping\n\
        --b\n\n#!/bin/sh -e\n\
        --b\nContent-Type: text/cloud-boothook\nContent-Disposition: attachment; filename=\"hook\"\n\n#!/bin/sh\n\
        --b\nContent-Type: text/x-include-url\n\n#include\nhttps://a.test/x\n\
        --b\nContent-Type: text/x-nothing\n\nhello\n\
        --b--\n";

    insta::assert_snapshot!(explain("cloud-init", &Value::from(message).to_string()), @r#"
    cloud-init reads a MIME message of 553 bytes with 7 parts:

    1. one: cloud-config (text/cloud-config, 50 bytes)
       runcmd: a list of 2; a tenant's own replaces it whole.
       users: a mapping; a tenant's is merged over it key by key.
       fqdn: a value; a tenant's replaces it.

    2. without a file name: cloud-config (text/cloud-config, 25 bytes)
       runcmd: a list of 1; a tenant's own replaces it whole.

    3. without a file name: cloud-config (text/cloud-config, 29 bytes)
       Not good: part "" for cloud-init: it is YAML, and no mapping.

    4. without a file name: a script (text/x-shellscript, 12 bytes)
       Run once, as root, late in the first boot, from /var/lib/cloud/instance/scripts/vendor, by /bin/sh -e.
       It gets the name part-NNN, as do the unnamed scripts of vendor_data.json: one overwrites the other.

    5. hook: a boothook (text/cloud-boothook, 9 bytes)
       Run at every boot, as root, before anything else.

    6. without a file name: URLs to include (text/x-include-url, 25 bytes)
       Fetched in the first stage of the boot, 10 times 5 seconds each. One that cannot be had ends that stage, before users and keys are set up.
         https://a.test/x

    7. without a file name: nothing that cloud-init handles: it logs a warning (text/x-nothing, 5 bytes)

    Parts 1 and 2 set runcmd: the last replaces the others.

    It takes this from the metadata service since cloud-init 21.1, from a config drive since 22.2; older ones ignore it.
    It runs once for each instance id; what it says stays in /var/lib/cloud/instance/vendor-data2.txt, for root to read.
    The tenant's user data can switch it off: `vendor_data2: {enabled: false}`.
    "#);
}
