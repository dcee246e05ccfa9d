//! A cloud whose services are down, slow, broken, somewhere else, or closed to the gateway's account.

use std::time::{Duration, Instant};

use serde_json::json;
use vendordock_stand_ins::OpenStack;

use super::{ALL, Cloud, IMAGE, OTHER, PROJECT, SERVER};

#[tokio::test]
async fn a_plugin_that_gives_up_does_not_end_the_asking() {
    let cloud = Cloud::start(ALL, "").await;
    cloud
        .openstack
        .glance
        .faults()
        .delay(Duration::from_millis(2_300));

    let started = Instant::now();
    let told = cloud.told("image", IMAGE).await;
    assert_eq!(
        told,
        "LookupError::Unavailable(\"glance did not answer in time\")"
    );
    // The target has 2 seconds. The call was not cut off: it had time to answer.
    assert!(started.elapsed() < Duration::from_millis(2_000));

    cloud.told_at_last("image", IMAGE, IMAGE).await;
    assert_eq!(cloud.openstack.glance.asked().len(), 1);
}

#[tokio::test]
async fn a_service_that_fails_is_told_in_fixed_words_and_asked_again_soon() {
    let cloud = Cloud::start(
        ALL,
        "timeout_ms = 500\nkeep_ms = { image = 0 }\nstale_ms = { image = 0 }",
    )
    .await;
    let glance = &cloud.openstack.glance;
    let mut told = Vec::new();

    glance.stop().await;
    told.push(format!("down: {}", cloud.told("image", IMAGE).await));
    told.push(format!(
        "a moment later: {}",
        cloud.told("image", IMAGE).await
    ));
    told.push(format!(
        "nova meanwhile: {}",
        cloud.told("server", SERVER).await
    ));
    glance.restart().await;
    cloud.told_at_last("image", IMAGE, IMAGE).await;

    glance.faults().hang();
    told.push(format!("hung: {}", cloud.told("image", IMAGE).await));
    glance.faults().clear();
    cloud.told_at_last("image", IMAGE, IMAGE).await;

    glance.faults().respond_with(503);
    told.push(format!("broken: {}", cloud.told("image", IMAGE).await));
    glance.faults().clear();
    cloud.told_at_last("image", IMAGE, IMAGE).await;

    glance.faults().lose_answers(1);
    told.push(format!("cut off: {}", cloud.told("image", IMAGE).await));
    cloud.told_at_last("image", IMAGE, IMAGE).await;

    glance.faults().respond_with(200);
    told.push(format!("a page: {}", cloud.told("image", IMAGE).await));

    insta::assert_snapshot!(told.join("\n"), @r#"
    down: LookupError::Unavailable("glance gives no answer")
    a moment later: LookupError::Unavailable("glance gives no answer")
    nova meanwhile: a3a4c0b6-2b1c-4f6e-9d5f-1f0c6f3c2a11
    hung: LookupError::Unavailable("glance did not answer in time")
    broken: LookupError::Unavailable("glance answers with an error")
    cut off: LookupError::Unavailable("glance gives no answer")
    a page: LookupError::Unavailable("glance's answer cannot be used")
    "#);
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let cloud = Cloud::start(ALL, "").await;
    let key = "x".repeat(1_100_000);
    cloud
        .openstack
        .add_image("huge", PROJECT, json!({ "key": key }));

    assert_eq!(
        cloud.told("image", "huge").await,
        "LookupError::Unavailable(\"glance's answer cannot be used\")"
    );
    // It is one image's fault, and not glance's.
    assert_eq!(cloud.told("image", IMAGE).await, IMAGE);
}

#[tokio::test]
async fn what_was_found_before_stands_in_for_a_silent_service_where_that_does_no_harm() {
    let cloud = Cloud::start(ALL, "keep_ms = { project = 0, image = 0, server = 0 }").await;
    let project = cloud.keystone.project_id("service");
    for (kind, id) in [("project", &*project), ("image", IMAGE), ("server", SERVER)] {
        assert_eq!(cloud.told(kind, id).await, id);
    }
    cloud.keystone.stop().await;
    cloud.openstack.glance.faults().hang();
    cloud.openstack.nova.stop().await;

    let started = Instant::now();
    assert_eq!(cloud.told("image", IMAGE).await, IMAGE);
    assert!(
        started.elapsed() < Duration::from_millis(1_900),
        "not all its time"
    );
    assert_eq!(cloud.told("project", &project).await, project);
    assert_eq!(
        cloud.told("server", SERVER).await,
        "LookupError::Unavailable(\"nova gives no answer\")"
    );
    assert_eq!(
        cloud.told("image", OTHER).await,
        "LookupError::Unavailable(\"glance did not answer in time\")"
    );
}

#[tokio::test]
async fn a_thing_that_is_gone_is_gone_although_it_was_found_before() {
    let cloud = Cloud::start(ALL, "keep_ms = { image = 0 }").await;
    assert_eq!(cloud.told("image", IMAGE).await, IMAGE);
    cloud.openstack.remove_all();

    assert_eq!(cloud.told("image", IMAGE).await, "LookupError::NotFound");
}

#[tokio::test]
async fn a_token_that_was_dropped_is_renewed_once() {
    let cloud = Cloud::start(ALL, "keep_ms = { server = 0, project = 0 }").await;
    let project = cloud.keystone.project_id("service");
    for (kind, id) in [("server", SERVER), ("project", &*project)] {
        assert_eq!(cloud.told(kind, id).await, id);
        let log_ins = cloud.keystone.log_ins();
        cloud.keystone.revoke_all_of("vendordock");

        assert_eq!(cloud.told(kind, id).await, id);
        assert_eq!(cloud.keystone.log_ins(), log_ins + 1);
    }

    cloud.openstack.nova.faults().respond_with(401);
    let log_ins = cloud.keystone.log_ins();
    assert_eq!(
        cloud.told("server", SERVER).await,
        "LookupError::Unavailable(\"nova does not accept the gateway's token\")"
    );
    assert_eq!(cloud.keystone.log_ins(), log_ins + 1);
}

#[tokio::test]
async fn without_keystone_there_is_no_token_and_a_plugin_is_told_so() {
    let cloud = Cloud::start(ALL, "").await;
    cloud.keystone.stop().await;

    assert_eq!(
        cloud.told("image", IMAGE).await,
        "LookupError::Unavailable(\"keystone gives the gateway's account no token\")"
    );
    cloud.keystone.restart().await;
    cloud.told_at_last("image", IMAGE, IMAGE).await;
}

#[tokio::test]
async fn an_account_without_the_role_is_told_apart_from_a_thing_that_is_not_there() {
    let cloud = Cloud::start_as("member", ALL, "").await;
    let elsewhere = cloud.keystone.project_id("elsewhere");

    assert_eq!(
        cloud.told("project", &elsewhere).await,
        "LookupError::Unavailable(\"keystone forbids it: the gateway's account lacks the role admin\")"
    );
    assert_eq!(
        cloud.told("keypair", "laptop").await,
        "LookupError::Unavailable(\"nova forbids it: the gateway's account lacks the role admin\")"
    );
    // nova and glance do not tell the two apart themselves.
    assert_eq!(cloud.told("server", SERVER).await, "LookupError::NotFound");
    cloud
        .gateway
        .log_line(&["WARN", "the gateway's account has not the role admin"])
        .await;
}

#[tokio::test]
async fn a_service_that_the_catalogue_lacks_is_an_error_that_says_so() {
    let cloud = Cloud::start(ALL, "").await;
    cloud.keystone.unlist("image");

    assert_eq!(
        cloud.told("image", IMAGE).await,
        "LookupError::Unavailable(\"the catalogue does not tell where glance is\")"
    );
    assert_eq!(cloud.told("server", SERVER).await, SERVER);
    cloud
        .gateway
        .log_line(&["WARN", "it lists no service of type `image`"])
        .await;
}

#[tokio::test]
async fn a_region_that_the_catalogue_lacks_is_an_error_that_names_those_there_are() {
    let cloud = Cloud::start(ALL, "region = \"west\"\ninterface = \"internal\"").await;

    assert_eq!(
        cloud.told("server", SERVER).await,
        "LookupError::Unavailable(\"the catalogue does not tell where nova is\")"
    );
    cloud
        .gateway
        .log_line(&[
            "no internal endpoint for `compute` in region west; there are: admin in RegionOne",
        ])
        .await;
}

#[tokio::test]
async fn a_service_that_has_moved_is_found_again_without_a_restart() {
    let cloud = Cloud::start(ALL, "keep_ms = { image = 0 }\nstale_ms = { image = 0 }").await;
    assert_eq!(cloud.told("image", IMAGE).await, IMAGE);

    cloud.openstack.glance.stop().await;
    let moved = OpenStack::start(&cloud.keystone).await;
    moved.add_image(IMAGE, PROJECT, json!({}));

    cloud.told_at_last("image", IMAGE, IMAGE).await;
    assert_eq!(moved.glance.asked().len(), 1);
}
