# find_package(rlimit) gives the target rlimit::rlimit: the include directory of the headers.
if(NOT TARGET rlimit::rlimit)
  get_filename_component(rlimit_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
  add_library(rlimit::rlimit INTERFACE IMPORTED)
  set_target_properties(rlimit::rlimit PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${rlimit_prefix}/include")
endif()
