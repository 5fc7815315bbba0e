# One target per room, mirrored by its folders: include/athanor/<room>, lib/<room>, tests/<room>, benchmarks/<room>.

# The rooms, each after those that it may include. A room with models needs a library of its own and is optional.
set(ATHANOR_ROOMS core batching caching breaking admission loading manifest serving)
set(ATHANOR_MODEL_ROOMS "")
if(ATHANOR_WITH_TORCH)
  list(APPEND ATHANOR_MODEL_ROOMS torch)
endif()
if(ATHANOR_WITH_CHEM)
  list(APPEND ATHANOR_MODEL_ROOMS chem)
endif()
list(APPEND ATHANOR_ROOMS ${ATHANOR_MODEL_ROOMS})

# The number in libathanor.so.N: it changes when programs that link the library must be built again. Plugins lie in a folder
# that carries it, so that two such versions can be installed side by side.
set(ATHANOR_SOVERSION 0)
set(ATHANOR_PLUGIN_FOLDER athanor-${ATHANOR_SOVERSION})

# athanor_add_floor(): adds the folder of each room that has one on this floor (lib, tests or benchmarks).
macro(athanor_add_floor)
  foreach(room IN LISTS ATHANOR_ROOMS)
    if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${room}/CMakeLists.txt)
      add_subdirectory(${room})
    endif()
  endforeach()
endmacro()

include(CheckCXXSymbolExists)

# How our own code is compiled; never imposed on a consumer.
add_library(athanor_developer INTERFACE)
# The same binary wherever it is built. A debugger wants the paths.
target_compile_options(athanor_developer INTERFACE "$<$<NOT:$<CONFIG:Debug>>:-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=>")
check_cxx_symbol_exists(__GLIBC__ features.h ATHANOR_HAS_GLIBC)
if(ATHANOR_HAS_GLIBC)
  # A call reads some twenty thread-local words: in libathanor.so, too, without a function call for each. The few bytes that
  # this takes of what glibc keeps for libraries opened late it always has.
  target_compile_options(athanor_developer INTERFACE -ftls-model=initial-exec)
