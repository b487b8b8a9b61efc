# Writes OUTPUT, a header with MM_BUILD_ID: a hash over the sources of library and helper program, by which the two
# know that they belong together. Run at build time with -DSOURCE_DIR=… -DOUTPUT=… -DSANITIZE=…
file(GLOB sources RELATIVE "${SOURCE_DIR}" "${SOURCE_DIR}/core/*.[ch]" "${SOURCE_DIR}/shm/*.[ch]"
    "${SOURCE_DIR}/net/*.[ch]")
list(SORT sources)
set(all "sanitize=${SANITIZE}")
foreach(source IN LISTS sources)
    file(SHA256 "${SOURCE_DIR}/${source}" hash)
    string(APPEND all "\n${source} ${hash}")
endforeach()
string(SHA256 id "${all}")
string(SUBSTRING "${id}" 0 16 id)

# A test build has hooks that change what is shared: it gets an id of its own.
set(text "/* Written by core/build_id.cmake. */
#ifndef MM_CORE_BUILD_ID_H
#define MM_CORE_BUILD_ID_H

#ifdef MM_TEST_HOOKS
#define MM_BUILD_ID \"${id}-test\"
#else
#define MM_BUILD_ID \"${id}\"
#endif

#endif
")
file(WRITE "${OUTPUT}" "${text}")
