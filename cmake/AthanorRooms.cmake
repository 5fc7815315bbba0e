# One target per room, mirrored by its folders: include/athanor/<room>, lib/<room>, tests/<room>, benchmarks/<room>.

# Warnings and sanitizers of our own code; never imposed on a consumer.
add_library(athanor_developer INTERFACE)
if(ATHANOR_DEVELOPER_MODE)
  target_compile_options(
    athanor_developer INTERFACE -Wall -Wextra -Wpedantic -Werror $<$<COMPILE_LANGUAGE:CXX>:-Wshadow -Wconversion>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # A guarded_by annotation is checked where Clang can; GCC reads it as nothing.
    target_compile_options(athanor_developer INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wthread-safety>)
  endif()
  if(ATHANOR_SANITIZE)
    target_compile_options(athanor_developer INTERFACE -fsanitize=${ATHANOR_SANITIZE} -fno-omit-frame-pointer -g)
    target_link_options(athanor_developer INTERFACE -fsanitize=${ATHANOR_SANITIZE})
    if(ATHANOR_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # GCC says of every fence that its TSan does not see it; the code uses none where an ordering would do.
      target_compile_options(athanor_developer INTERFACE -Wno-tsan)
    endif()
  endif()
endif()

# athanor_add_room(<room> SOURCES … [DEPENDS rooms…] [LINK public external targets…] [PRIVATE_LINK external targets…])
function(athanor_add_room room)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LINK;PRIVATE_LINK" ${ARGN})
  set(target athanor_${room})
  add_library(${target} STATIC ${ARG_SOURCES})
  add_library(athanor::${room} ALIAS ${target})
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/athanor/${room}/*)
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${headers})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${room} POSITION_INDEPENDENT_CODE ON
                                             CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_compile_features(${target} PUBLIC cxx_std_20)
  list(TRANSFORM ARG_DEPENDS PREPEND athanor::)
  target_link_libraries(${target} PUBLIC ${ARG_DEPENDS} ${ARG_LINK}
                        PRIVATE ${ARG_PRIVATE_LINK} $<BUILD_INTERFACE:athanor_developer>)
  set_property(GLOBAL APPEND PROPERTY ATHANOR_ROOMS ${room})
endfunction()

# athanor_add_tests(<room> SOURCES … [LINK targets…]): one executable athanor-<room>-tests, one ctest entry per test case.
function(athanor_add_tests room)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  set(target athanor-${room}-tests)
  add_executable(${target} ${ARG_SOURCES} ${PROJECT_SOURCE_DIR}/tests/support/doctest_main.cpp)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${target} PRIVATE ${ARG_LINK} doctest::doctest athanor_developer)
  if(TARGET athanor::${room})
    target_link_libraries(${target} PRIVATE athanor::${room})
  endif()
  add_test(NAME ${room} COMMAND ${target})
  set_tests_properties(${room} PROPERTIES TIMEOUT 600)
endfunction()

# athanor_add_benchmark(<name> SOURCES … [LINK targets…]): executable athanor-bench-<name>, found by scripts/bench.
function(athanor_add_benchmark name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  set(target athanor-bench-${name})
  add_executable(${target} ${ARG_SOURCES})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/benchmarks ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${target} PRIVATE ${ARG_LINK} athanor_developer)
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/benchmarks)
endfunction()
