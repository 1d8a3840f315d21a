/* faults.c - the add-on with calls that fail when told to, for faults.test.js. Beside what addon.c exports there are

     arm(n, again)   the nth call from now on that may fail fails, and if again is true those after it too
     disarm()        none fails any more -> the name of the call that failed, or '' if there were fewer than n
     live()          blocks of memory that are allocated and not freed

   A call of Node-API that fails this way throws nothing: the add-on has to. */

#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    uint32_t left; /* calls until one fails; 0: none does */
    bool again;
    const char *failed;
    int64_t live;
} faults;

static bool fails(const char *name) {
    if (faults.left == 0) return false;
    if (faults.left > 1) {
        faults.left--;
        return false;
    }
    if (!faults.again) faults.left = 0;
    if (faults.failed == NULL) faults.failed = name;
    return true;
}

static void *counted(void *block) {
    if (block != NULL) faults.live++;
    return block;
}

static void *reallocated(void *before, void *block) {
    if (before == NULL) return counted(block);
    return block;
}

static void *released(void *block) {
    if (block != NULL) faults.live--;
    return block;
}

#define malloc(bytes) (fails("malloc") ? NULL : counted(malloc(bytes)))
#define calloc(count, bytes) (fails("calloc") ? NULL : counted(calloc(count, bytes)))
#define realloc(block, bytes) (fails("realloc") ? NULL : reallocated(block, realloc(block, bytes)))
#define free(block) free(released(block))

#define FAULT(call, ...) (fails(#call) ? napi_generic_failure : call(__VA_ARGS__))
#define napi_create_object(...) FAULT(napi_create_object, __VA_ARGS__)
#define napi_create_array_with_length(...) FAULT(napi_create_array_with_length, __VA_ARGS__)
#define napi_create_arraybuffer(...) FAULT(napi_create_arraybuffer, __VA_ARGS__)
#define napi_create_typedarray(...) FAULT(napi_create_typedarray, __VA_ARGS__)
#define napi_create_double(...) FAULT(napi_create_double, __VA_ARGS__)
#define napi_create_int32(...) FAULT(napi_create_int32, __VA_ARGS__)
#define napi_create_bigint_uint64(...) FAULT(napi_create_bigint_uint64, __VA_ARGS__)
#define napi_create_string_utf8(...) FAULT(napi_create_string_utf8, __VA_ARGS__)
#define napi_create_function(...) FAULT(napi_create_function, __VA_ARGS__)
#define napi_create_reference(...) FAULT(napi_create_reference, __VA_ARGS__)
#define napi_new_instance(...) FAULT(napi_new_instance, __VA_ARGS__)
#define napi_define_class(...) FAULT(napi_define_class, __VA_ARGS__)
#define napi_wrap(...) FAULT(napi_wrap, __VA_ARGS__)
#define napi_type_tag_object(...) FAULT(napi_type_tag_object, __VA_ARGS__)
#define napi_add_finalizer(...) FAULT(napi_add_finalizer, __VA_ARGS__)
#define napi_set_instance_data(...) FAULT(napi_set_instance_data, __VA_ARGS__)
#define napi_set_element(...) FAULT(napi_set_element, __VA_ARGS__)
#define napi_set_named_property(...) FAULT(napi_set_named_property, __VA_ARGS__)
#define napi_open_handle_scope(...) FAULT(napi_open_handle_scope, __VA_ARGS__)
#define napi_get_value_double(...) FAULT(napi_get_value_double, __VA_ARGS__)
#define napi_get_value_int32(...) FAULT(napi_get_value_int32, __VA_ARGS__)
#define napi_get_value_bigint_uint64(...) FAULT(napi_get_value_bigint_uint64, __VA_ARGS__)
#define napi_get_value_bigint_int64(...) FAULT(napi_get_value_bigint_int64, __VA_ARGS__)
#define napi_get_value_string_utf8(...) FAULT(napi_get_value_string_utf8, __VA_ARGS__)

#define napi_register_module_v1 addon_init
#define node_api_module_get_api_version_v1 addon_version
#include "../../bindings/node/addon.c"
#undef napi_register_module_v1
#undef node_api_module_get_api_version_v1

static napi_value faults_arm(napi_env env, napi_callback_info info) {
    Call call = call_of(env, info);
    uint32_t n = 0;
    bool again = false;
    faults.left = 0;
    (void)napi_get_value_uint32(env, call.given[0], &n);
    if (call.count > 1) (void)napi_get_value_bool(env, call.given[1], &again);
    faults.left = n;
    faults.again = again;
    faults.failed = NULL;
    return NULL;
}

static napi_value faults_disarm(napi_env env, napi_callback_info info) {
    (void)info;
    faults.left = 0;
    return text_value(env, faults.failed == NULL ? "" : faults.failed);
}

static napi_value faults_live(napi_env env, napi_callback_info info) {
    (void)info;
    return number_value(env, (double)faults.live);
}

NAPI_MODULE_INIT() {
    static const Method functions[] = {{"arm", faults_arm}, {"disarm", faults_disarm}, {"live", faults_live}};
    napi_value made = addon_init(env, exports), function = NULL;
    size_t i;
    bool failing = faults.left != 0 || faults.failed != NULL;
    for (i = 0; !failing && i < COUNT_OF(functions); i++) {
        if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function) == napi_ok)
            set(env, exports, functions[i].name, function);
    }
    return made;
}
