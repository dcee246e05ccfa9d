//! What cannot be had from a whole gateway: a disk that hangs, a file whose every byte is damaged once, the clock.

use std::fs;
use std::num::NonZeroU64;
use std::path::Path;

use redb::ReadableTable as _;
use tempfile::TempDir;

use super::*;

const QUOTA: Quota = Quota {
    bytes: 10_000,
    keys: 100,
    value_bytes: 1_000,
};

fn config(directory: &Path) -> config::State {
    config::State {
        path: directory.join("state.redb"),
        bytes: NonZeroU64::new(1_000_000).expect("not zero"),
        key_file: Vec::new(),
    }
}

fn open() -> (TempDir, Store) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(&config(directory.path())).expect("a store");
    (directory, store)
}

fn owner(target: &str) -> Owner {
    let name = |name: &str| name.to_owned();
    let cloud = CloudName::try_from(name("default")).expect("a name");
    Owner::Target(cloud, TargetName::try_from(name(target)).expect("a name"))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

async fn set(space: &Space, key: &str, value: &str) -> Result<u64, Error> {
    space.set(key, None, value.into(), None, soon()).await
}

async fn value(space: &Space, key: &str) -> Option<String> {
    let entry = space.get(key, soon()).await.expect("it can be read");
    entry.map(|entry| String::from_utf8(entry.value).expect("a text"))
}

#[tokio::test]
async fn a_write_that_the_disk_holds_up_is_unavailable_and_then_done_or_not_begun() {
    let (_directory, store) = open();
    let space = store.space(owner("slow"), QUOTA);
    set(&space, "a", "before").await.expect("written");
    // redb has one writer at a time, and this one does not end.
    let hanging = store.0.database().expect("it works").begin_write();

    let begun = space.set("a", None, "begun".into(), None, Instant::now());
    assert!(matches!(begun.await, Err(Error::Slow)));
    let waiting = space.set("b", None, "waiting".into(), None, Instant::now());
    assert!(matches!(waiting.await, Err(Error::Slow)));
    assert_eq!(
        value(&space, "a").await.as_deref(),
        Some("before"),
        "reads go on"
    );
    drop(hanging);
    set(&space, "c", "after").await.expect("written");

    assert_eq!(
        value(&space, "b").await,
        None,
        "its caller had gone before it was begun"
    );
    assert_eq!(value(&space, "c").await.as_deref(), Some("after"));
}

#[tokio::test]
async fn reads_that_the_disk_holds_up_take_a_few_threads_and_no_more() {
    let (_directory, store) = open();
    let space = store.space(owner("slow"), QUOTA);
    let all = store.0.reads.clone().acquire_many_owned(READS as u32).await;

    assert!(matches!(
        space.get("a", Instant::now()).await,
        Err(Error::Slow)
    ));
    drop(all);
    assert!(matches!(space.get("a", soon()).await, Ok(None)));
}

#[tokio::test]
async fn more_writes_than_are_held_are_refused_at_once() {
    let (_directory, store) = open();
    let space = store.space(owner("flood"), QUOTA);
    let hanging = store.0.database().expect("it works").begin_write();
    let mut refused = false;
    for _ in 0..3_000 {
        let (reply, _caller) = oneshot::channel();
        let job = Job::new(reply, |tables| tables.sweep());
        refused |= matches!(store.0.mailbox.post(job), Err(Error::Busy));
    }

    assert!(refused);
    assert!(matches!(set(&space, "a", "v").await, Err(Error::Busy)));
    drop(hanging);
    let served = async {
        while set(&space, "a", "v").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout_at(soon(), served)
        .await
        .expect("it goes on");
}

#[tokio::test]
async fn a_file_that_failed_is_opened_again_and_a_batch_that_panicked_leaves_nothing() {
    let (_directory, store) = open();
    let space = store.space(owner("a"), QUOTA);
    set(&space, "a", "v").await.expect("written");

    let panicking = store.write(soon(), |tables| -> Result<(), Error> {
        tables.set("target/default/a", QUOTA, "b", None, b"half", None)?;
        panic!("as redb might");
    });
    assert!(matches!(panicking.await, Err(Error::Down)));
    let works_again = async {
        while set(&space, "c", "v").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout_at(soon(), works_again)
        .await
        .expect("it is opened again");

    assert_eq!(value(&space, "a").await.as_deref(), Some("v"));
    assert_eq!(value(&space, "b").await, None);
    assert_eq!(
        store.0.state().usage.of(&space.name),
        Used { keys: 2, bytes: 4 }
    );
}

/// The byte in redb's header that says which of its two last commits counts, by one bit. After a kill, the other one looks
/// as if it had been cut short between its two phases: this one bit, and no other, can take the last commit away.
const WHICH_COMMIT: usize = 9;

/// Damages one byte after the other, and looks at what the store makes of it: all of it, or nothing.
fn damage_each_byte(config: &config::State, whole: &[u8]) {
    // Each byte of the header, and of each page at least one.
    let header = (0..320).map(|at| (at, 0x01));
    let pages = (320..whole.len()).step_by(2039).map(|at| (at, 0xff));
    let (mut aside, mut refused) = (0, 0);
    for (at, mask) in header.chain(pages) {
        if at == WHICH_COMMIT {
            continue;
        }
        let mut bytes = whole.to_vec();
        bytes[at] ^= mask;
        fs::write(&config.path, &bytes).expect("it is ours");
        let place = Place::enter(&config.path).expect("nobody has it");
        let keys = place.keys(config).expect("a key");
        match place.open(&keys, &config.key_files()) {
            Ok(Found::Store(database, usage)) => {
                assert_eq!(usage.of("target/default/a").keys, 30, "byte {at} ^ {mask}");
                let transaction = database.begin_read().expect("a transaction");
                let entries = transaction.open_table(ENTRIES).expect("a table");
                for number in 0..30 {
                    let key = format!("key {number:02}");
                    let entry = tables::get(&entries, &keys, "target/default/a", &key, 0);
                    let entry = entry.expect("a sealed value");
                    assert!(entry.is_some(), "{key} with byte {at} ^ {mask}");
                }
            }
            Ok(Found::SetAside(damaged)) => {
                fs::remove_file(damaged).expect("it is ours");
                aside += 1;
            }
            Err(OpenError::Newer { .. }) => refused += 1,
            Err(error) => panic!("byte {at} ^ {mask}: {error:?}"),
        }
    }
    assert!(
        aside > 20 && refused < 10,
        "{aside} set aside, {refused} refused"
    );
}

async fn thirty_keys(store: &Store) {
    let space = store.space(owner("a"), QUOTA);
    for number in 0..30 {
        let key = format!("key {number:02}");
        let value = "v".repeat(100);
        set(&space, &key, &value).await.expect("written");
    }
}

#[tokio::test]
async fn whichever_byte_of_a_file_is_damaged_the_store_is_whole_or_set_aside() {
    let (directory, store) = open();
    thirty_keys(&store).await;
    store.close();
    drop(store);
    let config = config(directory.path());
    let whole = fs::read(&config.path).expect("the file");

    damage_each_byte(&config, &whole);
}

#[tokio::test]
async fn damage_after_a_kill_is_not_taken_for_a_commit_that_the_kill_cut_short() {
    let (directory, store) = open();
    thirty_keys(&store).await;
    let config = config(directory.path());
    let as_killed = fs::read(&config.path).expect("the file");
    store.close();
    drop(store);

    damage_each_byte(&config, &as_killed);
}

#[tokio::test]
async fn an_entry_is_there_to_its_last_millisecond_and_absent_after_swept_or_not() {
    let (_directory, store) = open();
    let space = store.space(owner("a"), QUOTA);
    let hour = Some(3_600_000);
    let written = space.set("a", None, "v".into(), hour, soon()).await;
    assert!(matches!(written, Ok(1)));
    let ttl_ms = {
        let entry = space.get("a", soon()).await.expect("it can be read");
        entry.and_then(|entry| entry.ttl_ms).expect("it expires")
    };
    assert!((3_000_000..=3_600_000).contains(&ttl_ms));
    let expires_ms = {
        let database = store.0.database().expect("it works");
        let transaction = database.begin_read().expect("a transaction");
        let entries = transaction.open_table(ENTRIES).expect("a table");
        let entry = entries.get(("target/default/a", "a")).expect("a file");
        entry.expect("an entry").value().1
    };

    for (now_ms, left_ms) in [(expires_ms - 1, Some(1)), (expires_ms, None)] {
        let (got, listed) = store
            .read(soon(), move |entries, keys| {
                let space = "target/default/a";
                let got = tables::get(entries, keys, space, "a", now_ms)?;
                Ok((got, tables::list(entries, space, "", None, 9, now_ms)?))
            })
            .await
            .expect("it can be read");
        assert_eq!(got.map(|entry| entry.ttl_ms), left_ms.map(Some));
        assert_eq!(listed.0.len(), usize::from(left_ms.is_some()));
    }
}

#[test]
fn a_place_belongs_to_one_process_before_there_is_a_store_in_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = config(directory.path()).path;
    let first = Place::enter(&path).expect("nobody has it");

    assert!(matches!(Place::enter(&path), Err(OpenError::InUse(_))));
    drop(first);
    assert!(Place::enter(&path).is_ok());
}

#[tokio::test]
async fn a_value_that_was_moved_or_given_more_time_does_not_open() {
    let (directory, store) = open();
    let space = store.space(owner("a"), QUOTA);
    space
        .set("a", None, "v".into(), Some(1_000_000), soon())
        .await
        .expect("written");
    store.close();
    drop((store, space));
    let config = config(directory.path());
    {
        let database = Database::open(&config.path).expect("a store");
        let transaction = database.begin_write().expect("nobody writes");
        {
            let mut entries = transaction.open_table(ENTRIES).expect("a table");
            let (revision, expires_ms, sealed) = {
                let entry = entries.get(("target/default/a", "a")).expect("a file");
                let entry = entry.expect("an entry");
                let (revision, expires_ms, sealed) = entry.value();
                (revision, expires_ms, sealed.to_vec())
            };
            for (place, revision, expires_ms) in [
                (("target/default/b", "a"), revision, expires_ms),
                (("target/default/a", "b"), revision, expires_ms),
                (("target/default/a", "c"), revision, tables::NEVER),
                (("target/default/a", "a"), revision, expires_ms + 1),
            ] {
                let entry = (revision, expires_ms, &*sealed);
                entries.insert(place, entry).expect("room");
            }
        }
        transaction.commit().expect("a commit");
    }

    let store = Store::open(&config).expect("the pages are right");
    for (target, key) in [("b", "a"), ("a", "b"), ("a", "c"), ("a", "a")] {
        let space = store.space(owner(target), QUOTA);
        let got = space.get(key, soon()).await;
        assert!(matches!(got, Err(Error::Seal)), "{target} {key}");
        let added = space.increment(key, 1, None, soon()).await;
        assert!(matches!(added, Err(Error::Seal)), "{target} {key}");
        set(&space, key, "new")
            .await
            .expect("it can be written over");
    }
}

#[tokio::test]
async fn all_keys_of_one_prefix_go_together_and_no_others() {
    let (_directory, store) = open();
    let (one, two) = (
        store.space(owner("a"), QUOTA),
        store.space(owner("b"), QUOTA),
    );
    for key in ["i-1", "i-1/join", "i-1/tags", "i-10/join", "i-2/join"] {
        set(&one, key, "v").await.expect("written");
        set(&two, key, "v").await.expect("written");
    }

    let deleted = one.delete_prefix("i-1/", soon()).await;

    assert!(matches!(deleted, Ok(2)));
    let keys = one.list_keys("", None, 10, soon()).await.expect("a list");
    assert_eq!(
        keys,
        (
            ["i-1", "i-10/join", "i-2/join"].map(str::to_owned).to_vec(),
            None
        )
    );
    let keys = two.list_keys("", None, 10, soon()).await.expect("a list");
    assert_eq!(keys.0.len(), 5);
}

#[tokio::test]
async fn the_sweep_removes_what_has_expired_and_a_full_store_makes_room_by_it() {
    let (_directory, store) = open();
    let config_bytes = 1_000_000 / 100;
    let quota = Quota {
        bytes: 1_000_000,
        keys: 1_000,
        value_bytes: config_bytes,
    };
    let (one, two) = (
        store.space(owner("a"), quota),
        store.space(owner("b"), quota),
    );
    let large = vec![b'x'; config_bytes - 2];
    for number in 0..50 {
        let key = format!("{number:02}");
        one.set(&key, None, large.clone(), Some(1), soon())
            .await
            .expect("room");
        two.set(&key, None, large.clone(), None, soon())
            .await
            .expect("room");
    }
    let used = |space: &Space| store.0.state().usage.of(&space.name);
    assert_eq!(used(&one).bytes + used(&two).bytes, 1_000_000);

    let over = two.set("50", None, large.clone(), None, soon()).await;
    assert!(over.is_ok(), "room was made: {over:?}");
    assert_eq!(used(&one), Used::default());
    for number in 51..100 {
        two.set(&number.to_string(), None, large.clone(), None, soon())
            .await
            .expect("room");
    }
    let full = one.set("a", None, vec![b'x'], None, soon()).await;

    assert!(matches!(full, Err(Error::Full)));
    one.set("b", None, Vec::new(), Some(1), soon())
        .await
        .expect_err("full");
    two.delete("99", None, soon()).await.expect("deleted");
    one.set("b", None, Vec::new(), Some(1), soon())
        .await
        .expect("room");
    let swept = async {
        while store.write(soon(), |tables| tables.sweep()).await.is_ok() {
            if used(&one).keys == 0 {
                break;
            }
        }
    };
    tokio::time::timeout_at(soon(), swept)
        .await
        .expect("it is swept");
}

#[tokio::test]
async fn a_listing_ends_however_few_keys_it_gives_at_a_time() {
    let (_directory, store) = open();
    let space = store.space(owner("a"), QUOTA);
    for number in 0..25 {
        let ttl_ms = (number % 2 == 1).then_some(1);
        let key = format!("k{number:02}");
        space
            .set(&key, None, Vec::new(), ttl_ms, soon())
            .await
            .expect("room");
    }
    tokio::time::timeout_at(soon(), async {
        while space
            .list_keys("k", None, 100, soon())
            .await
            .expect("a list")
            .0
            .len()
            > 13
        {}
    })
    .await
    .expect("they expire");

    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let listed = space.list_keys("k", cursor.as_deref(), 4, soon()).await;
        let (keys, next) = listed.expect("a list");
        assert!(keys.len() <= 4);
        all.extend(keys);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }

    let even: Vec<_> = (0..25)
        .step_by(2)
        .map(|number| format!("k{number:02}"))
        .collect();
    assert_eq!(all, even);
}
