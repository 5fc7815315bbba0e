# RDKit as imported targets RDKit::<Part>, for the parts that are asked for:
#   find_package(RDKit COMPONENTS SmilesParse GraphMol …)
# Installations that ship their own package configuration are used as they are. Debian's ships none: its headers and
# libraries are looked up, and targets of the same names are made.
#
# Result: RDKit_FOUND, RDKit_INCLUDE_DIR, and the targets.
set(RDKit_PARTS SmilesParse SubstructMatch GraphMol Fingerprints DataStructs MolDraw2D RDGeometryLib RDGeneral)
if(RDKit_FIND_COMPONENTS)
  set(RDKit_PARTS ${RDKit_FIND_COMPONENTS})
endif()

find_package(RDKit QUIET CONFIG)
if(RDKit_FOUND)
  set(RDKit_complete TRUE)
  foreach(part IN LISTS RDKit_PARTS)
    if(NOT TARGET RDKit::${part})
      set(RDKit_complete FALSE)
    endif()
  endforeach()
  if(RDKit_complete)
    return()
  endif()
endif()

find_path(RDKit_INCLUDE_DIR GraphMol/GraphMol.h PATH_SUFFIXES rdkit)
# RDKit's headers include Boost's, which Debian's package does not bring along.
find_path(RDKit_BOOST_INCLUDE_DIR boost/shared_ptr.hpp)
set(RDKit_required RDKit_INCLUDE_DIR RDKit_BOOST_INCLUDE_DIR)
foreach(part IN LISTS RDKit_PARTS)
  find_library(RDKit_${part}_LIBRARY RDKit${part})
  list(APPEND RDKit_required RDKit_${part}_LIBRARY)
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(RDKit REQUIRED_VARS ${RDKit_required}
                                  REASON_FAILURE_MESSAGE "Debian has it as librdkit-dev and libboost-dev")
if(RDKit_FOUND)
  foreach(part IN LISTS RDKit_PARTS)
    if(NOT TARGET RDKit::${part})
      add_library(RDKit::${part} UNKNOWN IMPORTED)
      set_target_properties(RDKit::${part} PROPERTIES
        IMPORTED_LOCATION "${RDKit_${part}_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${RDKit_INCLUDE_DIR};${RDKit_BOOST_INCLUDE_DIR}")
    endif()
    mark_as_advanced(RDKit_${part}_LIBRARY)
  endforeach()
endif()
mark_as_advanced(RDKit_INCLUDE_DIR RDKit_BOOST_INCLUDE_DIR)
