//! How a host awaits a call that it has configured: `mesh.start_run(…).timeout(…).await`.

/// Implements [`IntoFuture`] for a call, whose method does the work.
macro_rules! awaited {
    ($call:ident $(<$lifetime:lifetime>)?, $method:ident -> $output:ty) => {
        impl $(<$lifetime>)? std::future::IntoFuture for $call $(<$lifetime>)? {
            type Output = $output;
            type IntoFuture =
                std::pin::Pin<Box<dyn std::future::Future<Output = Self::Output> + Send $(+ $lifetime)?>>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.$method())
            }
        }
    };
}

pub(super) use awaited;
