//! The whole with a real Envoy as the gateway, once with the oldest and once with the newest supported release.
//!
//! Every test ends with the harness' own checks: Envoy never rejected an update and never waited in vain for one,
//! and xcc ends with status 0 when asked to.

mod acknowledgement;
mod by_hand;
mod change;
mod refusal;
mod restart;
mod routing;

/// Makes tests of functions that take an Envoy version.
macro_rules! with_each_envoy {
    ($($name:ident),+ $(,)?) => {
        mod oldest_envoy {
            $(#[tokio::test] async fn $name() { super::$name(xcc_integration::project::ENVOY_VERSIONS[0]).await; })+
        }
        mod newest_envoy {
            $(#[tokio::test] async fn $name() { super::$name(xcc_integration::project::ENVOY_VERSIONS[1]).await; })+
        }
    };
}
use with_each_envoy;
