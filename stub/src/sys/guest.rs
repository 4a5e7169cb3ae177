//! What Rust wants of a shared object that brings everything itself and cannot panic.

/// Ends the process: there is no panic path, so this is never reached.
///
/// With `--cfg prove_no_panic` the handler calls a symbol that does not exist, and the link fails
/// if the optimizer left a single call of it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(prove_no_panic)]
    {
        unsafe extern "C" {
            safe fn nss_k8s_a_panic_survived_optimization() -> !;
        }
        nss_k8s_a_panic_survived_optimization()
    }
    #[cfg(not(prove_no_panic))]
    // SAFETY: an instruction that traps; it does not return.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        core::arch::asm!("ud2", options(noreturn, nomem, nostack));
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!("brk #1", options(noreturn, nomem, nostack));
    }
}

// `core` is compiled for unwinding and names the personality routine in its unwind tables. With
// panic=abort no frame of ours is ever unwound by a Rust panic, and pthread_cancel's forced unwind
// calls a routine only for frames that name one: ours do not.
core::arch::global_asm!(
    ".pushsection .text.rust_eh_personality, \"ax\", %progbits",
    ".globl rust_eh_personality",
    ".hidden rust_eh_personality",
    ".type rust_eh_personality, %function",
    "rust_eh_personality:",
    ".cfi_startproc",
    #[cfg(target_arch = "x86_64")]
    "ud2",
    #[cfg(target_arch = "aarch64")]
    "brk #1",
    ".cfi_endproc",
    ".size rust_eh_personality, . - rust_eh_personality",
    ".popsection",
);
