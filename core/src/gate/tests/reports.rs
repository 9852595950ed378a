//! Reports to the engine of shared quotas: when the proxy calls it, and what metrics and the log show.

use super::fake_proxy::Gateway;
use super::*;
use crate::quota::TICK;

const EXPORT: [(&str, &str); 3] =
    [(":method", "POST"), (":path", "/v1/traces"), ("content-type", "application/x-protobuf")];
const CLUSTER: &str = "otlp_gate_quota_engine/otel/gateway";
const UP: &str = "otlp_gate_quota_engine_up";

/// A gateway whose quotas hold over several replicas.
fn shared() -> Gateway {
    Gateway::new(&POLICY.replace(r#""quotas": {"#, r#""quotas": {"engine": {}, "#))
}

/// The bodies of the calls since the last time.
fn calls(gateway: &Gateway) -> Vec<String> {
    gateway.proxy.calls.borrow()[..]
        .iter()
        .map(|(_, body)| String::from_utf8_lossy(body).into_owned())
        .collect()
}

fn wait(gateway: &Gateway, millis: u64) {
    gateway.proxy.now.set(gateway.proxy.now.get() + Nanos::from_millis(millis));
}

fn tick(gateway: &Gateway, millis: u64) {
    wait(gateway, millis);
    gateway.plugin.on_tick();
}

/// Answers the last call.
fn answer(gateway: &Gateway, answer: &[u8]) {
    let joins = calls(gateway).pop().unwrap().contains("#new,others)");
    let replicas = joins && !answer.is_empty() && !answer.starts_with(b"u");
    let mut answer = answer.to_vec();
    if replicas {
        answer = [b"$16\r\n", &[3.0, 1.0].map(f64::to_le_bytes).concat()[..], b"\r\n", &answer].concat();
    }
    let (number, len) = (gateway.proxy.calls.borrow().len() as u32 - 1, answer.len());
    *gateway.proxy.answer.borrow_mut() = answer;
    gateway.plugin.on_answer(number, len);
}

/// The engine's answer to a report of one bucket: the debts of requests, bytes and items.
fn debts(requests: f64, bytes: f64, items: f64) -> Vec<u8> {
    [b"$24\r\n", &[requests, bytes, items].map(f64::to_le_bytes).concat()[..], b"\r\n+OK\r\n"].concat()
}

#[test]
fn without_an_engine_nothing_is_called() {
    let gateway = Gateway::new(POLICY);
    gateway.forward(&EXPORT, &forged(1));
    tick(&gateway, 1000);
    assert_eq!((gateway.proxy.tick.get(), calls(&gateway).len()), (Nanos::ZERO, 0));
    let gateway =
        Gateway::new(&POLICY.replace(r#""quotas": {"#, r#""quotas": {"scope": "replica", "engine": {}, "#));
    assert_eq!(gateway.proxy.tick.get(), Nanos::ZERO);
}

#[test]
fn what_others_charge_counts_here_after_a_report() {
    let gateway = shared();
    assert_eq!(gateway.proxy.tick.get(), TICK);
    gateway.forward(&EXPORT, &forged(50));
    tick(&gateway, 20);
    assert_eq!(gateway.proxy.calls.borrow()[0].0, CLUSTER);
    let body = calls(&gateway).pop().unwrap();
    assert!(body.contains("EVALSHA") && body.contains("otlp-gate:{") && body.ends_with("QUIT\r\n"), "{body}");
    answer(&gateway, b"-NOSCRIPT No matching script.\r\n+OK\r\n");
    tick(&gateway, 20);
    assert!(calls(&gateway).pop().unwrap().contains("redis.call('TIME')"));
    answer(&gateway, &debts(1.0, 5000.0, 100.0));
    assert_eq!(gateway.proxy.metric(UP), 1);
    assert_eq!(gateway.proxy.metric("otlp_gate_quota_engine_answered_seconds"), 2_000_000_000);
    assert_eq!(gateway.proxy.metric("otlp_gate_quota_engine_replicas"), 3);
    assert_eq!(gateway.proxy.metric("otlp_gate_quota_engine_replicas_with_other_limits"), 1);
    assert_eq!(gateway.proxy.metric("result=.=answered;.;otlp_gate_quota_reports_total"), 1);
    assert_eq!(gateway.proxy.metric("otlp_gate_quota_over_burst_total"), 0);
    // Others have used up the burst.
    let (_, action) = gateway.begin(&EXPORT, false);
    assert_eq!((action, gateway.proxy.take_response().unwrap().http_status), (Action::Pause, 429));
    tick(&gateway, 520);
    gateway.forward(&EXPORT, &forged(50));
    tick(&gateway, 20);
    answer(&gateway, &debts(1.0, 5000.0, 110.0));
    assert_eq!(gateway.proxy.metric("otlp_gate_quota_over_burst_total"), 1);
}

#[test]
fn a_new_policy_goes_on_with_what_is_queued() {
    let mut gateway = shared();
    gateway.forward(&EXPORT, &forged(1));
    let policy = String::from_utf8(gateway.proxy.configuration.borrow().clone()).unwrap();
    gateway.configure(&policy.replace("\"tenant.id\": \"acme\"", "\"tenant.id\": \"other\""));
    tick(&gateway, 1000);
    assert!(calls(&gateway).pop().unwrap().contains("EVALSHA"));
    // An answer may come to the plugin that is there then.
    answer(&gateway, &debts(0.0, 0.0, 0.0));
    assert_eq!(gateway.proxy.metric("result=.=answered;.;otlp_gate_quota_reports_total"), 1);
}

#[test]
fn an_engine_that_is_away_is_logged_once_and_nobody_is_throttled_for_it() {
    let gateway = shared();
    let no_answers: [&[u8]; 4] = [
        b"",
        b"upstream connect error or disconnect/reset before headers. reset reason: connection timeout",
        b"-READONLY You can't write against a read only replica.\r\n+OK\r\n",
        b"-NOAUTH Authentication required.\r\n+OK\r\n",
    ];
    for body in no_answers {
        wait(&gateway, 1000);
        gateway.forward(&EXPORT, &forged(1));
        tick(&gateway, 20);
        answer(&gateway, body);
        assert_eq!(gateway.proxy.metric(UP), 0);
    }
    assert_eq!(gateway.proxy.metric("result=.=failed;.;otlp_gate_quota_reports_total"), 4);
    gateway.proxy.calls_fail.set(true);
    wait(&gateway, 1000);
    gateway.forward(&EXPORT, &forged(1));
    tick(&gateway, 20);
    let logged = gateway.proxy.logged.borrow().clone();
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].contains("quota engine does not answer (no answer)"), "{logged:?}");
    gateway.proxy.calls_fail.set(false);
    wait(&gateway, 1000);
    gateway.forward(&EXPORT, &forged(1));
    tick(&gateway, 20);
    answer(&gateway, &debts(0.0, 0.0, 0.0));
    assert_eq!(gateway.proxy.metric(UP), 1);
}

#[test]
fn the_password_comes_from_the_environment_and_is_in_no_log() {
    let gateway = shared();
    for (name, value) in [(ENGINE_USER, "gate"), (ENGINE_PASSWORD, "s3cret")] {
        gateway.proxy.environment.borrow_mut().insert(name, value.to_owned());
    }
    // The engine of a worker is made once.
    gateway.worker.engines.borrow_mut().clear();
    let mut gateway = gateway;
    let policy = String::from_utf8(gateway.proxy.configuration.borrow().clone()).unwrap();
    gateway.configure(&policy);
    gateway.forward(&EXPORT, &forged(1));
    tick(&gateway, 1000);
    let body = calls(&gateway).pop().unwrap();
    assert!(body.starts_with("*3\r\n$4\r\nAUTH\r\n$4\r\ngate\r\n$6\r\ns3cret\r\n"), "{body}");
    answer(
        &gateway,
        b"-WRONGPASS invalid username-password pair\r\n-NOAUTH Authentication required.\r\n+OK\r\n",
    );
    let logged = gateway.proxy.logged.borrow().join("\n");
    assert!(logged.contains("WRONGPASS") && !logged.contains("s3cret"), "{logged}");
}
