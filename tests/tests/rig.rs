//! The differential rig.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Result, ensure};
use nss_k8s_tests::libcs::Release;

/// The releases are the ones that they are taken for.
#[test]
fn every_libc_is_the_one_it_is_called() -> Result<()> {
    for release in Release::ALL {
        let said = release.says()?;
        ensure!(
            said.contains(&format!("ersion {}", release.as_str())),
            "{release:?} says {said}"
        );
    }
    Ok(())
}
