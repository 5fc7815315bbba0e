# Finds LibTorch and makes two imported targets of it: athanor::libtorch_cpu and athanor::libtorch_c10.
#
# LibTorch's own package file is not used: it enables the CUDA language and so requires a CUDA toolkit even where nothing
# is compiled for a GPU. The places are tried in this order, and the first that holds release 2.11 or later decides:
#   1. ATHANOR_TORCH_ROOT (CMake variable, else environment variable): the folder that has include/ and lib/; if it is
#      set, no other place is tried
#   2. CMAKE_PREFIX_PATH: each folder, or torch/ in it
#   3. the Python package `torch` that python3 finds (it is located, not imported)
#   4. the private environment ${ATHANOR_CACHE:-$HOME/.cache/athanor}/torch-2.11.0, or a wheel unpacked there
# Sets AthanorTorch_FOUND, AthanorTorch_DIRECTORY, AthanorTorch_VERSION and AthanorTorch_RPATH (the folders that a program
# needs in its run path).

function(_athanor_torch_version folder out)
  file(STRINGS "${folder}/include/torch/headeronly/version.h" lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX MATCHALL "[0-9]+" numbers "${lines}")
  list(JOIN numbers "." version)
  set(${out} "${version}" PARENT_SCOPE)
endfunction()

# Appends to `out` each folder of ARGN that looks like a LibTorch.
function(_athanor_torch_keep out)
  set(kept ${${out}})
  foreach(folder IN LISTS ARGN)
    if(EXISTS "${folder}/lib/libtorch_cpu.so" AND EXISTS "${folder}/include/torch/headeronly/version.h")
      list(APPEND kept "${folder}")
    endif()
  endforeach()
  set(${out} "${kept}" PARENT_SCOPE)
endfunction()

# The same, without those that are too old: scripts/setup passes them over too, and fetches one of its own.
function(_athanor_torch_keep_recent out)
  set(kept ${${out}})
  set(candidates "")
  _athanor_torch_keep(candidates ${ARGN})
  foreach(folder IN LISTS candidates)
    _athanor_torch_version("${folder}" version)
    if(version VERSION_GREATER_EQUAL 2.11)
      list(APPEND kept "${folder}")
    endif()
  endforeach()
  set(${out} "${kept}" PARENT_SCOPE)
endfunction()

# The folder of the Python package `torch`, or nothing.
function(_athanor_torch_of_python out)
  set(${out} "" PARENT_SCOPE)
  find_program(ATHANOR_PYTHON3 python3)
  mark_as_advanced(ATHANOR_PYTHON3)
  if(NOT ATHANOR_PYTHON3)
    return()
  endif()
  execute_process(
    COMMAND ${ATHANOR_PYTHON3} -c
            "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
    OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
  if(status EQUAL 0)
    set(${out} "${folder}" PARENT_SCOPE)
  endif()
endfunction()

# Sets `out` to the folder, and `out_places` to a phrase that says where it was looked for.
function(_athanor_torch_locate out out_places)
  set(found "")
  set(root "${ATHANOR_TORCH_ROOT}")
  if(root)
    # What was named is the only place: going on to another LibTorch would hide a typing error.
    _athanor_torch_keep(found "${root}" "${root}/torch")
    set(${out_places} "ATHANOR_TORCH_ROOT=${root}" PARENT_SCOPE)
  else()
    set(cache "$ENV{ATHANOR_CACHE}")
    if(NOT cache)
      set(cache "$ENV{HOME}/.cache/athanor")
    endif()
    foreach(prefix IN LISTS CMAKE_PREFIX_PATH)
      _athanor_torch_keep_recent(found "${prefix}" "${prefix}/torch")
    endforeach()
    if(NOT found)
      _athanor_torch_of_python(python_folder)
      _athanor_torch_keep_recent(found "${python_folder}")
    endif()
    if(NOT found)
      file(GLOB folders "${cache}/torch-2.11.0/lib/python*/site-packages/torch")
      _athanor_torch_keep_recent(found ${folders} "${cache}/torch-2.11.0/torch" "${cache}/torch-2.11.0")
    endif()
    set(${out_places} "CMAKE_PREFIX_PATH, the packages of python3, or ${cache}/torch-2.11.0" PARENT_SCOPE)
  endif()
  set(folder "")
  if(found)
    list(GET found 0 folder)
    get_filename_component(folder "${folder}" ABSOLUTE)
  endif()
  set(${out} "${folder}" PARENT_SCOPE)
endfunction()

# Remembered, so that a later configure without the environment variable does not pick another LibTorch.
if(NOT ATHANOR_TORCH_ROOT AND NOT "$ENV{ATHANOR_TORCH_ROOT}" STREQUAL "")
  set(ATHANOR_TORCH_ROOT "$ENV{ATHANOR_TORCH_ROOT}" CACHE PATH "The folder of LibTorch's include/ and lib/" FORCE)
endif()

_athanor_torch_locate(AthanorTorch_DIRECTORY _athanor_torch_places)
set(_athanor_torch_reason "none in ${_athanor_torch_places}")
if(AthanorTorch_DIRECTORY)
  _athanor_torch_version("${AthanorTorch_DIRECTORY}" AthanorTorch_VERSION)
  if(AthanorTorch_VERSION VERSION_LESS 2.11)
    set(_athanor_torch_reason "${AthanorTorch_DIRECTORY} is release ${AthanorTorch_VERSION}")
    set(AthanorTorch_DIRECTORY "")
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  AthanorTorch
  REQUIRED_VARS AthanorTorch_DIRECTORY
  VERSION_VAR AthanorTorch_VERSION
  REASON_FAILURE_MESSAGE
    "LibTorch 2.11 or later is needed: ${_athanor_torch_reason}. Set ATHANOR_TORCH_ROOT to the folder that has \
LibTorch's include/ and lib/.")

if(AthanorTorch_FOUND)
  # The wheels keep the CUDA runtime that even the CPU library names beside the torch folder.
  set(AthanorTorch_RPATH "${AthanorTorch_DIRECTORY}/lib")
  get_filename_component(_athanor_torch_nvidia "${AthanorTorch_DIRECTORY}/../nvidia/cu13/lib" ABSOLUTE)
  if(IS_DIRECTORY "${_athanor_torch_nvidia}")
    list(APPEND AthanorTorch_RPATH "${_athanor_torch_nvidia}")
  endif()

  if(NOT TARGET athanor::libtorch_cpu)
    add_library(athanor::libtorch_c10 SHARED IMPORTED GLOBAL)
    set_target_properties(athanor::libtorch_c10 PROPERTIES
      IMPORTED_LOCATION "${AthanorTorch_DIRECTORY}/lib/libc10.so")
    add_library(athanor::libtorch_cpu SHARED IMPORTED GLOBAL)
    # Searched after everything else: beside its own headers LibTorch carries those of a {fmt} (and more) that it does not
    # export, which would hide the one that athanor is built with. And libtorch_cpu names CUDA libraries that need not be
    # there to link.
    set_target_properties(athanor::libtorch_cpu PROPERTIES
      IMPORTED_LOCATION "${AthanorTorch_DIRECTORY}/lib/libtorch_cpu.so"
      INTERFACE_COMPILE_OPTIONS "SHELL:-idirafter \"${AthanorTorch_DIRECTORY}/include\""
      INTERFACE_LINK_LIBRARIES athanor::libtorch_c10
      INTERFACE_LINK_OPTIONS "LINKER:--allow-shlib-undefined")
  endif()
endif()
