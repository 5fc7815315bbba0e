/// Annotations for Clang's thread-safety analysis (-Wthread-safety): which mutex guards what. Other compilers
/// read them as nothing. https://clang.llvm.org/docs/ThreadSafetyAnalysis.html
#pragma once

#if defined(__clang__)
#define ATH_THREAD_ANNOTATION(...) __attribute__((__VA_ARGS__))
#else
#define ATH_THREAD_ANNOTATION(...)
#endif

/// A type whose objects are locked.
#define ATH_CAPABILITY(name) ATH_THREAD_ANNOTATION(capability(name))
/// A type whose objects hold a lock while they live.
#define ATH_SCOPED_CAPABILITY ATH_THREAD_ANNOTATION(scoped_lockable)
/// A member that is read and written with the mutex held.
#define ATH_GUARDED_BY(...) ATH_THREAD_ANNOTATION(guarded_by(__VA_ARGS__))
/// A function that is called, and returns, with the mutex held.
#define ATH_REQUIRES(...) ATH_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
/// A function that is called without the mutex.
#define ATH_EXCLUDES(...) ATH_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
/// A function that returns with the mutex held; always, or when its result is the first argument.
#define ATH_ACQUIRE(...) ATH_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define ATH_TRY_ACQUIRE(...) ATH_THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
/// A function that is called with the mutex held and returns without it.
#define ATH_RELEASE(...) ATH_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
/// The same for a lock that readers share: `ATH_RELEASE` of a scoped lock releases either.
#define ATH_ACQUIRE_SHARED(...) ATH_THREAD_ANNOTATION(acquire_shared_capability(__VA_ARGS__))
#define ATH_RELEASE_SHARED(...) ATH_THREAD_ANNOTATION(release_shared_capability(__VA_ARGS__))
/// A function that the analysis cannot follow. A comment beside it gives the reason.
#define ATH_NO_THREAD_SAFETY_ANALYSIS ATH_THREAD_ANNOTATION(no_thread_safety_analysis)
