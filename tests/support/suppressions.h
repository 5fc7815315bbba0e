// What ThreadSanitizer passes over. Included once in every test program.
#pragma once

#if defined(__SANITIZE_THREAD__)

#ifdef __cplusplus
extern "C" {
#endif

char const* __tsan_default_suppressions(void);

// Boost's lock-free stack reads the link of a node that another thread may be pushing, and throws what it
// read away when its tagged compare-exchange then fails. By the letter that is a race; nothing comes of it.
char const* __tsan_default_suppressions(void) { return "race:boost::lockfree::stack\n"; }

#ifdef __cplusplus
}
#endif

#endif
