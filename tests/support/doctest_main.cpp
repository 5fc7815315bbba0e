#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#if defined(__SANITIZE_THREAD__)
// Boost's lock-free stack reads the link of a node that another thread may be pushing, and throws what it
// read away when its tagged compare-exchange then fails. By the letter that is a race; nothing comes of it.
extern "C" char const* __tsan_default_suppressions();
extern "C" char const* __tsan_default_suppressions() { return "race:boost::lockfree::stack\n"; }
#endif
