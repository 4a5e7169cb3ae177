//! The chart's own test, as whoever installs it runs it.

use crate::{
    chart::{self, RELEASE},
    cluster,
};
use anyhow::{Result, ensure};

/// `helm test`: a pod with the volume, as an ordinary user, is answered by the zone: its program says by its status who
/// answered, and 3 would be libc.
#[test]
fn helm_test_passes() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    let said = cluster.helm(&["test", RELEASE, "--namespace", RELEASE, "--timeout", "120s"])?;
    ensure!(said.contains("Succeeded"), "{said}");
    Ok(())
}
