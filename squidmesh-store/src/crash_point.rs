//! Points at which a test can crash the process, or fail a call of the store. Compiled out without the feature
//! `crash-points`.

use squidmesh_core::port::StoreError;

/// Runs a call of the store at the crash point with its name.
#[cfg(feature = "crash-points")]
pub(crate) async fn at<T>(
    point: &'static str,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    squidmesh_core::crash_point::around(point, call, |made| planned(point, made)).await
}

#[cfg(not(feature = "crash-points"))]
pub(crate) fn at<T, F: Future<Output = Result<T, StoreError>>>(_: &'static str, call: F) -> F {
    call
}

/// The error that a caller gets when the database is lost. The outcome of a change that was sent is unknown.
#[cfg(feature = "crash-points")]
fn planned(point: &'static str, made: bool) -> StoreError {
    let source = Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    match point {
        "transact.commit" => StoreError::OutcomeUnknown { source },
        "commit" | "transact" if made => StoreError::OutcomeUnknown { source },
        _ => StoreError::Unavailable { doing: "what a test has fail", source },
    }
}
