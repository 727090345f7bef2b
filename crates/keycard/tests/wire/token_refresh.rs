//! How a host keeps tokens: given at once while they are good, refreshed beside that, and never given when they are not.

use keycard_crypto::digest::sha256;
use keycard_domain::token::source::{AccessToken, Freshness, TokenError};
use time::Duration;
use tokio::task::yield_now;

use crate::host::{Behaviour, World};

/// More turns of the scheduler than any refresh takes.
const TURNS_MAX: usize = 100_000;

/// A world whose VM has a token that lives for this many seconds.
async fn world_with_token() -> (World, AccessToken, i64) {
    let world = World::start().await;
    let token = world.ask(Freshness::Cached).await.unwrap();
    let life = token.expires_on - world.clock_seconds();
    (world, token, life)
}

/// Waits until the kept token is another than this one.
async fn refreshed(world: &World, former: &AccessToken) -> AccessToken {
    for _ in 0..TURNS_MAX {
        let token = world.ask(Freshness::Cached).await.unwrap();
        if !is_same(&token, former) {
            return token;
        }
        yield_now().await;
    }
    panic!("the token was not refreshed");
}

fn is_same(one: &AccessToken, other: &AccessToken) -> bool {
    one.token.expose() == other.token.expose()
}

#[tokio::test]
async fn at_half_life_the_token_is_given_on_and_one_refresh_runs_beside() {
    let (world, first, life) = world_with_token().await;
    world.clock.advance(Duration::seconds(life / 2 - 1));
    assert!(is_same(&world.ask(Freshness::Cached).await.unwrap(), &first));
    assert_eq!(world.grants(), 1, "before half of its life nothing is asked");

    world.behave(Behaviour::Hangs);
    world.clock.advance(Duration::SECOND);
    for _ in 0..100 {
        assert!(is_same(&world.ask(Freshness::Cached).await.unwrap(), &first));
        yield_now().await;
    }
    assert_eq!(world.grants(), 2, "one refresh is under way, however many ask");

    world.behave(Behaviour::Answers);
    let second = refreshed(&world, &first).await;
    assert!(second.expires_on > first.expires_on);
    assert!(first.reuse.is_withdrawn(), "answers that were prepared with it are given no more");
    assert_eq!(world.grants(), 2);
}

#[tokio::test]
async fn a_forced_refresh_that_hangs_holds_nobody_up() {
    let (world, first, _) = world_with_token().await;
    world.behave(Behaviour::Hangs);
    let forced = async { world.ask(Freshness::New).await.unwrap() };
    let others = async {
        for _ in 0..100 {
            assert!(is_same(&world.ask(Freshness::Cached).await.unwrap(), &first));
            yield_now().await;
        }
        world.behave(Behaviour::Answers);
    };
    let (forced, ()) = tokio::join!(forced, others);
    assert!(!is_same(&forced, &first));
    assert!(is_same(&world.ask(Freshness::Cached).await.unwrap(), &forced));
}

#[tokio::test]
async fn a_token_is_given_to_its_last_second_and_not_beyond_while_none_can_be_had() {
    let (world, first, life) = world_with_token().await;
    world.behave(Behaviour::Fails);
    world.clock.advance(Duration::seconds(life - 1));
    assert!(is_same(&world.ask(Freshness::Cached).await.unwrap(), &first));
    world.clock.advance(Duration::SECOND);
    let error = world.ask(Freshness::Cached).await.unwrap_err();
    assert!(matches!(error, TokenError::Refused(_)), "{error}");
    world.behave(Behaviour::Answers);
    assert!(!is_same(&world.ask(Freshness::Cached).await.unwrap(), &first));
}

#[tokio::test]
async fn a_refresh_that_failed_is_tried_again_after_a_pause() {
    let (world, first, life) = world_with_token().await;
    world.behave(Behaviour::Fails);
    world.clock.advance(Duration::seconds(life / 2));
    let given_on = loop {
        let token = world.ask(Freshness::Cached).await.unwrap();
        if token.reuse.refresh_at > world.clock_seconds() {
            break token;
        }
        yield_now().await;
    };
    assert!(is_same(&given_on, &first));
    assert_eq!(given_on.reuse.refresh_at, world.clock_seconds() + 30);
    world.clock.advance(Duration::seconds(29));
    world.ask(Freshness::Cached).await.unwrap();
    assert_eq!(world.grants(), 2);
    world.behave(Behaviour::Answers);
    world.clock.advance(Duration::SECOND);
    refreshed(&world, &first).await;
    assert_eq!(world.grants(), 3);
}

#[tokio::test]
async fn those_who_wait_for_a_token_get_it_or_its_failure_together() {
    let world = World::start().await;
    for (behaviour, grants) in [(Behaviour::Fails, 1), (Behaviour::Answers, 2)] {
        world.behave(Behaviour::Hangs);
        let ask = || async {
            let answer = world.ask(Freshness::Cached).await;
            assert_eq!(answer.is_ok(), behaviour == Behaviour::Answers);
        };
        let end = async {
            while world.grants() < grants {
                yield_now().await;
            }
            world.behave(behaviour);
        };
        tokio::join!(ask(), ask(), ask(), ask(), end);
        assert_eq!(world.grants(), grants);
    }
}

/// The token that a service rejected is replaced; if it has been already, the newer one is given.
#[tokio::test]
async fn a_rejected_token_is_replaced_once() {
    let (world, first, _) = world_with_token().await;
    let rejected = Freshness::Unlike(sha256(first.token.expose().as_bytes()));
    let second = world.ask(rejected).await.unwrap();
    assert!(!is_same(&second, &first));
    assert!(first.reuse.is_withdrawn());
    assert!(is_same(&world.ask(rejected).await.unwrap(), &second));
    assert!(is_same(&world.ask(Freshness::Cached).await.unwrap(), &second));
    assert_eq!(world.grants(), 2);
}
