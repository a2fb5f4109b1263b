# How every room is built: one library per folder, its layer's dependencies listed, one set of flags.
include(CheckCXXCompilerFlag)
find_package(Threads REQUIRED)

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Paths relative to the checkout, so that another clone of the same sources finds the objects.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}
      CCACHE_NOHASHDIR=1 ${CCACHE})
endif()

# No contraction: a product and a sum are rounded separately unless a kernel asks for a fused one,
# so that every tier and compiler computes what the source says.
add_compile_options(-Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers
                    -ffp-contract=off -fno-math-errno -fvisibility=hidden)
# GCC 12 sees overflows in its own string and tuple code once inlined; Clang keeps the check.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-array-bounds -Wno-stringop-overflow -Wno-restrict)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")  # kernels ask for -O3 themselves
if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
endif()

if(NIBBLE_SANITIZE)
  add_compile_options(-fsanitize=${NIBBLE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${NIBBLE_SANITIZE})
endif()

# Harnesses see which branches a file takes.
if(NIBBLE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# nibble_room(NAME [DEPS targets…] [LINK external targets…]): the library of this folder,
# every .cpp below it (CONFIGURE_DEPENDS: a new file needs no edit here).
function(nibble_room name)
  cmake_parse_arguments(ROOM "" "" "DEPS;LINK;EXCLUDE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  foreach(pattern ${ROOM_EXCLUDE})
    list(FILTER sources EXCLUDE REGEX ${pattern})
  endforeach()
  add_library(nibble_${name} STATIC ${sources})
  target_include_directories(nibble_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  foreach(dep ${ROOM_DEPS})
    target_link_libraries(nibble_${name} PUBLIC nibble_${dep})
  endforeach()
  target_link_libraries(nibble_${name} PUBLIC ${ROOM_LINK} Threads::Threads)
endfunction()