endif()
if(ATHANOR_DEVELOPER_MODE)
  target_compile_options(
    athanor_developer INTERFACE -Wall -Wextra -Wpedantic -Werror $<$<COMPILE_LANGUAGE:CXX>:-Wshadow -Wconversion>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC 12 takes an optimised `"text" + std::string` for overlapping memory (its bug 105651).
    target_compile_options(athanor_developer INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
    # GCC 13 and newer warn of array bounds in fmt 9's buffers once they are inlined.
    target_compile_options(athanor_developer INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-error=array-bounds>
                                                       $<$<COMPILE_LANGUAGE:CXX>:-Wno-error=stringop-overflow>)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # Lock annotations are checked by Clang; GCC reads them as nothing.
    target_compile_options(athanor_developer INTERFACE
                           "$<$<COMPILE_LANGUAGE:CXX>:-Wthread-safety;-Werror=thread-safety>")
  endif()
  if(ATHANOR_SANITIZE)
    target_compile_options(athanor_developer INTERFACE -fsanitize=${ATHANOR_SANITIZE} -fno-omit-frame-pointer)
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
  target_link_libraries(${target} PUBLIC ${ARG_DEPENDS} ${ARG_LINK})
  target_compile_options(${target} PRIVATE $<TARGET_PROPERTY:athanor_developer,INTERFACE_COMPILE_OPTIONS>)
  # fmt is compiled in: what is built needs no libfmt where it runs, and no particular one where it is linked.
  target_compile_definitions(${target} PRIVATE FMT_HEADER_ONLY)
  foreach(library IN LISTS ARG_PRIVATE_LINK)
    # What is only headers is needed to compile this room, not to link it: an installed consumer never hears of it.
    set(kind "")
    if(TARGET ${library})
      get_target_property(kind ${library} TYPE)
    endif()
    if(kind STREQUAL "INTERFACE_LIBRARY")
      get_target_property(links ${library} INTERFACE_LINK_LIBRARIES)
      if(NOT links)
        target_include_directories(${target} SYSTEM PRIVATE $<TARGET_PROPERTY:${library},INTERFACE_INCLUDE_DIRECTORIES>)
        target_compile_definitions(${target} PRIVATE $<TARGET_PROPERTY:${library},INTERFACE_COMPILE_DEFINITIONS>)
        continue()
      endif()
    endif()
    target_link_libraries(${target} PRIVATE ${library})
  endforeach()
endfunction()

# athanor_add_plugin(<room>): plugin.cpp of that room as libathanor_<room>.so, which a program opens at run time; it exports
# the function that lists what it offers, and no more.
function(athanor_add_plugin room)
  set(target athanor_${room}_plugin)
  set(exports ${PROJECT_SOURCE_DIR}/cmake/plugin.map)
  add_library(${target} MODULE plugin.cpp)
  target_link_libraries(${target} PRIVATE athanor::${room} athanor_developer)
  target_link_options(${target} PRIVATE LINKER:--as-needed LINKER:-z,now LINKER:-z,defs LINKER:--version-script=${exports})
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME athanor_${room}
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    LINK_DEPENDS ${exports})
  set_property(GLOBAL APPEND PROPERTY ATHANOR_PLUGINS ${target})
endfunction()

# athanor_add_tests(<room> [SPLIT] SOURCES … [LINK targets…]): one executable athanor-<room>-tests, one ctest entry; with
# SPLIT one for each source *_test.cpp, so that long ones run side by side and begin first.
function(athanor_add_tests room)
  cmake_parse_arguments(ARG "SPLIT" "" "SOURCES;LINK" ${ARGN})
  set(target athanor-${room}-tests)
  if(NOT TARGET athanor_doctest_main)
    add_library(athanor_doctest_main OBJECT ${PROJECT_SOURCE_DIR}/tests/support/doctest_main.cpp)
    target_link_libraries(athanor_doctest_main PRIVATE doctest::doctest athanor_developer)
    target_include_directories(athanor_doctest_main PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  endif()
  add_executable(${target} ${ARG_SOURCES} $<TARGET_OBJECTS:athanor_doctest_main>)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${target} PRIVATE ${ARG_LINK} doctest::doctest athanor_developer)
  if(TARGET athanor::${room})
    target_link_libraries(${target} PRIVATE athanor::${room})
  endif()
  if(NOT ARG_SPLIT)
    add_test(NAME ${room} COMMAND ${target})
    set_tests_properties(${room} PROPERTIES TIMEOUT 600)
    return()
  endif()
  list(FILTER ARG_SOURCES INCLUDE REGEX "_test\\.cpp$")
  foreach(source IN LISTS ARG_SOURCES)
    string(REGEX REPLACE "_test\\.cpp$" "" part ${source})
    add_test(NAME ${room}.${part} COMMAND ${target} --source-file=*/${source})
    set_tests_properties(${room}.${part} PROPERTIES TIMEOUT 600 COST 600 FAIL_REGULAR_EXPRESSION "test cases: *0 ")
  endforeach()
endfunction()

# athanor_leave_out(<name> <reason>): a ctest entry in place of tests that this machine lacks something for. It is
# skipped, so that a run says what it did not look at; scripts/tally.py repeats the reason.
function(athanor_leave_out name reason)
  add_test(NAME ${name} COMMAND ${CMAKE_COMMAND} -E echo "left out: ${reason}")
  set_tests_properties(${name} PROPERTIES SKIP_REGULAR_EXPRESSION "left out: ")
endfunction()

# Builds every benchmark.
if(ATHANOR_DEVELOPER_MODE)
  add_custom_target(athanor-benchmarks)
endif()

# athanor_add_benchmark(<name> SOURCES … [LINK targets…]): executable athanor-bench-<name>, found by scripts/bench.
function(athanor_add_benchmark name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  set(target athanor-bench-${name})
  add_executable(${target} ${ARG_SOURCES})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/benchmarks ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${target} PRIVATE ${ARG_LINK} athanor_developer fmt::fmt)
  add_dependencies(athanor-benchmarks ${target})
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/benchmarks)
endfunction()
