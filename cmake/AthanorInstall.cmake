# Install rules. Components of find_package(athanor): c, engine (every room without models), torch, chem.
# Install components: athanor_runtime (what a program needs to run), athanor_dev (what it needs to be built).
include(CMakePackageConfigHelpers)

set(athanor_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/athanor)
set(athanor_components "")

foreach(room IN LISTS ATHANOR_ROOMS)
  set(component engine)
  if(room IN_LIST ATHANOR_MODEL_ROOMS)
    set(component ${room})
  endif()
  list(APPEND athanor_components ${component})
  install(TARGETS athanor_${room} EXPORT athanor-${component}-targets
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT athanor_dev
          FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT athanor_dev)
endforeach()
install(FILES ${PROJECT_SOURCE_DIR}/include/athanor/athanor.hpp
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/athanor COMPONENT athanor_dev)

if(TARGET athanor_c)
  list(APPEND athanor_components c)
  install(TARGETS athanor_c athanor_c_static EXPORT athanor-c-targets
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT athanor_dev
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT athanor_runtime NAMELINK_COMPONENT athanor_dev
          INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/capi/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT athanor_dev
          FILES_MATCHING PATTERN "*.h")
  file(RELATIVE_PATH athanor_pc_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" athanor_pc_to_prefix "${athanor_pc_to_prefix}")
  get_property(athanor_pc_private GLOBAL PROPERTY ATHANOR_STATIC_LIBRARIES)
  list(TRANSFORM athanor_pc_private PREPEND -l)
  list(JOIN athanor_pc_private " " athanor_pc_private)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/athanor.pc.in ${PROJECT_BINARY_DIR}/athanor.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/athanor.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT athanor_dev)
endif()

# A plugin is opened by libathanor.so at run time: it lies beside it, in a folder of its own.
get_property(plugins GLOBAL PROPERTY ATHANOR_PLUGINS)
foreach(plugin IN LISTS plugins)
  install(TARGETS ${plugin} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/${ATHANOR_PLUGIN_FOLDER} COMPONENT athanor_runtime)
endforeach()

list(REMOVE_DUPLICATES athanor_components)
foreach(component IN LISTS athanor_components)
  install(EXPORT athanor-${component}-targets NAMESPACE athanor:: DESTINATION ${athanor_package_dir}
          COMPONENT athanor_dev)
endforeach()

# The parts of RDKit that chem links, for the package file to ask for.
set(athanor_rdkit_parts "")
if(TARGET athanor_chem)
  get_target_property(libraries athanor_chem LINK_LIBRARIES)
  list(FILTER libraries INCLUDE REGEX "^RDKit::")
  list(TRANSFORM libraries REPLACE "^RDKit::" "" OUTPUT_VARIABLE athanor_rdkit_parts)
endif()

# Before 1.0 a minor version may break its users; afterwards only a major one may.
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(compatibility SameMinorVersion)
else()
  set(compatibility SameMajorVersion)
endif()
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/athanorConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/athanorConfig.cmake INSTALL_DESTINATION ${athanor_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/athanorConfigVersion.cmake COMPATIBILITY ${compatibility})
file(GLOB find_modules ${CMAKE_CURRENT_LIST_DIR}/Find*.cmake)
install(FILES ${PROJECT_BINARY_DIR}/athanorConfig.cmake ${PROJECT_BINARY_DIR}/athanorConfigVersion.cmake ${find_modules}
        DESTINATION ${athanor_package_dir} COMPONENT athanor_dev)
foreach(component athanor_runtime athanor_dev)
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/NOTICE
          DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/athanor COMPONENT ${component})
endforeach()
