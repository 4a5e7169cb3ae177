//! Parts of an [`Os`](nss_k8s_zone::Os) that are the real one's.

/// The calls of these names as [`LibcOs`](nss_k8s_zone::LibcOs) makes them, inside an `unsafe impl Os`.
macro_rules! through_libc {
    ($($call:ident)+) => {
        $(through_libc!(@ $call);)+
    };
    (@ open) => {
        fn open(&self, path: &::core::ffi::CStr) -> Result<i32, i32> {
            ::nss_k8s_zone::LibcOs.open(path)
        }
    };
    (@ close) => {
        fn close(&self, descriptor: i32) {
            ::nss_k8s_zone::LibcOs.close(descriptor);
        }
    };
    (@ status) => {
        fn status(&self, descriptor: i32) -> Result<::nss_k8s_zone::FileStatus, i32> {
            ::nss_k8s_zone::LibcOs.status(descriptor)
        }
    };
    (@ filesystem) => {
        fn filesystem(&self, descriptor: i32) -> Result<::nss_k8s_zone::FilesystemStatus, i32> {
            ::nss_k8s_zone::LibcOs.filesystem(descriptor)
        }
    };
    (@ map) => {
        fn map(&self, descriptor: i32, length: usize) -> Result<::core::ptr::NonNull<u8>, i32> {
            ::nss_k8s_zone::LibcOs.map(descriptor, length)
        }
    };
    (@ unmap) => {
        unsafe fn unmap(&self, start: ::core::ptr::NonNull<u8>, length: usize) {
            // SAFETY: the caller's contract.
            unsafe { ::nss_k8s_zone::LibcOs.unmap(start, length) };
        }
    };
    (@ overlay_zeros) => {
        unsafe fn overlay_zeros(
            &self,
            start: ::core::ptr::NonNull<u8>,
            length: usize,
        ) -> Result<(), i32> {
            // SAFETY: the caller's contract.
            unsafe { ::nss_k8s_zone::LibcOs.overlay_zeros(start, length) }
        }
    };
    (@ populate) => {
        unsafe fn populate(
            &self,
            start: ::core::ptr::NonNull<u8>,
            length: usize,
        ) -> Result<(), i32> {
            // SAFETY: the caller's contract.
            unsafe { ::nss_k8s_zone::LibcOs.populate(start, length) }
        }
    };
    (@ effective_uid) => {
        fn effective_uid(&self) -> u32 {
            ::nss_k8s_zone::LibcOs.effective_uid()
        }
    };
    (@ secure) => {
        fn secure(&self) -> bool {
            ::nss_k8s_zone::LibcOs.secure()
        }
    };
    (@ address_space_is_limited) => {
        fn address_space_is_limited(&self) -> bool {
            ::nss_k8s_zone::LibcOs.address_space_is_limited()
        }
    };
}
