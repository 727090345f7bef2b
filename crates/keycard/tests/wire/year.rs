//! A year on a simulated clock: signing keys and identity credentials rotate while the store fails, replies are lost and
//! the server crashes between steps, and not one token request fails. A seed decides what goes wrong; it is printed.

use std::sync::Arc;

use async_trait::async_trait;
use keycard_crypto::secret::Secret;
use keycard_crypto::signing_key::AssertionKey;
use keycard_domain::credential::credentials_of;
use keycard_domain::credential::enrolment::{Enrolment, EnrolmentRequest, LocalEnrolment};
use keycard_domain::store::{
    ChangeBatch, Commit, Entry, Page, Revision, Store, StoreError, StoreKey,
};
use keycard_domain::token::signing_key;
use keycard_host_agent::credential_store::Unrenewed;
use keycard_store::memory::MemoryStore;
use time::Duration;

use crate::harness::header;
use crate::host::{Process, World, process};

/// 33, and azure-semantics 2.2: a year in steps of half a day.
#[tokio::test]
async fn a_year_of_faults_and_crashes_fails_no_token_request() {
    for seed in 1..=2 {
        let world = World::start().await;
        world.token("at the start").await;
        *world.server.seed.lock().unwrap() = Some(seed * 1000);
        let mut signed_by = std::collections::BTreeSet::new();
        let mut failed_passes = 0;
        let mut former: Option<Secret> = None;
        for step in 0..730 {
            let when = format!("seed {seed}, half day {step}");
            world.clock.advance(Duration::hours(12));
            world.token(&when).await;
            failed_passes += usize::from(!world.pass().await);
            if step % 3 == 0 {
                world.server.crash().await;
            }
            let unrenewed = world.renew().await;
            assert_eq!(unrenewed, Unrenewed::default(), "{when}: fifteen days are enough");
            world.server.crash().await;
            let token = world.token(&when).await;
            signed_by.insert(header(&token)["kid"].as_str().unwrap().to_owned());
            let state = world.server.state();
            let keys = credentials_of(&state.snapshot(), world.names.principal_id).count();
            assert!((1..=2).contains(&keys), "{when}: {keys} credentials");
            let ring = signing_key::ring(&state.snapshot(), world.names.tenant_id).cloned();
            assert!(ring.unwrap().keys.len() <= 3, "{when}: outlived keys go");
            former = Some(token);
        }
        world.verify(&former.unwrap(), "at the end");
        assert!(failed_passes > 100, "seed {seed}: faults did happen: {failed_passes}");
        assert!((6..=7).contains(&signed_by.len()), "seed {seed}: {signed_by:?}");
    }
}

/// A store on a disk that is full.
#[derive(Debug)]
struct Unwritable(Arc<MemoryStore>);

#[async_trait]
impl Store for Unwritable {
    async fn get(&self, key: &StoreKey) -> Result<Option<Entry>, StoreError> {
        self.0.get(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StoreKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.0.list(prefix, after, limit).await
    }

    async fn commit(&self, _: Commit) -> Result<Revision, StoreError> {
        Err(StoreError::Unavailable("the disk is full".to_owned()))
    }

    async fn changes(&self, prefix: &str, after: Revision) -> Result<ChangeBatch, StoreError> {
        self.0.changes(prefix, after).await
    }
}

/// A renewal that never succeeds is said aloud in time, and token requests go on to the last day.
#[tokio::test]
async fn a_credential_that_cannot_be_renewed_is_warned_about_and_alarmed() {
    let world = World::start().await;
    world.token("at the start").await;
    let whole = world.server.process();
    let store = Unwritable(world.server.memory.clone());
    let unwritable = process(Arc::new(store), &world.server.master_key, &world.clock).await;
    let mut counted = Vec::new();
    for day in 1..=90 {
        world.clock.advance(Duration::days(1));
        *world.server.process.lock().unwrap() = Arc::clone(&unwritable);
        let unrenewed = world.renew().await;
        counted.push((day, unrenewed.overdue, unrenewed.critical));
        if day < 90 {
            world.token(&format!("day {day}")).await;
        }
    }
    *world.server.process.lock().unwrap() = whole;
    world.token("when the disk has room again").await;
    assert_eq!(world.renew().await, Unrenewed::default());
    let first = |of: fn(&(i32, usize, usize)) -> usize| {
        counted.iter().find(|it| of(it) > 0).map(|(day, ..)| *day)
    };
    assert_eq!(first(|it| it.1), Some(60));
    assert_eq!(first(|it| it.2), Some(80));
}

/// A host that never hears of its renewals asks again and again; what it signs with stays, and the rest does not pile up.
#[tokio::test]
async fn lost_renewals_do_not_push_out_the_credential_in_use() {
    let world = World::start().await;
    world.token("at the start").await;
    let state = world.server.state();
    let held = || -> Vec<[u8; 32]> {
        let snapshot = state.snapshot();
        credentials_of(&snapshot, world.names.principal_id).map(|it| it.sha256).collect()
    };
    let in_use = held()[0];
    let key = AssertionKey::generate().unwrap();
    let (client, tenant) = (world.names.client_id.to_string(), world.names.tenant_id.to_string());
    for day in 45..50 {
        world.clock.advance(Duration::days(day));
        let request = EnrolmentRequest {
            resource: world.vm.clone(),
            principal_id: world.names.principal_id,
            certificate_request: key.certificate_request(&client, &tenant).unwrap(),
            in_use: Some(in_use),
        };
        LocalEnrolment(Arc::clone(&state)).enrol(request).await.unwrap();
        let held = held();
        assert_eq!((held.len(), held.contains(&in_use)), (2, true), "day {day}");
    }
}

/// Two nodes on one store that find a key due at the same moment make one.
#[tokio::test]
async fn two_nodes_never_rotate_twice() {
    let world = World::start().await;
    let tenant = world.names.tenant_id;
    let other = process(world.server.memory.clone(), &world.server.master_key, &world.clock).await;
    let one = world.server.process();
    let keys = |process: &Process| {
        signing_key::ring(&process.state.snapshot(), tenant).map_or(0, |ring| ring.keys.len())
    };
    for rotation in 1..=5 {
        world.clock.advance(Duration::days(60));
        let operation = world.server.operation();
        let (first, second) = tokio::join!(
            signing_key::rotate_due(&one.state, &operation),
            signing_key::rotate_due(&other.state, &operation),
        );
        first.unwrap();
        second.unwrap();
        let now = (keys(&one), keys(&other));
        assert_eq!(now, (2, 2), "rotation {rotation}: one key with its successor");
        world.clock.advance(Duration::hours(49));
        let operation = world.server.operation();
        signing_key::rotate_due(&one.state, &operation).await.unwrap();
        signing_key::rotate_due(&other.state, &operation).await.unwrap();
        assert_eq!((keys(&one), keys(&other)), (1, 1), "rotation {rotation}: the former is gone");
    }
    let operation = world.server.operation();
    let (first, second) = tokio::join!(
        signing_key::rotate(&one.state, &operation, tenant),
        signing_key::rotate(&other.state, &operation, tenant),
    );
    first.unwrap();
    second.unwrap();
    assert_eq!((keys(&one), keys(&other)), (2, 2), "two administrators ask for one successor");
}
