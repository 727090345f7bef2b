//! The chain holds, goes on after a restart, and shows what was done to it.

use std::fs;
use std::path::PathBuf;

use keycard_domain::audit::VaultAccess;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::segment::Hash;
use super::*;

const SEGMENT_BYTES_MAX: u64 = 4096;

fn record(number: u64) -> AuditRecord {
    AuditRecord::VaultAccess(VaultAccess {
        time_unix_ms: 1_700_000_000_000,
        correlation_id: format!("correlation {number}"),
        resource_id: "/SUBSCRIPTIONS/S".to_owned(),
        operation_name: "SecretGet".to_owned(),
        result_type: "Success",
        http_status_code: 200,
        principal_id: None,
        app_id: None,
        object: "line\nfeed and \"quotes\"".to_owned(),
    })
}

fn open(directory: &TempDir) -> FileAuditLog {
    FileAuditLog::open(directory.path(), SEGMENT_BYTES_MAX).unwrap()
}

/// A log of `count` records, closed again.
async fn written(count: u64) -> TempDir {
    let directory = TempDir::new().unwrap();
    append(&directory, 0..count).await;
    directory
}

async fn append(directory: &TempDir, numbers: std::ops::Range<u64>) {
    let log = open(directory);
    for number in numbers {
        log.append(record(number)).await.unwrap();
    }
}

fn segment_path(directory: &TempDir, number: u64) -> PathBuf {
    directory.path().join(segment::file_name(number))
}

/// Lets `tamper` change the lines of the first segment.
fn tamper(directory: &TempDir, tamper: impl FnOnce(&mut Vec<String>)) {
    let path = segment_path(directory, 1);
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
    tamper(&mut lines);
    fs::write(path, lines.concat()).unwrap();
}

#[track_caller]
fn assert_broken(directory: &TempDir, expected: &str) {
    assert_eq!(verify(directory.path()).unwrap_err().to_string(), expected);
}

#[tokio::test]
async fn an_empty_log_is_whole() {
    let verified = verify(written(0).await.path()).unwrap();
    let expected = Verified { records: 0, segments: 1, last_hash: "0".repeat(64) };
    assert_eq!(verified, expected);
}

