//! Where a test can have the process die, or a call of the store fail. Nothing of it is left without the feature `crash-points`.

use squidmesh_core::StoreError;

/// A call of the store, by its name.
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

/// What a caller is told when the database is lost: of a change that was sent, that nobody knows.
#[cfg(feature = "crash-points")]
fn planned(point: &'static str, made: bool) -> StoreError {
    let source = Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    match point {
        "transact.commit" => StoreError::OutcomeUnknown { source },
        "commit" | "transact" if made => StoreError::OutcomeUnknown { source },
        _ => StoreError::Unavailable { doing: "what a test has fail", source },
    }
}
