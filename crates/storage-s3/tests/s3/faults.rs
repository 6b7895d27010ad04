//! The store over a line that fails.

use lifeboat_model::{Diagnose as _, ErrorKind};
use lifeboat_storage::{ObjectStore as _, Put, conformance};
use lifeboat_testkit::proxy::{FaultProxy, LineFaults};

use super::{key, noise, open, settings_as, start};

#[tokio::test]
async fn a_line_that_fails_one_request_in_ten_breaks_no_promise() {
    let server = start(|_| {});
    let seed = 7;
    let proxy = FaultProxy::start(server.address(), seed, LineFaults::evenly(100)).unwrap();
    let store = open(settings_as(&server, server.admin(), &proxy.endpoint()));
    for _ in 0..3 {
        conformance::check(&store).await.unwrap();
    }
    assert!(proxy.faults() > 20, "{} faults", proxy.faults());
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_still_knows_that_it_made_the_object() {
    let server = start(|_| {});
    let proxy = FaultProxy::start(server.address(), 1, LineFaults::default()).unwrap();
    let store = open(settings_as(&server, server.admin(), &proxy.endpoint()));
    store.conditional_put().await.unwrap();
    let mut created = 0;
    for number in 0..40 {
        proxy.set_faults(LineFaults {
            lose_reply: 300,
            ..LineFaults::default()
        });
        let lost = key(&format!("lost/{number}"));
        let put = store.put(&lost, noise(100, 1)).await.unwrap();
        created += usize::from(put == Put::Created);
    }
    assert!(proxy.faults() > 5, "{} faults", proxy.faults());
    assert_eq!(created, 40);
}

#[tokio::test]
async fn a_dead_line_is_a_passing_fault_and_told_within_seconds() {
    let server = start(|_| {});
    let proxy = FaultProxy::start(server.address(), 1, LineFaults::default()).unwrap();
    let store = open(settings_as(&server, server.admin(), &proxy.endpoint()));
    store.put(&key("one"), noise(10, 1)).await.unwrap();
    proxy.kill();
    let one = key("one");
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), store.get(&one));
    let error = ended.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}");
    proxy.revive();
    assert_eq!(store.get(&key("one")).await.unwrap(), noise(10, 1));
}