#[tokio::test]
async fn a_line_has_the_documented_form() {
    let directory = written(2).await;
    let text = fs::read_to_string(segment_path(&directory, 1)).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let first = serde_json::to_string(&record(0)).unwrap();
    let zeros = "0".repeat(64);
    assert_eq!(lines[0], format!(r#"{{"sequence":1,"previous":"{zeros}","record":{first}}}"#));
    let second = serde_json::to_string(&record(1)).unwrap();
    let hash = Hash::of(lines[0].as_bytes()).to_hex();
    assert_eq!(lines[1], format!(r#"{{"sequence":2,"previous":"{hash}","record":{second}}}"#));
    let last_hash = Hash::of(lines[1].as_bytes()).to_hex();
    assert_eq!(verify(directory.path()).unwrap().last_hash, last_hash);
}

#[test]
fn hashes_are_sha256_in_hex() {
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(Hash::of(b"abc").to_hex(), expected);
}

#[tokio::test]
async fn the_chain_runs_across_segments_and_restarts() {
    let directory = TempDir::new().unwrap();
    for start in [0, 20, 40] {
        append(&directory, start..start + 20).await;
    }
    let verified = verify(directory.path()).unwrap();
    assert_eq!(verified.records, 60);
    assert!(verified.segments > 3, "{verified:?}");
    for number in 1..=verified.segments {
        let bytes = fs::metadata(segment_path(&directory, number)).unwrap().len();
        assert!(bytes < SEGMENT_BYTES_MAX + 1024, "segment {number} has {bytes} bytes");
    }
}

#[tokio::test]
async fn a_restart_after_a_new_segment_was_made_continues_the_chain() {
    let directory = written(1).await;
    fs::write(segment_path(&directory, 2), "").unwrap();
    append(&directory, 1..2).await;
    assert_eq!(verify(directory.path()).unwrap().records, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_are_all_kept() {
    let directory = TempDir::new().unwrap();
    let log = Arc::new(FileAuditLog::open(directory.path(), 1 << 16).unwrap());
    let mut writers = JoinSet::new();
    for number in 0..1000 {
        let log = log.clone();
        writers.spawn(async move { log.append(record(number)).await });
    }
    assert!(writers.join_all().await.iter().all(Result::is_ok));
    let verified = verify(directory.path()).unwrap();
    assert_eq!(verified.records, 1000);
    assert!(verified.segments > 1);
}

#[tokio::test]
async fn a_changed_byte_is_found() {
    let directory = written(4).await;
    tamper(&directory, |lines| lines[1] = lines[1].replace("Success", "Failure"));
    assert_broken(
        &directory,
        "audit segment 1, line 3: \
         the hash of the line before does not match: that line or this one was changed",
    );
}

#[tokio::test]
async fn a_removed_line_is_found() {
    let directory = written(4).await;
    tamper(&directory, |lines| drop(lines.remove(1)));
    assert_broken(
        &directory,
        "audit segment 1, line 2: \
         expected record 2, found record 3: lines were removed, added or moved",
    );
}

#[tokio::test]
async fn swapped_lines_are_found() {
    let directory = written(4).await;
    tamper(&directory, |lines| lines.swap(1, 2));
    assert_broken(
        &directory,
        "audit segment 1, line 2: \
         expected record 2, found record 3: lines were removed, added or moved",
    );
}

#[tokio::test]
async fn a_removed_line_with_new_numbers_is_found() {
    let directory = written(3).await;
    tamper(&directory, |lines| {
        lines.remove(1);
        lines[1] = lines[1].replace(r#""sequence":3"#, r#""sequence":2"#);
    });
    let error = verify(directory.path()).unwrap_err();
    assert!(matches!(error, VerifyError { segment: 1, line: 2, what: VerifyFault::Chain }));
}

#[tokio::test]
async fn what_is_no_record_is_found() {
    for rubbish in ["\n", "{}\n", "\u{0}\n", "[1,2]\n"] {
        let directory = written(3).await;
        tamper(&directory, |lines| lines[1] = rubbish.to_owned());
        let error = verify(directory.path()).unwrap_err();
        assert!(
            matches!(error, VerifyError { segment: 1, line: 2, what: VerifyFault::Malformed(_) }),
            "{rubbish:?}: {error}"
        );
    }
}

#[tokio::test]
async fn a_removed_segment_is_found() {
    for removed in [1, 2] {
        let directory = written(60).await;
        fs::remove_file(segment_path(&directory, removed)).unwrap();
        assert_broken(
            &directory,
            &format!("audit segment {removed}, line 0: the segment is missing"),
        );
    }
}

#[tokio::test]
async fn a_cut_segment_before_the_last_is_found() {
    let directory = written(60).await;
    tamper(&directory, |lines| {
        lines.last_mut().unwrap().pop();
    });
    let error = verify(directory.path()).unwrap_err();
    assert!(matches!(error, VerifyError { segment: 1, what: VerifyFault::Torn, .. }), "{error}");
}

#[tokio::test]
async fn a_torn_last_line_is_removed() {
    let whole = written(3).await;
    let text = fs::read(segment_path(&whole, 1)).unwrap();
    let two_lines = text.split_inclusive(|byte| *byte == b'\n').take(2).flatten().count();
    for cut in [two_lines, two_lines + 1, text.len() - 1] {
        let directory = TempDir::new().unwrap();
        fs::write(segment_path(&directory, 1), &text[..cut]).unwrap();
        assert_eq!(verify(directory.path()).unwrap().records, 2);
        append(&directory, 2..3).await;
        assert_eq!(fs::read(segment_path(&directory, 1)).unwrap(), text);
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_continued_is_refused() {
    let directory = TempDir::new().unwrap();
    fs::write(segment_path(&directory, 1), "not a record\n").unwrap();
    let refusal = FileAuditLog::open(directory.path(), SEGMENT_BYTES_MAX).unwrap_err();
    assert!(matches!(refusal, OpenError::Damaged { .. }), "{refusal}");
}

#[tokio::test]
async fn a_second_keycard_is_kept_out() {
    let directory = TempDir::new().unwrap();
    let log = open(&directory);
    let refusal = FileAuditLog::open(directory.path(), SEGMENT_BYTES_MAX).unwrap_err();
    assert!(matches!(refusal, OpenError::InUse(_)), "{refusal}");
    drop(log);
    drop(open(&directory));
}

#[tokio::test]
async fn the_rest_of_a_failed_write_is_removed() {
    let directory = written(2).await;
    let lock = Arc::new(DataDirectory::lock(directory.path(), LOCK_NAME).unwrap());
    let mut writer = Writer::open(lock, SEGMENT_BYTES_MAX).unwrap();
    writer.leave_a_rest(b"half a li");
    let (appends, waiting) = mpsc::channel(1);
    let writer = thread::spawn(move || writer.run(waiting));
    let (answer, answered) = oneshot::channel();
    appends.send(Append { record: "{}".to_owned(), answer }).await.unwrap();
    assert_eq!(answered.await, Ok(Ok(())));
    drop(appends);
    writer.join().unwrap();
    assert_eq!(verify(directory.path()).unwrap().records, 3);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let directory = TempDir::new().unwrap();
    let directory = Arc::new(DataDirectory::lock(directory.path(), LOCK_NAME).unwrap());
    let (appends, waiting) = mpsc::channel(1);
    let log = FileAuditLog { appends: Some(appends), writer: None, _directory: directory };
    let (answer, _answered) = oneshot::channel();
    let filler = Append { record: "{}".to_owned(), answer };
    log.appends.as_ref().unwrap().try_send(filler).unwrap();
    assert!(log.append(record(1)).await.is_err());
    drop(waiting);
}

#[tokio::test]
async fn a_record_that_could_not_be_read_back_is_refused() {
    let directory = TempDir::new().unwrap();
    let log = open(&directory);
    let sized = |bytes| {
        let AuditRecord::VaultAccess(access) = record(1) else { panic!("of another category") };
        AuditRecord::VaultAccess(VaultAccess { object: "o".repeat(bytes), ..access })
    };
    assert!(log.append(sized(segment::RECORD_BYTES_MAX)).await.is_err());
    log.append(sized(segment::RECORD_BYTES_MAX - 1024)).await.unwrap();
    drop(log);
    assert_eq!(verify(directory.path()).unwrap().records, 1);
    drop(open(&directory));
}

#[tokio::test]
async fn the_memory_log_keeps_the_latest() {
    let log = MemoryAuditLog::new(2);
    for number in 0..3 {
        log.append(record(number)).await.unwrap();
    }
    assert_eq!(log.records(), [record(1), record(2)]);
}
